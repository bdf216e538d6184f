"""A video segmented into a folder, as `mmvs segment` does.

The folder gets overlay.mp4, masks/<number of the sentence>/<frame>.png (or masks.json), confidence.csv,
and at last segmentation.json. Called again after it was stopped, the job goes on at the next frame.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
from tqdm.auto import tqdm

from mmvs.segmenter.job import OVERLAY, SegmentJob
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
    **how: Any,
) -> str:
    """Overlay, masks and confidence of a video file (or a folder of pictures) in `folder`.

    how  `batch` and `precision`, as in Segmenter.segment

    Returns what the video's damage left out, "" for nothing. A finished job is kept, a stopped one goes on.
    """
    source = open_video(video)
    answers = segmenter.segment(source, sentences, **how)  # refuses before anything is written
    identity = {
        "video": _identity(video), "sentences": list(sentences), "weights": segmenter.fingerprint(),
        "precision": how.get("precision", "float32"),
    }  # fmt: skip
    job = SegmentJob(folder, identity, masks)
    if job.result:
        return job.result["damage"]
    if job.frames:
        answers = segmenter.segment(source, sentences, start=job.frames, **how)
    begin, overlay = time.monotonic(), Overlay(source.size, sentences)
    bar = tqdm(total=source.count, desc=Path(video).name, unit="frame", disable=not progress)
    with bar, closing(answers):

        def pictures() -> Iterator[tuple[float, np.ndarray]]:
            for kept, (seconds, frame) in zip(job.done(), source, strict=False):
                yield seconds, overlay(frame, kept)
                bar.update()
            for answer in answers:
                job.add(answer.index, answer.time, answer.masks, answer.confidence)
                yield answer.time, overlay(answer.frame, answer.masks)
                bar.update()

        write_overlay(folder / OVERLAY, pictures())
    job.finish(damage=source.damage, seconds=round(time.monotonic() - begin, 1))
    return source.damage


def _identity(video: str | Path) -> list[Any]:
    """Name, bytes and time of change of a file, or of every file of a folder; of an address, the address."""
    path = Path(video)
    files = sorted(path.iterdir()) if path.is_dir() else [path] if path.exists() else []
    return [[f.name, f.stat().st_size, f.stat().st_mtime_ns] for f in files] or [str(video)]
