"""One encoder a modality: of frames, of flow, of sentences."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.modules.batchnorm import _BatchNorm

from mmvs.config import Backbone, Language
from mmvs.model.backbones import Pyramid, body, reached, resampled
from mmvs.model.colour_wheel import ColourWheel
from mmvs.model.language import language_model
from mmvs.model.norms import BatchNormOfWords
from mmvs.model.recompute import recomputed
from mmvs.schema import Features


class ImageEncoder(nn.Module):
    """A backbone that gives three pyramid levels and the top level of every picture.

    widths   channels of the three levels and of the top
    strides  pixels between neighbouring cells of the same
    dilated  layer4 keeps stride 16, in place of 32; of torchvision's ResNets of bottlenecks, 50 and above

    recompute  the body's inner maps are not kept for the backward pass, which computes them again
    shrink     pictures are first averaged over so many pixels a side; widths and strides stay

    A level of a picture of H pixels has ceil(H / stride) cells, whatever the backbone. What `freeze` holds
    stays as it is in training: its parameters need no gradient, and its normalisation is in eval mode.
    """

    def __init__(
        self,
        backbone: Backbone,
        channels: int = 3,
        dilated: bool = False,
        strides: list[int] | None = None,
    ):
        """strides: wanted of the levels, which are resampled to them; None: the backbone's own."""
        super().__init__()
        built = body(backbone, channels, dilated)
        self.body, self.widths, self.strides = built.module, built.widths, strides or built.strides
        # Ours and torchvision's were trained with these, and their checkpoints keep none.
        kept = isinstance(self.body, Pyramid)
        self.register_buffer("mean", 255 * torch.tensor(built.mean).view(3, 1, 1), persistent=kept)
        self.register_buffer("std", 255 * torch.tensor(built.std).view(3, 1, 1), persistent=kept)
        self.frozen, self.recompute, self.shrink = backbone.frozen, False, backbone.shrink
        if self.shrink > 1 and getattr(self.body, "size", None):
            raise ValueError(
                f"backbone '{backbone.name}' takes pictures of one size alone, and smaller ones would be "
                "enlarged again: leave shrink out"
            )
        for parameter in self._held(channels):
            parameter.requires_grad_(False)
        self.train()

    def train(self, mode: bool = True) -> ImageEncoder:
        """As of any module; what is frozen stays in eval mode."""
        super().train(mode)
        if self.frozen == "all":
            self.body.eval()
        elif self.frozen != "none":
            for norm in _normalisations(self.body):
                norm.eval()
        return self

    def encode(self, images: Tensor) -> Features:
        """Encode pictures (F, C, H, W) float, normalised → Features."""
        # Channels last: the same but for rounding; on a CPU, narrow ResNets take 0.6 of the time.
        height, width = images.shape[-2:]
        if self.shrink > 1:
            images = F.avg_pool2d(images, self.shrink, ceil_mode=True)
        images = images.contiguous(memory_format=torch.channels_last)
        maps = (recomputed(self.body, images) if self.recompute else self.body(images)).values()
        sizes = [(-(-height // stride), -(-width // stride)) for stride in self.strides]
        # Channels first again: what works cell by cell on both kinds (the fusion's filters) is far slower.
        *levels, top = [resampled(level, size).contiguous() for level, size in zip(maps, sizes, strict=True)]
        return Features(levels, top)

    def _held(self, channels: int) -> list[nn.Parameter]:
        if self.frozen == "none":
            return []
        if self.frozen == "all":
            return list(self.body.parameters())
        held = [parameter for norm in _normalisations(self.body) for parameter in norm.parameters()]
        return held + (reached(self.body, channels, slice(1)) if self.frozen == "stem" else [])


def _normalisations(module: nn.Module) -> list[nn.Module]:
    return [part for part in module.modules() if isinstance(part, _BatchNorm)]


class AppearanceEncoder(ImageEncoder):
    """A backbone on RGB frames."""

    def __init__(self, backbone: Backbone, dilated: bool = False):
        super().__init__(backbone, dilated=dilated)

    def images(self, frames: Tensor) -> Tensor:
        """frames (F, 3, H, W) uint8 RGB → what the backbone sees of them, (F, 3, H, W) float."""
        return (frames - self.mean) / self.std

    def forward(self, frames: Tensor) -> Features:
        """frames (F, 3, H, W) uint8 RGB → Features."""
        return self.encode(self.images(frames))


class MotionEncoder(ImageEncoder):
    """A backbone on optical flow, raw or rendered as a colour wheel (Baker et al. 2007).

    strides  of the levels, so that they lie on those of appearance; None: the backbone's own
    """

    def __init__(self, backbone: Backbone, dilated: bool = False, strides: list[int] | None = None):
        super().__init__(backbone, 3 if backbone.input == "wheel" else 2, dilated, strides)
        self.wheel = ColourWheel() if backbone.input == "wheel" else None
        self.flow_scale = backbone.flow_scale

    def images(self, flow: Tensor) -> Tensor:
        """flow (F, 2, H, W) float, pixels per frame → the backbone's input, (F, 2 or 3, H, W) float."""
        if self.wheel is None:
            return flow / self.flow_scale
        return (self.wheel(flow) - self.mean) / self.std

    def forward(self, flow: Tensor) -> Features:
        """flow (F, 2, H, W) float, pixels per frame → Features."""
        return self.encode(self.images(flow))


class NoPictures(nn.Module):
    """The trivial twin of an image encoder: same shapes, no content (`appearance: none`, `motion: false`)."""

    def __init__(self, widths: list[int], strides: list[int]):
        super().__init__()
        self.widths, self.strides = widths, strides
        self.register_buffer("zero", torch.zeros(1, 1, 1, 1), persistent=False)

    def forward(self, pictures: Tensor) -> Features:
        """pictures (F, C, H, W) of any kind → Features of zeros."""
        frames, _, height, width = pictures.shape
        sizes = [(-(-height // s), -(-width // s)) for s in self.strides]
        zeros = [self.zero.expand(frames, c, *size) for c, size in zip(self.widths, sizes, strict=True)]
        return Features(zeros[:-1], zeros[-1])


class LanguageEncoder(nn.Module):
    """A text encoder, such as BERT, and a projection to the model's width."""

    def __init__(self, language: Language, vocabulary: int, width: int):
        super().__init__()
        self.bert = language_model(language, vocabulary)
        self.frozen = language.frozen
        self.project = nn.Linear(self.bert.config.hidden_size, width)
        # batch: what all sentences share is taken out, what tells them apart is left.
        batch = language.norm == "batch"
        self.norm_words = BatchNormOfWords(width) if batch else nn.LayerNorm(width)
        self.norm_sentence = nn.BatchNorm1d(width) if batch else nn.LayerNorm(width)
        self.train()

    def train(self, mode: bool = True) -> LanguageEncoder:
        """As of any module; a frozen text encoder stays in eval mode."""
        super().train(mode)
        if self.frozen == "all":
            self.bert.eval()
        return self

    def forward(self, words: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Read the sentences.

        words  (N, L) int64 token ids, as the tokenizer begins and ends a sentence
        mask   (N, L) bool, False for padding

        Returns words (N, L, D) and the sentence's summary, their mean, (N, D).
        """
        states = self.project(self.bert(input_ids=words, attention_mask=mask.long()).last_hidden_state)
        of_batch = isinstance(self.norm_words, BatchNormOfWords)
        states = self.norm_words(states, mask) if of_batch else self.norm_words(states)
        states = states * mask[..., None]
        return states, self.norm_sentence(states.sum(1) / mask.sum(1, keepdim=True))
