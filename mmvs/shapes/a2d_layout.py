"""The annotation files of a moving-shapes tree, in A2D-Sentences' layout; each appears whole or not."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import h5py
import numpy as np

from mmvs.config import MovingShapes
from mmvs.files import whole, write_text

FEWEST_PIXELS = 12  # an instance with fewer visible pixels in a frame is not annotated there
SUBSETS = {"train": 0, "silent": 0, "test": 1, "unseen": 1}


class Written(NamedTuple):
    """What a clip adds to its tree's tables."""

    tree: Path
    split: str
    video_id: str
    annotated: int
    bodies: int
    rows: list[tuple[int, str, str]]  # (instance id, sentence, kind)


def write_instances(path: Path, ids: tuple[int, ...], masks: np.ndarray) -> None:
    """One annotated frame as A2D has it: masks transposed, the leading axis absent with one instance.

    ids    of the n instances
    masks  (n, H, W) bool, visible pixels
    """
    kept = [i for i, mask in enumerate(masks) if mask.sum() >= FEWEST_PIXELS]
    masks = masks[kept]
    boxes = np.array([_box(mask) for mask in masks], np.float64).reshape(-1, 4).T
    with whole(path) as partial, h5py.File(partial, "w") as file:
        file["instance"] = np.array([ids[i] for i in kept], np.int64)
        stored = masks.transpose(0, 2, 1).astype(np.uint8)
        stored, boxes = (stored[0], boxes[:, 0]) if len(kept) == 1 else (stored, boxes)
        file.create_dataset("reMask", data=stored, compression="gzip" if kept else None)
        file["reBBox"] = boxes


def _box(mask: np.ndarray) -> tuple[int, int, int, int]:
    """x1, y1, x2, y2 of the visible pixels, both ends inside."""
    (y, x) = np.nonzero(mask)
    return x.min(), y.min(), x.max(), y.max()


def write_tables(tree: Path, clips: list[Written], settings: MovingShapes) -> None:
    """The text files, in the order of the clips."""
    seconds = settings.frames / 25
    videos = [
        (c.video_id, c.bodies, 0, seconds, settings.height, settings.width, settings.frames, c.annotated,
         SUBSETS[c.split])
        for c in clips
    ]  # fmt: skip
    said = [(c.video_id, *row) for c in clips for row in c.rows]
    silent = [c.video_id for c in clips if not c.rows]
    texts = tree / "text_annotations"
    write_text(tree / "Release" / "videoset.csv", _table(videos))
    header = ("video_id", "instance_id", "query", "kind")
    write_text(texts / "a2d_annotation.txt", _table(row[:3] for row in (header, *said)))
    write_text(texts / "a2d_missed_videos.txt", "".join(f"{video}\n" for video in silent))
    write_text(tree / "sentence_kinds.csv", _table([header, *said]))


def _table(rows: Iterable[tuple]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue()
