"""Stage 2: the multi-modal video transformer."""

from __future__ import annotations

from typing import NamedTuple

import torch
from einops import rearrange
from torch import Tensor, nn

from mmvs.model.attention import Block, MaskHead, grid_code, sinusoid


class Refined(NamedTuple):
    """What the transformer hands on of the target frame."""

    encoded: Tensor  # (N, D, h, w) Za
    words: Tensor  # (N, D) mean word of Zl
    appearance: Tensor  # (N, D, h, w) Ta
    motion: Tensor  # (N, D, h, w) Tm
    features: Tensor  # (N, D, h, w) decoded, where the fusion starts
    logits: Tensor  # (N, 1, s*h, s*w) correction of the coarse mask


class Encoded(NamedTuple):
    """What the multi-modal encoder makes of each frame by itself."""

    words: Tensor  # (N, T, L, D) Zl
    appearance: Tensor  # (N, T, hw, D) Za
    motion: Tensor  # (N, T, hw, D) Zm


class MultiModalVideoTransformer(nn.Module):
    """Multi-modal encoder within a frame, temporal encoder across frames, decoder for the target frame.

    time  how a token of the temporal encoder knows its frame: "added", by the sinusoid of its time that is
          added before the multi-modal encoder; "modulated": before the temporal encoder, every channel is
          multiplied by 1 + a linear map of that sinusoid; "multiplied": by both. Attention sums over time:
          what is only added stays hidden there until a feed-forward layer has learned which motion came
          when. With "modulated", the encoder makes the same of a frame in every window that holds it
    """

    def __init__(self, width: int, heads: int, layers: int, dropout: float, scale: int, time: str):
        super().__init__()
        self.modality = nn.Parameter(0.02 * torch.randn(3, width))  # words, appearance, motion
        self.encoder = nn.ModuleList(Block(width, heads, dropout) for _ in range(layers))
        self.frame_by_frame = time == "modulated"
        self.time = nn.Linear(width, width) if time != "added" else None
        self.temporal_appearance = nn.ModuleList(Block(width, heads, dropout) for _ in range(layers))
        self.temporal_motion = nn.ModuleList(Block(width, heads, dropout) for _ in range(layers))
        self.decoder = nn.ModuleList(Block(width, heads, dropout, self_attention=True) for _ in range(layers))
        self.query = nn.Linear(2 * width, width)
        self.norm = nn.LayerNorm(width)
        self.head = MaskHead(width, width, scale)

    def forward(
        self,
        words: Tensor,
        words_mask: Tensor,
        sentence: Tensor,
        appearance: Tensor,
        motion: Tensor,
        target: int,
    ) -> Refined:
        """Let words, appearance and motion of each frame inform each other, then gather over time.

        words       (N, L, D)
        words_mask  (N, L) bool
        sentence    (N, D)           summary
        appearance  (N, T, D, h, w)  stage 1's features
        motion      (N, T, D, h, w)  top level of the flow-ResNet
        target      position of the annotated frame

        Returns Refined, for the target frame.
        """
        encoded = self.encode(words, words_mask, appearance, motion, target)
        return self.gather(encoded, words_mask, sentence, target, appearance.shape[-2:])

    def encode(
        self, words: Tensor, words_mask: Tensor, appearance: Tensor, motion: Tensor, target: int = 0
    ) -> Encoded:
        """Let words, appearance and motion of each frame inform each other; shapes as of `forward`.

        target  not read where the network is `frame_by_frame`: then T may be any frames, in any order
        """
        n, t, width, h, w = appearance.shape
        length, cells = words.shape[1], h * w
        code = grid_code(h, w, width, words.device)
        if not self.frame_by_frame:
            code = code + self._times(t, target, words)
        appearance = rearrange(appearance, "n t d h w -> n t (h w) d") + (code + self.modality[1])
        motion = rearrange(motion, "n t d h w -> n t (h w) d") + (code + self.modality[2])
        text = (words + self.modality[0])[:, None].expand(-1, t, -1, -1)
        tokens = rearrange(torch.cat([text, appearance, motion], dim=2), "n t k d -> (n t) k d")
        mask = torch.cat([words_mask, words_mask.new_ones(n, 2 * cells)], dim=1)
        for block in self.encoder:
            tokens = block(tokens, tokens, mask.repeat_interleave(t, dim=0))
        tokens = rearrange(tokens, "(n t) k d -> n t k d", t=t)
        return Encoded(*tokens.split([length, cells, cells], dim=2))

    def gather(
        self, encoded: Encoded, words_mask: Tensor, sentence: Tensor, target: int, size: tuple[int, int]
    ) -> Refined:
        """Gather the encoded frames over time, and decode the target frame.

        words_mask, sentence, target  as of `forward`
        size                          (h, w)
        """
        (zl, za, zm), (h, w) = encoded, size
        width = za.shape[-1]
        place = grid_code(h, w, width, za.device)

        # A cell attends to itself at all times (divided attention: Bertasius et al. 2021, arXiv:2102.05095):
        # among the T * hw tokens of the clip its own past would have to be found first.
        code = 1 if self.time is None else 1 + self.time(self._times(za.shape[1], target, za))
        ta = _over_time(self.temporal_appearance, za * code, target)
        tm = _over_time(self.temporal_motion, zm * code, target)

        context = torch.cat([zl[:, target], ta, tm], dim=1)
        mask = torch.cat([words_mask, words_mask.new_ones(len(ta), 2 * h * w)], dim=1)
        refined = self.query(torch.cat([ta, tm], dim=2)) + place
        for block in self.decoder:
            refined = block(refined, context, mask)
        maps = (za[:, target], ta, tm, self.norm(refined))
        za, ta, tm, refined = (rearrange(x, "n (h w) d -> n d h w", h=h) for x in maps)
        logits = self.head(refined, sentence)
        return Refined(za, mean_word(zl[:, target], words_mask), ta, tm, refined, logits)

    @staticmethod
    def _times(t: int, target: int, like: Tensor) -> Tensor:
        """(T, 1, D): time counts from the target frame, so that any number of frames will do."""
        return sinusoid(torch.arange(t, device=like.device) - target, like.shape[-1])[:, None]


def _over_time(blocks: nn.ModuleList, frames: Tensor, target: int) -> Tensor:
    """(N, T, hw, D) → (N, hw, D) of the target frame."""
    cells = frames.shape[2]
    cell = rearrange(frames, "n t c d -> (n c) t d")
    for i, block in enumerate(blocks):
        cell = block(cell if i + 1 < len(blocks) else cell[:, target, None], cell)
    return rearrange(cell, "(n c) 1 d -> n c d", c=cells)


def mean_word(words: Tensor, mask: Tensor) -> Tensor:
    """(N, L, D) and (N, L) bool → (N, D)."""
    return (words * mask[..., None]).sum(1) / mask.sum(1, keepdim=True)


class NoTransformer(nn.Module):
    """The trivial twin: the target frame's streams, added (switch `transformer`)."""

    def __init__(self, width: int, scale: int):
        super().__init__()
        self.add = nn.Sequential(nn.Conv2d(2 * width, width, 3, padding=1), nn.ReLU(inplace=True))
        self.head = MaskHead(width, width, scale)

    def forward(
        self,
        words: Tensor,
        words_mask: Tensor,
        sentence: Tensor,
        appearance: Tensor,
        motion: Tensor,
        target: int,
    ) -> Refined:
        """Same contract as MultiModalVideoTransformer; of language, only the summary is read here."""
        ta, tm = appearance[:, target], motion[:, target]
        features = self.add(torch.cat([ta, tm], dim=1))
        logits = self.head(features, sentence)
        return Refined(ta, mean_word(words, words_mask), ta, tm, features, logits)
