"""The annotation files of a moving-shapes tree in A2D-Sentences' layout; each appears whole or not at all."""

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


class ClipRecord(NamedTuple):
    """What the tables of a tree say of one clip."""

    tree: Path
    split: str
    video_id: str
    annotated: int  # frames with masks
    bodies: int
    rows: list[tuple[int, str, str]]  # (instance id, sentence, kind)

    def row(self, settings: MovingShapes) -> tuple:
        """A line of videoset.csv: id, label, start and end (seconds), H, W, frames, annotated, subset."""
        size, seconds = (settings.height, settings.width, settings.frames), settings.frames / 25
        return self.video_id, self.bodies, 0, seconds, *size, self.annotated, SUBSETS[self.split]


def write_instances(path: Path, ids: tuple[int, ...], masks: np.ndarray) -> None:
    """Write one annotated frame as A2D has it: masks transposed, no leading axis around a single one.

    ids    of the n instances
    masks  (n, H, W) bool, visible pixels; fewer than FEWEST_PIXELS leave an instance out
    """
    large = [i for i, mask in enumerate(masks) if mask.sum() >= FEWEST_PIXELS]
    masks = masks[large]
    boxes = np.array([_box(mask) for mask in masks], np.float64).reshape(-1, 4).T
    with whole(path) as partial, h5py.File(partial, "w") as file:
        file["instance"] = np.array([ids[i] for i in large], np.int64)
        stored = masks.transpose(0, 2, 1).astype(np.uint8)
        stored, boxes = (stored[0], boxes[:, 0]) if len(large) == 1 else (stored, boxes)
        file.create_dataset("reMask", data=stored, compression="gzip" if large else None)
        file["reBBox"] = boxes


def _box(mask: np.ndarray) -> tuple[int, int, int, int]:
    """x1, y1, x2, y2 of the visible pixels, both ends inside."""
    (y, x) = np.nonzero(mask)
    return x.min(), y.min(), x.max(), y.max()


def write_tables(tree: Path, clips: list[ClipRecord], settings: MovingShapes) -> None:
    """Write the text files of a tree, in the order of its clips."""
    header = ("video_id", "instance_id", "query", "kind")
    sentences = [header, *((clip.video_id, *row) for clip in clips for row in clip.rows)]
    silent = [clip.video_id for clip in clips if not clip.rows]
    texts = tree / "text_annotations"
    write_text(tree / "Release" / "videoset.csv", _table(clip.row(settings) for clip in clips))
    write_text(texts / "a2d_annotation.txt", _table(row[:3] for row in sentences))
    write_text(texts / "a2d_missed_videos.txt", "".join(f"{video}\n" for video in silent))
    write_text(tree / "sentence_kinds.csv", _table(sentences))


def _table(rows: Iterable[tuple]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue()
