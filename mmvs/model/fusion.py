"""Language-guided feature fusion of one pyramid level."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from mmvs.model.attention import Attention, MaskHead


class LanguageGuidedFusion(nn.Module):
    """Appearance, in view of the sentence, makes dynamic filters; they filter appearance and motion.

    kernel     side k of the filters, odd: every cell has its own, one k x k filter a channel, for both
               streams. With 1, a filter is a gate, and each stream has its own
    separable  the streams are joined by a convolution of each channel, then one of each cell (Chollet 2017,
               arXiv:1610.02357), for an eighth of the work
    """

    def __init__(
        self, width: int, coarser: int, language: int, heads: int, kernel: int, separable: bool = False
    ):
        super().__init__()
        self.kernel = kernel
        self.carry = nn.Conv2d(coarser, width, 1)
        self.read = nn.Linear(language, width)
        self.words = Attention(width, heads)
        self.norm = nn.GroupNorm(1, width)
        # A gate looks around its cell by a convolution, a k x k filter by being one.
        around = 3 if kernel == 1 else 1
        self.filters = nn.Conv2d(width, width * (kernel**2 if kernel > 1 else 2), around, padding=around // 2)
        self.fuse = _joining(width, separable)
        self.head = MaskHead(width, language)

    def forward(
        self,
        appearance: Tensor,
        motion: Tensor,
        words: Tensor,
        words_mask: Tensor,
        sentence: Tensor,
        coarser: Tensor,
    ) -> tuple[Tensor, Tensor]:
        """Fuse one level; the sentence decides, cell by cell, what each stream keeps.

        appearance  (N, D, h, w)    ResNet level, target frame
        motion      (N, D, h, w)    flow-ResNet level, same stride
        words       (N, L, Dl)
        words_mask  (N, L) bool
        sentence    (N, Dl)         summary
        coarser     (N, D', h', w') result of the level above

        Returns features (N, D, h, w) and the level's correction of the mask logits (N, 1, h, w).
        """
        h, w = appearance.shape[-2:]
        above = F.interpolate(self.carry(coarser), size=(h, w), mode="bilinear", align_corners=False)
        appearance = appearance + above
        cells = rearrange(self.norm(appearance), "n d h w -> n (h w) d")
        read = self.words(cells, self.read(words), words_mask)
        read = rearrange(read, "n (h w) d -> n d h w", h=h)
        # Within -1 and 1: on a CPU a hyperbolic tangent takes five times as long, for millions of them.
        filters = F.hardtanh(self.filters(F.relu(appearance + read + appearance * read)))
        streams = torch.stack([appearance, motion], dim=1)
        if self.kernel == 1:
            streams = streams + streams * filters.view_as(streams)
        else:
            streams = streams + Filtering.apply(streams, filters, self.kernel)
        features = self.fuse(streams.flatten(1, 2))
        return features, self.head(features, sentence)


class Filtering(torch.autograd.Function):
    """Filter every cell of every channel by a filter of its own, with zeros around the map.

    Shifted products that add up in place: for 24 sentences and 16 channels of 32 x 32 cells forward and
    backward take 24 ms, 52 as single operations, and 127 by unfold, which copies the maps k*k times.
    """

    @staticmethod
    def forward(ctx: Any, streams: Tensor, filters: Tensor, kernel: int) -> Tensor:
        """Sum over the taps of filter x neighbour, divided by k.

        streams  (N, S, C, h, w)
        filters  (N, k*k*C, h, w)  tap by tap, rows first; of each tap all channels
        kernel   k, odd

        Returns (N, S, C, h, w).
        """
        filters = filters.to(streams.dtype)
        padded = F.pad(streams, 4 * (kernel // 2,))
        out = torch.zeros_like(streams)
        for tap, part in _neighbours(filters, kernel, streams):
            out.addcmul_(tap[:, None], padded[part], value=1 / kernel)
        ctx.save_for_backward(padded, filters)
        ctx.kernel = kernel
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, by_out: Tensor) -> tuple[Tensor, Tensor, None]:
        """The gradients by streams and by filters."""
        padded, filters = ctx.saved_tensors
        by_padded, by_filters = torch.zeros_like(padded), torch.zeros_like(filters)
        of_filters = (_neighbours(maps, ctx.kernel, by_out) for maps in (filters, by_filters))
        for (tap, part), (by_tap, _) in zip(*of_filters, strict=True):
            by_padded[part].addcmul_(tap[:, None], by_out, value=1 / ctx.kernel)
            for of_out, of_stream in zip(by_out.unbind(1), padded[part].unbind(1), strict=True):
                by_tap.addcmul_(of_out, of_stream, value=1 / ctx.kernel)
        edge = ctx.kernel // 2
        h, w = by_out.shape[-2:]
        return by_padded[..., edge : edge + h, edge : edge + w], by_filters, None


def _neighbours(filters: Tensor, kernel: int, streams: Tensor) -> Iterator[tuple[Tensor, tuple]]:
    """Every tap (N, C, h, w) of the filters, with the part of the padded streams that it multiplies."""
    h, w = streams.shape[-2:]
    for place, tap in enumerate(filters.chunk(kernel**2, dim=1)):
        row, column = divmod(place, kernel)
        yield tap, (..., slice(row, row + h), slice(column, column + w))


class PlainFusion(nn.Module):
    """The trivial twin: the streams are concatenated, no word is read (switch `language_guided`)."""

    def __init__(self, width: int, coarser: int, separable: bool = False):
        super().__init__()
        self.carry = nn.Conv2d(coarser, width, 1)
        self.fuse = _joining(width, separable)
        self.head = nn.Conv2d(width, 1, 1)

    def forward(
        self,
        appearance: Tensor,
        motion: Tensor,
        words: Tensor,
        words_mask: Tensor,
        sentence: Tensor,
        coarser: Tensor,
    ) -> tuple[Tensor, Tensor]:
        """Same contract as LanguageGuidedFusion."""
        above = F.interpolate(
            self.carry(coarser), size=appearance.shape[-2:], mode="bilinear", align_corners=False
        )
        features = self.fuse(torch.cat([appearance + above, motion], dim=1))
        return features, self.head(features)


def _joining(width: int, separable: bool) -> nn.Sequential:
    """Two streams of `width` channels, one behind the other, become one."""
    convolutions = (
        [nn.Conv2d(2 * width, 2 * width, 3, padding=1, groups=2 * width), nn.Conv2d(2 * width, width, 1)]
        if separable
        else [nn.Conv2d(2 * width, width, 3, padding=1)]
    )
    return nn.Sequential(*convolutions, nn.GroupNorm(1, width), nn.ReLU(inplace=True))
