"""The alphabet of shapes, and the records that travel from the data to the loss.

    B   clips in a batch                 T     frames of a clip's window
    N   sentences in a batch, N >= B     L     words (WordPiece tokens) of a sentence
    F   frames or pictures, in any order
    H W pixels                           h w   cells of a feature map
    D   width of the model

Several sentences can speak of one clip. The network computes what does not depend on language once per clip
(B), and spreads it to the sentences (N) through `Batch.clip_of_sentence`.
Pixels count from the top left; flow is (u, v) in pixels per frame, u to the right, v down.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor


@dataclass(frozen=True)
class Sample:
    """One thing to segment: a sentence, and its annotated frame."""

    video_id: str
    frame: int  # 0-based
    instance_id: int
    sentence: str  # lower case, single spaces
    kind: str | None = None  # of the sentence, where the data set records kinds


@dataclass
class Clip:
    """The window around one annotated frame, with the sentences about it; N counts those of this clip."""

    frames: Tensor  # (T, 3, H, W) uint8 RGB on the model's canvas
    flow: Tensor  # (T, 2, H, W) float32, pixels per frame of the canvas
    masks: Tensor | None  # (N, H, W) bool, ground truth in the target frame, on the canvas; None: not known
    valid: Tensor  # (H, W) bool, False on the padding around the picture
    sentences: list[str]  # N
    samples: list[int]  # N positions in the data set
    target: int  # the annotated frame's position in the window
    original_size: tuple[int, int]  # (H, W) of the video


@dataclass
class Batch:
    """B clips and their N sentences, ready for a Network."""

    frames: Tensor  # (B, T, 3, H, W) uint8 RGB
    flow: Tensor  # (B, T, 2, H, W) float32, pixels per frame
    masks: Tensor | None  # (N, H, W) float32 in {0, 1}; None where the truth is not known
    valid: Tensor  # (B, H, W) bool
    words: Tensor  # (N, L) int64 token ids
    words_mask: Tensor  # (N, L) bool, False for padding
    clip_of_sentence: Tensor  # (N,) int64 in [0, B)
    target: int  # position of the annotated frame in the window
    samples: list[int]  # N positions in the data set
    original_sizes: list[tuple[int, int]]  # B (H, W)

    def to(self, device: torch.device | str, non_blocking: bool = False) -> Batch:
        """The batch on a device; `non_blocking` as of a tensor: a copy from pinned memory does not wait."""
        return self._each(lambda tensor: tensor.to(device, non_blocking=non_blocking))

    def pin_memory(self) -> Batch:
        """The batch in page-locked memory: the DataLoader's `pin_memory` calls this."""
        return self._each(Tensor.pin_memory)

    def _each(self, change: Callable[[Tensor], Tensor]) -> Batch:
        values = vars(self).items()
        return replace(self, **{k: change(value) for k, value in values if isinstance(value, Tensor)})


@dataclass
class Features:
    """One modality's feature pyramid of F pictures."""

    levels: list[Tensor]  # fine to coarse: level k is (F, C_k, h_k, w_k)
    top: Tensor  # (F, C, h, w)


@dataclass
class Observed:
    """What a network knows of frames before it reads a sentence: all sentences share it.

    A decision needs the tops of every frame of a window, and the levels of its target frame.
    """

    tops: list[Tensor]  # each (F, C, h, w); (B, T, C, h, w) where windows are cut
    levels: list[Tensor]  # each (F, C_k, h_k, w_k), any number; (B, ...) of the target frames
    size: tuple[int, int]  # (H, W) of the input, and of the masks to come


@dataclass
class Sentences:
    """What a network knows of sentences before it looks at a frame."""

    words: Tensor  # (N, L, D)
    summary: Tensor  # (N, D) of the sentence
    mask: Tensor  # (N, L) bool, False for padding


@dataclass
class Prediction:
    """What a Network returns; the losses and the figures read nothing else."""

    logits: Tensor  # (N, H, W) the mask, stage 2
    coarse: Tensor  # (N, H, W) the coarse mask M0 of the target frame, stage 1
    decoder: Tensor  # (N, H, W) the transformer decoder's share of the mask
    appearance: Tensor  # (N, D, h, w) Ta of the target frame
    motion: Tensor  # (N, D, h, w) Tm of the target frame
    sentence: Tensor  # (N, D) summary of the sentence
    attention: Tensor  # (N, L, h, w) of each cell on each word, sums to 1 over L
    encoded: Tensor  # (N, D, h, w) Za of the target frame
    words: Tensor  # (N, D) mean word of Zl of the target frame

    def probability(self) -> Tensor:
        """(N, H, W) foreground probability."""
        return torch.sigmoid(self.logits.float())


@dataclass
class Example:
    """One sample with everything that a figure shows of it, at the video's own resolution."""

    video_id: str
    frame_index: int  # 0-based
    sentence: str
    kind: str | None
    words: list[str]  # L tokens
    frame: np.ndarray  # (H, W, 3) uint8 RGB
    flow: np.ndarray  # (2, H, W) float32, pixels per frame
    attention: np.ndarray  # (L, h, w) float32, sums to 1 over L
    coarse: np.ndarray  # (H, W) float32, probability of the coarse mask M0
    probability: np.ndarray  # (H, W) float32, of the final mask
    mask: np.ndarray  # (H, W) bool, the final mask
    truth: np.ndarray  # (H, W) bool
    iou: float
