"""Checks of a tree in A2D-Sentences' layout, file by file; see `mmvs.verify.tree`."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from mmvs.data.a2d import MISTAKEN_INSTANCE, SUBSETS
from mmvs.data.a2d_files import annotated_frames, read_masks
from mmvs.data.csv_files import DataError, columns, plain, table, text
from mmvs.verify.findings import Finding, Scope, compare, mention, require, without_advice
from mmvs.video.files import VideoError, frame_count, frame_size, read_frames

HEIGHT = 320  # pixels, of the published clips
PUBLISHED = {"videos": 3782, "train": 3036, "test": 746, "sentences": 6655}


class Tables(NamedTuple):
    """The content of the three text files."""

    videos: dict[str, str]  # video id: subset
    frames: dict[str, int]  # video id: frames that videoset.csv claims
    rows: list[tuple[str, str]]  # (video id, instance id) of every sentence
    missed: set[str]

    @property
    def videos_with_sentences(self) -> list[str]:
        """Videos with sentences that are used."""
        return sorted({video_id for video_id, _ in self.rows} & set(self.videos) - self.missed)


def check(root: Path, published: dict[str, int], scope: Scope) -> Iterator[Finding]:
    """Yield all findings about a root; `published`: the counts that it should have (of PUBLISHED's keys)."""
    try:
        tables = _read_tables(root)
    except DataError as error:
        yield Finding("text files", "3 files", "", "corrupt", without_advice(error, root))
        return
    yield from _counts(tables, published)
    yield from _presence(root, tables)
    yield from _contents(root, tables, scope)


def _read_tables(root: Path) -> Tables:
    videoset, texts = root / "Release" / "videoset.csv", root / "text_annotations"
    videos, frames = {}, {}
    names = {str(number): name for name, number in SUBSETS.items()}
    for line, row in table(videoset):
        if len(row) != 9 or row[8] not in names:
            raise DataError(
                f"{videoset}, line {line}: expected 9 columns, the last one 0 or 1: restore the file"
            )
        video_id = plain(row[0], f"{videoset}, line {line}")
        videos[video_id] = names[row[8]]
        frames[video_id] = _number(row[6]) or 0
    path = texts / "a2d_annotation.txt"
    rows = [
        (plain(video_id, f"{path}, line {line}"), instance)
        for line, (video_id, instance) in columns(path, "video_id", "instance_id")
    ]
    missed = {line.strip() for line in text(texts / "a2d_missed_videos.txt").splitlines()} - {""}
    return Tables(videos, frames, rows, missed)


def _number(cell: str) -> int | None:
    """A count or an id; None where a cell is none, or has more digits than one can have."""
    return int(cell) if cell.isdecimal() and len(cell) < 10 else None


def _counts(tables: Tables, published: dict[str, int]) -> Iterator[Finding]:
    yield compare("videos in videoset.csv", published.get("videos"), len(tables.videos))
    for subset in SUBSETS:
        count = sum(subset == other for other in tables.videos.values())
        yield compare(f"videos for {subset}", published.get(subset), count)
    yield compare("sentences", published.get("sentences"), len(tables.rows))
    dropped = sum(instance == MISTAKEN_INSTANCE for _, instance in tables.rows)
    if dropped:
        why = f"the row with instance id '{MISTAKEN_INSTANCE}' is dropped, as in every published result"
        yield compare("sentences that are used", len(tables.rows), len(tables.rows) - dropped, why)
    unknown = sorted({video_id for video_id, _ in tables.rows} - set(tables.videos))
    yield from mention(
        "sentences' videos", "missing", unknown, len(tables.rows), "not in videoset.csv, get it anew"
    )
    silent = set(tables.videos) - {video_id for video_id, _ in tables.rows}
    why = "a2d_missed_videos.txt should list them; they give no samples either way"
    yield compare("videos without sentences", len(tables.missed), len(silent), why)


def _presence(root: Path, tables: Tables) -> Iterator[Finding]:
    """The files of all videos are present, or are mentioned, in the fast mode as well."""
    clips = _clips(root)
    present = {path.stem for path in clips.glob("*.mp4") if not path.name.startswith("._")}
    yield from require("clips", tables.videos, present, f"put them into {clips.relative_to(root)}")
    folders = _annotations(root)
    videos = list(folders.iterdir()) if folders.is_dir() else []
    annotated = {video.name for video in videos if any(video.glob("[!.]*.[hH]5"))}
    silent = set(tables.videos) - set(tables.videos_with_sentences)  # their masks are published, too
    yield from require(
        "annotated videos", tables.videos_with_sentences, annotated - silent, f"restore {folders.name}/"
    )


def _contents(root: Path, tables: Tables, scope: Scope) -> Iterator[Finding]:
    """Open clips and annotations; a clip is decoded at its annotated frames."""
    bad_clips, bad_files, sizes, low, short, beyond, unusual = [], [], [], [], [], [], []
    present: dict[str, set[int]] = {}
    files = opened = 0
    for video_id in scope.over(sorted(tables.videos), "opening clips and annotations"):
        clip, folder = _clips(root) / f"{video_id}.mp4", _annotations(root) / video_id
        try:
            annotated = annotated_frames(folder)
        except DataError as error:
            annotated, files = {}, files + 1
            bad_files.append(without_advice(error, root))
        files, opened = files + len(annotated), opened + os.path.lexists(clip)
        shapes = {}
        for path in annotated.values():
            try:
                masks = read_masks(path)
                present.setdefault(video_id, set()).update(masks)
                shapes[path] = {mask.shape for mask in masks.values()}
            except DataError as error:
                bad_files.append(without_advice(error, root))
        if annotated and video_id not in tables.missed and not 3 <= len(annotated) <= 5:
            unusual.append(f"{video_id} ({len(annotated)})")
        if not os.path.lexists(clip):  # a pipe or a broken link in its place is there, and no clip
            continue
        try:
            count, size = frame_count(clip), frame_size(clip)
            read_frames(clip, sorted({min(frame, count - 1) for frame in [0, *annotated]}))
        except VideoError as error:
            bad_clips.append(without_advice(error, root))
            continue
        sizes += [f"{video_id}/{path.name}" for path, own in shapes.items() if own - {size}]
        low += [f"{video_id} ({size[0]})"] if size[0] != HEIGHT else []
        short += (
            [f"{video_id} ({count} of {tables.frames[video_id]})"] if count < tables.frames[video_id] else []
        )
        beyond += (
            [f"{video_id} ({max(annotated) + 1} of {count})"] if max(annotated, default=0) >= count else []
        )

    yield Finding("clips decoded", "", f"{opened - len(bad_clips):,}", "ok")
    yield from mention("clips", "corrupt", bad_clips, opened, "replace them")
    yield Finding("annotated frames read", "", f"{files - len(bad_files):,}", "ok")
    yield from mention("annotated frames", "corrupt", bad_files, files, "replace them")
    yield from mention("masks", "wrong size", sizes, files, "clips and masks are of different releases")
    without_frame = [
        f"{video_id} ({instance})"
        for video_id, instance in tables.rows
        if video_id in present and _number(instance) not in (None, *present[video_id])
    ]
    yield from mention(
        "sentences", "explained", without_frame, len(tables.rows), "no annotated frame, no sample"
    )
    yield from mention("frames a video", "explained", unusual, opened, "3 to 5 are usual; all are used")
    yield from mention(
        "clips' height", "explained", low, opened, f"not {HEIGHT} pixels; the masks' size counts"
    )
    yield from mention(
        "clips' frames", "explained", short, opened, "fewer than videoset.csv says; windows clamp"
    )
    yield from mention(
        "annotated frames", "explained", beyond, files, "beyond the clip; its last frame is shown"
    )


def _clips(root: Path) -> Path:
    folders = [root / "Release" / name for name in ("clips320H", "CLIPS320")]
    return next((folder for folder in folders if folder.is_dir()), folders[0])


def _annotations(root: Path) -> Path:
    return root / "text_annotations" / "a2d_annotation_with_instances"
