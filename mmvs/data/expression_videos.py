"""MeViS, Ref-YouTube-VOS, Ref-DAVIS17 and data of one's own, as training and evaluation read them.

A sample is an expression and a frame: every frame that has a picture and, where masks are published, a mask.
Several objects of an expression are one instance, their union; frames that show none of them are samples with
an empty mask. The instance id is the expression's position in its list.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path
from typing import ClassVar

import numpy as np

from mmvs.config import Data
from mmvs.data import expression_files
from mmvs.data.annotated_videos import AnnotatedVideos, Row
from mmvs.data.csv_files import DataError
from mmvs.data.expressions import Expressions, number_of
from mmvs.schema import Sample
from mmvs.video import folders
from mmvs.video.files import VideoError


class ExpressionVideos(AnnotatedVideos):
    """The samples of a split: expression by expression in the order of the list, and their frames in order.

    A listed frame without picture or without mask gives no sample, and is named in a warning. DataError where
    no frame is left.
    """

    check = "mmvs.verify.expressions"
    videos_of_splits: ClassVar[bool] = True
    files: ClassVar[str] = "meta_expressions.json"

    @classmethod
    def open(cls, root: Path, split: str, data: Data) -> ExpressionVideos:
        """The samples of a split."""
        return cls(root, split)

    @classmethod
    def sentences(cls, root: Path) -> list[Row]:
        """Every expression of every split, with its id."""
        rows = []
        for split in expression_files.splits(root):
            listing = expression_files.read(expression_files.find(root, split))
            rows += [
                (video_id, one.expression_id, one.sentence)
                for video_id, video in listing.videos.items()
                for one in video.expressions
            ]
        if not rows:
            raise DataError(f"{root}: no {cls.files} of any split: put {cls.layout} there, or change the root")
        return rows

    def __init__(self, root: str | Path, split: str) -> None:
        self.root, self.split = Path(root), split
        if not self.root.is_dir():
            raise DataError(f"{self.root}: no such folder: put {self.layout} there, or change the root")
        self.expressions = Expressions(self.root, split)
        self.truth_is_known = self.expressions.truth_is_known
        super().__init__([])
        self._indices: dict[str, dict[int, int]] = {}  # video: position in the sorted list → frame of the video
        lacking: list[str] = []
        frames = [self._frames_of(i, lacking) for i in range(len(self.expressions))]
        self._frames = frames  # of expression i, shared by those of a video
        self._ends = np.cumsum([len(own) for own in frames])
        self._report(lacking)

    def __len__(self) -> int:
        return int(self._ends[-1])

    def __getitem__(self, i: int) -> Sample:
        """MeViS has 1.8 million of them: they are made when they are asked for."""
        if not -len(self) <= i < len(self):
            raise IndexError(f"sample {i} of {len(self)}")
        i %= len(self)
        own = int(np.searchsorted(self._ends, i, side="right"))
        frame = self._frames[own][i - int(self._ends[own])]
        one = self.expressions[own]
        return Sample(one.video_id, frame, own, one.sentence)

    @property
    def videos(self) -> list[str]:
        """Ids of the videos that have samples, in the order of the samples."""
        pairs = zip(self.expressions, self._frames, strict=True)
        return list(dict.fromkeys(one.video_id for one, frames in pairs if frames))

    def video_path(self, video_id: str) -> Path:
        """The folder of the video's pictures, or its file."""
        return self.expressions.video_path(video_id)

    def annotation_path(self, i: int) -> Path:
        """Where the masks of sample i's frame lie."""
        one, position = self._place(i)
        return self.expressions.mask_path(self[i].video_id, self.expressions[one].frames[position])

    def masks_in_frame(self, i: int) -> dict[int, np.ndarray]:
        """Position of an expression to (H, W) bool, for all expressions of sample i's video."""
        one, position = self._place(i)
        return self.expressions.masks_in_frame(one, position)

    def mask(self, i: int) -> np.ndarray:
        """(H, W) bool: the pixels of sample i's objects in its frame; DataError where nobody knows them."""
        self.require_truth(f"the mask of '{self[i].sentence}' in video '{self[i].video_id}'")
        one, position = self._place(i)
        return self.expressions.masks(one, [position])[0]

    def frames_with_truth(self, i: int) -> list[int]:
        """Every frame of sample i's expression that is a sample."""
        return list(self._frames[self[i].instance_id]) if self.truth_is_known else []

    def _masks_of_frames(self, i: int, indices: list[int]) -> np.ndarray:
        one, positions = self[i].instance_id, self._positions(self[i].video_id)
        return self.expressions.masks(one, [positions[index] for index in indices])

    def _place(self, i: int) -> tuple[int, int]:
        """Sample i's expression, and the position of its frame in the expression's list."""
        sample = self[i]
        return sample.instance_id, self._positions(sample.video_id)[sample.frame]

    def _positions(self, video_id: str) -> dict[int, int]:
        return {index: position for position, index in self._indices[video_id].items()}

    def _frames_of(self, i: int, lacking: list[str]) -> list[int]:
        one = self.expressions[i]
        first = one.video_id not in self._indices
        if first:
            self._indices[one.video_id] = self._indices_of(i, lacking)
            self._known = set(self.expressions.positions_with_truth(i))
            self._common = [
                index
                for position, index in self._indices[one.video_id].items()
                if position in self._known or not self.truth_is_known
            ]
        return self._common

    def _indices_of(self, i: int, lacking: list[str]) -> dict[int, int]:
        """Position in the sorted list → frame of the video, of listed frames that are there."""
        one, path = self.expressions[i], self.video_path(self.expressions[i].video_id)
        if path.is_file():
            return {position: number_of(name, path) for position, name in enumerate(one.frames)}
        try:
            there = {file.stem: index for index, file in enumerate(folders.pictures(path))}
        except VideoError:
            there = {}
        missing = [name for name in one.frames if name not in there]
        if missing:
            lacking.append(f"{one.video_id} ({len(missing)} of {len(one.frames)}, such as {missing[0]})")
        return {position: there[name] for position, name in enumerate(one.frames) if name in there}

    def _report(self, lacking: list[str]) -> None:
        if not len(self):
            raise DataError(
                f"{self.expressions.place.pictures}: no listed frame of '{self.split}' has both picture and mask: "
                f"put them there; `mmvs verify {self.root}` lists what is missing"
            )
        if lacking:
            shown = ", ".join(lacking[:3]) + (", ..." if len(lacking) > 3 else "")
            warnings.warn(
                f"{self.expressions.place.pictures}: pictures of {len(lacking)} videos are missing, and give no "
                f"samples: {shown}",
                stacklevel=4,
            )


class MeViS(ExpressionVideos):
    """Sentences about motion; masks are run lengths of tracks. `valid` has no published masks."""

    layout = "MeViS"
    splits = ("train", "valid_u", "valid")
    marks = tuple(f"{split}/{name}" for split in splits for name in (*expression_files.LISTS, "mask_dict.json"))


class InYouTubeVOSLayout(ExpressionVideos):
    """Those whose folders look alike: the sentences tell them apart."""

    @classmethod
    def is_in(cls, root: Path) -> bool:
        """Has the folder this layout, and its lists this data set's names?"""
        listed = _ids(root)
        return bool(listed) and _data_set_of(listed) == cls.layout


class RefYouTubeVOS(InYouTubeVOSLayout):
    """Sentences about YouTube-VOS. `valid` has no published masks, and lists the videos of `test` as well."""

    layout = "Ref-YouTube-VOS"
    splits = ("train", "valid")
    marks = ("meta_expressions of videos named by ten hexadecimal digits",)


class RefDAVIS17(InYouTubeVOSLayout):
    """Sentences about DAVIS 2017, four an object; raw, or converted to Ref-YouTube-VOS's layout."""

    layout = "Ref-DAVIS17"
    splits = ("train", "valid")
    marks = ("davis_text_annotations", "meta_expressions with four expressions an object")

    @classmethod
    def is_in(cls, root: Path) -> bool:
        """Raw, or converted."""
        return (root / cls.marks[0]).is_dir() or super().is_in(root)


class OwnVideos(InYouTubeVOSLayout):
    """Data of one's own in Ref-YouTube-VOS's layout: any splits, any frames labelled, pictures or mp4."""

    layout = "Own data in Ref-YouTube-VOS's layout"
    splits = ("train", "valid")
    any_split = True
    marks = ("meta_expressions of other videos",)


def _ids(root: Path) -> dict[str, dict[str, dict]]:
    """Video → expressions of all lists of a root in Ref-YouTube-VOS's layout; none of damaged ones."""
    listed: dict[str, dict[str, dict]] = {}
    for path in sorted(root.glob(f"meta_expressions/*/{expression_files.LISTS[0]}")):
        try:
            videos = json.loads(path.read_bytes())["videos"]
            listed |= {video_id: video["expressions"] for video_id, video in videos.items()}
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            listed.setdefault("", {})  # a list there is; the check says what is wrong with it
    return listed


def _data_set_of(listed: dict[str, dict[str, dict]]) -> str:
    return ""
