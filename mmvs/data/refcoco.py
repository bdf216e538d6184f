"""RefCOCO, RefCOCO+ and RefCOCOg as videos of one frame: what most methods train on first.

A window repeats the frame, and its flow is zero; in training it may be shifted from frame to frame
(`flow.stills`). Splits: UNC's of the first two, UMD's of RefCOCOg, whose pictures do not overlap. The three
share pictures: RefCOCO's validation and test pictures are among those of RefCOCOg's training.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

import numpy as np

from mmvs.config import Data
from mmvs.data import refcoco_files
from mmvs.data.annotated_videos import AnnotatedVideos, Row
from mmvs.data.csv_files import DataError, plain
from mmvs.data.refcoco_files import INSTANCES, REFS, SPLITS
from mmvs.schema import Sample
from mmvs.video.files import VideoError
from mmvs.video.pictures import picture_size, read_picture


class RefCOCO(AnnotatedVideos):
    """The samples of a split: every sentence of every ref, in the order of the file.

    A video's id is its picture's number, of 12 digits; the instance id is that of COCO's annotation.
    DataError names what is missing or wrong.
    """

    layout = "RefCOCO, RefCOCO+, RefCOCOg"
    marks = tuple(f"{name}/{refs}" for name, refs in REFS.items())
    check = "mmvs.verify.refcoco"
    is_still = True
    name: ClassVar[str] = "refcoco"
    splits = SPLITS["refcoco"]

    @classmethod
    def open(cls, root: Path, split: str, data: Data) -> RefCOCO:
        """The samples of a split."""
        return cls(root, split)

    @classmethod
    def is_in(cls, root: Path) -> bool:
        """Does the folder hold one of the three, or is it one of their own?"""
        return super().is_in(root) or any((root / refs).exists() for refs in REFS.values())

    @classmethod
    def sentences(cls, root: Path) -> list[Row]:
        """Every sentence of all splits, with its picture's number and its object's."""
        refs = refcoco_files.read_refs(refcoco_files.folder(root, cls.name) / REFS[cls.name])
        return [
            (_video_id(ref.image_id), str(ref.object_id), sentence)
            for ref in refs
            for sentence in ref.sentences
        ]

    def __init__(self, root: str | Path, split: str) -> None:
        place = refcoco_files.folder(Path(root), self.name)
        path, self._instances = place / REFS[self.name], place / INSTANCES
        refs = [ref for ref in refcoco_files.read_refs(path) if refcoco_files.is_of(split, ref.split)]
        if not any(ref.sentences for ref in refs):
            raise DataError(f"{path}: no ref of split '{split}': expected one of {', '.join(self.splits)}")
        wanted = {ref.object_id for ref in refs}
        images, self._outlines = refcoco_files.read_instances(self._instances, wanted)
        self._pictures = refcoco_files.pictures(place)
        for ref in refs:
            if ref.image_id not in images or ref.object_id not in self._outlines:
                raise DataError(
                    f"{self._instances}: has no picture {ref.image_id} with an annotation {ref.object_id}, "
                    f"which {path.name} names: both files must be of one release"
                )
        self._images = {_video_id(ref.image_id): images[ref.image_id] for ref in refs}
        self._objects: dict[str, list[int]] = {}
        for ref in refs:
            own = self._objects.setdefault(_video_id(ref.image_id), [])
            own += [ref.object_id] if ref.object_id not in own else []
        super().__init__(
            Sample(_video_id(ref.image_id), 0, ref.object_id, sentence)
            for ref in refs
            for sentence in ref.sentences
        )

    def video_path(self, video_id: str) -> Path:
        """The picture."""
        image = self._images.get(plain(video_id, self._pictures))
        return self._pictures / (image.name if image else f"COCO_train2014_{video_id}.jpg")

    def annotation_path(self, i: int) -> Path:
        """The file of all outlines."""
        return self._instances

    def masks_in_frame(self, i: int) -> dict[int, np.ndarray]:
        """Instance id to (H, W) bool, for all objects of sample i's picture that the split speaks of."""
        video_id = self[i].video_id
        size = self.size(video_id)
        if size != self._images[video_id].size:
            raise DataError(
                f"{self.video_path(video_id)}: is {size} (H, W), but {self._instances.name} says "
                f"{self._images[video_id].size}: pictures and annotations must be of one release"
            )
        return {
            number: refcoco_files.draw(
                self._outlines[number], size, f"{self._instances}, annotation {number}"
            )
            for number in self._objects[video_id]
        }

    def frames(self, i: int, indices: Sequence[int]) -> np.ndarray:
        """The picture, as often as index 0 is asked for: (n, H, W, 3) uint8 RGB."""
        path = self.video_path(self[i].video_id)
        if any(indices):
            raise VideoError(
                f"{path}: is a picture, which has frame 0 alone, but {list(indices)} were asked for"
            )
        picture = read_picture(path)
        return np.broadcast_to(picture, (len(indices), *picture.shape)).copy()

    def _video(self, video_id: str) -> tuple[int, tuple[int, int]]:
        if video_id not in self._facts:
            self._facts[video_id] = 1, picture_size(self.video_path(video_id))
        return self._facts[video_id]


class RefCOCOPlus(RefCOCO):
    """Sentences that say nothing of where an object lies."""

    name = "refcoco+"
    splits = SPLITS["refcoco+"]


class RefCOCOg(RefCOCO):
    """Longer sentences."""

    name = "refcocog"
    splits = SPLITS["refcocog"]


def _video_id(image_id: int) -> str:
    """COCO's number as its files have it."""
    return f"{image_id:012d}"
