"""MeViS, Ref-YouTube-VOS, Ref-DAVIS17 and data of one's own, as training and evaluation read them.

A sample is an expression and a frame: every listed frame that has a picture and, where masks are published, a
mask. Several objects of an expression are one instance, their union; a frame that shows none of them is a
sample with an empty mask. Expressions about the same objects share their instance.

Expressions about nothing in the video (MeViS 2) are scored, and not trained on: so does published code.
"""

from __future__ import annotations

import warnings
from bisect import bisect_right
from collections.abc import Mapping
from itertools import accumulate
from pathlib import Path
from typing import ClassVar

import numpy as np

from mmvs.config import Data
from mmvs.data import expression_files
from mmvs.data.annotated_videos import AnnotatedVideos, Row
from mmvs.data.csv_files import DataError
from mmvs.data.expressions import Expressions
from mmvs.schema import Sample


class ExpressionVideos(AnnotatedVideos):
    """The samples of a split: expression by expression as listed, each with its frames in order.

    A listed frame without a picture gives no sample, and is named in a warning. DataError where none is left.
    """

    check = "mmvs.verify.expressions"
    shares_ids = True
    submission_top: ClassVar[str] = ""  # folder around all masks in the zip that the server takes
    scored_as: ClassVar[str] = "expressions"  # whose convention scores them: a data set of `mmvs.scoring`

    @classmethod
    def open(cls, root: Path, split: str, data: Data) -> ExpressionVideos:
        """The samples of a split."""
        return cls(root, split)

    @classmethod
    def sentences(cls, root: Path) -> list[Row]:
        """Every expression of every split, as it stands there, with its id."""
        listings = [
            expression_files.read(expression_files.find(root, split))
            for split in expression_files.splits(root)
        ]
        return [
            (video_id, one.expression_id, one.sentence)
            for listing in listings
            for video_id, video in listing.videos.items()
            for one in video.expressions
        ]

    @classmethod
    def is_in(cls, root: Path) -> bool:
        """Is it this data set of the family that the folder holds?"""
        return expression_files.data_set(root) == cls.layout

    def __init__(self, root: str | Path, split: str) -> None:
        super().__init__([])  # they are made when they are asked for: MeViS has 1.8 million
        self.expressions = Expressions(root, split)
        self.truth_is_known = self.expressions.truth_is_known
        self._positions: dict[str, dict[int, int]] = {}  # video: frame of the video → place in the list
        lacking = []
        for i, one in enumerate(self.expressions):
            if one.video_id not in self._positions:
                frames = self.expressions.frames_of_video(i)
                known = set(self.expressions.positions_with_truth(i)) if self.truth_is_known else set(frames)
                self._positions[one.video_id] = {frames[p]: p for p in frames if p in known}
                if missing := [name for p, name in enumerate(one.frames) if p not in frames]:
                    lacking.append(f"{one.video_id} ({len(missing)} of {len(one.frames)}, as {missing[0]})")
        self._frames = {video_id: sorted(frames) for video_id, frames in self._positions.items()}
        self._ends = list(accumulate(len(self._frames[one.video_id]) for one in self.expressions))
        self._instances = self._number_instances()
        self._report(lacking)

    def __len__(self) -> int:
        return self._ends[-1] if self._ends else 0

    def __getitem__(self, i: int) -> Sample:
        if not -len(self) <= i < len(self):
            raise IndexError(f"sample {i} of {len(self)}")
        i %= len(self)
        own = self.expression(i)
        one = self.expressions[own]
        frames = self._frames[one.video_id]
        return Sample(one.video_id, frames[i - self._ends[own]], self._instances[own], one.sentence)

    def expression(self, i: int) -> int:
        """Position of sample i's expression in its list."""
        return bisect_right(self._ends, i % len(self))

    def distinct_sentences(self) -> set[str]:
        """Every sentence that has samples, once."""
        return {one.sentence for one in self.expressions if self._frames[one.video_id]}

    def places(self) -> tuple[np.ndarray, np.ndarray]:
        """Of every sample its video's place in `videos`, and its frame."""
        number = {video_id: place for place, video_id in enumerate(self.videos)}
        frames = {video_id: np.array(self._frames[video_id]) for video_id in number}
        own = [one.video_id for one in self.expressions if one.video_id in number]
        of_video = np.repeat([number[video_id] for video_id in own], [len(frames[v]) for v in own])
        return of_video, np.concatenate([frames[video_id] for video_id in own])

    def training_positions(self) -> np.ndarray:
        """Positions of the samples that may train: not those of expressions about nothing."""
        about_something = [one.object_ids != [] for one in self.expressions]
        return np.flatnonzero(np.repeat(about_something, np.diff(self._ends, prepend=0)))

    @property
    def videos(self) -> list[str]:
        """Ids of the videos that have samples, in the order of the samples."""
        return [video_id for video_id, frames in self._frames.items() if frames]

    def video_path(self, video_id: str) -> Path:
        """The folder of the video's pictures, or its file."""
        return self.expressions.video_path(video_id)

    def annotation_path(self, i: int) -> Path:
        """Where the masks of sample i's frame lie."""
        return self.expressions.mask_path(self[i].video_id, self._name(i))

    def masks_in_frame(self, i: int) -> dict[int, np.ndarray]:
        """Instance id to (H, W) bool, for all that an expression of sample i's video is about."""
        video_id = self[i].video_id
        first = {self._instances[own]: own for own in reversed(self.expressions.expressions_of(video_id))}
        masks = self.expressions.masks_in_frame(video_id, self._name(i), list(first.values()))
        return {instance: masks[own] for instance, own in first.items()}

    def rivals(self, i: int, masks: Mapping[int, np.ndarray]) -> list[int]:
        """Sample i's own instance and those that share no object with it; [] where it is about nothing.

        "The left dog" is not told from "both dogs" by where the probability is highest.
        """
        own = self.expression(i)
        target = set(self.expressions.target(own) or ())
        if not target:
            return []
        targets = {k: self.expressions.target(k) for k in self.expressions.expressions_of(self[i].video_id)}
        others = (self._instances[k] for k, other in targets.items() if other and target.isdisjoint(other))
        return list(dict.fromkeys([self._instances[own], *others]))

    def frames_with_truth(self, i: int) -> list[int]:
        """Every frame of sample i's video that gives samples."""
        return self._frames[self[i].video_id] if self.truth_is_known else []

    def _masks_of_frames(self, i: int, indices: list[int]) -> np.ndarray:
        """(n, H, W) bool: the objects of sample i in any frames of its video."""
        positions = self._positions[self[i].video_id]
        return self.expressions.masks(self.expression(i), [positions[index] for index in indices])

    def _name(self, i: int) -> str:
        """Name of sample i's frame."""
        sample = self[i]
        return self.expressions[self.expression(i)].frames[self._positions[sample.video_id][sample.frame]]

    def _number_instances(self) -> list[int]:
        """The instance id of every expression: an object's own number; several, or none, one behind those.

        Where objects are not published, every expression is an instance.
        """
        numbers: dict[tuple[str, tuple[int, ...]], int] = {}
        last: dict[str, int] = {}
        keys = [(one.video_id, self.expressions.target(own)) for own, one in enumerate(self.expressions)]
        for video_id, target in keys:
            last[video_id] = max(last.get(video_id, 0), *(target or (0,)))
        for video_id, target in dict.fromkeys(key for key in keys if key[1] is not None):
            last[video_id] += len(target) != 1
            numbers[video_id, target] = target[0] if len(target) == 1 else last[video_id]
        return [own if key[1] is None else numbers[key] for own, key in enumerate(keys)]

    def _report(self, lacking: list[str]) -> None:
        pictures, advice = self.expressions.place.pictures, f"`mmvs verify {self.expressions.root}` lists all"
        shown = ", ".join(lacking[:3]) + (", ..." if len(lacking) > 3 else "")
        if not len(self):
            raise DataError(
                f"{pictures}: no listed frame has what it needs, pictures and masks; {shown}: {advice}"
            )
        if lacking:
            warnings.warn(
                f"{pictures}: {len(lacking)} videos lack pictures, which give no samples: {shown}; {advice}",
                stacklevel=4,
            )


class MeViS(ExpressionVideos):
    """Sentences about motion; the masks of `valid` are not published."""

    layout = expression_files.MEVIS
    scored_as = "mevis"
    marks = ("<split>/meta_expressions.json",)
    splits = ("train", "valid_u", "valid")

    def __init__(self, root: str | Path, split: str) -> None:
        super().__init__(root, split)
        # Scores depend on it: the two versions have other sentences about the same videos.
        self.samples_from = f"{self.expressions.place.listing.name} ({len(self.expressions):,} expressions)"


class RefYouTubeVOS(ExpressionVideos):
    """Sentences about YouTube-VOS; the masks of `valid` are not published."""

    layout = expression_files.REF_YOUTUBE_VOS
    submission_top = "Annotations"
    scored_as = "ref-youtube-vos"
    marks = ("meta_expressions",)
    splits = ("train", "valid")


class RefDAVIS17(ExpressionVideos):
    """Sentences about DAVIS 2017, four an object; as published, or converted to Ref-YouTube-VOS's layout."""

    layout = expression_files.REF_DAVIS17
    scored_as = "ref-davis17"
    marks = ("davis_text_annotations", "meta_expressions")
    splits = ("train", "valid")


class OwnVideos(ExpressionVideos):
    """Data of one's own in Ref-YouTube-VOS's layout: any splits, some frames labelled, pictures or mp4."""

    layout = expression_files.OWN
    marks = ("meta_expressions",)
    splits = ("train", "valid")
    any_split = True
