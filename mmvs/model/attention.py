"""Attention blocks and sinusoidal positions: what the coarse mask, the transformer and the fusion share."""

from __future__ import annotations

import math
from functools import lru_cache

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional as F


class Attention(nn.Module):
    """Multi-head attention of queries over a context (Vaswani et al. 2017)."""

    def __init__(self, width: int, heads: int):
        super().__init__()
        if width % heads:
            raise ValueError(f"model width {width} must be a multiple of the number of heads {heads}")
        self.heads = heads
        self.query = nn.Linear(width, width)
        self.key_value = nn.Linear(width, 2 * width)
        self.out = nn.Linear(width, width)

    def forward(self, queries: Tensor, context: Tensor, mask: Tensor | None = None) -> Tensor:
        """Let every query gather what it needs from the context.

        queries  (N, Q, D)
        context  (N, K, D)
        mask     (N, K) or (N, Q, K) bool, False for what no query attends to; None: all are attended to

        Returns (N, Q, D).
        """
        q = rearrange(self.query(queries), "n q (a d) -> n a q d", a=self.heads)
        k, v = rearrange(self.key_value(context), "n k (two a d) -> two n a k d", two=2, a=self.heads)
        if mask is not None:
            mask = mask[:, None, None] if mask.ndim == 2 else mask[:, None]
        return self.out(rearrange(self.gather(q, k, v, mask), "n a q d -> n q (a d)"))

    def gather(self, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None) -> Tensor:
        """Queries (N, A, Q, d) of keys and values (N, A, K, d), A heads → (N, A, Q, d)."""
        return F.scaled_dot_product_attention(q, k, v, attn_mask=mask)


class Block(nn.Module):
    """Pre-norm residual block: self-attention (a switch), attention over a context, feed-forward."""

    def __init__(self, width: int, heads: int, dropout: float, self_attention: bool = False):
        super().__init__()
        self.own = Attention(width, heads) if self_attention else None
        self.norm_own = nn.LayerNorm(width) if self_attention else None
        self.norm_queries = nn.LayerNorm(width)
        self.norm_context = nn.LayerNorm(width)
        self.attention = Attention(width, heads)
        self.feed_forward = nn.Sequential(
            nn.LayerNorm(width), nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width)
        )
        self.dropout = nn.Dropout(dropout)

    def forward(self, queries: Tensor, context: Tensor, mask: Tensor | None = None) -> Tensor:
        """Refine the queries (N, Q, D) by a context (N, K, D); mask as in Attention. Returns (N, Q, D)."""
        if self.own is not None:
            own = self.norm_own(queries)
            queries = queries + self.dropout(self.own(own, own))
        gathered = self.attention(self.norm_queries(queries), self.norm_context(context), mask)
        queries = queries + self.dropout(gathered)
        return queries + self.dropout(self.feed_forward(queries))


def sinusoid(positions: Tensor, width: int) -> Tensor:
    """Sinusoidal code of positions (Vaswani et al. 2017, 3.5): (K,) float → (K, width); width is even."""
    rates = torch.exp(torch.arange(0, width, 2, device=positions.device) * (-math.log(10_000.0) / width))
    angles = positions.float()[:, None] * rates
    return torch.cat([angles.sin(), angles.cos()], dim=1)


def grid_code(h: int, w: int, width: int, device: torch.device) -> Tensor:
    """Code of every cell of an h x w map, half of the width for rows, half for columns: (h*w, width)."""
    if torch.compiler.is_compiling():
        return _grid_code(h, w, width, device)  # what is traced holds no numbers: not to be kept
    return _kept_grid_code(h, w, width, device)


def _grid_code(h: int, w: int, width: int, device: torch.device) -> Tensor:
    rows = sinusoid(torch.arange(h, device=device), width // 2)
    columns = sinusoid(torch.arange(w, device=device), width - width // 2)
    code = torch.cat([rows[:, None].expand(h, w, -1), columns[None].expand(h, w, -1)], dim=2)
    return rearrange(code, "h w d -> (h w) d")


@lru_cache(maxsize=64)
def _kept_grid_code(h: int, w: int, width: int, device: torch.device) -> Tensor:
    with torch.inference_mode(False):  # a training may ask for it next
        return _grid_code(h, w, width, device)


class MaskHead(nn.Module):
    """Mask logits of a feature map, by filters that the sentence makes.

    The sentence weighs the channels (a dynamic 1 x 1 filter, as in the method's fusion), and every cell draws
    its own `scale` x `scale` patch: one logit a cell cannot outline an object of a few cells' size
    (sub-pixel convolution, Shi et al. 2016, arXiv:1609.05158).
    """

    def __init__(self, width: int, language: int, scale: int = 1):
        super().__init__()
        self.filter = nn.Linear(language, width)
        self.draw = nn.Sequential(nn.Conv2d(width, scale * scale, 1), nn.PixelShuffle(scale))

    def forward(self, features: Tensor, sentence: Tensor) -> Tensor:
        """features (N, D, h, w), sentence (N, Dl) → logits (N, 1, scale * h, scale * w)."""
        return self.draw(features * self.filter(sentence)[:, :, None, None])
