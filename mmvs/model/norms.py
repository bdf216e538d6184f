"""Batch normalisation of words, and of what several processes see (`training: {shared_norms: true}`)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.modules.batchnorm import _BatchNorm

from mmvs.config import ConfigError


class BatchNormOfWords(nn.BatchNorm1d):
    """Batch normalisation of words of which some are padding: those have no part in its statistics.

    As BatchNorm1d of the real words alone, without gathering them: that would wait for a GPU to count them.
    """

    shared = False  # True: its statistics are of the words of all processes

    def forward(self, words: Tensor, mask: Tensor) -> Tensor:
        """words (N, L, D), mask (N, L) bool, False for padding → (N, L, D), in single precision or better."""
        exact = _exact(words)
        mean, variance = self.running_mean, self.running_var
        if self.training:
            real = mask[..., None].to(exact.dtype)
            mean, variance = _statistics(self, exact, real, (0, 1), self.shared)
        return (exact - mean) * torch.rsqrt(variance + self.eps) * self.weight + self.bias


def share_norms(network: nn.Module) -> None:
    """Let the batch normalisations of a network count what all processes of `torchrun` see.

    So two processes of two clips normalise as one of four does. Weights and statistics keep their names; what
    is frozen (in eval mode) stays as it is. torch.nn.SyncBatchNorm works on GPUs alone, and knows no padding.
    ConfigError where a normalisation trains that is of another kind than torch's and timm's.
    """
    for name, norm in network.named_modules():
        if not isinstance(norm, _BatchNorm) or not norm.training:
            continue
        if isinstance(norm, BatchNormOfWords):
            norm.shared = True
            continue
        known = type(norm) in (nn.BatchNorm1d, nn.BatchNorm2d) or type(norm).__name__ == "BatchNormAct2d"
        if not (known and norm.affine and norm.track_running_stats and norm.momentum is not None):
            raise ConfigError(
                f"training.shared_norms: {name} is a {type(norm).__name__} that processes cannot share: set "
                "it to false, or freeze the backbone's normalisations (freeze: norm)"
            )
        norm.__class__ = SharedBatchNorm


class SharedBatchNorm(_BatchNorm):
    """What `share_norms` makes of BatchNorm1d, BatchNorm2d and timm's BatchNormAct2d."""

    def forward(self, maps: Tensor) -> Tensor:
        """maps (N, C, ...) → the same shape."""
        if self.training:
            exact, axes = _exact(maps), [axis for axis in range(maps.ndim) if axis != 1]
            mean, variance = _statistics(self, exact, None, axes, shared=True)
            mean, scale, bias = (
                one.view(-1, *(1 for _ in axes[1:]))
                for one in (mean, torch.rsqrt(variance + self.eps) * self.weight, self.bias)
            )
            out = ((exact - mean) * scale + bias).to(maps.dtype)
        else:
            out = F.batch_norm(
                maps, self.running_mean, self.running_var, self.weight, self.bias, eps=self.eps
            )
        return self.act(self.drop(out)) if hasattr(self, "act") else out  # of timm's


def _exact(x: Tensor) -> Tensor:
    """In single precision or better: sums over a batch would be off in half."""
    return x if x.dtype in (torch.float32, torch.float64) else x.float()


def _statistics(
    norm: _BatchNorm, x: Tensor, real: Tensor | None, axes: tuple[int, ...] | list[int], shared: bool
) -> tuple[Tensor, Tensor]:
    """Mean and variance (C,) of every channel; the running ones move.

    real  of the shape of x but for its axis of channels, of length 1: 1 where x counts, 0 on padding; None:
          all of it counts
    axes  of x, all but its channels
    """
    counted = x if real is None else x * real
    count = x.new_tensor(x.numel() // norm.num_features) if real is None else real.sum()
    total = counted.sum(axes)
    if shared:
        together = _SumOfProcesses.apply(torch.cat([total, count[None]]))
        total, count = together[:-1], together[-1]
    mean = total / count
    squares = (x - mean.view([1 if axis in axes else -1 for axis in range(x.ndim)])).square()
    variance = (squares if real is None else squares * real).sum(axes)
    variance = (_SumOfProcesses.apply(variance) if shared else variance) / count
    with torch.no_grad():
        norm.num_batches_tracked.add_(1)
        kept = norm.running_mean.dtype
        norm.running_mean.lerp_(mean.to(kept), norm.momentum)
        norm.running_var.lerp_((variance * count / (count - 1)).to(kept), norm.momentum)
    return mean, variance


class _SumOfProcesses(torch.autograd.Function):
    """The sum over all processes; a gradient is the sum of all processes' gradients."""

    @staticmethod
    def forward(ctx: Any, own: Tensor) -> Tensor:
        """Any shape, the same in all processes."""
        return _summed(own)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        """Of the same shape."""
        return _summed(gradient)


def _summed(own: Tensor) -> Tensor:
    total = own.detach().clone(memory_format=torch.contiguous_format)
    torch.distributed.all_reduce(total)
    return total
