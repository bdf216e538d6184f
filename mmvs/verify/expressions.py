"""Checks of MeViS, Ref-YouTube-VOS, Ref-DAVIS17 and own data, file by file; see `mmvs.verify.tree`."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from mmvs.data.csv_files import DataError
from mmvs.data.expression_files import (
    MEVIS,
    OWN,
    REF_DAVIS17,
    REF_YOUTUBE_VOS,
    data_set,
    splits,
    videos_present,
)
from mmvs.data.expressions import Expressions
from mmvs.verify.findings import Finding, Scope, compare, mention, require, without_advice
from mmvs.video.files import VideoError
from mmvs.video.frames import frame_count, read_frames
from mmvs.video.pictures import read_picture

PUBLISHED = {
    f"{MEVIS} train videos": 1662,
    f"{MEVIS} train expressions": 23051,
    f"{MEVIS} valid_u videos": 50,
    f"{MEVIS} valid_u expressions": 793,
    f"{MEVIS} valid videos": 140,
    f"{MEVIS} valid expressions": 2236,
    f"{REF_YOUTUBE_VOS} train videos": 3471,
    f"{REF_YOUTUBE_VOS} train expressions": 12913,
    f"{REF_YOUTUBE_VOS} valid videos": 202,
    f"{REF_DAVIS17} train videos": 60,
    f"{REF_DAVIS17} valid videos": 30,
    f"{REF_DAVIS17} valid expressions": 244,
}
SECOND_RELEASE = {"train": 27502, "valid_u": 907, "valid": 2523}  # expressions of MeViS 2, of the same videos


def check(root: Path, published: dict[str, int], scope: Scope) -> Iterator[Finding]:
    """Yield all findings about a root; `published`: the counts that it should have (of PUBLISHED's keys).

    Other counts than the published ones are explained: a list may be a part, or of another release, and every
    file that it names is checked.
    """
    name = data_set(root)
    for split in splits(root):
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # the faults are findings
                data = Expressions(root, split)
        except DataError as error:
            yield Finding(f"{split}: list and masks", "", "", "corrupt", without_advice(error, root))
            continue
        yield from _list(data, name or OWN, published)
        if split == "test" and not data.place.pictures.is_dir():
            why = "only its list is there, which tells its videos from those of valid"
            yield Finding(f"{split}: pictures", "", "none", "explained", why)
            continue
        yield from _presence(data, name == OWN)
        yield from _contents(data, scope)


def _list(data: Expressions, name: str, published: dict[str, int]) -> Iterator[Finding]:
    split, why = data.split, "a part, or another release; all that the list names is checked"
    yield from mention(f"{split}: faults of the list", "corrupt", data.faults, None, "mend it or get it anew")
    videos = published.get(f"{name} {split} videos")
    yield compare(f"{split}: videos", videos, len(data.videos), why)
    sentences = published.get(f"{name} {split} expressions")
    if sentences and name == MEVIS and len(data) == SECOND_RELEASE.get(split):
        sentences, why = len(data), ""
    yield compare(f"{split}: expressions", sentences, len(data), why)
    yield from mention(
        f"{split}: videos listed besides", "explained", data.of_test, None, "of the split test, not used"
    )
    about_nothing = [f"{one.video_id}/{one.expression_id}" for one in data if one.object_ids == []]
    yield from mention(
        f"{split}: expressions without object", "explained", about_nothing, len(data), "their masks are empty"
    )
    if not data.truth_is_known:
        yield Finding(f"{split}: masks", "", "none", "explained", "the list names no objects: not published")


def _presence(data: Expressions, own: bool) -> Iterator[Finding]:
    """Every picture and every mask that is listed is present, or is mentioned, in the fast mode as well."""
    split, pictures, masks, total = data.split, [], [], 0
    place = data.place
    present = videos_present(place.pictures)
    listed = {*data.videos, *data.of_test}
    # raw Ref-DAVIS17 has all splits in one folder
    others = set() if place.videos else {name for name in present if not name.startswith(".")} - listed
    found, advice = others | (present & set(data.videos)), f"put them into {place.pictures.name}"
    yield from require(f"{split}: videos with pictures", data.videos, found, advice)
    for i in _one_of_each_video(data):
        one = data[i]
        total += len(one.frames)
        if one.video_id in present:
            there = data.frames_of_video(i)
            pictures += [f"{one.video_id}/{name}" for p, name in enumerate(one.frames) if p not in there]
        if data.truth_is_known and not place.has_tracks:
            known = set(data.positions_with_truth(i))
            masks += [f"{one.video_id}/{name}" for p, name in enumerate(one.frames) if p not in known]
    yield from mention(f"{split}: listed frames", "missing", pictures, total, "put their pictures there")
    if own:
        yield from mention(
            f"{split}: frames without mask", "explained", masks, total, "not labelled, not used"
        )
    else:
        yield from mention(f"{split}: masks missing", "missing", masks, total, "put them into Annotations")
    if not data.truth_is_known or not place.has_tracks:
        return
    if data.tracks is None:
        yield Finding(f"{split}: masks", "1 file", "none", "missing", f"put {place.masks.name} there")
        return
    lacking = [
        f"{one.video_id}/{one.expression_id} (track {data.missing_tracks(i)[0]})"
        for i, one in enumerate(data)
        if data.missing_tracks(i)
    ]
    advice = f"not in {place.masks.name}, get it anew"
    yield from mention(f"{split}: expressions' masks", "missing", lacking, len(data), advice)


def _contents(data: Expressions, scope: Scope) -> Iterator[Finding]:
    """Decode every picture, draw every mask, and compare their sizes."""
    split, bad_pictures, bad_masks, sizes, never = data.split, [], [], [], []
    opened = drawn = 0
    firsts = {data[i].video_id: i for i in _one_of_each_video(data)}
    for video_id in scope.over(list(firsts), f"opening pictures and masks of {split}"):
        i = firsts[video_id]
        count, wrong, faults = _open_pictures(data, i)
        opened += count
        bad_pictures += faults
        sizes += wrong
        if data.truth_is_known:
            areas, faults = _draw_masks(data, i)
            drawn += len(areas)
            bad_masks += faults
            own = [k for k in data.expressions_of(video_id) if data[k].object_ids]
            if not faults:
                never += [f"{video_id}/{data[k].expression_id}" for k in own if not _is_seen(data, k, areas)]
    yield Finding(f"{split}: pictures decoded", "", f"{opened:,}", "ok")
    yield from mention(f"{split}: pictures", "corrupt", bad_pictures, None, "replace them")
    yield from mention(f"{split}: pictures' size", "wrong size", sizes, None, "not that of the video's first")
    if data.truth_is_known:
        what = "tracks" if data.place.has_tracks else "masks"
        yield Finding(f"{split}: {what} read", "", f"{drawn:,}", "ok")
        yield from mention(f"{split}: {what}", "corrupt", bad_masks, None, "replace them")
        yield from mention(
            f"{split}: objects", "explained", never, len(data), "in no frame; an empty answer is right"
        )


Areas = dict[str, set[int]]  # mask or track: the objects seen in it


def _open_pictures(data: Expressions, i: int) -> tuple[int, list[str], list[str]]:
    """How many of a video's listed pictures were decoded, which are of another size, what is damaged."""
    one, path, wrong, faults, count = data[i], data.video_path(data[i].video_id), [], [], 0
    if path.is_file():
        try:
            frames, numbers = frame_count(path), list(data.frames_of_video(i).values())
            if max(numbers) >= frames:
                faults.append(f"{_short(path, data)} (has {frames} frames, {max(numbers) + 1} are listed)")
            for number in numbers:
                if number < frames:
                    read_frames(path, [number])
                    count += 1
        except (VideoError, DataError) as error:
            faults.append(without_advice(error, data.root))
        return count, wrong, faults
    size = None
    for position in data.frames_of_video(i):
        picture = data.picture(one.video_id, one.frames[position])
        try:
            shape = read_picture(picture).shape[:2]
        except VideoError as error:
            faults.append(without_advice(error, data.root))
            continue
        size, count = size or shape, count + 1
        wrong += [f"{_short(picture, data)} ({shape}, {size})"] if shape != size else []
    return count, wrong, faults


def _draw_masks(data: Expressions, i: int) -> tuple[Areas, list[str]]:
    """The objects in each mask or track of a video, and what is wrong with them."""
    one, areas, faults = data[i], {}, []
    if data.place.has_tracks:
        tracks = [t for k in data.expressions_of(one.video_id) for t in data.tracks_of(k)]
        for track in dict.fromkeys(t for t in tracks if data.tracks and t in data.tracks):
            try:
                areas[str(track)] = {track} if data.draw_track(one.video_id, track) else set()
            except (DataError, VideoError) as error:
                faults.append(without_advice(error, data.root))
        return areas, faults
    for position in data.positions_with_truth(i):
        name = one.frames[position]
        try:
            areas[name] = set(np.unique(data.labels(one.video_id, name)).tolist())
        except (DataError, VideoError) as error:
            faults.append(without_advice(error, data.root))
    return areas, faults


def _is_seen(data: Expressions, i: int, areas: Areas) -> bool:
    wanted = data.tracks_of(i) if data.place.has_tracks else data[i].object_ids
    return any(set(wanted or ()) & seen for seen in areas.values())


def _one_of_each_video(data: Expressions) -> list[int]:
    return [data.expressions_of(video_id)[0] for video_id in data.videos if data.expressions_of(video_id)]


def _short(path: Path, data: Expressions) -> str:
    return str(path).replace(f"{data.root}/", "")
