"""Segment a video into a folder, as `mmvs segment` does.

The folder gets overlay.mp4, masks/<number of the sentence>/<frame>.png (or masks.json), confidence.csv,
and at last segmentation.json. A second call after a stop goes on at the next frame.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
from tqdm.auto import tqdm

from mmvs.processes import one_at_a_time
from mmvs.segmenter.job import FINISHED, MASKS, OVERLAY, SegmentJob
from mmvs.segmenter.overlay import Overlay, write_overlay
from mmvs.segmenter.segmenter import Segmenter
from mmvs.video.stream import open_video


def segment_to_folder(
    segmenter: Segmenter,
    video: str | Path,
    sentences: Sequence[str],
    folder: Path,
    masks: str = "png",
    progress: bool = True,
    **options: Any,
) -> str:
    """Write overlay, masks and confidence of a video into `folder`.

    A stopped job goes on where it was; a finished one stays as it is. A second job on the same folder waits.

    video      a file, an address, or a folder of pictures
    sentences  N of them
    masks      "png": a picture a frame and sentence; "rle": COCO's run lengths, all in one file
    options    `batch` and `precision` of Segmenter.segment

    Returns what the video's damage left out, "" for nothing. Raises VideoError and ValueError as
    Segmenter.segment does, before it writes anything, and FileExistsError as SegmentJob does.
    """
    folder = folder.resolve()  # `.` has no name, and two links to one folder share a lock
    with one_at_a_time(folder.with_name(f".{folder.name}.lock")):
        return _segment(segmenter, video, sentences, folder, masks, progress, options)


def _segment(
    segmenter: Segmenter,
    video: str | Path,
    sentences: Sequence[str],
    folder: Path,
    masks: str,
    progress: bool,
    options: dict[str, Any],
) -> str:
    path = Path(video).resolve()
    if {folder / OVERLAY, folder / MASKS} & {path, *path.parents}:
        raise ValueError(f"{video} is itself a result in {folder}: choose another folder")
    source = open_video(video)
    answers = segmenter.segment(source, sentences, **options)  # refuses before anything is written
    identity = {"video": _identity(video), "sentences": list(sentences), "weights": segmenter.fingerprint()}
    identity["precision"] = options.get("precision", "float32")
    job = SegmentJob(folder, identity, masks)
    if job.result:
        return job.result["damage"]
    if job.frames:
        answers = segmenter.segment(source, sentences, start=job.frames, **options)
    begin, overlay = time.monotonic(), Overlay(source.size, sentences, source.pixel_aspect, FINISHED)
    bar = tqdm(total=source.count, desc=Path(video).name, unit="frame", disable=not progress)
    with bar, closing(answers):

        def pictures() -> Iterator[tuple[float, np.ndarray]]:
            for earlier, (seconds, frame) in zip(job.masks(), source, strict=False):
                yield seconds, overlay(frame, earlier)
                bar.update()
            for answer in answers:
                job.add(answer.index, answer.time, answer.masks, answer.confidence)
                yield answer.time, overlay(answer.frame, answer.masks)
                bar.update()

        write_overlay(folder / OVERLAY, pictures())
    job.finish(damage=source.damage, seconds=round(time.monotonic() - begin, 1))
    return source.damage


def _identity(video: str | Path) -> list[Any]:
    """[name, bytes, time of change] of the file, or of every file of the folder; [address] of an address."""
    path = Path(video)
    files = sorted(path.iterdir()) if path.is_dir() else [path] if path.exists() else []
    return [[f.name, f.stat().st_size, f.stat().st_mtime_ns] for f in files] or [str(video)]
