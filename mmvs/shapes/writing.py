"""Moving shapes: an embedded data set in A2D-Sentences' on-disk layout, from a seed in about a minute.

    <root>/            train (subset 0) and test (subset 1)
    <root>/unseen/     a tree of its own: sentences about combinations that training never shows
    sentence_kinds.csv in both, outside A2D's files: which kind each sentence is of
    moving_shapes.json the settings; it appears last, so a tree that has it is complete

`cast` decides who is in a clip, `placement` where, `language` and `english` what the sentences say, and
`rendering` what the frames show.
"""

from __future__ import annotations

import errno
import hashlib
import json
import multiprocessing
import os
import shutil
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import NamedTuple

import cv2

from mmvs.config import MovingShapes
from mmvs.files import remove_partial, write_text
from mmvs.processes import one_at_a_time
from mmvs.progress import progress_bar
from mmvs.shapes.a2d_layout import ClipRecord, write_instances, write_tables
from mmvs.shapes.clip import draw_clip, render, render_clip
from mmvs.video.files import write_video

__all__ = ["render", "write"]

FINISHED, UNFINISHED = "moving_shapes.json", "moving_shapes.unfinished.json"


class Job(NamedTuple):
    """One clip to write, and the tree that it goes to."""

    tree: Path
    settings: MovingShapes
    split: str
    index: int


def write(
    root: str | Path, settings: MovingShapes, progress: bool = True, workers: int | None = None
) -> Path:
    """Write the data set into its `home`, and return that; at once where it is there already.

    workers  processes; by default one per CPU. The bytes of the annotations depend on the settings only

    A second call after a stop goes on where it was. One job writes at a time. Raises OSError, naming the
    folder, where the disk is too full or the folder holds something else.
    """
    root = home(root, settings)
    record = _record(settings)
    if _text(root / FINISHED) != record:
        with one_at_a_time(root.with_name(f".{root.name}.lock")):
            if _text(root / FINISHED) != record:  # still: the job before this one may have written it
                _write(root, settings, record, progress, workers)
    return root


def home(root: str | Path, settings: MovingShapes) -> Path:
    """Where the data set of these settings lies: `root`, or beside it where `root` holds one of others.

    Nobody's data are overwritten: a changed copy of a params file gets a folder of its own,
    `<root>-<8 digits of its settings>`.
    """
    root, record = Path(root), _record(settings)
    there = _text(root / FINISHED) or _text(root / UNFINISHED)
    if there in (None, record):
        return root
    return root.with_name(f"{root.name}-{hashlib.sha256(record.encode()).hexdigest()[:8]}")


def _record(settings: MovingShapes) -> str:
    return json.dumps(settings.model_dump(), indent=2)


def _write(root: Path, settings: MovingShapes, record: str, progress: bool, workers: int | None) -> None:
    _check_folder(root, settings)
    root.mkdir(parents=True, exist_ok=True)
    remove_partial(root)  # of a job that was killed
    write_text(root / UNFINISHED, record)
    jobs = [
        Job(root / "unseen" if split == "unseen" else root, settings, split, index)
        for split, count in _counts(settings).items()
        for index in range(count)
    ]
    clips = list(
        progress_bar(_run(jobs, workers), "moving shapes", len(jobs), unit="clip", disable=not progress)
    )
    for tree in (root, root / "unseen"):
        write_tables(tree, [clip for clip in clips if clip.tree == tree], settings)
    os.replace(root / UNFINISHED, root / FINISHED)


def _run(jobs: list[Job], workers: int | None) -> Iterable[ClipRecord]:
    """Yield results in the order of the jobs; start processes only where they are worth it."""
    workers = workers or min(os.cpu_count() or 1, max(1, len(jobs) // 100))
    if workers == 1:
        yield from map(_write_clip, jobs)
        return
    # Forking a process that has threads (torch, OpenCV) can hang; a spawned one starts clean.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, context, initializer=cv2.setNumThreads, initargs=(1,)) as pool:
        yield from pool.map(_write_clip, jobs, chunksize=8)


def _write_clip(job: Job) -> ClipRecord:
    """Write the masks first, the video last: a clip whose video is there is complete."""
    clip = draw_clip(job.settings, job.split, job.index)
    has_sentences = job.split != "silent"
    video = job.tree / "Release" / "clips320H" / f"{clip.video_id}.mp4"
    if not video.exists():
        rendering = render_clip(job.settings, job.split, job.index, clip)
        if has_sentences:
            folder = job.tree / "text_annotations" / "a2d_annotation_with_instances" / clip.video_id
            folder.mkdir(parents=True, exist_ok=True)
            for frame in clip.scene.annotated:
                write_instances(folder / f"{frame + 1:05d}.h5", clip.instance_ids, rendering.masks[:, frame])
        write_video(video, rendering.frames, crf=job.settings.crf)
    sentences, annotated = (clip.sentences, len(clip.scene.annotated)) if has_sentences else ((), 0)
    rows = [(clip.instance_ids[sentence.target], sentence.text, sentence.kind) for sentence in sentences]
    return ClipRecord(job.tree, job.split, clip.video_id, annotated, len(clip.scene.bodies), rows)


def _counts(settings: MovingShapes) -> dict[str, int]:
    """Number of clips of each split."""
    counts = {split: getattr(settings, f"{split}_clips") for split in ("train", "test", "unseen")}
    return counts | {"silent": 1}


def _text(path: Path) -> str | None:
    return path.read_text() if path.is_file() else None


def _check_folder(root: Path, settings: MovingShapes) -> None:
    """OSError where the folder holds something else, or the data set does not fit on the disk."""
    ours = (root / FINISHED).is_file() or (root / UNFINISHED).is_file()
    if not ours and root.is_dir() and any(not path.name.startswith(".") for path in root.iterdir()):
        text = "the folder holds files that are not moving shapes; choose another or empty it"
        raise OSError(errno.EEXIST, text, str(root))
    pixels = settings.frames * settings.height * settings.width
    needed = sum(_counts(settings).values()) * (40_000 + pixels // 2)
    there = sum(path.stat().st_size for path in root.rglob("*") if path.suffix in (".mp4", ".h5"))
    existing = next(folder for folder in (root, *root.absolute().parents) if folder.is_dir())
    free = shutil.disk_usage(existing).free
    if free + there < needed:
        text = f"moving shapes need about {needed / 1e6:.0f} MB, {free / 1e6:.0f} MB are free"
        raise OSError(errno.ENOSPC, f"{text}; make room or write fewer clips", str(root))
