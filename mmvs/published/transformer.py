"""The published video transformer: all modalities of a frame together, then appearance over time."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class PublishedAttention(nn.Module):
    """Multi-head attention without biases."""

    def __init__(self, width: int, heads: int, masked_keys: bool):
        super().__init__()
        if width % heads:
            raise ValueError(f"model width {width} must be a multiple of the number of heads {heads}")
        self.heads, self.masked_keys = heads, masked_keys
        self.query, self.key, self.value, self.out = (nn.Linear(width, width, bias=False) for _ in range(4))

    def forward(self, queries: Tensor, context: Tensor, seen: Tensor | None = None) -> Tensor:
        """Let every query gather what it needs from the context.

        queries  (N, Q, D)
        context  (N, K, D)
        seen     (N, K) bool, False for padding; None: all are seen

        Returns (N, Q, D).
        """
        key = self.key(context)
        if seen is not None and self.masked_keys:
            # Published: the score of a masked key is 1e-9, not minus infinity. A key of zeros has the score
            # 0, which float32 cannot tell from it in a softmax, and attention without a mask is faster.
            key, seen = key * seen[..., None], None
        q, k, v = (self.split(x) for x in (self.query(queries), key, self.value(context)))
        mask = None if seen is None else seen[:, None, None]
        found = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
        return self.out(found.transpose(1, 2).flatten(2))

    def split(self, x: Tensor) -> Tensor:
        """(N, K, D) → (N, heads, K, D / heads)."""
        return x.unflatten(2, (self.heads, -1)).transpose(1, 2)


class PublishedBlock(nn.Module):
    """Attention within each frame, of appearance over the frames, feed-forward; pre-norm, residual."""

    def __init__(self, width: int, heads: int, dropout: float, masked_keys: bool):
        super().__init__()
        self.norm_frame, self.norm_time, self.norm_cells = (nn.LayerNorm(width) for _ in range(3))
        self.frame = PublishedAttention(width, heads, masked_keys)
        self.time = PublishedAttention(width, heads, masked_keys)
        self.feed_forward = nn.Sequential(
            nn.Linear(width, width // 2),
            nn.GELU(),
            nn.Dropout(dropout),
            nn.Linear(width // 2, width),
            nn.Dropout(dropout),
        )

    def forward(self, tokens: Tensor, seen: Tensor, sizes: list[int], frames: int) -> Tensor:
        """One layer, for all tokens of all frames.

        tokens  (N*T, L + 2hw, D)  words, appearance, motion
        seen    (N*T, L + 2hw) bool
        sizes   [L, hw, hw]
        frames  T

        Returns the like of tokens.
        """
        normed = self.norm_frame(tokens)
        words, looks, moves = (tokens + self.frame(normed, normed, seen)).split(sizes, dim=1)
        clip = self.norm_time(looks).unflatten(0, (-1, frames)).flatten(1, 2)  # (N, T * hw, D)
        looks = looks + self.time(clip, clip).view_as(looks)
        tokens = torch.cat([words, looks, moves], dim=1)
        return tokens + self.feed_forward(self.norm_cells(tokens))

    def answer(self, tokens: Tensor, seen: Tensor, sizes: list[int], frames: int, target: int) -> Tensor:
        """The same layer where only the target's appearance is wanted: (N, hw, D). Inputs as in `forward`."""
        normed = self.norm_frame(tokens)
        looks, normed_looks = (x.split(sizes, dim=1)[1] for x in (tokens, normed))
        looks = (looks + self.frame(normed_looks, normed, seen)).unflatten(0, (-1, frames))
        clip = self.norm_time(looks)
        looks = looks[:, target] + self.time(clip[:, target], clip.flatten(1, 2))
        return looks + self.feed_forward(self.norm_cells(looks))

    @torch.no_grad()
    def attention(self, tokens: Tensor, words_mask: Tensor, sizes: list[int]) -> Tensor:
        """How a frame's appearance divides its look at the words: (N, hw, L), sums to 1; for figures only.

        tokens      (N, L + 2hw, D) of one frame a sentence
        words_mask  (N, L) bool
        """
        words, looks, _ = self.norm_frame(tokens).split(sizes, dim=1)
        q, k = self.frame.split(self.frame.query(looks)), self.frame.split(self.frame.key(words))
        scores = torch.einsum("nhcd,nhld->nhcl", q, k) * q.shape[-1] ** -0.5
        return scores.masked_fill(~words_mask[:, None, None], -torch.inf).softmax(-1).mean(1)


class PublishedTransformer(nn.Module):
    """Layers of PublishedBlock; the last one answers for the target frame alone."""

    def __init__(self, width: int, heads: int, layers: int, dropout: float, masked_keys: bool):
        super().__init__()
        self.blocks = nn.ModuleList(PublishedBlock(width, heads, dropout, masked_keys) for _ in range(layers))

    def forward(
        self, words: Tensor, words_mask: Tensor, appearance: Tensor, motion: Tensor, target: int,
        look: bool = True,
    ) -> tuple[Tensor, Tensor | None]:  # fmt: skip
        """Let words, appearance and motion inform each other.

        words       (N, L, D)
        words_mask  (N, L) bool
        appearance  (N, T, D, h, w)
        motion      (N, T, D, h, w)
        target      position of the target frame
        look        also tell how much the answer looks at each word

        Returns its appearance (N, D, h, w), and that look, (N, L, h, w) or None.
        """
        n, frames, _, h, w = appearance.shape
        sizes = [words.shape[1], h * w, h * w]
        looks, moves = (x.flatten(3).transpose(2, 3) for x in (appearance, motion))
        text = words[:, None].expand(-1, frames, -1, -1)
        tokens = torch.cat([text, looks, moves], dim=2).flatten(0, 1)
        seen = torch.cat([words_mask, words_mask.new_ones(n, 2 * h * w)], dim=1).repeat_interleave(frames, 0)
        *first, last = self.blocks
        for block in first:
            tokens = block(tokens, seen, sizes, frames)
        maps = [last.answer(tokens, seen, sizes, frames, target)]
        if look:
            maps.append(last.attention(tokens.unflatten(0, (n, frames))[:, target], words_mask, sizes))
        answer, *attention = (x.transpose(1, 2).unflatten(2, (h, w)) for x in maps)
        return answer, attention[0] if attention else None
