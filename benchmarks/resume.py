"""What it costs that a run can be killed at any moment: `python -m benchmarks.resume`.

Steps of a training are timed as they are, and without what makes them exact after a restart: the seeds of
every clip and step. A checkpoint is timed as it is written and read, and as torch alone does it: without
fsync and without checksums. Each pair is timed in turns on one thread, the best turn of each counts, and the
last row says what all of it takes of a training that validates as the params file asks.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from unittest import mock

import pandas as pd
import torch
from tqdm.auto import tqdm

from mmvs import checkpoints, config
from mmvs.data import catalogue, training_clips
from mmvs.data.clips import collate
from mmvs.data.loaders import Loaders
from mmvs.data.words import tokenizer
from mmvs.training.optimisation import NetworkTraining

TURNS = 5


def compare(ours: Callable[[], object], plain: Callable[[], object], turns: int = TURNS) -> dict[str, float]:
    """Milliseconds of both ways, in turns; the best of each."""
    best = {"ours, ms": float("inf"), "plain, ms": float("inf")}
    for _ in tqdm(range(turns), leave=False):
        for name, way in (("ours, ms", ours), ("plain, ms", plain)):
            begin = time.perf_counter()
            way()
            best[name] = min(best[name], 1000 * (time.perf_counter() - begin))
    return best


def steps(run: config.Experiment, folder: Path, count: int) -> tuple[dict[str, float], Path]:
    """Milliseconds of a step, clips included; and a checkpoint of the network and its optimiser."""
    source = catalogue.open(run.data.train_on, run)
    words = tokenizer(run.model.language, folder, {sample.sentence for sample in source.samples})
    clips, join = (
        Loaders(run, {run.data.train_on: source}, words).training,
        collate(words, run.model.language.max_words),
    )
    module = NetworkTraining(run, len(words))
    optimizer = module.configure_optimizers()["optimizer"]

    def train(exact: bool) -> None:
        for step in range(count):
            first = step * run.training.batch
            batch = join([clips[number] for number in range(first, first + run.training.batch)])
            if exact:
                torch.manual_seed(training_clips.draw_seed(run.seed, "step", step))
            module.objective(module.network(batch), batch)["loss"].backward()
            optimizer.step()
            optimizer.zero_grad()

    def plain() -> None:
        with (
            mock.patch.object(training_clips, "draw_seed", lambda *_: 0),
            mock.patch.object(torch.random, "fork_rng", lambda **_: nullcontext()),
        ):
            train(exact=False)

    train(exact=True)  # reads and keeps the clips
    timed = {name: value / count for name, value in compare(lambda: train(exact=True), plain).items()}
    content = {
        "state_dict": module.state_dict(),
        "global_step": 0,
        "optimizer_states": [optimizer.state_dict()],
        "mmvs": {"experiment": run.model_dump_json()},
    }
    file = folder / "run.ckpt"
    checkpoints.write(content, file)
    return timed, file


def files(file: Path) -> dict[str, dict[str, float]]:
    """Milliseconds to write and to read a checkpoint."""
    content, plain = checkpoints.read(file, mmap=False), file.with_name("plain.ckpt")
    return {
        "write a checkpoint": compare(
            lambda: checkpoints.write(content, file), lambda: torch.save(content, plain)
        ),
        "read a checkpoint": compare(
            lambda: checkpoints.read(file, mmap=False), lambda: torch.load(plain, weights_only=True)
        ),
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--params", default="params/moving_shapes.yaml", help="whose data are prepared")
    parser.add_argument("--steps", type=int, default=10, help="in a turn")
    given = parser.parse_args()
    torch.set_num_threads(1)
    run = config.load(given.params)
    catalogue.prepare(run)
    with tempfile.TemporaryDirectory() as folder:
        step, checkpoint = steps(run, Path(folder), given.steps)
        rows = {"a step": step, **files(checkpoint)}
    t = run.training
    writes = 2 * (t.steps // t.validate_every)  # last and, at most as often, best
    whole = {
        name: t.steps * step[name]
        + writes * rows["write a checkpoint"][name]
        + rows["read a checkpoint"][name]
        for name in step
    }
    rows[f"{t.steps} steps, {writes} checkpoints, one restart"] = whole
    table = pd.DataFrame(rows).T
    table["ours / plain"] = table["ours, ms"] / table["plain, ms"]
    print(table.to_string(float_format="{:.3f}".format))


if __name__ == "__main__":
    main()
