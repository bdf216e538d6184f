"""Language-guided feature fusion of one pyramid level (paper, section 3.4)."""

from __future__ import annotations

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional as F

from mmvs.model.attention import Attention, MaskHead


class LanguageGuidedFusion(nn.Module):
    """Appearance, in view of the sentence, makes dynamic filters; they gate appearance and motion."""

    def __init__(self, width: int, coarser: int, language: int, heads: int):
        super().__init__()
        self.carry = nn.Conv2d(coarser, width, 1)
        self.read = nn.Linear(language, width)
        self.words = Attention(width, heads)
        self.norm = nn.GroupNorm(1, width)
        self.filters = nn.Conv2d(width, 2 * width, 3, padding=1)
        self.fuse = nn.Sequential(
            nn.Conv2d(2 * width, width, 3, padding=1), nn.GroupNorm(1, width), nn.ReLU(inplace=True)
        )
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
        filters = torch.tanh(self.filters(F.relu(appearance + read + appearance * read)))
        by_appearance, by_motion = filters.chunk(2, dim=1)
        gated = torch.cat([appearance * by_appearance + appearance, motion * by_motion + motion], dim=1)
        features = self.fuse(gated)
        return features, self.head(features, sentence)


class PlainFusion(nn.Module):
    """The trivial twin: the streams are concatenated, no word is read (switch `language_guided`)."""

    def __init__(self, width: int, coarser: int):
        super().__init__()
        self.carry = nn.Conv2d(coarser, width, 1)
        self.fuse = nn.Sequential(
            nn.Conv2d(2 * width, width, 3, padding=1), nn.GroupNorm(1, width), nn.ReLU(inplace=True)
        )
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
