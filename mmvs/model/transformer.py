"""Stage 2: the multi-modal video transformer (paper, section 3.3)."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from mmvs.model.attention import Block, MaskHead, grid_code, sinusoid


class Refined(NamedTuple):
    """What the transformer says of the target frame."""

    appearance: Tensor  # (N, D, h, w) Ta
    motion: Tensor  # (N, D, h, w) Tm
    features: Tensor  # (N, D, h, w) decoded, where the fusion starts
    logits: Tensor  # (N, 1, s*h, s*w) correction of the coarse mask


class MultiModalVideoTransformer(nn.Module):
    """Multi-modal encoder within a frame, temporal encoder across frames, decoder for the target frame."""

    def __init__(self, width: int, heads: int, layers: int, dropout: float, scale: int):
        super().__init__()
        self.modality = nn.Parameter(0.02 * torch.randn(3, width))  # words, appearance, motion
        self.encoder = nn.ModuleList(Block(width, heads, dropout) for _ in range(layers))
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
        """Let words, looks and motion inform each other, then gather over time.

        words       (N, L, D)
        words_mask  (N, L) bool
        sentence    (N, D)           summary
        appearance  (N, T, D, h, w)  stage 1's features
        motion      (N, T, D, h, w)  top level of the flow-ResNet
        target      position of the annotated frame

        Returns Refined, for the target frame.
        """
        n, t, width, h, w = appearance.shape
        length, cells = words.shape[1], h * w
        place = grid_code(h, w, width, words.device)

        # Time counts from the target frame, so that any number of frames will do; only motion is marked.
        time = sinusoid(torch.arange(t, device=words.device) - target, width)[:, None]
        looks = appearance.flatten(3).transpose(2, 3) + place + self.modality[1]
        moves = motion.flatten(3).transpose(2, 3) + place + self.modality[2] + time
        text = (words + self.modality[0])[:, None].expand(-1, t, -1, -1)
        tokens = torch.cat([text, looks, moves], dim=2).flatten(0, 1)
        seen = self._who_sees_whom(words_mask, cells, t, target).flatten(0, 1)
        for block in self.encoder:
            tokens = block(tokens, tokens, seen)
        zl, za, zm = tokens.unflatten(0, (n, t)).split([length, cells, cells], dim=2)

        # Appearance gathers what is in the clip, frame by frame; where it was is motion's to tell. A cell's
        # motion attends to itself in all frames (divided attention: Bertasius et al. 2021, arXiv:2102.05095):
        # among the T * hw tokens of the clip its own past would have to be found first.
        clip, past = za.mean(2), zm.transpose(1, 2).flatten(0, 1)  # (N, T, D), (N*hw, T, D)
        ta = za[:, target]
        for block in self.temporal_appearance:
            ta = block(ta, clip)
        for block in self.temporal_motion[:-1]:
            past = block(past, past)
        tm = self.temporal_motion[-1](past[:, target, None], past)  # nothing later reads the other frames
        tm = tm[:, 0].unflatten(0, (n, cells))

        context = torch.cat([zl[:, target], ta, tm], dim=1)
        mask = torch.cat([words_mask, words_mask.new_ones(n, 2 * cells)], dim=1)
        refined = self.query(torch.cat([ta, tm], dim=2)) + place
        for block in self.decoder:
            refined = block(refined, context, mask)
        ta, tm, refined = (x.transpose(1, 2).reshape(n, width, h, w) for x in (ta, tm, self.norm(refined)))
        return Refined(ta, tm, refined, self.head(refined, sentence))

    @staticmethod
    def _who_sees_whom(words_mask: Tensor, cells: int, frames: int, target: int) -> Tensor:
        """(N, T, L + 2hw, L + 2hw) bool: nobody sees padding; only the target's motion sees appearance.

        Motion that read appearance in every frame would be a second look at all of them: a network without
        flow then found motion in the differences of its frames, and the switch `motion` did not tell what
        flow adds.
        """
        n, length = words_mask.shape
        keys = torch.cat([words_mask, words_mask.new_ones(n, 2 * cells)], dim=1)
        seen = keys[:, None, None].repeat(1, frames, length + 2 * cells, 1)
        others = torch.arange(frames, device=seen.device) != target
        seen[:, others, length + cells :, length : length + cells] = False
        return seen


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
        return Refined(ta, tm, features, self.head(features, sentence))
