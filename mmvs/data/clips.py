"""Sample → Clip → Batch: cut the window, fit it to the canvas, collate."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset
from transformers import PreTrainedTokenizerBase

from mmvs.config import Data
from mmvs.data import geometry
from mmvs.data.annotated_videos import AnnotatedVideos
from mmvs.data.clip_cache import ClipCache, Fitted
from mmvs.data.words import encode
from mmvs.flow.store import FlowStore
from mmvs.schema import Batch, Clip


@dataclass
class Window:
    """Frames of a video as they are, before they are fitted to the canvas."""

    frames: np.ndarray  # (T, H, W, 3) uint8 RGB
    flow: np.ndarray  # (T, 2, h, w) float32, pixels per frame of its own resolution
    masks: Tensor | None  # (N, H, W) bool; None: not known
    positions: list[int]  # N positions in the data set


class Clips(Dataset):
    """Clips of a data set: one item an annotated frame, with all sentences asked of it."""

    def __init__(
        self,
        samples: AnnotatedVideos,
        flow: FlowStore,
        data: Data,
        only: Sequence[int] | None = None,
        offset: int = 0,
    ):
        """Clips of a data set, or of a part of it.

        samples  samples of the data set
        flow     of the same videos
        only     positions in `samples` to keep; None: all of them
        offset   of the positions that clips carry: data sets that are trained on together count on
        """
        self.samples, self.flow, self.data, self.offset = samples, flow, data, offset
        self.positions = _by_frame(samples, np.arange(len(samples)) if only is None else np.asarray(only))
        self._cached: dict[int, Clip] = {}
        # Mosaics and still pictures have no flow of their own to be kept.
        on_disk = data.cache == "disk" and isinstance(flow, FlowStore)
        self._disk = ClipCache(samples, flow, data) if on_disk else None

    def __len__(self) -> int:
        return len(self.positions)

    def __getitem__(self, item: int) -> Clip:
        clip = self._cached.get(item)
        if clip is None:
            clip = self.cut(item) if self._disk is None else self._kept(item, self._disk)
            if self.data.cache is True:
                self._cached[item] = clip
        return clip

    def _kept(self, item: int, disk: ClipCache) -> Clip:
        positions = self.positions[item]
        return self._clip(disk.window(positions, lambda: self._fitted(self.read(item))), positions)

    def cut(self, item: int, indices: list[int] | None = None) -> Clip:
        """Read a window of an item's video, and fit it to the canvas.

        indices  (T) frames of the window; None: `stride` apart, around the annotated frame
        """
        return self.fit(self.read(item, indices))

    def video(self, item: int) -> str:
        """Id of an item's video."""
        return self.samples[self.positions[item][0]].video_id

    def read(self, item: int, indices: list[int] | None = None) -> Window:
        """A window of an item's video, as `cut` takes it, at the video's resolution."""
        positions = self.positions[item]
        if indices is None:
            indices, frames = self.samples.window(positions[0], self.data.frames, self.data.stride)
        else:
            frames = self.samples.frames(positions[0], indices)
        video_id = self.samples[positions[0]].video_id
        flow = self.flow.read(video_id, self.samples.video_path(video_id), indices)
        return Window(frames, flow, self._masks(positions), positions)

    def _masks(self, positions: list[int]) -> Tensor | None:
        """(N, H, W) bool of samples that share a frame; None where the truth is not known."""
        if not self.samples.truth_is_known:
            return None
        masks = self.samples.masks_in_frame(positions[0])
        return torch.stack([torch.from_numpy(masks[self.samples[i].instance_id]) for i in positions])

    def fit(self, window: Window) -> Clip:
        """The window on the canvas, with the sentences about it."""
        return self._clip(self._fitted(window), window.positions)

    def _fitted(self, window: Window) -> Fitted:
        size, masks = self.data.size, window.masks
        original = window.frames.shape[1:3]
        return Fitted(
            frames=geometry.fit_frames(torch.from_numpy(window.frames).permute(0, 3, 1, 2), size),
            flow=geometry.fit_flow(torch.from_numpy(window.flow), size, original),
            masks=None if masks is None else geometry.fit_masks(masks, size),
            original_size=original,
        )

    def _clip(self, fitted: Fitted, positions: list[int]) -> Clip:
        return Clip(
            **vars(fitted),
            valid=geometry.valid_area(self.data.size, fitted.original_size),
            sentences=[self.samples[i].sentence for i in positions],
            samples=[self.offset + i for i in positions],
            target=self.data.frames // 2,
        )


class Backwards(Dataset):
    """Clips whose windows run backwards: the same frames and flow fields, and what came first comes last.

    A flow field keeps its direction, so that each still shows the motion that a sentence names: who tells
    sentences by the motions alone answers as before, and who tells them by their order means another object.
    """

    def __init__(self, clips: Clips):
        self.clips = clips

    def __len__(self) -> int:
        return len(self.clips)

    def __getitem__(self, item: int) -> Clip:
        clip = self.clips[item]
        turned = {"frames": clip.frames.flip(0), "flow": clip.flow.flip(0)}
        return replace(clip, **turned, target=len(clip.frames) - 1 - clip.target)


def _by_frame(samples: AnnotatedVideos, positions: np.ndarray) -> list[list[int]]:
    """Positions of samples that share a frame; frames in the order of their first sample."""
    if not len(positions):
        return []
    of_video, frames = (numbers[positions] for numbers in samples.places())
    _, first, group = np.unique(
        of_video * (frames.max() + 1) + frames, return_index=True, return_inverse=True
    )
    group = np.argsort(np.argsort(first))[group]  # numbered in the order of their first sample
    order = np.argsort(group, kind="stable")
    ends = np.cumsum(np.bincount(group)).tolist()
    ordered = positions[order].tolist()
    return [ordered[start:end] for start, end in pairwise([0, *ends])]


def collate(tokenizer: PreTrainedTokenizerBase, max_words: int) -> Callable[[list[Clip]], Batch]:
    """A collate function for DataLoader: B clips and their N sentences into one Batch."""

    def batch(clips: list[Clip]) -> Batch:
        """Stack clips, and concatenate their sentences; masks are None where the truth is unknown."""
        words, words_mask = encode(tokenizer, [s for clip in clips for s in clip.sentences], max_words)
        counts = torch.tensor([len(clip.samples) for clip in clips])
        masks = [clip.masks for clip in clips if clip.masks is not None]  # of all clips, or of none
        return Batch(
            frames=torch.stack([clip.frames for clip in clips]),
            flow=torch.stack([clip.flow for clip in clips]),
            masks=torch.cat(masks).float() if masks else None,
            valid=torch.stack([clip.valid for clip in clips]),
            words=words,
            words_mask=words_mask,
            clip_of_sentence=torch.repeat_interleave(torch.arange(len(clips)), counts),
            target=clips[0].target,
            samples=[i for clip in clips for i in clip.samples],
            original_sizes=[clip.original_size for clip in clips],
        )

    return batch
