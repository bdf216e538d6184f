"""What every data set of this repository offers, whatever its files look like.

Clips, flow, training and evaluation ask for nothing beyond it: a new data set says where its videos and its
masks are and lists its samples, and everything else works.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from mmvs.data.csv_files import DataError
from mmvs.schema import Sample
from mmvs.video import files, frames


class AnnotatedVideos(Sequence[Sample]):
    """Samples in a fixed order, with the frames and the masks behind them."""

    samples_from: str | None = None  # which list the samples were taken from, where there is more than one

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
        """Instance id to (H, W) bool, for all instances annotated in sample i's frame."""

    def __len__(self) -> int:
        return len(self._samples)

    def __getitem__(self, i: int) -> Sample:
        return self._samples[i]

    @property
    def videos(self) -> list[str]:
        """Ids of the videos that have samples, in the order of the samples."""
        return list(dict.fromkeys(sample.video_id for sample in self._samples))

    def frame_count(self, video_id: str) -> int:
        """Frames that can be decoded and may be in a window.

        Not what a table of the data set says: that counts what the annotators saw, and an encoder may have
        left fewer; a window must never ask for a frame that is not there.
        """
        return self._video(video_id)[0]

    def size(self, video_id: str) -> tuple[int, int]:
        """(H, W) of the video, in pixels."""
        return self._video(video_id)[1]

    def mask(self, i: int) -> np.ndarray:
        """(H, W) bool: the pixels of sample i's instance in its frame."""
        instance, masks = self[i].instance_id, self.masks_in_frame(i)
        if instance not in masks:
            path = self.annotation_path(i)
            raise DataError(f"{path}: instance {instance} was here and is gone: load the data anew")
        return masks[instance]

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
