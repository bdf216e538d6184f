"""Segment a video into a folder, as `mmvs segment` does.

The folder gets what the formats write (see `mmvs.segmenter.formats`), score.csv, and at last
segmentation.json. A second call after a stop goes on at the next frame; one with further formats adds them.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, nullcontext
from itertools import repeat
from pathlib import Path
from typing import Any

from tqdm.auto import tqdm

from mmvs.processes import one_at_a_time
from mmvs.progress import progress_bar
from mmvs.segmenter.formats import FORMATS, MOST_IN_PALETTE, UNFINISHED, Results, View, chosen, video_name
from mmvs.segmenter.job import SegmentJob
from mmvs.segmenter.segmenter import Answer, Segmenter
from mmvs.video.container import VideoError
from mmvs.video.excerpt import WHOLE, Excerpt
from mmvs.video.stream import VideoSource, open_video

USUAL = ("overlay", "png")
BAR = "{desc}: {percentage:3.0f}%|{bar}| {n_fmt}/{total_fmt} frames, {rate_noinv_fmt}, {remaining} left"
SHOWN = {"unit": " frames", "bar_format": BAR}


def segment_to_folder(
    segmenter: Segmenter,
    video: str | Path,
    sentences: Sequence[str],
    folder: Path,
    formats: Sequence[str] = USUAL,
    progress: bool | tqdm = True,
    excerpt: Excerpt = WHOLE,
    **options: Any,
) -> str:
    """Write a video's masks and their scores into `folder`.

    A stopped job goes on where it was; formats that are there stay as they are, and others are added without
    the network. A second job on the same folder waits.

    video      a file, an address, or a folder of pictures
    sentences  N of them
    formats    of FORMATS
    progress   a bar of this video's own, none, or one of several videos that counts the frames of all
    excerpt    the frames of the video that count; the network sees no others
    options    `batch`, `precision` and `threshold` of Segmenter.segment

    Returns what the video's damage left out, "" for nothing. Raises VideoError and ValueError as
    Segmenter.segment and Excerpt.of do, before it writes anything, and FileExistsError as SegmentJob does. A
    KeyboardInterrupt says what is kept.
    """
    formats = chosen(formats)
    if "palette" in formats and len(sentences) > MOST_IN_PALETTE:
        raise ValueError(f"{len(sentences)} sentences: a palette numbers {MOST_IN_PALETTE} at most")
    folder = folder.resolve()  # `.` has no name, and two links to one folder share a lock
    results = {folder / one.output for one in FORMATS.values()}
    path = Path(video).resolve()
    if results & {path, *path.parents}:
        raise ValueError(f"{video} is itself a result in {folder}: choose another folder")
    with one_at_a_time(folder.with_name(f".{folder.name}.lock")):
        source = excerpt.of(open_video(video))
        answers = segmenter.segment(source, sentences, **options)  # refuses before anything is written
        for warning in (segmenter.warning_of_words(sentences), segmenter.warning_of_video(source.size)):
            if warning:  # before minutes of work
                print(f"warning: {warning}", file=sys.stderr)
        outputs = {name: FORMATS[name].output for name in ("score", *formats)}
        job = SegmentJob(folder, _identity(segmenter, video, sentences, excerpt, options), outputs)
        extent, shared = _extent(job, source), None if isinstance(progress, bool) else progress
        if shared is not None and shared.total:  # what is there already is none of its work
            shared.total -= extent["initial"] if job.missing else extent["total"] or 0
        if job.finished and not job.missing:
            return job.finished["damage"]
        if job.frames:
            answers = segmenter.segment(source, sentences, start=job.frames, **options)
        name, pictures = video_name(video)
        begin = time.monotonic()
        about = Results(job, name, pictures, sentences, source.size, source.pixel_aspect)
        own = shared is None  # a bar of no known length has no truth value
        bar = progress_bar(desc=Path(video).name, disable=not progress, **extent) if own else shared
        with bar if own else nullcontext():
            _write(about, source, answers, bar, extent["initial"])
        job.finish(damage=source.damage, seconds=round(time.monotonic() - begin, 1))
        return (job.finished or {}).get("damage", source.damage)


def segment_videos(
    segmenter: Segmenter,
    videos: Sequence[Path],
    sentences: Sequence[str],
    folder: Path,
    formats: Sequence[str] = USUAL,
    progress: bool = True,
    excerpt: Excerpt = WHOLE,
    **options: Any,
) -> tuple[dict[Path, str], dict[Path, str]]:
    """Several videos, as `segment_to_folder` does, each into a folder of its name below `folder`; one bar.

    Returns the damage of videos that have some, and why others have no results: one bad video stops no other.
    """
    stems = Counter(video.stem for video in videos)
    damaged, failed, counts = {}, {}, []
    for video in videos:
        try:
            counts.append(excerpt.of(open_video(video)).count)
        except ValueError:
            counts.append(0)  # it is named below
    total = None if None in counts else sum(counts)
    with progress_bar(total=total, desc=f"{len(videos)} videos", disable=not progress, **SHOWN) as bar:
        for number, video in enumerate(videos, 1):
            bar.set_description(f"{number} of {len(videos)} videos, {video.name}")
            own = folder / (video.stem if stems[video.stem] == 1 else video.name)
            try:
                damage = segment_to_folder(segmenter, video, sentences, own, formats, bar, excerpt, **options)
            except VideoError as error:
                failed[video] = str(error)
            else:
                damaged |= {video: damage} if damage else {}
    return damaged, failed


def folder_for(
    parent: Path, segmenter: Segmenter, video: str | Path, sentences: Sequence[str], **options: Any
) -> Path:
    """A folder below `parent` for these very results, so that those of another question lie in another."""
    identity = json.dumps(_identity(segmenter, video, sentences, WHOLE, options))
    digest = hashlib.sha256(identity.encode()).hexdigest()[:8]
    return parent / f"{video_name(video)[0]}-{digest}"


def _write(results: Results, source: VideoSource, answers: Iterator[Answer], bar: tqdm, first: int) -> None:
    """Write every missing format of a job, from its journal as far as that goes, then from new answers.

    first  frame that the bar counts
    """
    job = results.job
    if not job.frames:  # what lies in them is not of this job
        for unfinished in job.folder.glob(f"{UNFINISHED}*"):
            shutil.rmtree(unfinished)
    try:
        with closing(answers), ExitStack() as stack:
            writers = [
                stack.enter_context(FORMATS[name].open(job.folder / output, results))
                for name, output in job.missing.items()
            ]
            for place, view in enumerate(_views(job, source, answers)):
                for write in writers:
                    write(view)
                bar.update(place >= first)
    except KeyboardInterrupt:
        of = f" of {source.count}" if source.count else ""
        raise KeyboardInterrupt(f"{job.frames}{of} frames are kept in {job.folder}") from None


def _views(job: SegmentJob, source: VideoSource, answers: Iterator[Answer]) -> Iterator[View]:
    timed = source if "overlay" in job.missing else repeat((0.0, None))  # nobody else looks at the pictures
    complete = job.is_complete
    for entry, (_, picture) in zip(job.entries(), timed, strict=False):
        yield View(entry.frame, entry.time, picture, entry.masks(), entry.score)
    for answer in () if complete else answers:
        number = source.numbers.get(answer.index, answer.index)
        entry = job.add(number, source.begin + answer.time, answer.masks, answer.score)
        yield View(entry.frame, entry.time, answer.frame, answer.masks, entry.score)


def _extent(job: SegmentJob, source: VideoSource) -> dict[str, Any]:
    """What a progress bar counts: all frames where they are only written, otherwise those to be answered."""
    if job.is_complete:
        return {"total": job.frames, "initial": 0, **SHOWN}
    return {"total": source.count, "initial": job.frames, **SHOWN}


def _identity(
    segmenter: Segmenter,
    video: str | Path,
    sentences: Sequence[str],
    excerpt: Excerpt,
    options: dict[str, Any],
) -> dict[str, Any]:
    """All that decides the masks."""
    threshold = options.get("threshold")
    return {
        "video": _stamps(video),
        "sentences": list(sentences),
        "weights": segmenter.fingerprint(),
        "excerpt": excerpt._asdict(),
        "precision": options.get("precision", "float32"),
        "threshold": segmenter.experiment.evaluation.threshold if threshold is None else threshold,
    }


def _stamps(video: str | Path) -> list[Any]:
    """[name, bytes, time of change] of the file, or of every file of the folder; [address] of an address."""
    path = Path(video)
    files = sorted(path.iterdir()) if path.is_dir() else [path] if path.exists() else []
    return [[f.name, f.stat().st_size, f.stat().st_mtime_ns] for f in files] or [str(video)]
