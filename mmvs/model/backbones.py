"""Image encoders by name: each becomes a body that gives three pyramid levels and a top level.

`narrow` is ours, ResNets are torchvision's; timm's and Hugging Face's (AutoBackbone) are imported where they
are asked for.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
import torchvision
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.models._utils import IntermediateLayerGetter
from torchvision.models.resnet import BasicBlock, conv1x1

from mmvs.config import Backbone, resolve
from mmvs.model.architectures import hub_config, hub_place, kept_config, pretrained

BASIC = ("resnet18", "resnet34")  # of basic blocks, which torchvision cannot dilate
RESNETS = ("resnet", "resnext", "wide_resnet")  # how torchvision's names of them begin
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
PLAIN_STRIDES = [4, 8, 16, 16]  # of the pyramid that is made of a backbone of one resolution
FILES = (".safetensors", ".pt", ".pth", ".bin", ".ckpt")  # of weights
REFUSALS = (AssertionError, IndexError, RuntimeError, TypeError, ValueError)  # of pictures of another size


@dataclass
class Body:
    """A backbone without its head, and what is known of it."""

    module: nn.Module  # (F, C, H, W) → dict of three levels, fine to coarse, and the top
    widths: list[int]  # channels of the four
    strides: list[int]  # pixels between neighbouring cells of the four
    mean: tuple[float, ...] = IMAGENET_MEAN  # of the pictures that it was trained on, of values in 0..1
    std: tuple[float, ...] = IMAGENET_STD


class Pyramid(nn.Module):
    """A backbone of timm or Hugging Face, for pictures of any size.

    A picture whose sides are no multiple of the coarsest stride is resized to the next one (a patch of 14
    pixels makes 322 of 320). A backbone that takes one size alone sees all pictures in that size.

    A plain backbone, such as ViT, has one resolution throughout: of its states at a quarter, a half, three
    quarters and the whole of its depth, bilinear resampling makes levels of strides 4, 8, 16 and 16.
    """

    def __init__(self, net: nn.Module, picks: list[int], multiple: int, size: tuple[int, int] | None):
        """picks: which of the net's maps the four are; size: the one that it takes, None for any."""
        super().__init__()
        self.net, self.picks, self.multiple, self.size = net, picks, multiple, size

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """images (F, C, H, W) → four maps, near the strides that the encoder then resamples them to."""
        sides = images.shape[-2:]
        wanted = self.size or tuple(-(-side // self.multiple) * self.multiple for side in sides)
        maps = feature_maps(self.net, resampled(images, wanted))
        return {str(level): maps[pick] for level, pick in enumerate(self.picks, 1)}


NARROW_STEM = "stem.0.weight"  # the first convolution of a narrow backbone


def body(backbone: Backbone, channels: int = 3, dilated: bool = False) -> Body:
    """The backbone of that name.

    channels  of its pictures; pretrained first convolutions are fitted to them
    dilated   the last level of torchvision's ResNets of bottlenecks keeps stride 16, in place of 32

    ValueError on a name that there is not, or on weights that are not of this backbone; FileNotFoundError on
    a missing file; OSError (of the hub) where it cannot be reached.
    """
    source, colon, name = backbone.name.partition(":")
    if backbone.name == "narrow":
        _, *levels = backbone.widths
        return Body(_pretrained_narrow(backbone, channels), [*levels, levels[-1]], [2, 4, 8, 8])
    if colon and source == "timm":
        return _timm(backbone, name, channels)
    if colon and source == "hf":
        return _hugging_face(backbone, name, channels)
    basic = backbone.name in BASIC
    module = _torchvision(backbone, channels, dilated and not basic)
    widths = [64, 128, 256, 512] if basic else [256, 512, 1024, 2048]
    return Body(module, widths, [4, 8, 16, 16 if dilated and not basic else 32])


def resampled(maps: Tensor, size: tuple[int, int]) -> Tensor:
    """maps (F, C, h, w) → (F, C, *size), bilinear; of that size already: the same."""
    if tuple(maps.shape[-2:]) == tuple(size):
        return maps
    return F.interpolate(maps, size=size, mode="bilinear", align_corners=False)


def feature_maps(net: nn.Module, images: Tensor) -> list[Tensor]:
    """All maps of a network of timm or Hugging Face, (F, C, h, w) each."""
    maps = net(images)
    maps = getattr(maps, "feature_maps", maps)
    if getattr(net, "output_fmt", "NCHW") == "NHWC":  # timm's Swin
        return [level.permute(0, 3, 1, 2) for level in maps]
    return list(maps)


def reached(module: nn.Module, channels: int, levels: slice = slice(None)) -> list[nn.Parameter]:
    """Those trained parameters of a body that some of its levels depend on."""
    parameters, training = [p for p in module.parameters() if p.requires_grad], module.training
    with torch.enable_grad(), torch.random.fork_rng(devices=[]):
        outputs = list(module.eval()(torch.randn(1, channels, 64, 96)).values())[levels]
        total = torch.stack([output.mean() for output in outputs]).sum()
        gradients = torch.autograd.grad(total, parameters, allow_unused=True)
    module.train(training)
    return [p for p, gradient in zip(parameters, gradients, strict=True) if gradient is not None]


def _pretrained_narrow(backbone: Backbone, channels: int) -> nn.Module:
    """A narrow backbone, with the weights of a file where there is one, fitted to its channels."""
    module = _narrow(backbone.widths, channels)
    if not backbone.weights:
        return module
    weights = _state_dict(backbone.weights)
    if weights is None:
        raise ValueError(
            f"backbone weights '{backbone.weights}': a narrow backbone has no published weights; give a file "
            "of `mmvs export --backbone`, or null"
        )
    first = weights.get(NARROW_STEM)
    if first is not None and first.shape[1] != channels:
        weights[NARROW_STEM] = _for_channels(first, channels)
    _load(module, weights, backbone)
    return module


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
        raise ValueError(
            f"backbone '{backbone.name}': use 'narrow' or a torchvision ResNet, 'timm:<name>' or 'hf:<id>'"
        )
    weights = _state_dict(backbone.weights)
    dilate = {"replace_stride_with_dilation": [False, False, True]} if dilated else {}
    try:
        net = torchvision.models.get_model(
            backbone.name, weights=None if weights else backbone.weights, **dilate
        )
    except ValueError as error:
        raise ValueError(
            f"backbone '{backbone.name}': {error}; use 'narrow' or a torchvision ResNet"
        ) from None
    if weights:
        _load(net, weights, backbone)
    if channels != 3:
        of_pictures = net.conv1.weight.detach()
        net.conv1 = nn.Conv2d(channels, 64, 7, stride=2, padding=3, bias=False)
        if backbone.weights:
            net.conv1.weight.data = _for_channels(of_pictures, channels)
    return IntermediateLayerGetter(net, {f"layer{i}": str(i) for i in range(1, 5)})


def _timm(backbone: Backbone, name: str, channels: int) -> Body:
    """timm's model of that name, its levels as `features_only` gives them."""
    import timm

    if ":" in name or "/" in name or not timm.is_model(name):  # timm reads folders and hubs by such names
        near = difflib.get_close_matches(name, timm.list_models(), n=3, cutoff=0.5)
        hint = f"did you mean {' or '.join(near)}?" if near else "timm.list_models() lists them"
        raise ValueError(f"backbone 'timm:{name}': timm has no model of this name: {hint}")
    weights = _timm_weights(backbone, name)

    def model(weights: dict[str, Any], **options: Any) -> nn.Module:
        options = {"features_only": True, "in_chans": channels, **options}
        try:
            return timm.create_model(name, **options, **weights, dynamic_img_size=True)
        except TypeError:  # of a model that knows no such setting
            return timm.create_model(name, **options, **weights)

    try:
        info = model({}).feature_info.info
        strides = [level["reduction"] for level in info]
        pyramid = len(info) >= 4 and all(a < b for a, b in zip(strides[-4:], strides[-3:], strict=False))
        depths = range(len(info) - 4, len(info)) if pyramid else _quarters(len(info))
        options = {"out_indices": tuple(sorted(set(depths)))}
        net = model(weights, **options) if not weights else _compared(model, weights, options, backbone)
    except (RuntimeError, KeyError) as error:  # of a tag, of weights that do not fit, of no levels
        raise ValueError(f"backbone 'timm:{name}' with weights {backbone.weights}: {error}") from None
    of = net.pretrained_cfg
    picks = [sorted(set(depths)).index(depth) for depth in depths]
    return _pyramid(
        net,
        picks,
        channels,
        strides[-4:] if pyramid else None,
        multiple=math.ceil(max(strides)),
        own_size=tuple(of["input_size"][1:]),
        mean=tuple(of["mean"]),
        std=tuple(of["std"]),
    )


def _timm_weights(backbone: Backbone, name: str) -> dict[str, Any]:
    """The options of timm.create_model that bring the weights."""
    if not backbone.weights:
        return {}
    if backbone.weights == "DEFAULT":
        return {"pretrained": True}
    if weights := _state_dict(backbone.weights):
        return {"pretrained": True, "pretrained_cfg_overlay": {"state_dict": weights}}
    if "/" in backbone.weights:
        return {"pretrained": True, "pretrained_cfg_overlay": {"hf_hub_id": backbone.weights}}
    return {"pretrained": True, "pretrained_cfg": backbone.weights}  # a tag


def _compared(
    model: Callable[..., nn.Module], weights: dict[str, Any], options: dict[str, Any], backbone: Backbone
) -> nn.Module:
    """A model with weights; ValueError where they left some of it as random as without them.

    timm passes over what does not fit.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        net = model(weights, **options)
        torch.manual_seed(0)
        random = dict(model({}, **options).named_parameters())
    missing = [
        key
        for key, value in net.named_parameters()
        if value.ndim > 1 and value.any() and torch.equal(value, random[key])
    ]
    if missing:
        raise ValueError(_not_of_this(backbone, missing))
    return net


def _hugging_face(backbone: Backbone, name: str, channels: int) -> Body:
    """Hugging Face's AutoBackbone: by hub id, folder or, with random weights, config.json."""
    from transformers import AutoImageProcessor
    from transformers.models.auto.modeling_auto import MODEL_FOR_BACKBONE_MAPPING as CLASSES
    from transformers.models.auto.modeling_auto import MODEL_FOR_BACKBONE_MAPPING_NAMES as NAMES

    known = set(NAMES) - {"timm_backbone"}  # which fetches what it wraps
    architecture = name.endswith(".json")
    config = kept_config(resolve(name), known) if architecture else hub_config(name, known)
    stages = len(config.stage_names) - 1
    depths = _quarters(stages)
    config.out_indices = sorted({depth + 1 for depth in depths})  # 0 is the stem
    kind, weights = CLASSES[type(config)], backbone.weights
    if weights == "DEFAULT" and architecture:
        raise ValueError(f"backbone '{backbone.name}': a config.json brings no weights: give a file, or null")
    if weights:
        state = _state_dict(weights)
        place = None if state else hub_place(name if weights == "DEFAULT" else weights)
        # A backbone has normalisations of its outputs that the classifier of the same weights did without.
        try:
            net = pretrained(kind, config, place, state, unpublished=["hidden_states_norms"])
        except ValueError as error:
            raise ValueError(f"backbone '{backbone.name}' with weights {weights}: {error}") from None
    if channels != 3 or not weights:
        of_pictures = net.state_dict() if weights else {}
        config.num_channels = channels
        net = kind(config)
        net.load_state_dict(
            {
                key: value if value.shape == net.state_dict()[key].shape else _for_channels(value, channels)
                for key, value in of_pictures.items()
            },
            strict=bool(weights),
        )
    mean, std = IMAGENET_MEAN, IMAGENET_STD
    if not architecture:
        try:
            processor = AutoImageProcessor.from_pretrained(hub_place(name))
            mean, std = tuple(processor.image_mean), tuple(processor.image_std)
        except (OSError, ValueError, AttributeError, TypeError):
            pass  # none came with it: ImageNet's, as nearly all have
    picks = [config.out_indices.index(depth + 1) for depth in depths]
    side = getattr(config, "image_size", 224)
    own_size = (side, side) if isinstance(side, int) else tuple(side)
    return _pyramid(net, picks, channels, None, None, own_size, mean, std)


def _pyramid(
    net: nn.Module,
    picks: list[int],
    channels: int,
    strides: list[int] | None,
    multiple: int | None,
    own_size: tuple[int, int],
    mean: tuple[float, ...],
    std: tuple[float, ...],
) -> Body:
    """The body around a network of timm or Hugging Face; what nobody says of it is measured.

    strides   of the four levels; None: as measured, where they grow, else PLAIN_STRIDES
    multiple  what sides of pictures must be a multiple of; None: the coarsest stride measured
    own_size  (H, W) of the pictures that it was made for
    """

    def shapes(height: int, width: int) -> list[torch.Size] | None:
        try:
            with torch.no_grad():
                maps = feature_maps(net, torch.zeros(1, channels, height, width))
        except REFUSALS:
            return None
        return [maps[pick].shape for pick in picks]

    training = net.training
    net.eval()
    size = next((size for size in ((224, 224), own_size) if shapes(*size)), None)
    if size is None:
        raise ValueError(f"{type(net).__name__}: it reads pictures neither of 224 x 224 nor of {own_size}")
    levels = shapes(*size)
    measured = [round(size[0] / shape[2]) for shape in levels]
    if strides is None:
        grows = all(a < b for a, b in zip(measured, measured[1:], strict=False))
        strides = measured if grows else PLAIN_STRIDES
    multiple = multiple or max(measured)
    any_size = shapes(2 * multiple, 3 * multiple)
    net.train(training)
    module = Pyramid(net, picks, multiple, None if any_size else size)
    used = set(reached(module, channels))
    for parameter in net.parameters():
        parameter.requires_grad_(parameter in used)  # what no level needs (a token for masks) is not trained
    return Body(module, [shape[1] for shape in levels], strides, mean, std)


def _quarters(depth: int) -> list[int]:
    """Positions, from 0, at a quarter, a half, three quarters and the whole of a depth."""
    return [-(-depth * part // 4) - 1 for part in (1, 2, 3, 4)]


def _for_channels(weight: Tensor, channels: int) -> Tensor:
    """A convolution of RGB (O, 3, h, w) for other channels: so that its outputs keep their size."""
    repeats = -(-channels // 3)
    return weight.repeat(1, repeats, 1, 1)[:, :channels].clone() * (3 / channels)


def _state_dict(weights: str | None) -> dict[str, Tensor] | None:
    """The weights of a file; None where `weights` is the name of something else."""
    if not weights or not (Path(weights).suffix in FILES or resolve(weights).is_file()):
        return None
    file = resolve(weights)
    if not file.is_file():
        raise FileNotFoundError(
            f"backbone weights {file} do not exist; give a file, a published name or null"
        )
    try:
        if file.suffix == ".safetensors":
            content = safetensors.torch.load_file(file)
        else:
            content = torch.load(file, weights_only=True, map_location="cpu")
    except Exception as error:  # torch and safetensors raise many kinds on what they cannot read
        raise ValueError(f"backbone weights {file} cannot be read: {error}") from None
    for wrapper in ("state_dict", "model"):
        if isinstance(content, dict) and isinstance(content.get(wrapper), dict):
            content = content[wrapper]
    if not isinstance(content, dict) or not all(isinstance(value, Tensor) for value in content.values()):
        raise ValueError(f"backbone weights {file} hold no tensors by name")
    return content


def _load(net: nn.Module, weights: dict[str, Tensor], backbone: Backbone) -> None:
    try:
        net.load_state_dict(weights)
    except RuntimeError as error:
        raise ValueError(f"backbone weights {backbone.weights}: not of '{backbone.name}': {error}") from None


def _not_of_this(backbone: Backbone, missing: list[str]) -> str:
    return (
        f"backbone weights {backbone.weights} are not of '{backbone.name}': nothing fits {len(missing)} of "
        f"its tensors, the first is {missing[0]}"
    )
