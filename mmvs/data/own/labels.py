"""What annotation tools have in common: in which picture which objects have which pixels."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from faster_coco_eval.core import mask as coco

from mmvs.data.csv_files import DataError
from mmvs.data.mask_tracks import decode_run_lengths

Draw = Callable[[tuple[int, int]], np.ndarray]  # (H, W) of the picture → (H, W) bool; DataError on damage

BEYOND = 4  # times the picture's longer side: no coordinate is farther away
VOID_NAME = "void"  # of pixels that are neither object nor background


@dataclass
class LabelledFrame:
    """A picture, and the objects that an annotation file shows in it."""

    where: str  # the file, and the place in it: for complaints
    video: str | None  # None: `frame` tells, or there is but one
    frame: str | int  # name of a picture, maybe below folders; or the frame's number in the video, from 0
    size: tuple[int, int] | None = None  # (H, W) that the file gives
    objects: list[tuple[str, Draw]] = field(default_factory=list)  # name; later ones lie above


@dataclass
class Labels:
    """All that a file, or a folder, says."""

    frames: list[LabelledFrame]
    notes: list[str] = field(default_factory=list)  # how it was understood
    faults: list[str] = field(default_factory=list)  # what of it cannot be used


def outline(polygons: Sequence[Sequence[float]], where: str) -> Draw:
    """Draw polygons, each x, y, x, y, ..., as COCO's tools do."""

    def draw(size: tuple[int, int]) -> np.ndarray:
        for polygon in polygons:
            if not isinstance(polygon, list) or len(polygon) < 6 or len(polygon) % 2:
                raise DataError(f"{where}: a polygon needs three points or more, each x and y")
            if not all(_is_near(value, max(size)) for value in polygon):
                raise DataError(f"{where}: a point of a polygon is no number, or far outside the picture")
        return coco.decode(coco.merge(coco.frPyObjects([list(map(float, p)) for p in polygons], *size))) > 0

    return draw


def run_lengths(code: Any, where: str) -> Draw:
    """Draw COCO's run lengths, compressed or not."""
    return lambda size: decode_run_lengths(code, size, where)


def names_of_tracks(tracks: Sequence[tuple[str, set[Any]]]) -> tuple[list[str], list[str]]:
    """Names of objects that have a label each, and the pictures in which they are seen.

    The label itself, where no picture shows it twice: a person who was labelled anew in every frame is one
    object. Otherwise the label and a number, from 1 in the order of the file. Notes say where that is so.
    """
    crowded = {}
    for label in dict.fromkeys(label for label, _ in tracks):
        seen = Counter(picture for own, pictures in tracks if own == label for picture in pictures)
        if max(seen.values(), default=0) > 1:
            crowded[label] = 0
    names = []
    for label, _ in tracks:
        if label in crowded:
            crowded[label] += 1
            names.append(f"{label}-{crowded[label]}")
        else:
            names.append(label)
    notes = [
        f"'{label}' is there {count} times, and twice in a picture: the objects are {label}-1 to "
        f"{label}-{count}, in the order of the file"
        for label, count in crowded.items()
    ]
    return names, notes


def _is_near(value: Any, size: int) -> bool:
    """Is it a coordinate? What draws polygons needs memory for the length of their edges."""
    return isinstance(value, (int, float)) and math.isfinite(value) and abs(value) <= BEYOND * size
