"""The contract of a data set: what every one offers, whatever its files look like.

Clips, flow, training, evaluation and verification ask for nothing beyond it. A new data set is a class here
and a line in `catalogue.FAMILIES`: the class says where videos and masks lie and lists its samples.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Collection, Hashable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import ClassVar

import numpy as np

from mmvs.config import Data
from mmvs.data.csv_files import DataError
from mmvs.schema import Sample
from mmvs.video import files, frames

Row = tuple[str, str, str]  # video id, instance id, sentence, as an annotation file has them


class AnnotatedVideos(Sequence[Sample]):
    """Samples in a fixed order, with the frames and the masks behind them."""

    layout: ClassVar[str]  # name of the layout on disk, for people
    marks: ClassVar[tuple[str, ...]]  # files or folders below the root that tell the layout
    splits: ClassVar[Collection[str]] = ()  # empty: the data set is not divided
    any_split: ClassVar[bool] = False  # True: `splits` are the usual ones, others may be asked for
    shares_ids: ClassVar[bool] = False  # True: two splits may have different videos of one id
    is_still: ClassVar[bool] = False  # True: videos are single pictures, whose flow nobody estimates
    check: ClassVar[str | None] = None  # module with `check` and `PUBLISHED` that verifies a copy

    samples_from: str | None = None  # which list the samples come from, where there is more than one
    truth_is_known: bool = True  # False, also per object: a split whose masks its owners keep to themselves

    @classmethod
    @abstractmethod
    def open(cls, root: Path, split: str, data: Data) -> AnnotatedVideos:
        """The samples of a split ("" where there is none); DataError names what is missing or wrong.

        root  folder of the data set, not of the split
        data  settings, for classes that have some of their own
        """

    @classmethod
    def home(cls, root: Path, data: Data) -> Path:
        """Where the data set lies: the configured root, unless its settings give it a folder of its own."""
        return root

    @classmethod
    def folder(cls, root: Path, split: str) -> Path:
        """Where a split lies: below the root, together with the others, unless the class says otherwise."""
        return root

    @classmethod
    def write(cls, root: Path, data: Data, progress: bool) -> None:
        """Write the data set where the repository can make it; what exists is kept. Nothing by default."""

    @classmethod
    def is_in(cls, root: Path) -> bool:
        """Does the folder have this data set's layout? By default one of `marks` tells."""
        return any((root / mark).exists() for mark in cls.marks)

    @classmethod
    @abstractmethod
    def sentences(cls, root: Path) -> list[Row]:
        """Every row of the annotation file, as it stands there, of all splits.

        Neither videos nor masks are needed. The instance id is "" where the file has none.
        """

    def __init__(self, samples: Iterable[Sample]) -> None:
        self._samples = list(samples)
        self._facts: dict[str, tuple[int, tuple[int, int]]] = {}  # video id: frames, (H, W)

    @abstractmethod
    def video_path(self, video_id: str) -> Path:
        """Where the video lies, or should lie: a video file, or a folder of numbered pictures."""

    @abstractmethod
    def annotation_path(self, i: int) -> Path:
        """Where the masks of sample i's frame lie."""

    @abstractmethod
    def masks_in_frame(self, i: int) -> dict[int, np.ndarray]:
        """Instance id to (H, W) bool, for all instances annotated in sample i's frame.

        Nobody asks where the truth is not known.
        """

    def __len__(self) -> int:
        return len(self._samples)

    def __getitem__(self, i: int) -> Sample:
        return self._samples[i]

    def distinct_sentences(self) -> set[str]:
        """Every sentence of the samples, once."""
        return {sample.sentence for sample in self}

    def places(self) -> tuple[np.ndarray, np.ndarray]:
        """Of every sample its video's place in `videos`, and its frame: two arrays of whole numbers."""
        number = {video_id: place for place, video_id in enumerate(self.videos)}
        pairs = [(number[sample.video_id], sample.frame) for sample in self]
        of_video, frames = np.array(pairs, np.int64).reshape(-1, 2).T
        return of_video, frames

    def training_positions(self) -> np.ndarray:
        """Positions of the samples that may train, ascending: by default all of them."""
        return np.arange(len(self))

    def expression(self, i: int) -> Hashable:
        """What sample i shares with the samples of the same expression, and with no others."""
        sample = self[i]
        return sample.video_id, sample.instance_id, sample.sentence

    def rivals(self, i: int, masks: Mapping[int, np.ndarray]) -> Collection[int]:
        """Instance ids that sample i's sentence chooses from, its own among them: by default all.

        masks  `masks_in_frame(i)`

        Empty where there is nothing to choose: the sentence is about nothing in the video.
        """
        return masks.keys()

    @property
    def videos(self) -> list[str]:
        """Ids of the videos that have samples, in the order of the samples."""
        return list(dict.fromkeys(sample.video_id for sample in self._samples))

    def frame_count(self, video_id: str) -> int:
        """Frames that can be decoded and may be in a window.

        A table of the data set says something else: what the annotators had. An encoder may have left fewer,
        and a window must never ask for a frame that is not there.
        """
        return self._video(video_id)[0]

    def size(self, video_id: str) -> tuple[int, int]:
        """(H, W) of the video, in pixels."""
        return self._video(video_id)[1]

    def require_truth(self, purpose: str) -> None:
        """DataError where the truth is not known; `purpose` says what needs it, such as "training"."""
        if not self.truth_is_known:
            raise DataError(
                f"{purpose} needs masks, but those of this split of {self.layout} are not published: name "
                "another split in data: {train_on: ..., evaluate_on: [...]}"
            )

    def mask(self, i: int) -> np.ndarray:
        """(H, W) bool: the pixels of sample i's instance in its frame; DataError where nobody knows them."""
        self.require_truth(f"the mask of '{self[i].sentence}' in video '{self[i].video_id}'")
        instance, masks = self[i].instance_id, self.masks_in_frame(i)
        if instance not in masks:
            path = self.annotation_path(i)
            raise DataError(f"{path}: instance {instance} was here and is gone: load the data anew")
        return masks[instance]

    def scene(self, i: int) -> str:
        """What sample i's sentence is about, as an id: its video; of two videos in one frame, one of them."""
        return self[i].video_id

    def place(self, i: int, masks: np.ndarray) -> np.ndarray:
        """(..., H, W) of the video that sample i's sentence is about → its place in sample i's frame."""
        return masks

    def frames_with_truth(self, i: int) -> list[int]:
        """0-based frames of sample i's video whose truth is known, ascending: its own, or more, or none."""
        return [self[i].frame] if self.truth_is_known else []

    def masks(self, i: int, indices: Sequence[int]) -> np.ndarray:
        """(n, H, W) bool: the pixels of sample i's instance in n of `frames_with_truth`; DataError in others.

        A class whose every frame has a truth overrides `frames_with_truth` and `_masks_of_frames`.
        """
        self.require_truth(f"the masks of '{self[i].sentence}' in video '{self[i].video_id}'")
        known = set(self.frames_with_truth(i))
        if unknown := [index for index in indices if index not in known]:
            raise DataError(
                f"{self.video_path(self[i].video_id)}: frame {unknown[0]} (from 0) has no truth: ask for "
                "some of `frames_with_truth`"
            )
        return self._masks_of_frames(i, list(indices))

    def _masks_of_frames(self, i: int, indices: list[int]) -> np.ndarray:
        """(n, H, W) bool of frames that have a truth; by default they are all sample i's own."""
        mask = self.mask(i)
        return np.broadcast_to(mask, (len(indices), *mask.shape))

    def window(self, i: int, size: int, stride: int = 1) -> tuple[list[int], np.ndarray]:
        """The frames around sample i's own, which stands at position size // 2 (see `files.window`).

        Returns their 0-based indices, clamped to the video, and (size, H, W, 3) uint8 RGB.
        """
        sample = self[i]
        indices = files.window(sample.frame, size, stride, self.frame_count(sample.video_id))
        return indices, self.frames(i, indices)

    def frames(self, i: int, indices: list[int]) -> np.ndarray:
        """Frames of sample i's video by 0-based index, (n, H, W, 3) uint8 RGB."""
        return frames.read_frames(self.video_path(self[i].video_id), indices)

    def _video(self, video_id: str) -> tuple[int, tuple[int, int]]:
        if video_id not in self._facts:
            path = self.video_path(video_id)
            self._facts[video_id] = frames.frame_count(path), frames.frame_size(path)
        return self._facts[video_id]
