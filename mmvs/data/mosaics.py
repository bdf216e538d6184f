"""Two videos in one frame, so that the sentence has to choose: drawn in training, a fixed list in tests.

The two are joined along the side that makes the frame more square: videos wider than high stand one above the
other, others side by side. The partner takes the size of the video that it joins.
"""

from __future__ import annotations

from collections.abc import Collection, Hashable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import torch
from torch.utils.data import Dataset

from mmvs.config import Data
from mmvs.data.annotated_videos import AnnotatedVideos, Row
from mmvs.data.clips import Clips, Window
from mmvs.data.csv_files import DataError
from mmvs.flow.store import FlowStore
from mmvs.schema import Clip

SEED = 0  # of the fixed list: who stands beside whom


class Mosaics(AnnotatedVideos):
    """The samples of a data set, each beside another of its videos.

    Every video, and so each of its expressions, has one partner. The list is a function of the data set and
    of SEED: the videos in a random order, each with the next, first and second by turns. Frame t of the
    partner is its frame t, from its start again where it is shorter. A mosaic's id is "<video>+<partner>:1",
    or 2 where the video that the sentences are about stands second.
    """

    layout = "mosaics of two videos"

    def __init__(self, samples: AnnotatedVideos) -> None:
        """samples: of a data set with two videos or more; DataError otherwise."""
        self.base = samples
        self.truth_is_known = samples.truth_is_known
        videos = samples.videos
        if len(videos) < 2:
            raise DataError(f"{samples.layout}: one video alone makes no mosaic: add videos")
        order = [videos[i] for i in np.random.default_rng(SEED).permutation(len(videos))]
        self._first = {
            samples[i].video_id: i for i in reversed(range(len(samples)))
        }  # a sample of each video
        self._parts: dict[str, tuple[str, str, bool]] = {}  # mosaic: video, partner, is the video first
        names = {}
        for place, own in enumerate(order):
            partner, first = order[(place + 1) % len(order)], place % 2 == 0
            names[own] = f"{own}+{partner}:{1 if first else 2}"
            self._parts[names[own]] = own, partner, first
        super().__init__(replace(sample, video_id=names[sample.video_id]) for sample in samples)

    @classmethod
    def open(cls, root: Path, split: str, data: Data) -> AnnotatedVideos:
        """DataError: they are made of another data set, which the catalogue opens as `mosaic:<name>`."""
        raise DataError(f"{root}: mosaics have no files of their own: name a data set, as mosaic:<name>")

    @classmethod
    def sentences(cls, root: Path) -> list[Row]:
        """DataError: ask the data set that they are made of."""
        raise DataError(f"{root}: mosaics have no files of their own: ask for their data set's sentences")

    def video_path(self, video_id: str) -> Path:
        """Where the video lies that the sentences are about."""
        return self.base.video_path(self._parts[video_id][0])

    def annotation_path(self, i: int) -> Path:
        """Where the masks of sample i's frame lie."""
        return self.base.annotation_path(i)

    def scene(self, i: int) -> str:
        """The video that sample i's sentence is about."""
        return self.base.scene(i)

    def place(self, i: int, masks: np.ndarray) -> np.ndarray:
        """(..., H, W) of sample i's own video → (..., 2 H, W) or (..., H, 2 W): where it stands."""
        return _placed(masks, self._parts[self[i].video_id][2])

    def masks_in_frame(self, i: int) -> dict[int, np.ndarray]:
        """Instance id to mask, of the video that the sentence is about."""
        return {instance: self.place(i, mask) for instance, mask in self.base.masks_in_frame(i).items()}

    def training_positions(self) -> np.ndarray:
        """As of the data set itself."""
        return self.base.training_positions()

    def expression(self, i: int) -> Hashable:
        """As of the data set itself."""
        return self.base.expression(i)

    def rivals(self, i: int, masks: Mapping[int, np.ndarray]) -> Collection[int]:
        """As of the data set itself: those in the video that the sentence is about."""
        return self.base.rivals(i, masks)

    def frames_with_truth(self, i: int) -> list[int]:
        """Those of the video that the sentence is about."""
        return self.base.frames_with_truth(i)

    def _masks_of_frames(self, i: int, indices: list[int]) -> np.ndarray:
        return self.place(i, self.base.masks(i, indices))

    def frame_count(self, video_id: str) -> int:
        """Frames of the video that the sentences are about."""
        return self.base.frame_count(self._parts[video_id][0])

    def size(self, video_id: str) -> tuple[int, int]:
        """(H, W) of both together."""
        height, width = self.base.size(self._parts[video_id][0])
        return (2 * height, width) if _is_wide(height, width) else (height, 2 * width)

    def frames(self, i: int, indices: list[int]) -> np.ndarray:
        """Frames of both together, (n, H, W, 3) uint8 RGB."""
        _, partner, first = self._parts[self[i].video_id]
        other = self.base.frames(self._first[partner], self.partner_frames(self[i].video_id, indices))
        return _joined_frames(self.base.frames(i, indices), other, first)

    def partner_frames(self, video_id: str, indices: Sequence[int]) -> list[int]:
        """The partner's frames that stand beside those of the video."""
        count = self.base.frame_count(self._parts[video_id][1])
        return [index % count for index in indices]

    def parts(self, video_id: str) -> tuple[str, str, bool]:
        """Video, partner, and whether the video stands first."""
        return self._parts[video_id]


class MosaicFlow:
    """Flow of mosaics, from the flow of their videos; nothing is computed."""

    def __init__(self, samples: Mosaics, store: FlowStore) -> None:
        self.samples, self.store, self.root = samples, store, store.root

    def read(self, video_id: str, _: str | Path, indices: Sequence[int]) -> np.ndarray:
        """As FlowStore.read, of both together."""
        own, partner, first = self.samples.parts(video_id)
        base = self.samples.base
        one = self.store.read(own, base.video_path(own), indices)
        others = self.samples.partner_frames(video_id, indices)
        other = self.store.read(partner, base.video_path(partner), others)
        return _joined_flow(one, other, first, *base.size(own))


class FixedMosaics(Dataset):
    """Clips of a validation, each beside the clip half a round behind it, or the next of another video."""

    def __init__(self, clips: Clips) -> None:
        self.clips = clips
        partners(clips, 0)  # DataError where there is none

    def __len__(self) -> int:
        return len(self.clips)

    def __getitem__(self, item: int) -> Clip:
        others = partners(self.clips, item)
        return mosaic(self.clips, item, others[(item + len(others) // 2) % len(others)], item % 2 == 0)


def partners(clips: Clips, item: int) -> list[int]:
    """The clips of other videos; DataError where there are none."""
    own = clips.video(item)
    others = [other for other in range(len(clips)) if clips.video(other) != own]
    if not others:
        raise DataError(f"{clips.samples.layout}: one video alone makes no mosaic: set data: {{mosaic: 0}}")
    return others


def mosaic(
    clips: Clips,
    item: int,
    partner: int,
    first: bool,
    indices: list[int] | None = None,
    others: list[int] | None = None,
) -> Clip:
    """Two clips in one, with the sentences of both: each asks for an object in its own half.

    first            does the item stand first?
    indices, others  frames of the item's window and of the partner's; None: as `Clips.read` has them
    """
    one, other = clips.read(item, indices), clips.read(partner, others)
    size = one.frames.shape[1:3]
    masks = None
    if one.masks is not None and other.masks is not None:
        own = _placed(one.masks.numpy(), first)
        theirs = _placed(_resized_masks(other.masks.numpy(), size), not first)
        masks = torch.from_numpy(np.concatenate([own, theirs]))
    joined = Window(
        frames=_joined_frames(one.frames, other.frames, first),
        flow=_joined_flow(one.flow, other.flow, first, *size),
        masks=masks,
        positions=one.positions + other.positions,
    )
    return clips.fit(joined)


def _is_wide(height: int, width: int) -> bool:
    return width > height


def _joined(one: np.ndarray, other: np.ndarray, first: bool, axes: tuple[int, int], wide: bool) -> np.ndarray:
    """Along the first of the axes, (H, W), where the videos are wide; else along the second."""
    return np.concatenate([one, other] if first else [other, one], axis=axes[0] if wide else axes[1])


def _placed(masks: np.ndarray, first: bool) -> np.ndarray:
    wide = _is_wide(*masks.shape[-2:])
    return _joined(masks, np.zeros_like(masks), first, (-2, -1), wide)


def _joined_frames(one: np.ndarray, other: np.ndarray, first: bool) -> np.ndarray:
    height, width = one.shape[1:3]
    if other.shape[1:3] != (height, width):
        other = np.stack(
            [cv2.resize(frame, (width, height), interpolation=cv2.INTER_AREA) for frame in other]
        )
    return _joined(one, other, first, (1, 2), _is_wide(height, width))


def _joined_flow(one: np.ndarray, other: np.ndarray, first: bool, height: int, width: int) -> np.ndarray:
    """Of (T, 2, h, w) in pixels of its own; what is wide is told by the video's size: flow may be rounded."""
    h, w = one.shape[-2:]
    if other.shape[-2:] != (h, w):
        scale = np.array([w / other.shape[-1], h / other.shape[-2]], np.float32)
        pairs = (cv2.resize(flow.transpose(1, 2, 0), (w, h)) * scale for flow in other)
        other = np.stack([flow.transpose(2, 0, 1) for flow in pairs])
    return _joined(one, other, first, (2, 3), _is_wide(height, width))


def _resized_masks(masks: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    if masks.shape[1:] == size:
        return masks
    resized = (
        cv2.resize(mask.astype(np.uint8), size[::-1], interpolation=cv2.INTER_NEAREST) for mask in masks
    )
    return np.stack(list(resized)).astype(bool)
