"""Kill the work of a run at any moment, start it again, and compare every result with an undisturbed run.

    python tests/faults/kills.py --kills 50

One case: data, flow, training, scores, a segmented video and a rendered page, in a folder of its own. SIGKILL
ends it at a named moment or at a random time; then the same work goes on to its end. Prints what was killed
where, and which files differ. Exit status 1 where one does.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import multiprocessing
import os
import random
import shutil
import signal
import tempfile
import time
from collections import Counter
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import h5py
import nbformat
import numpy as np
import pandas as pd
import torch
from tqdm.auto import tqdm

from mmvs import checkpoints, evaluation
from mmvs.config import Experiment, experiment
from mmvs.data import catalogue
from mmvs.files import PARTIAL
from mmvs.flow import estimators
from mmvs.report import pages
from mmvs.segmenter.folder import segment_to_folder
from mmvs.segmenter.job import SegmentJob
from mmvs.segmenter.segmenter import Segmenter
from mmvs.shapes import writing
from mmvs.training import fit
from mmvs.training.optimisation import NetworkTraining
from mmvs.video.stream import open_video

# What is killed: a function in the middle of whose nth call the process dies. The named moments of the work.
MOMENTS: dict[str, tuple[Any, str]] = {
    "data": (writing, "render_clip"),
    "flow": (estimators.Dis, "__call__"),
    "step": (NetworkTraining, "training_step"),
    "validation": (NetworkTraining, "validation_step"),
    "checkpoint": (torch, "save"),
    "checkpoint before its place": (os, "fsync"),
    "evaluation": (evaluation, "foreground_score"),
    "segment": (SegmentJob, "add"),
    "any file before its place": (os, "replace"),
    "render": (nbformat, "read"),
}


def parameters(folder: Path) -> Experiment:
    """A training of seconds in which everything is drawn that can be."""
    narrow = {"name": "narrow", "weights": None, "widths": [8, 10, 12, 12]}
    return experiment(
        run="tiny",
        reports=str(folder / "reports"),
        data={
            "train_on": "moving_shapes-train",
            "evaluate_on": ["moving_shapes-test"],
            "roots": {"moving_shapes": str(folder / "data")},
            "size": 64,
            "stride": 3,
            "workers": 0,
            "moving_shapes": {"train_clips": 5, "test_clips": 1, "unseen_clips": 1},
        },
        flow={"root": str(folder / "flow"), "workers": 1},
        model={
            "width": 16,
            "heads": 2,
            "layers": 1,
            "dropout": 0.2,
            "level_widths": [8, 12, 16],
            "appearance_backbone": narrow,
            "motion_backbone": narrow | {"input": "uv"},
            "language": {"name": "small", "width": 16, "layers": 1, "heads": 2},
        },
        training={"steps": 9, "batch": 2, "rate": 1e-3, "warmup": 1, "validate_every": 2, "threads": 1}
        | {"validation_clips": 1},
    )


def work(folder: Path) -> None:
    """The whole work of a run; whatever is finished already is only read."""
    run = parameters(folder)
    for summary in catalogue.prepare(run, progress=False).values():
        summary.raise_failures()
    evaluation.evaluate(fit(run, progress=False), progress=False)
    video = next((folder / "data").rglob("test*.mp4"))
    words = ["the red circle", "the blue square that goes up"]
    segment_to_folder(Segmenter.from_run(run.folder), video, words, folder / "segmented", progress=False)
    page = nbformat.v4.new_notebook(cells=[nbformat.v4.new_markdown_cell("# Found", id="one")])
    (folder / "page.ipynb").write_text(nbformat.writes(page))
    pages.render(folder / "page.ipynb")


def results(folder: Path) -> dict[str, str]:
    """Every result and a digest of its content; times and dates are none."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(_content(path)).hexdigest()[:12]
        for path in sorted(folder.rglob("*"))
        if path.is_file() and "logs" not in path.parts and not path.name.endswith("lock")
        if path.name not in ("previous.ckpt", ".checked.json") and not fnmatch(path.name, PARTIAL)
    }


def _content(path: Path) -> bytes:
    if path.suffix == ".ckpt":
        kept = checkpoints.read(path, mmap=False)
        states = kept["optimizer_states"][0]["state"].values()
        tensors = [*kept["state_dict"].values(), *(value for state in states for value in state.values())]
        return b"".join(tensor.contiguous().numpy().tobytes() for tensor in tensors)
    if path.suffix == ".h5":
        with h5py.File(path) as file:
            arrays: list[np.ndarray] = []
            file.visititems(lambda _, one: arrays.append(one[()]) if isinstance(one, h5py.Dataset) else None)
        return b"".join(map(np.ndarray.tobytes, map(np.asarray, arrays)))
    if path.suffix == ".mp4":
        return b"".join(frame.tobytes() for _, frame in open_video(path))
    if path.suffix == ".json":
        values = json.loads(path.read_text())
        values.get("identity", {}).pop("video", None)  # by the time of its change
        return repr([values[key] for key in sorted(values) if key not in ("provenance", "seconds")]).encode()
    if path.name == ".journal.jsonl":  # its first line says whose it is, with the time of the video
        first, _, frames = path.read_bytes().partition(b"\n")
        record = json.loads(first.partition(b" ")[2])
        del record["identity"]["video"]
        return repr(record).encode() + frames
    return path.read_bytes()


def _job(folder: Path, moment: str | None, call: int) -> None:
    """Runs in a process of its own: the work, which a moment ends at its nth call."""
    torch.set_num_threads(1)
    if moment:
        owner, name = MOMENTS[moment]
        _patch(owner, name, call)
    work(folder)


def _patch(owner: Any, name: str, call: int) -> None:
    whole, calls = getattr(owner, name), Counter[str]()

    def dies(*given: Any, **options: Any) -> Any:
        calls[name] += 1
        if calls[name] < call:
            return whole(*given, **options)
        if name == "save":  # half of a checkpoint is on the disk
            given[1].write(b"x" * 1000)
            given[1].flush()
        os.kill(os.getpid(), signal.SIGKILL)

    setattr(owner, name, dies)


class Jobs:
    """Starts the work in processes that have everything imported already."""

    def __init__(self) -> None:
        self.context = multiprocessing.get_context("forkserver")
        self.context.set_forkserver_preload(["mmvs.training", "mmvs.evaluation", "mmvs.segmenter.folder"])

    def run(self, folder: Path, moment: str | None = None, call: int = 1, after: float | None = None) -> int:
        """The exit status of one job; after: seconds until it is killed."""
        job = self.context.Process(target=_job, args=(folder, moment, call))
        job.start()
        job.join(240 if after is None else after)
        running = job.is_alive()
        if running:
            job.kill()
            job.join()
        if running and after is None:
            raise TimeoutError(f"{folder}: a job hangs after a kill")
        return job.exitcode or 0


def compare(expected: dict[str, str], found: dict[str, str]) -> list[str]:
    """Names of the results that differ, are missing, or should not be there."""
    return sorted(name for name in expected.keys() | found.keys() if expected.get(name) != found.get(name))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    draw, jobs = random.Random(given.seed), Jobs()
    with tempfile.TemporaryDirectory() as place:
        assert jobs.run(Path(place, "warm")) == 0, "the work ends where nothing kills it"
        begin = time.monotonic()
        assert jobs.run(Path(place, "whole")) == 0
        seconds, expected = time.monotonic() - begin, results(Path(place, "whole"))
        rows = []
        for number in tqdm(range(given.kills), "kills", unit="kill"):
            folder, died = Path(place, str(number)), False
            moment = draw.choice(list(MOMENTS)) if number % 2 else "a random time"
            while not died:  # until the kill comes before the end
                shutil.rmtree(folder, ignore_errors=True)
                begin = time.monotonic()
                if moment in MOMENTS:
                    died = jobs.run(folder, moment, 1 if moment == "render" else draw.randint(1, 5)) != 0
                else:
                    died = jobs.run(folder, after=draw.uniform(0, seconds)) != 0
                    seconds = min(seconds, time.monotonic() - begin) if not died else seconds
            ended = jobs.run(folder)
            differs = compare(expected, results(folder)) if ended == 0 else [f"exit status {ended}"]
            rows.append({"killed at": moment, "equal": not differs, "differs": differs})
            shutil.rmtree(folder)
    table = pd.DataFrame(rows)
    print(table.groupby("killed at").agg(kills=("equal", "size"), equal=("equal", "sum")).to_string())
    for row in rows:
        if not row["equal"]:
            print(f"killed at {row['killed at']}: {', '.join(row['differs'])}")
    print(f"{int(table.equal.sum())} of {len(table)} end equal to a run that nothing interrupted")
    return int(not table.equal.all())


if __name__ == "__main__":
    raise SystemExit(main())
