"""Stage 1: the coarse mask M0, from appearance and language alone (paper, section 3.2)."""

from __future__ import annotations

from typing import NamedTuple

import torch
from einops import rearrange
from torch import Tensor, nn

from mmvs.model.attention import MaskHead, grid_code


class Coarse(NamedTuple):
    """What stage 1 hands on."""

    features: Tensor  # (N, T, D, h, w) appearance, in view of the sentence
    logits: Tensor  # (N, T, s*h, s*w) M0
    attention: Tensor  # (N, T, L, h, w) sums to 1 over the words


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

    def forward(self, appearance: Tensor, words: Tensor, words_mask: Tensor, sentence: Tensor) -> Coarse:
        """Find what appears as the sentence says, in every frame by itself.

        appearance  (N, T, D, h, w)  top level
        words       (N, L, D)
        words_mask  (N, L) bool
        sentence    (N, D)           summary

        Returns Coarse; its logits are `scale` times finer than h x w.
        """
        n, t, width, h, w = appearance.shape
        cells = rearrange(appearance, "n t d h w -> n t (h w) d")
        code = grid_code(h, w, width, cells.device)
        q = rearrange(self.query(cells + code), "n t c (a d) -> n t c a d", a=self.heads)
        k, v = rearrange(self.key_value(words), "n l (two a d) -> two n l a d", two=2, a=self.heads)
        scores = torch.einsum("ntcad,nlad->ntacl", q, k) * q.shape[-1] ** -0.5
        weights = scores.masked_fill(~words_mask[:, None, None, None], -torch.inf).softmax(dim=-1)
        gathered = rearrange(torch.einsum("ntacl,nlad->ntcad", weights, v), "n t c a d -> n t c (a d)")
        features = self.norm(cells + self.mix(torch.cat([cells, cells * gathered], dim=-1)))
        features = rearrange(features, "n t (h w) d -> (n t) d h w", h=h)
        logits = self.head(self.around(features), sentence.repeat_interleave(t, dim=0))
        return Coarse(
            features=rearrange(features, "(n t) d h w -> n t d h w", t=t),
            logits=rearrange(logits, "(n t) 1 h w -> n t h w", t=t),
            attention=rearrange(weights.mean(2), "n t (h w) l -> n t l h w", h=h),
        )
