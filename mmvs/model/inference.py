"""Speed for a finished network, put on from outside: outputs differ by rounding only."""

from __future__ import annotations

import copy
from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.fusion import fuse_conv_bn_eval

from mmvs.model.attention import Attention


def matrix_products(device: torch.device, precision: torch.dtype) -> AbstractContextManager:
    """A block in which a network's matrix products have this precision; as it is for float32.

    Halves are faster on devices that have them, and change masks a little (`python -m benchmarks.precision`).
    """
    return nullcontext() if precision == torch.float32 else torch.autocast(device.type, precision)


def ready_for_inference(network: nn.Module) -> nn.Module:
    """A copy whose convolutions hold their batch normalisation, channels last, and on a CPU go to oneDNN.

    network  in eval mode; its attribute `language` is shared, not copied

    The copy's outputs differ by rounding. It is not for training, nor for its weights to be saved.
    """
    shared = network.language
    quick = copy.deepcopy(network, memo={id(shared): shared})
    _fold_normalisation(quick)
    for name, part in quick.named_children():
        if name != "language":
            part.to(memory_format=torch.channels_last)
    return fit_to_cpu(quick)


def fit_to_cpu(network: nn.Module) -> nn.Module:
    """Send a network's matrix products where the CPU is fast; a network on another device stays as it is.

    Matrix products of 1 x 1 convolutions and of tokens go to oneDNN, not to BLAS, and attention is made
    brief. On processors of other makers than the BLAS library's it is twice as fast: for 2,445 tokens of 256
    channels an AMD EPYC of 2025 takes 1.6 ms in place of 3.4. Torch always gives dilated convolutions to
    oneDNN, and dilation does nothing to a kernel of one cell.

    Returns the network, whose weights keep their names; outputs differ by rounding. Its `language` is left
    out: sentences are short.
    """
    if next(network.parameters()).device.type != "cpu":
        return network
    parts = [part for name, part in network.named_children() if name != "language"]
    for layer in (layer for part in parts for layer in part.modules()):
        if isinstance(layer, nn.Conv2d) and layer.kernel_size == (1, 1):
            layer.dilation = (2, 2)
        elif type(layer) is nn.Linear:
            layer.__class__ = Pointwise
        elif type(layer) is Attention:
            layer.__class__ = BriefAttention
    return network


def as_scored(network: nn.Module) -> nn.Module:
    """Apply `fit_to_cpu` to networks marked `fitted_to_cpu`, in training and scoring as well."""
    return fit_to_cpu(network) if getattr(network, "fitted_to_cpu", False) else network


class Pointwise(nn.Linear):
    """A Linear over tokens (B, L, C), as a convolution over a (B, C, L, 1) map with channels last."""

    def forward(self, tokens: Tensor) -> Tensor:
        """(B, L, C) → (B, L, C'); tokens of other shapes, or elsewhere than on a CPU, as any Linear."""
        if tokens.ndim != 3 or tokens.device.type != "cpu":
            return super().forward(tokens)
        maps = tokens.unsqueeze(2).permute(0, 3, 1, 2)
        out = F.conv2d(maps, self.weight[:, :, None, None], self.bias, dilation=2)
        return out.permute(0, 2, 3, 1).squeeze(2)


class BriefAttention(Attention):
    """Attention over some words, or over some frames, where torch's kernels for a CPU are slow.

    On two cores of an AMD EPYC of 2025 a softmax over 15 words takes 21 ms where one over 16 takes 2.4 (6,400
    cells, 8 heads, 4 sentences), and a cell's attention to some frames 5.8 ms where two products take 1.4.
    """

    def gather(self, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None) -> Tensor:
        """As Attention.gather."""
        keys = k.shape[2]
        if keys <= 8 and mask is None:
            return (q @ k.transpose(2, 3) * q.shape[3] ** -0.5).softmax(dim=3) @ v
        if keys < 64 and (missing := -keys % 16):
            mask = k.new_ones(1, 1, 1, keys, dtype=torch.bool) if mask is None else mask
            k, v = (F.pad(x, (0, 0, 0, missing)) for x in (k, v))
            mask = F.pad(mask, (0, missing), value=False)
        return super().gather(q, k, v, mask)


def _fold_normalisation(network: nn.Module) -> None:
    """Every BatchNorm2d that follows a convolution becomes part of it; the activation in timm's stays."""
    for module in network.modules():
        children = list(module.named_children())
        for (name, convolution), (norm_name, norm) in zip(children, children[1:], strict=False):
            if isinstance(convolution, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
                setattr(module, name, fuse_conv_bn_eval(convolution, norm))
                activation = nn.Sequential(norm.drop, norm.act) if hasattr(norm, "act") else nn.Identity()
                setattr(module, norm_name, activation)
