"""Wires the encoders, the coarse mask, the transformer and the fusion; nothing else."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mmvs.config import Model
from mmvs.model.coarse import CoarseMask
from mmvs.model.encoders import AppearanceEncoder, LanguageEncoder, MotionEncoder, NoMotion
from mmvs.model.fusion import LanguageGuidedFusion, PlainFusion
from mmvs.model.transformer import MultiModalVideoTransformer, NoTransformer
from mmvs.schema import Batch, Features, Prediction


class Segmenter(nn.Module):
    """A clip, its flow and a sentence in; the mask of what the sentence describes out."""

    def __init__(self, model: Model, vocabulary: int):
        super().__init__()
        d, heads, scale = model.width, model.heads, model.mask_scale
        self.appearance = AppearanceEncoder(model.appearance_backbone)
        if model.motion:
            self.motion = MotionEncoder(model.motion_backbone)
        else:
            strides = (
                [2, 4, 8, 8] if model.appearance_backbone.name == "narrow" else _strides(self.appearance)
            )
            self.motion = NoMotion(self.appearance.widths, strides)
        self.language = LanguageEncoder(model.language, vocabulary, d)

        self.appearance_necks = _necks(self.appearance.widths, [*model.level_widths, d])
        self.motion_necks = _necks(self.motion.widths, [*model.level_widths, d])
        self.coarse = CoarseMask(d, heads, scale)
        self.refine = (
            MultiModalVideoTransformer(d, heads, model.layers, model.dropout, scale)
            if model.transformer
            else NoTransformer(d, scale)
        )
        coarser = [*model.level_widths[1:], d]
        self.levels = nn.ModuleList(
            LanguageGuidedFusion(width, above, d, heads)
            if model.language_guided
            else PlainFusion(width, above)
            for width, above in zip(model.level_widths, coarser, strict=True)
        )

    def forward(self, batch: Batch) -> Prediction:
        """Segment every sentence of a batch in its clip's target frame.

        batch  B clips of T frames, N sentences; H and W are free

        Returns a Prediction; its masks are at the input's resolution: (N, H, W).
        """
        size, spread = batch.frames.shape[-2:], batch.clip_of_sentence
        looks = _narrowed(self.appearance(batch.frames, batch.target), self.appearance_necks)
        moves = _narrowed(self.motion(batch.flow, batch.target), self.motion_necks)
        words, sentence = self.language(batch.words, batch.words_mask)

        coarse = self.coarse(looks.top[spread], words, batch.words_mask, sentence)
        refined = self.refine(
            words, batch.words_mask, sentence, coarse.features, moves.top[spread], batch.target
        )

        m0 = _up(coarse.logits[:, batch.target, None], size)
        decoder = m0 + _up(refined.logits, size)
        logits, features = decoder, refined.features
        for fusion, look, move in reversed(list(zip(self.levels, looks.levels, moves.levels, strict=True))):
            features, correction = fusion(
                look[spread], move[spread], words, batch.words_mask, sentence, features
            )
            logits = logits + _up(correction, size)
        return Prediction(
            logits=logits[:, 0],
            coarse=m0[:, 0],
            decoder=decoder[:, 0],
            appearance=refined.appearance,
            motion=refined.motion,
            sentence=sentence,
            attention=coarse.attention[:, batch.target],
        )


def _necks(widths: list[int], wanted: list[int]) -> nn.ModuleList:
    """1 x 1 projections of pyramid levels to the model's widths; run once a clip, whatever the sentences."""
    return nn.ModuleList(
        nn.Sequential(nn.Conv2d(into, out, 1), nn.GroupNorm(1, out))
        for into, out in zip(widths, wanted, strict=True)
    )


def _narrowed(features: Features, necks: nn.ModuleList) -> Features:
    *level_necks, top_neck = necks
    levels = [neck(level) for neck, level in zip(level_necks, features.levels, strict=True)]
    top = top_neck(features.top.flatten(0, 1)).unflatten(0, features.top.shape[:2])
    return Features(levels, top)


def _up(logits: Tensor, size: torch.Size) -> Tensor:
    return F.interpolate(logits, size=size, mode="bilinear", align_corners=False)


def _strides(encoder: AppearanceEncoder) -> list[int]:
    return [4, 8, 16, 32] if encoder.widths[0] == 64 else [4, 8, 16, 16]
