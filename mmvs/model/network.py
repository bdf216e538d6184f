"""Wires the encoders, the coarse mask, the transformer and the fusion; nothing else."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mmvs.config import Multimodal
from mmvs.model.coarse import CoarseMask
from mmvs.model.encoders import AppearanceEncoder, LanguageEncoder, MotionEncoder, NoPictures
from mmvs.model.fusion import LanguageGuidedFusion, PlainFusion
from mmvs.model.transformer import Encoded, MultiModalVideoTransformer, NoTransformer
from mmvs.schema import Batch, Observed, Prediction, Sentences


class Related(NamedTuple):
    """What N sentences make of T frames, each frame by itself."""

    features: Tensor  # (N, T, D, h, w) appearance, in view of the sentence
    words: Tensor  # (N, T, L, D) Zl
    appearance: Tensor  # (N, T, hw, D) Za
    motion: Tensor  # (N, T, hw, D) Zm


class Network(nn.Module):
    """A clip, its flow and a sentence in; the mask of what the sentence describes out.

    In three steps, so that work is shared wherever it is the same: `observe` frames, `read` sentences,
    `decide` what a sentence means in a window. `forward` takes a Batch through all three.
    """

    def __init__(self, model: Multimodal, vocabulary: int):
        super().__init__()
        d, heads, scale = model.width, model.heads, model.mask_scale
        self.target_only = model.appearance == "target"
        self.appearance, self.motion = _encoders(model)
        self.language = LanguageEncoder(model.language, vocabulary, d)

        self.appearance_necks = _necks(self.appearance.widths, [*model.level_widths, d])
        self.motion_necks = _necks(self.motion.widths, [*model.level_widths, d])
        self.coarse = CoarseMask(d, heads, scale)
        self.refine = (
            MultiModalVideoTransformer(d, heads, model.layers, model.dropout, scale, model.time)
            if model.transformer
            else NoTransformer(d, scale)
        )
        coarser = [*model.level_widths[1:], d]
        separable = model.fusion.convolution == "separable"
        self.levels = nn.ModuleList(
            LanguageGuidedFusion(width, above, d, heads, model.fusion.kernel, separable)
            if model.language_guided
            else PlainFusion(width, above, separable)
            for width, above in zip(model.level_widths, coarser, strict=True)
        )

    def parameter_groups(self) -> dict[str, list[nn.Parameter]]:
        """What has a learning rate of its own: `backbones` and `language`; all else is `rest`."""
        return {
            "backbones": [*self.appearance.parameters(), *self.motion.parameters()],
            "language": list(self.language.bert.parameters()),
        }

    def forward(self, batch: Batch) -> Prediction:
        """Segment every sentence of a batch in its clip's target frame.

        batch  B clips of T frames, N sentences; H and W are free

        Returns a Prediction; its masks are at the input's resolution: (N, H, W).
        """
        clips, frames = batch.frames.shape[:2]
        targets = torch.arange(clips, device=batch.frames.device) * frames + batch.target
        observed = self.observe(batch.frames.flatten(0, 1), batch.flow.flatten(0, 1), targets)
        observed.tops = [top.unflatten(0, (clips, frames)) for top in observed.tops]
        sentences = self.read(batch.words, batch.words_mask)
        return self.decide(observed, sentences, batch.clip_of_sentence, batch.target)

    def observe(
        self, frames: Tensor, flow: Tensor, targets: Tensor | None = None, valid: Tensor | None = None
    ) -> Observed:
        """All that does not depend on language, frame by frame.

        frames   (F, 3, H, W) uint8 RGB
        flow     (F, 2, H, W) float, pixels per frame
        targets  positions of the frames whose fine levels are needed, None for all
        valid    not needed here; see PublishedNetwork.observe

        Returns Observed: tops (F, D, h, w) of appearance and motion; levels of both, fine to coarse.
        """
        streams = [
            (self.appearance(frames), self.appearance_necks),
            (self.motion(flow), self.motion_necks),
        ]
        kept = slice(None) if targets is None else targets
        return Observed(
            tops=[necks[-1](features.top) for features, necks in streams],
            levels=[
                neck(level[kept])
                for features, necks in streams
                for neck, level in zip(necks[:-1], features.levels, strict=True)
            ],
            size=frames.shape[-2:],
        )

    def read(self, words: Tensor, words_mask: Tensor) -> Sentences:
        """Sentences (N, L) of token ids → Sentences; once, whatever the number of frames."""
        return Sentences(*self.language(words, words_mask), words_mask)

    def decide(
        self, observed: Observed, sentences: Sentences, clip_of_sentence: Tensor, target: int
    ) -> Prediction:
        """What each sentence means in its window.

        observed          tops (B, T, D, h, w), levels (B, D_k, h_k, w_k) of the target frames
        sentences         N sentences
        clip_of_sentence  (N,) in [0, B)
        target            position of the target frame in the window

        Returns a Prediction: (N, H, W).
        """
        words, sentence, mask, size = sentences.words, sentences.summary, sentences.mask, observed.size
        appearance, motion = (top[clip_of_sentence] for top in observed.tops)
        if self.target_only:
            appearance = appearance[:, target, None].expand_as(appearance)
        levels = [level[clip_of_sentence] for level in observed.levels]
        coarse = self.coarse(appearance, words, mask, sentence, target)
        refined = self.refine(words, mask, sentence, coarse.features, motion, target)
        m0 = _enlarged(coarse.logits, size)
        decoder = m0 + _enlarged(refined.logits, size)
        return Prediction(
            logits=self._fuse(decoder, refined.features, levels, sentences)[:, 0],
            coarse=m0[:, 0],
            decoder=decoder[:, 0],
            appearance=refined.appearance,
            motion=refined.motion,
            sentence=sentence,
            attention=coarse.attention,
            encoded=refined.encoded,
            words=refined.words,
        )

    def segment(
        self, observed: Observed, sentences: Sentences, clip_of_sentence: Tensor, target: int
    ) -> Tensor:
        """`decide`, for whoever needs the mask logits (N, 1, H, W) alone."""
        return self.decide(observed, sentences, clip_of_sentence, target).logits[:, None]

    @property
    def frame_by_frame(self) -> bool:
        """Is what a sentence makes of a frame the same in every window? Then `relate` serves all of them."""
        return getattr(self.refine, "frame_by_frame", False) and not self.target_only

    def relate(self, tops: list[Tensor], sentences: Sentences) -> Related:
        """What sentences make of frames, each by itself: all that `decide` does before it looks at time.

        tops       of F frames, each (F, D, h, w)
        sentences  N sentences

        Returns Related of N x F. Only where the network is `frame_by_frame`.
        """
        appearance, motion = (top.expand(len(sentences.words), *top.shape) for top in tops)
        features, _ = self.coarse.find(appearance, sentences.words, sentences.mask)
        return Related(features, *self.refine.encode(sentences.words, sentences.mask, features, motion))

    def segment_related(
        self, related: Related, levels: list[Tensor], sentences: Sentences, size: torch.Size, target: int
    ) -> Tensor:
        """`segment`, of windows whose frames are related to their sentences already.

        related    of N windows of T frames
        levels     (N, D_k, h_k, w_k) of their target frames
        sentences  N, one a window
        size       (H, W) of the masks
        target     position of the target frame in the window

        Returns logits (N, 1, H, W).
        """
        features, *encoded = related
        coarse = self.coarse.draw(features[:, target], sentences.summary)
        refined = self.refine.gather(
            Encoded(*encoded), sentences.mask, sentences.summary, target, features.shape[-2:]
        )
        decoder = _enlarged(coarse, size) + _enlarged(refined.logits, size)
        return self._fuse(decoder, refined.features, levels, sentences)

    def _fuse(self, logits: Tensor, features: Tensor, levels: list[Tensor], sentences: Sentences) -> Tensor:
        """Correct mask logits (N, 1, H, W) level by level, from coarse to fine."""
        count, size = len(self.levels), logits.shape[-2:]
        for fusion, appearance, motion in reversed(
            list(zip(self.levels, levels[:count], levels[count:], strict=True))
        ):
            features, correction = fusion(
                appearance, motion, sentences.words, sentences.mask, sentences.summary, features
            )
            logits = logits + _enlarged(correction, size)
        return logits


def _encoders(model: Multimodal) -> tuple[nn.Module, nn.Module]:
    """Of appearance and of motion; where the experiment leaves one out, its trivial twin."""
    if model.appearance == "none":
        motion = MotionEncoder(model.motion_backbone)
        return NoPictures(motion.widths, motion.strides), motion
    appearance = AppearanceEncoder(model.appearance_backbone)
    if not model.motion:
        return appearance, NoPictures(appearance.widths, appearance.strides)
    return appearance, MotionEncoder(model.motion_backbone, strides=appearance.strides)


def _necks(widths: list[int], model_widths: list[int]) -> nn.ModuleList:
    """1 x 1 projections of pyramid levels to the model's widths; run once a clip, whatever the sentences."""
    return nn.ModuleList(
        nn.Sequential(nn.Conv2d(into, out, 1), nn.GroupNorm(1, out))
        for into, out in zip(widths, model_widths, strict=True)
    )


def _enlarged(logits: Tensor, size: torch.Size) -> Tensor:
    return F.interpolate(logits, size=size, mode="bilinear", align_corners=False)
