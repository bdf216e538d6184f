"""One encoder a modality: ResNets on frames and on flow, BERT on sentences."""

from __future__ import annotations

import json
from pathlib import Path

import torch
import torchvision
from torch import Tensor, nn
from torchvision.models._utils import IntermediateLayerGetter
from torchvision.models.resnet import BasicBlock, conv1x1
from torchvision.utils import flow_to_image
from transformers import AutoConfig, AutoModel, BertConfig, BertModel, PreTrainedConfig
from transformers.models.auto.modeling_auto import MODEL_FOR_MASKED_LM_MAPPING_NAMES

from mmvs.config import Backbone, Language, resolve
from mmvs.schema import Features

BASIC = ("resnet18", "resnet34")  # of basic blocks, which torchvision cannot dilate
RESNETS = ("resnet", "resnext", "wide_resnet")  # how torchvision's names of them begin
# Settings of a BERT's config.json that say how it runs, not what it is: some fetch code or other weights.
FOREIGN = ("auto_map", "attn_implementation", "experts_implementation", "quantization_config")
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


class ImageEncoder(nn.Module):
    """A ResNet that gives three pyramid levels and the top level of every picture.

    widths   channels of the three levels and of the top
    strides  pixels between neighbouring cells of the same
    dilated  layer4 keeps stride 16, in place of 32; of torchvision's ResNets of bottlenecks, 50 and above
    """

    widths: list[int]
    strides: list[int]

    def __init__(self, backbone: Backbone, channels: int = 3, dilated: bool = False):
        super().__init__()
        if backbone.name == "narrow":
            self.body = _narrow(backbone.widths, channels)
            _, *levels = backbone.widths
            self.widths, self.strides = [*levels, levels[-1]], [2, 4, 8, 8]
        else:
            basic = backbone.name in BASIC
            self.body = _torchvision(backbone, channels, dilated and not basic)
            self.widths = [64, 128, 256, 512] if basic else [256, 512, 1024, 2048]
            self.strides = [4, 8, 16, 16 if dilated and not basic else 32]
        # The same numbers but for rounding; on a CPU, narrow ResNets take 0.6 of the time.
        self.body.to(memory_format=torch.channels_last)

    def encode(self, images: Tensor) -> Features:
        """Encode pictures (F, C, H, W) float, normalised → Features."""
        *levels, top = self.body(images.contiguous(memory_format=torch.channels_last)).values()
        return Features(levels, top)


class AppearanceEncoder(ImageEncoder):
    """ResNet on RGB frames."""

    def __init__(self, backbone: Backbone, dilated: bool = False):
        super().__init__(backbone, dilated=dilated)
        self.register_buffer("mean", 255 * torch.tensor(IMAGENET_MEAN).view(3, 1, 1), persistent=False)
        self.register_buffer("std", 255 * torch.tensor(IMAGENET_STD).view(3, 1, 1), persistent=False)

    def images(self, frames: Tensor) -> Tensor:
        """frames (F, 3, H, W) uint8 RGB → what the ResNet sees of them, (F, 3, H, W) float."""
        return (frames - self.mean) / self.std

    def forward(self, frames: Tensor) -> Features:
        """frames (F, 3, H, W) uint8 RGB → Features."""
        return self.encode(self.images(frames))


class MotionEncoder(ImageEncoder):
    """ResNet on optical flow, raw or rendered as a colour wheel (Baker et al. 2007)."""

    def __init__(self, backbone: Backbone, dilated: bool = False):
        super().__init__(backbone, 3 if backbone.input == "wheel" else 2, dilated)
        self.wheel = backbone.input == "wheel"
        self.flow_scale = backbone.flow_scale
        self.register_buffer("mean", 255 * torch.tensor(IMAGENET_MEAN).view(3, 1, 1), persistent=False)
        self.register_buffer("std", 255 * torch.tensor(IMAGENET_STD).view(3, 1, 1), persistent=False)

    def images(self, flow: Tensor) -> Tensor:
        """flow (F, 2, H, W) float, pixels per frame → what the ResNet sees of it, (F, 2 or 3, H, W) float."""
        if not self.wheel:
            return flow / self.flow_scale
        # frame by frame: the wheel's radius is the largest motion of ITS frame
        images = torch.stack([flow_to_image(one) for one in flow])
        return (images - self.mean) / self.std

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
    """BERT and a projection to the model's width."""

    def __init__(self, language: Language, vocabulary: int, width: int):
        super().__init__()
        self.bert = bert(language, vocabulary)
        self.project = nn.Linear(self.bert.config.hidden_size, width)
        # batch: what all sentences share is taken out, what tells them apart is left.
        norm = {"layer": nn.LayerNorm, "batch": nn.BatchNorm1d}[language.norm]
        self.norm_words, self.norm_sentence = norm(width), norm(width)

    def forward(self, words: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Read the sentences.

        words  (N, L) int64 token ids, [CLS] first
        mask   (N, L) bool, False for padding

        Returns words (N, L, D) and the sentence's summary, their mean, (N, D).
        """
        states = self.bert(input_ids=words, attention_mask=mask.long()).last_hidden_state
        real = self.norm_words(self.project(states[mask]))
        states = real.new_zeros(*states.shape[:2], real.shape[1])
        states[mask] = real
        summary = states.sum(1) / mask.sum(1, keepdim=True)
        return states, self.norm_sentence(summary)


def bert(language: Language, vocabulary: int) -> nn.Module:
    """BERT: pretrained, by its name; untrained, by its config.json; or small, of `vocabulary` pieces."""
    if language.name.endswith(".json"):
        return AutoModel.from_config(_architecture(resolve(language.name)), add_pooling_layer=False)
    if language.name != "small":
        return AutoModel.from_pretrained(_local_or_hub(language.name), add_pooling_layer=False)
    return BertModel(
        BertConfig(
            vocab_size=vocabulary,
            hidden_size=language.width,
            num_hidden_layers=language.layers,
            num_attention_heads=language.heads,
            intermediate_size=2 * language.width,
            max_position_embeddings=language.max_words,
            hidden_dropout_prob=0.0,  # a hundred words leave little to overfit
            attention_probs_dropout_prob=0.0,
            initializer_range=language.width**-0.5,
        ),
        add_pooling_layer=False,
    )


def _architecture(file: Path) -> PreTrainedConfig:
    """BERT's architecture of a config.json, which may have come with a downloaded model."""
    settings = json.loads(file.read_text())
    if settings.get("model_type") not in MODEL_FOR_MASKED_LM_MAPPING_NAMES:
        raise ValueError(f"{file}: model_type '{settings.get('model_type')}' reads no sentences as BERT does")
    foreign = [name for name in settings if name.lstrip("_").startswith(FOREIGN)]
    return AutoConfig.for_model(**{name: settings[name] for name in settings if name not in foreign})


def _narrow(widths: list[int], channels: int) -> nn.Module:
    """A ResNet-10 with the given widths: stem stride 2, levels of stride 2, 4, 8 and a top of stride 8."""
    if len(widths) != 4:
        raise ValueError(f"a narrow backbone has 4 widths (stem, strides 2, 4, 8), not {widths}")
    stem, one, two, three = widths
    body = nn.ModuleDict(
        {
            "stem": nn.Sequential(
                nn.Conv2d(channels, stem, 3, stride=2, padding=1, bias=False),
                nn.BatchNorm2d(stem),
                nn.ReLU(inplace=True),
            ),
            "layer1": _basic_block(stem, one, 1),
            "layer2": _basic_block(one, two, 2),
            "layer3": _basic_block(two, three, 2),
            "layer4": _basic_block(three, three, 1),
        }
    )
    layers = {f"layer{i}": str(i) for i in range(1, 5)}
    return IntermediateLayerGetter(body, layers)


def _basic_block(into: int, out: int, stride: int) -> BasicBlock:
    same = into == out and stride == 1
    shortcut = None if same else nn.Sequential(conv1x1(into, out, stride), nn.BatchNorm2d(out))
    return BasicBlock(into, out, stride, shortcut)


def _torchvision(backbone: Backbone, channels: int, dilated: bool) -> nn.Module:
    """A torchvision ResNet without its head."""
    if not backbone.name.startswith(RESNETS):  # other models of torchvision fetch backbones of their own
        raise ValueError(f"backbone '{backbone.name}': use 'narrow' or a torchvision ResNet")
    file = resolve(backbone.weights) if backbone.weights and Path(backbone.weights).suffix else None
    dilate = {"replace_stride_with_dilation": [False, False, True]} if dilated else {}
    try:
        net = torchvision.models.get_model(
            backbone.name, weights=None if file else backbone.weights, **dilate
        )
    except ValueError as error:
        raise ValueError(
            f"backbone '{backbone.name}': {error}; use 'narrow' or a torchvision ResNet"
        ) from None
    if file:
        if not file.is_file():
            raise FileNotFoundError(
                f"backbone weights {file} do not exist; give a file, a torchvision name or null"
            )
        net.load_state_dict(torch.load(file, weights_only=True, map_location="cpu"))
    if channels != 3:
        net.conv1 = nn.Conv2d(channels, 64, 7, stride=2, padding=3, bias=False)
    return IntermediateLayerGetter(net, {f"layer{i}": str(i) for i in range(1, 5)})


def _local_or_hub(name: str) -> str:
    folder = resolve(name)
    return str(folder) if folder.is_dir() else name
