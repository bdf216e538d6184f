"""What a training step on a CPU costs: `python -m benchmarks.training_step [params/<run>.yaml]`.

A batch of noise goes through the experiment's network, loss and optimiser on one thread. Milliseconds are
CPU time, the median of several steps; ratios are to the first row, which stands for what `fit` does.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from contextlib import nullcontext

import pandas as pd
import torch

from mmvs import config, processes
from mmvs.build import build
from mmvs.config import SYSTEMS, Experiment
from mmvs.schema import Batch

STEPS, WARM_UP = 12, 2
VOCABULARY, WORDS = 120, 14  # as many word pieces and words as moving shapes have
WAYS = {
    "as `fit` does": {},
    "freed memory goes back to the system": {"keep": False},
    "AdamW in many operations": {"fused": False},
    "bfloat16": {"bfloat16": True},
    **{f"system: {system}": {"system": system} for system in SYSTEMS},
}


def noise(experiment: Experiment) -> Batch:
    """A batch of the experiment's size: clips of noise, `sentences_per_clip` sentences each."""
    data, clips = experiment.data, experiment.training.batch
    n, size = clips * data.sentences_per_clip, data.size
    generator = torch.Generator().manual_seed(0)
    masks = torch.zeros(n, size, size)
    masks[:, size // 3 : size // 2, size // 3 : size // 2] = 1
    lengths = torch.randint(WORDS // 2, WORDS + 1, (n,), generator=generator)
    words_mask = torch.arange(WORDS)[None] < lengths[:, None]
    pictures = (clips, data.frames, 3, size, size)
    return Batch(
        frames=torch.randint(0, 256, pictures, dtype=torch.uint8, generator=generator),
        flow=torch.randn(clips, data.frames, 2, size, size, generator=generator),
        masks=masks,
        valid=torch.ones(clips, size, size, dtype=torch.bool),
        words=torch.randint(5, VOCABULARY, (n, WORDS), generator=generator) * words_mask,
        words_mask=words_mask,
        clip_of_sentence=torch.arange(clips).repeat_interleave(data.sentences_per_clip),
        target=data.frames // 2,
        samples=list(range(n)),
        original_sizes=[(size, size)] * clips,
    )


def milliseconds(
    experiment: Experiment,
    keep: bool = True,
    fused: bool = True,
    bfloat16: bool = False,
    system: str | None = None,
) -> float:
    """CPU milliseconds of a step, the median."""
    torch.set_num_threads(1)
    if keep:
        processes.keep_freed_memory()
    if system is not None:
        own = experiment.training
        experiment = experiment.as_system(system, own.steps, own.share, experiment.seed)
    built, batch = build(experiment, VOCABULARY), noise(experiment)
    optimizer = torch.optim.AdamW(built.network.parameters(), fused=fused)
    durations = []
    for _ in range(WARM_UP + STEPS):
        start = time.process_time()
        optimizer.zero_grad()
        with torch.autocast("cpu", torch.bfloat16) if bfloat16 else nullcontext():
            loss = built.objective(built.network(batch), batch)["loss"]
        loss.backward()
        torch.nn.utils.clip_grad_norm_(built.network.parameters(), experiment.training.clip)
        optimizer.step()
        durations.append(1000 * (time.process_time() - start))
    return statistics.median(durations[WARM_UP:])


def main(params: str = "params/moving_shapes.yaml", way: str | None = None) -> None:
    """Print the table; with a way, its milliseconds alone: each is measured in a process of its own."""
    if way is not None:
        print(milliseconds(config.load(params), **WAYS[way]))
        return
    command = [sys.executable, "-m", "benchmarks.training_step", params]
    turns = [
        {way: float(subprocess.check_output([*command, way])) for way in WAYS} for _ in range(2)
    ]  # in turn, so that a busy moment does not hit one way alone
    rows = {way: min(turn[way] for turn in turns) for way in WAYS}
    table = pd.DataFrame({"ms a step": rows})
    table["ratio"] = table["ms a step"] / next(iter(rows.values()))
    print(table.round({"ms a step": 0, "ratio": 2}).to_string())


if __name__ == "__main__":
    main(*sys.argv[1:])
