"""The published video transformer: all modalities of a frame together, then appearance over time."""

from __future__ import annotations

import torch
from einops import rearrange
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

    def forward(self, queries: Tensor, context: Tensor, mask: Tensor | None = None) -> Tensor:
        """Let every query gather what it needs from the context.

        queries  (N, Q, D)
        context  (N, K, D)
        mask     (N, K) bool, False for padding; None: there is none

        Returns (N, Q, D).
        """
        key = self.key(context)
        if mask is not None and self.masked_keys:
            # Published: the score of a masked key is 1e-9, not minus infinity. A key of zeros has the score
            # 0, which float32 cannot tell from it in a softmax, and attention without a mask is faster.
            key, mask = key * mask[..., None], None
        q, k, v = (self.split(x) for x in (self.query(queries), key, self.value(context)))
        mask = None if mask is None else mask[:, None, None]
        gathered = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
        return self.out(rearrange(gathered, "n a q d -> n q (a d)"))

    def split(self, x: Tensor) -> Tensor:
        """(N, K, D) → (N, heads, K, D / heads)."""
        return rearrange(x, "n k (a d) -> n a k d", a=self.heads)


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

    def forward(self, tokens: Tensor, mask: Tensor, sizes: list[int], frames: int) -> Tensor:
        """One layer, for all tokens of all frames.

        tokens  (N*T, L + 2hw, D)  words, appearance, motion
        mask    (N*T, L + 2hw) bool, False for padding
        sizes   [L, hw, hw]
        frames  T

        Returns the like of tokens.
        """
        normed = self.norm_frame(tokens)
        words, appearance, motion = (tokens + self.frame(normed, normed, mask)).split(sizes, dim=1)
        clip = rearrange(self.norm_time(appearance), "(n t) c d -> n (t c) d", t=frames)
        over_time = rearrange(self.time(clip, clip), "n (t c) d -> (n t) c d", t=frames)
        tokens = torch.cat([words, appearance + over_time, motion], dim=1)
        return tokens + self.feed_forward(self.norm_cells(tokens))

    def answer(self, tokens: Tensor, mask: Tensor, sizes: list[int], frames: int, target: int) -> Tensor:
        """The same layer, for the target's appearance alone: (N, hw, D). Inputs as in `forward`."""
        normed = self.norm_frame(tokens)
        appearance, queries = (x.split(sizes, dim=1)[1] for x in (tokens, normed))
        appearance = appearance + self.frame(queries, normed, mask)
        appearance = rearrange(appearance, "(n t) c d -> n t c d", t=frames)
        clip = self.norm_time(appearance)
        appearance = appearance[:, target] + self.time(clip[:, target], clip.flatten(1, 2))
        return appearance + self.feed_forward(self.norm_cells(appearance))

    @torch.no_grad()
    def attention(self, tokens: Tensor, words_mask: Tensor, sizes: list[int]) -> Tensor:
        """How a frame's appearance attends to the words: (N, hw, L), sums to 1 over L; for figures only.

        tokens      (N, L + 2hw, D) of one frame a sentence
        words_mask  (N, L) bool
        """
        words, appearance, _ = self.norm_frame(tokens).split(sizes, dim=1)
        q, k = self.frame.split(self.frame.query(appearance)), self.frame.split(self.frame.key(words))
        scores = torch.einsum("nhcd,nhld->nhcl", q, k) * q.shape[-1] ** -0.5
        return scores.masked_fill(~words_mask[:, None, None], -torch.inf).softmax(-1).mean(1)


class PublishedTransformer(nn.Module):
    """Layers of PublishedBlock; the last one answers for the target frame alone."""

    def __init__(self, width: int, heads: int, layers: int, dropout: float, masked_keys: bool):
        super().__init__()
        self.blocks = nn.ModuleList(PublishedBlock(width, heads, dropout, masked_keys) for _ in range(layers))

    def forward(
        self,
        words: Tensor,
        words_mask: Tensor,
        appearance: Tensor,
        motion: Tensor,
        target: int,
        with_attention: bool = True,
    ) -> tuple[Tensor, Tensor | None]:
        """Let words, appearance and motion inform each other.

        words           (N, L, D)
        words_mask      (N, L) bool
        appearance      (N, T, D, h, w)
        motion          (N, T, D, h, w)
        target          position of the target frame
        with_attention  also return how much its cells attend to each word

        Returns the target's appearance (N, D, h, w), and that attention, (N, L, h, w) or None.
        """
        n, frames, _, h, w = appearance.shape
        sizes = [words.shape[1], h * w, h * w]
        cells = [rearrange(x, "n t d h w -> n t (h w) d") for x in (appearance, motion)]
        text = words[:, None].expand(-1, frames, -1, -1)
        tokens = rearrange(torch.cat([text, *cells], dim=2), "n t k d -> (n t) k d")
        mask = torch.cat([words_mask, words_mask.new_ones(n, 2 * h * w)], dim=1).repeat_interleave(frames, 0)
        *first, last = self.blocks
        for block in first:
            tokens = block(tokens, mask, sizes, frames)
        answer = last.answer(tokens, mask, sizes, frames, target)
        answer = rearrange(answer, "n (h w) d -> n d h w", h=h)
        if not with_attention:
            return answer, None
        tokens = rearrange(tokens, "(n t) k d -> n t k d", t=frames)[:, target]
        attention = last.attention(tokens, words_mask, sizes)
        return answer, rearrange(attention, "n (h w) l -> n l h w", h=h)
