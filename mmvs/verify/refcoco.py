"""Checks of RefCOCO, RefCOCO+ and RefCOCOg, file by file; see `mmvs.verify.tree`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from mmvs.data.csv_files import DataError
from mmvs.data.refcoco import RefCOCO, RefCOCOg, RefCOCOPlus
from mmvs.data.refcoco_files import REFS, folder, is_of, read_refs
from mmvs.verify.findings import Finding, Scope, compare, mention, without_advice
from mmvs.video.files import VideoError
from mmvs.video.pictures import read_picture

PUBLISHED = {  # refs, which are objects with their sentences
    "refcoco train": 42404,
    "refcoco val": 3811,
    "refcoco testA": 1975,
    "refcoco testB": 1810,
    "refcoco+ train": 42278,
    "refcoco+ val": 3805,
    "refcoco+ testA": 1975,
    "refcoco+ testB": 1798,
    "refcocog train": 42226,
    "refcocog val": 2573,
    "refcocog test": 5023,
}


def check(root: Path, published: dict[str, int], scope: Scope) -> Iterator[Finding]:
    """Yield all findings about a root; `published`: the counts that it should have (of PUBLISHED's keys)."""
    for data_set in (RefCOCO, RefCOCOPlus, RefCOCOg):
        try:
            path = folder(root, data_set.name) / REFS[data_set.name]
        except DataError:
            continue  # any of the three may be alone
        if path.parent == root and root.name in REFS and root.name != data_set.name:
            continue  # its own folder: RefCOCO and RefCOCO+ have files of one name
        yield from _check(root, data_set, path, published, scope)


def _check(
    root: Path, data_set: type[RefCOCO], path: Path, published: dict[str, int], scope: Scope
) -> Iterator[Finding]:
    name = data_set.name
    try:
        refs = read_refs(path)
    except DataError as error:
        yield Finding(f"{name}: refs", "", "", "corrupt", without_advice(error, root))
        return
    for split in data_set.splits:
        count = sum(is_of(split, ref.split) for ref in refs)
        yield compare(
            f"{name} {split}: refs", published.get(f"{name} {split}"), count, "a part; all of it is checked"
        )
        if count:
            yield from _split(root, data_set, split, scope)


def _split(root: Path, data_set: type[RefCOCO], split: str, scope: Scope) -> Iterator[Finding]:
    what = f"{data_set.name} {split}"
    try:
        samples = data_set(root, split)
    except DataError as error:
        yield Finding(f"{what}: annotations", "", "", "corrupt", without_advice(error, root))
        return
    first: dict[str, int] = {}
    for i, sample in enumerate(samples):
        first.setdefault(sample.video_id, i)
    missing = [samples.video_path(one).name for one in first if not samples.video_path(one).is_file()]
    there = [one for one in first if samples.video_path(one).is_file()]
    advice = "get COCO's train2014, and put them there"
    yield from mention(f"{what}: pictures", "missing", missing, len(first), advice)
    bad_pictures, bad_masks, empty = [], [], []
    for video_id in scope.over(there, f"opening pictures of {what}"):
        try:
            read_picture(samples.video_path(video_id))
            masks = samples.masks_in_frame(first[video_id])
            empty += [f"annotation {number}" for number, mask in masks.items() if not mask.any()]
        except VideoError as error:
            bad_pictures.append(without_advice(error, root))
        except DataError as error:
            bad_masks.append(without_advice(error, root))
    yield Finding(f"{what}: pictures", "", f"{len(there):,}", "ok")
    yield from mention(f"{what}: pictures", "corrupt", bad_pictures, None, "replace them")
    yield from mention(f"{what}: masks", "corrupt", bad_masks, None, "pictures and annotations differ")
    yield from mention(f"{what}: masks", "explained", empty, None, "no pixel; an empty answer is right")
