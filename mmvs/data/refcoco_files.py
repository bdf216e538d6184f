"""Where RefCOCO, RefCOCO+ and RefCOCOg keep things, and what their files say.

    <root>/refcoco/{refs(unc).p, instances.json}    refcoco+ alike    <root>/refcocog/{refs(umd).p, ...}
    <root>/images/mscoco/images/train2014/COCO_train2014_<12 digits>.jpg     COCO 2014; or nearer, see IMAGES

    refs(unc).p      a pickled list of {ref_id, ann_id, image_id, split, sentences: [{raw, sent, ...}], ...};
                     its "file_name" has one number too many, everybody ignores it
    instances.json   COCO: images (id, file_name, height, width), annotations (id, image_id, segmentation)

A pickle can run code when it is read. These hold plain values alone, and nothing else is read from them.
"""

from __future__ import annotations

import json
import pickle
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from faster_coco_eval.core import mask as coco

from mmvs.data.csv_files import DataError, is_blank, normalise, plain, require_file, text

REFS = {"refcoco": "refs(unc).p", "refcoco+": "refs(unc).p", "refcocog": "refs(umd).p"}
INSTANCES = "instances.json"
IMAGES = ("images/mscoco/images/train2014", "images/mscoco/train2014", "images/train2014", "train2014")
SPLITS = dict.fromkeys(("refcoco", "refcoco+"), ("train", "val", "testA", "testB"))
SPLITS["refcocog"] = ("train", "val", "test")


@dataclass(frozen=True)
class Ref:
    """An object, and the sentences about it."""

    object_id: int  # of an annotation
    image_id: int
    split: str
    sentences: list[str]  # cleaned; none is empty


@dataclass(frozen=True)
class Image:
    """A picture of COCO."""

    name: str  # of its file
    size: tuple[int, int]  # (H, W)


def folder(root: Path, name: str) -> Path:
    """The folder of one of the three, below `root` or that itself; DataError where it is not there."""
    if not root.is_dir():
        raise DataError(f"{root}: no such folder: put {name} there, or change the root")
    for place in (root / name, root):
        if (place / REFS[name]).exists():
            return place
    others = sorted(path.name for path in (root / name).glob("refs(*).p"))
    hint = f"; {', '.join(others)} is another division of it, which is not used" if others else ""
    raise DataError(f"{root}: looked for {name}/{REFS[name]} and {REFS[name]}: put {name} there{hint}")


def pictures(place: Path) -> Path:
    """The folder of COCO's pictures that belongs to a folder of refs: where it lies, or should lie."""
    known = [base / name for base in (place.parent, place, place.parent.parent) for name in IMAGES]
    return next((path for path in known if path.is_dir()), known[0])


def is_of(split: str, published: str) -> bool:
    """Does a ref whose split is `published` belong to a split? "testAB" belongs to testA and to testB."""
    if split.startswith("test") and len(split) > len("test"):
        return published.startswith("test") and split[-1] in published.removeprefix("test")
    return split == published


def read_refs(path: Path) -> list[Ref]:
    """The refs of a pickle that holds plain values; DataError names the file and the first wrong entry."""
    content = _unpickled(path)
    if not isinstance(content, list):
        raise DataError(f"{path}: expected a list of refs, found {type(content).__name__}: get it anew")
    return [_ref(one, f"{path}, entry {number} (from 0)") for number, one in enumerate(content)]


def read_instances(path: Path, wanted: Collection[int]) -> tuple[dict[int, Image], dict[int, str]]:
    """Pictures by id, and the outlines of the wanted objects by id as JSON text, which takes less memory.

    DataError names the file and what is wrong.
    """
    try:
        content = json.loads(text(path))
        images = {
            int(one["id"]): Image(
                plain(one["file_name"], f"{path}, images"), (int(one["height"]), int(one["width"]))
            )
            for one in content["images"]
        }
        outlines = {
            int(one["id"]): json.dumps(one["segmentation"])
            for one in content["annotations"]
            if one["id"] in wanted
        }
    except DataError:
        raise
    except (KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
        reason = f"{type(error).__name__}: {error}"
        raise DataError(
            f"{path}: not COCO's images and annotations, or damaged ({reason}): get it anew"
        ) from None
    return images, outlines


def draw(outline: str, size: tuple[int, int], where: str) -> np.ndarray:
    """(H, W) bool of an outline: polygons, or run lengths, compressed or not; DataError says where."""
    try:
        content = json.loads(outline)
        if isinstance(content, dict) and isinstance(content.get("counts"), str):
            codes = content
        else:
            codes = coco.frPyObjects(content, *size)
        mask = coco.decode(codes if isinstance(codes, dict) else coco.merge(codes)).astype(bool)
    except Exception as error:  # the library raises many kinds
        raise DataError(
            f"{where}: damaged outline ({str(error).splitlines()[:1]}): get the file anew"
        ) from None
    if mask.shape != tuple(size):
        raise DataError(
            f"{where}: the outline is {mask.shape} (H, W), the picture {tuple(size)}: get it anew"
        )
    return mask


class _PlainUnpickler(pickle.Unpickler):
    """Containers, text and numbers alone: whatever could run code is refused before it is looked up."""

    def find_class(self, module: str, name: str) -> Any:
        raise pickle.UnpicklingError(f"it asks for {module}.{name}, and could run code")

    def persistent_load(self, pid: Any) -> Any:
        raise pickle.UnpicklingError("it asks for objects from elsewhere")


def _unpickled(path: Path) -> Any:
    require_file(path, "file: it belongs to the data set, put it there")
    try:
        with path.open("rb") as file:
            return _PlainUnpickler(file, encoding="utf-8", errors="replace").load()  # written by Python 2
    except Exception as error:  # a pickle that is torn raises many kinds
        reason = str(error) or type(error).__name__
        raise DataError(
            f"{path}: damaged, or more than plain values ({reason}): get it anew from where it is published"
        ) from None


def _ref(content: Any, where: str) -> Ref:
    try:
        split = content["split"]
        sentences = list(_sentences(content["sentences"]))
        numbers = content["ann_id"], content["image_id"]
        if not isinstance(split, str) or not all(type(number) is int for number in numbers):
            raise TypeError("split is text, ids are whole numbers")
        return Ref(*numbers, split, sentences)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        reason = f"{type(error).__name__}: {error}"
        raise DataError(
            f"{where}: no ref with ann_id, image_id, split and sentences ({reason}): get it anew"
        ) from None


def _sentences(content: Any) -> Iterator[str]:
    for one in content:
        sentence = normalise(one["sent"])
        if not is_blank(sentence):
            yield sentence
