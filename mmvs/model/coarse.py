"""Stage 1: the coarse mask M0, from appearance and language alone."""

from __future__ import annotations

from typing import NamedTuple

import torch
from einops import rearrange
from torch import Tensor, nn

from mmvs.model.attention import MaskHead, grid_code


class Coarse(NamedTuple):
    """What stage 1 hands on."""

    features: Tensor  # (N, T, D, h, w) appearance, in view of the sentence
    logits: Tensor  # (N, 1, s*h, s*w) M0 of the target frame
    attention: Tensor  # (N, L, h, w) of the target frame, sums to 1 over the words


class CoarseMask(nn.Module):
    """Cross-modal attention: every cell attends to the words, and what it gathers decides its mask."""

    def __init__(self, width: int, heads: int, scale: int):
        super().__init__()
        self.heads = heads
        self.query = nn.Linear(width, width)
        self.key_value = nn.Linear(width, 2 * width)
        self.mix = nn.Sequential(
            nn.LayerNorm(2 * width), nn.Linear(2 * width, width), nn.GELU(), nn.Linear(width, width)
        )
        self.norm = nn.LayerNorm(width)
        self.around = nn.Sequential(nn.Conv2d(width, width, 3, padding=1), nn.ReLU(inplace=True))
        self.head = MaskHead(width, width, scale)

    def forward(
        self, appearance: Tensor, words: Tensor, words_mask: Tensor, sentence: Tensor, target: int
    ) -> Coarse:
        """Find what appears as the sentence says, in every frame by itself; draw it in the target frame.

        appearance  (N, T, D, h, w)  top level
        words       (N, L, D)
        words_mask  (N, L) bool
        sentence    (N, D)           summary
        target      position of the annotated frame

        Returns Coarse; its logits are `scale` times finer than h x w.
        """
        features, weights = self.find(appearance, words, words_mask)
        return Coarse(features, self.draw(features[:, target], sentence), weights[:, :, target].mean(1))

    def find(self, appearance: Tensor, words: Tensor, words_mask: Tensor) -> tuple[Tensor, Tensor]:
        """Let every cell of every frame attend to the words; shapes as of `forward`.

        Returns features (N, T, D, h, w), and of each head the attention (N, A, T, L, h, w).
        """
        n, t, width, h, w = appearance.shape
        cells = rearrange(appearance, "n t d h w -> n t (h w) d")
        code = grid_code(h, w, width, cells.device)
        q = rearrange(self.query(cells + code), "n t c (a d) -> n a (t c) d", a=self.heads)
        k, v = rearrange(self.key_value(words), "n l (two a d) -> two n a l d", two=2, a=self.heads)
        scores = q @ k.transpose(2, 3) * q.shape[-1] ** -0.5
        weights = scores.masked_fill(~words_mask[:, None, None], -torch.inf).softmax(dim=-1)
        gathered = rearrange(weights @ v, "n a (t c) d -> n t c (a d)", t=t)
        features = self.norm(cells + self.mix(torch.cat([cells, cells * gathered], dim=-1)))
        features = rearrange(features, "n t (h w) d -> n t d h w", h=h)
        return features, rearrange(weights, "n a (t h w) l -> n a t l h w", t=t, h=h)

    def draw(self, features: Tensor, sentence: Tensor) -> Tensor:
        """Features (N, D, h, w) of one frame and the sentence (N, D) → M0's logits (N, 1, s*h, s*w)."""
        return self.head(self.around(features), sentence)
