"""A dress rehearsal of a training on A2D-Sentences: `make rehearsal CLIPS=8`, with as many clips as you like.

Clips of A2D's size and in its layout are made (320 x 426 pixels, 100 frames, H.264) and go the way that
`params/a2d.yaml` goes: verified, flow, loading for training. Seconds are CPU time of one core. What they make
of all of A2D is arithmetic, and so is what this machine lacks for it. A second call goes on where the first
stopped; `--clips 3782` is the whole.
"""

from __future__ import annotations

import argparse
import os
import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import pandas as pd
import torch
from torch.utils.data import DataLoader

from mmvs import config
from mmvs.config import Experiment, Language
from mmvs.data import catalogue
from mmvs.data.loaders import Batches, Loaders
from mmvs.data.words import tokenizer
from mmvs.verify.tree import verify

T = TypeVar("T")
CLIPS, FRAMES, HEIGHT, WIDTH = 3_782, 100, 320, 426  # of A2D-Sentences; clips of 100 frames are assumed
STEP = {"an RTX 3090": 0.18, "an A100": 0.06}  # seconds of a step of 8 clips: docs/estimates.md
WINDOWS = 11_936  # annotated frames of A2D-Sentences, at most: each is a clip
MOST_LOADED = 64  # clips


def timed(action: Callable[[], T]) -> tuple[float, T]:
    """CPU seconds of this process, and the result."""
    start = time.process_time()
    result = action()
    return time.process_time() - start, result


def rehearsed(params: str, clips: int, folder: Path) -> Experiment:
    """The experiment of a params file on clips that are made in `folder`, by this process alone."""
    values: dict[str, Any] = config.load(params).model_dump()
    tests = max(1, clips // 5)  # as in A2D
    shapes = {"train_clips": max(2, clips - tests), "test_clips": tests, "unseen_clips": 1}
    values["data"] |= {
        "train_on": "moving_shapes-train",
        "evaluate_on": ["moving_shapes-test"],
        "roots": {"moving_shapes": str(folder / "data")},
        "moving_shapes": {**shapes, "frames": FRAMES, "height": HEIGHT, "width": WIDTH},
        "workers": 0,
    }
    values["flow"] |= {"root": str(folder / "flow"), "workers": 1}
    values["training"]["validation_clips"] = 1
    return config.experiment(**values)


def size(folder: Path) -> float:
    """Bytes of a folder."""
    return float(sum(file.stat().st_size for file in folder.rglob("*") if file.is_file()))


def loading(experiment: Experiment) -> tuple[float, int]:
    """CPU seconds to load clips for training, and how many."""
    sources = {name: catalogue.open(name, experiment) for name in experiment.data.training_sets}
    sentences = set().union(*(source.samples.distinct_sentences() for source in sources.values()))
    with tempfile.TemporaryDirectory() as folder:
        words = tokenizer(Language(name="small"), Path(folder) / "words", sentences)
    loaders, batch = Loaders(experiment, sources, words), experiment.training.batch
    batches = max(1, min(MOST_LOADED, len(loaders.training.clips)) // batch)
    loader = DataLoader(loaders.training, batch_sampler=Batches(0, batches + 1, batch), **loaders.options)
    turns = iter(loader)
    next(turns)  # opens the files
    seconds, _ = timed(lambda: list(turns))
    return seconds, batches * batch


def table(params: str, clips: int, folder: Path) -> tuple[pd.DataFrame, list[str]]:
    """What was measured, what it makes of all of A2D; and what this machine lacks for that, worst first."""
    experiment = rehearsed(params, clips, folder)
    t, shapes = experiment.training, experiment.data.moving_shapes
    made = shapes.train_clips + shapes.test_clips  # the tree beside them, `unseen`, is counted with them
    root = Path(experiment.data.roots["moving_shapes"])
    making, _ = timed(lambda: catalogue.FAMILIES["moving_shapes"].write(root, experiment.data, True))
    checking, found = timed(lambda: verify(root, progress=False))
    flowing, summaries = timed(lambda: catalogue.prepare(experiment))
    computed = sum(one.computed for one in summaries.values())
    seconds, loaded = loading(experiment)
    of_clip = seconds / loaded
    data = experiment.data.model_copy(update={"cache": "disk", "cache_root": str(folder / "cache")})
    cached = experiment.model_copy(update={"data": data})
    loading(cached)  # fills the cache
    seconds, loaded = loading(cached)
    again = seconds / loaded
    windows = sum(1 for _ in (folder / "cache").rglob("*.safetensors"))
    in_cache = size(folder / "cache") / windows * WINDOWS / 1e9

    on_disk = {
        name: size(folder / name) / (made + (name == "data")) * CLIPS / 1e9 for name in ("data", "flow")
    }
    flow = flowing / computed / FRAMES if computed else float("nan")
    rows = [
        ("clips", f"{made:,}", f"{CLIPS:,}"),
        (
            "videos and annotations on disk",
            f"{size(folder / 'data') / 1e6:.1f} MB",
            f"{on_disk['data']:.1f} GB",
        ),
        (
            "verify",
            f"{checking:.1f} s, {'healthy' if found.healthy else 'faults'}",
            hours(checking / made * CLIPS),
        ),
        ("flow, on one core", f"{1000 * flow:.0f} ms a frame", hours(flow * FRAMES * CLIPS)),
        ("flow on disk", f"{size(folder / 'flow') / 1e6:.1f} MB", f"{on_disk['flow']:.1f} GB"),
        ("loading, on one core", f"{1000 * of_clip:.1f} ms a clip", hours(of_clip * t.steps * t.batch)),
        (
            "from the second epoch on, with data.cache: disk",
            f"{1000 * again:.1f} ms a clip, {of_clip / again:.1f} times as fast",
            hours(again * t.steps * t.batch),
        ),
        ("that cache on disk", f"{size(folder / 'cache') / 1e6:.1f} MB", f"{in_cache:.1f} GB"),
        *(
            (f"loader processes that {gpu} needs{note}", "", f"{per * t.batch / step:.1f}")
            for gpu, step in STEP.items()
            for per, note in ((of_clip, ""), (again, ", with the cache"))
        ),
    ]
    have = {"disk": shutil.disk_usage(folder).free / 1e9, "cores": os.cpu_count() or 1}
    a100 = STEP["an A100"]
    need = {
        "disk": (
            sum(on_disk.values()),
            f"{sum(on_disk.values()):.0f} GB of disk; {have['disk']:.0f} are free",
        ),
        "cores": (
            of_clip * t.batch / a100,
            f"{of_clip * t.batch / a100:.0f} cores of loading beside an A100; "
            f"there are {have['cores']}, and data.workers is {config.load(params).data.workers}; with "
            f"data: {{cache: disk}} it takes {again * t.batch / a100:.1f}, and {in_cache:.0f} GB of disk",
        ),
    }
    order = sorted(need, key=lambda what: need[what][0] / have[what], reverse=True)
    verdicts = [
        f"{'breaks' if need[what][0] > have[what] else 'holds'}: it takes {need[what][1]}" for what in order
    ]
    print(f"(made in {making:.0f} s of CPU)" if making > 1 else "(clips were there)")
    return pd.DataFrame(rows, columns=["what", "measured", "all of A2D"]).set_index("what"), verdicts


def hours(seconds: float) -> str:
    """In minutes below two hours."""
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def main() -> None:
    """Print the table and the verdicts."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("params", nargs="?", default="params/a2d.yaml")
    parser.add_argument("--clips", type=int, default=8)
    parser.add_argument("--folder", type=Path, default=config.ROOT / "build" / "rehearsal")
    given = parser.parse_args()
    torch.set_num_threads(1)
    folder = given.folder / str(given.clips)
    folder.mkdir(parents=True, exist_ok=True)
    rows, verdicts = table(given.params, given.clips, folder)
    print(rows.to_string())
    print(*verdicts, sep="\n")


if __name__ == "__main__":
    main()
