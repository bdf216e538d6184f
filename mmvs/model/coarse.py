"""Stage 1: the coarse mask M0, from appearance and language alone (paper, section 3.2)."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from mmvs.model.attention import MaskHead, grid_code


class Coarse(NamedTuple):
    """What stage 1 hands on."""

    features: Tensor  # (N, T, D, h, w) appearance that has read the sentence
    logits: Tensor  # (N, T, s*h, s*w) M0
    attention: Tensor  # (N, T, L, h, w) sums to 1 over the words


class CoarseMask(nn.Module):
    """Cross-modal attention: every cell looks at the words, and what it finds decides its mask."""

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
        """Find what looks like the sentence, in every frame by itself.

        appearance  (N, T, D, h, w)  top level
        words       (N, L, D)
        words_mask  (N, L) bool
        sentence    (N, D)           summary

        Returns Coarse; its logits are `scale` times finer than h x w.
        """
        n, t, width, h, w = appearance.shape
        cells = appearance.flatten(3).transpose(2, 3)  # (N, T, hw, D)
        code = grid_code(h, w, width, cells.device)
        q = self.query(cells + code).view(n, t, h * w, self.heads, -1)
        k, v = self.key_value(words).view(n, -1, 2, self.heads, width // self.heads).unbind(2)
        scores = torch.einsum("ntcad,nlad->ntacl", q, k) * q.shape[-1] ** -0.5
        weights = scores.masked_fill(~words_mask[:, None, None, None], -torch.inf).softmax(dim=-1)
        found = torch.einsum("ntacl,nlad->ntcad", weights, v).reshape(n, t, h * w, width)
        features = self.norm(cells + self.mix(torch.cat([cells, cells * found], dim=-1)))
        features = features.transpose(2, 3).reshape(n * t, width, h, w)
        logits = self.head(self.around(features), sentence.repeat_interleave(t, dim=0))[:, 0].unflatten(
            0, (n, t)
        )
        attention = weights.mean(2).transpose(2, 3).reshape(n, t, -1, h, w)
        return Coarse(features.unflatten(0, (n, t)), logits, attention)
