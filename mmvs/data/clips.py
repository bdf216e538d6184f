"""Sample → Clip → Batch: cut the window, fit it to the canvas, augment, collate."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset, get_worker_info
from torchvision.transforms import v2
from transformers import PreTrainedTokenizerBase

from mmvs.config import Data
from mmvs.data import geometry
from mmvs.data.annotated_videos import AnnotatedVideos
from mmvs.data.words import encode, mirror
from mmvs.flow.store import FlowStore
from mmvs.schema import Batch, Clip, Sample


class Clips(Dataset):
    """Clips of a data set: one item an annotated frame, with all sentences asked of it."""

    def __init__(
        self, samples: AnnotatedVideos, flow: FlowStore, data: Data, training: bool = False, seed: int = 0,
        only: Sequence[int] | None = None,
    ):  # fmt: skip
        """samples and flow of the same videos; training: augment, and draw at most `sentences_per_clip`;
        only: positions in `samples` to keep, None for all. DataError: nobody trains without a truth."""
        if training:
            samples.require_truth("training")
        self.samples, self.flow, self.data, self.training = samples, flow, data, training
        self.generator = torch.Generator().manual_seed(seed)
        frames: dict[tuple[str, int], list[int]] = {}
        for i in range(len(samples)) if only is None else only:
            frames.setdefault((samples[i].video_id, samples[i].frame), []).append(i)
        self.positions = list(frames.values())
        self.jitter = v2.ColorJitter(data.jitter, data.jitter, data.jitter / 2) if data.jitter else None
        self._cached: dict[int, Clip] = {}

    def __len__(self) -> int:
        return len(self.positions)

    def __getitem__(self, item: int) -> Clip:
        clip = self._cached.get(item)
        if clip is None:
            clip = self._cut(self.positions[item])
            if self.data.cache and not self._has_random_windows:
                self._cached[item] = clip
        return self._augment(clip) if self.training else clip

    def _cut(self, positions: list[int]) -> Clip:
        """Read the window of these samples, which share video and frame."""
        if self._has_random_windows:
            indices = self._draw_window(self.samples[positions[0]])
            frames = self.samples.frames(positions[0], indices)
        else:
            indices, frames = self.samples.window(positions[0], self.data.frames, self.data.stride)
        return self._fit(frames, indices, self._masks(positions), positions)

    def _masks(self, positions: list[int]) -> Tensor | None:
        """(N, H, W) bool of samples that share a frame; None where the truth is not known."""
        if not self.samples.truth_is_known:
            return None
        masks = self.samples.masks_in_frame(positions[0])
        return torch.stack([torch.from_numpy(masks[self.samples[i].instance_id]) for i in positions])

    @property
    def _has_random_windows(self) -> bool:
        return self.training and self.data.gap > 0

    def _draw_window(self, sample: Sample) -> list[int]:
        """Draw a window whose neighbours are 1 to `gap` frames apart, clamped to the video.

        The authors' code trains on such windows.
        """
        before, last = self.data.frames // 2, self.samples.frame_count(sample.video_id) - 1
        gaps = torch.randint(1, self.data.gap + 1, (self.data.frames - 1,), generator=self.generator)
        places = [*-gaps[:before].flip(0).cumsum(0).flip(0), 0, *gaps[before:].cumsum(0)]
        return [min(max(sample.frame + int(place), 0), last) for place in places]

    def _fit(
        self, frames: np.ndarray, indices: list[int], masks: Tensor | None, positions: list[int]
    ) -> Clip:
        first, data = self.samples[positions[0]], self.data
        original = frames.shape[1:3]
        flow = self.flow.read(first.video_id, self.samples.video_path(first.video_id), indices)
        return Clip(
            frames=geometry.fit_frames(torch.from_numpy(frames).permute(0, 3, 1, 2), data.size),
            flow=geometry.fit_flow(torch.from_numpy(flow), data.size, original),
            masks=None if masks is None else geometry.fit_masks(masks, data.size),
            valid=geometry.valid_area(data.size, original),
            sentences=[self.samples[i].sentence for i in positions],
            samples=positions,
            target=data.frames // 2,
            original_size=original,
        )

    def _augment(self, clip: Clip) -> Clip:
        """Draw sentences; flip picture, flow, mask and words together; jitter colours, never flow."""
        order = torch.randperm(len(clip.samples), generator=self.generator)[: self.data.sentences_per_clip]
        frames, flow, valid, masks = clip.frames, clip.flow, clip.valid, clip.masks[order]
        sentences = [clip.sentences[i] for i in order]
        if torch.rand((), generator=self.generator) < self.data.flip:
            frames, flow, valid, masks = frames.flip(-1), flow.flip(-1), valid.flip(-1), masks.flip(-1)
            flow = flow * flow.new_tensor([-1, 1]).view(2, 1, 1)
            sentences = [mirror(sentence) for sentence in sentences]
        if self.jitter:
            frames = self.jitter(frames)
        return Clip(
            frames,
            flow,
            masks,
            valid,
            sentences,
            [clip.samples[i] for i in order],
            clip.target,
            clip.original_size,
        )


def draw_apart(worker: int) -> None:
    """A worker_init_fn for DataLoader: its processes draw different augmentations, not all the same ones."""
    clips = get_worker_info().dataset
    clips.generator.manual_seed(clips.generator.initial_seed() + 1000 * (worker + 1))


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
