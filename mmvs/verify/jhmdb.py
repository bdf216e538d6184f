"""Checks of a tree in J-HMDB-Sentences' layout, file by file; see `mmvs.verify.tree`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from mmvs.data.csv_files import DataError
from mmvs.data.jhmdb_files import FRAMES, MASKS, actions, mask_path, part_mask, sentences
from mmvs.data.jhmdb_samples import DRAWN, PER_VIDEO, name_of, read_list
from mmvs.verify.findings import Finding, Scope, compare, mention, require, without_advice
from mmvs.video.files import VideoError
from mmvs.video.frames import frame_count, read_frames

SIZE = (240, 320)  # (H, W) of the published frames
PUBLISHED = {"videos": 928, "actions": 21, "frames": 31838}


def check(root: Path, published: dict[str, int], scope: Scope) -> Iterator[Finding]:
    """Yield all findings about a root; `published`: the counts that it should have (of PUBLISHED's keys)."""
    try:
        rows = [video_id for video_id, _ in sentences(root)]
        folders = actions(root)
    except DataError as error:
        yield Finding("annotations", "", "", "corrupt", without_advice(error, root))
        return
    yield compare("sentences", published.get("videos"), len(rows))
    twice = [video_id for video_id, times in Counter(rows).items() if times > 1]
    yield from mention("sentences", "explained", twice, len(rows), "more than one of a video; all are used")
    used = {folders[video_id] for video_id in rows if video_id in folders}
    yield compare("actions", published.get("actions"), len(used))
    videos = list(dict.fromkeys(rows))
    present = [video_id for video_id in videos if video_id in folders]
    yield from require("videos with frames", videos, folders, f"put them below {FRAMES}/<action>")
    masked = [video_id for video_id in present if mask_path(root, folders[video_id], video_id).is_file()]
    yield from require("videos with masks", present, masked, f"put them below {MASKS}/<action>")
    yield from _contents(root, folders, present, published, scope)
    yield from _drawn_list(root, len(videos))


def _contents(
    root: Path, folders: dict[str, str], videos: list[str], published: dict[str, int], scope: Scope
) -> Iterator[Finding]:
    """Decode every picture, read every mask, and compare their sizes and numbers."""
    bad_pictures, bad_masks, sizes, unusual, fewer, more, empty = [], [], [], [], [], [], []
    opened = measured = usable = 0
    for video_id in scope.over(videos, "opening pictures and masks"):
        folder, file = (
            root / FRAMES / folders[video_id] / video_id,
            mask_path(root, folders[video_id], video_id),
        )
        opened += 1
        try:
            frames = read_frames(folder, range(frame_count(folder)))
        except VideoError as error:
            bad_pictures.append(without_advice(error, root))
            continue
        if not file.is_file():
            continue
        try:
            masks = part_mask(file)
        except DataError as error:
            bad_masks.append(without_advice(error, root))
            continue
        size, count = frames.shape[1:3], min(len(frames), len(masks))
        measured, usable = measured + 1, usable + count
        sizes += [f"{video_id} ({masks.shape[1:]}, {size})"] if masks.shape[1:] != size else []
        unusual += [f"{video_id} {size}"] if size != SIZE else []
        fewer += [f"{video_id} ({len(masks)} of {len(frames)})"] if len(masks) < len(frames) else []
        more += [f"{video_id} ({len(masks)} for {len(frames)})"] if len(masks) > len(frames) else []
        empty += [video_id] if not masks[:count].any(axis=(1, 2)).all() else []

    whole = measured == published.get("videos")  # only then does the published sum say anything
    yield compare("annotated frames", published.get("frames") if whole else None, usable)
    yield from mention("pictures", "corrupt", bad_pictures, opened, "replace them")
    yield from mention("masks", "corrupt", bad_masks, opened, "replace them")
    yield from mention("masks", "wrong size", sizes, opened, "pictures and masks are of different releases")
    shape = f"{SIZE[1]} x {SIZE[0]}"
    yield from mention("pictures' size", "explained", unusual, opened, f"not {shape}; the masks' size counts")
    yield from mention("masks", "explained", fewer, opened, "fewer than pictures: only these frames are used")
    yield from mention("masks", "explained", more, opened, "more than pictures: what is too much is not used")
    yield from mention(
        "masks", "explained", empty, opened, "some frames show nobody; an empty answer is right"
    )


def _drawn_list(root: Path, videos: int) -> Iterator[Finding]:
    """The list of sampled frames that was drawn for this root, if one was."""
    path = root / DRAWN
    if not path.is_file():
        yield Finding(
            "sampled frames", "", "none yet", "ok", "drawn at the first use, or give data.jhmdb_samples"
        )
        return
    try:
        count = len(read_list(path))
        yield compare(
            "sampled frames", PER_VIDEO * videos, count, f"{name_of(path, count)}: some videos are short"
        )
    except DataError as error:
        yield Finding("sampled frames", "", "", "corrupt", without_advice(error, root))
