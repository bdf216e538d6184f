"""Batch normalisation over the batches of all processes (`training: {shared_norms: true}`).

As torch.nn.SyncBatchNorm, which works on GPUs alone and knows no padding: two processes of two clips
normalise as one of four does.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.modules.batchnorm import _BatchNorm


def share(network: nn.Module) -> None:
    """Let the batch normalisations of a network count what all processes of `torchrun` see.

    Weights and statistics keep their names. What is frozen (in eval mode) stays as it is.
    """
    for norm in (part for part in network.modules() if isinstance(part, _BatchNorm)):
        if isinstance(norm, BatchNormOfWords):
            norm.shared = True
        elif norm.training and type(norm) in (
            nn.BatchNorm1d,
            nn.BatchNorm2d,
        ):  # timm's do more than normalise
            norm.__class__ = SharedBatchNorm


class BatchNormOfWords(nn.BatchNorm1d):
    """Batch normalisation of words of which some are padding: those have no part in its statistics.

    As BatchNorm1d of the real words alone, without gathering them: that would wait for a GPU to count them.
    """

    shared = False  # by all processes

    def forward(self, words: Tensor, mask: Tensor) -> Tensor:
        """words (N, L, D), mask (N, L) bool, False for padding → (N, L, D)."""
        mean, variance = self.running_mean, self.running_var
        if self.training:
            mean, variance = _statistics(self, words, mask[..., None].to(words.dtype), (0, 1), self.shared)
        return (words - mean) * torch.rsqrt(variance + self.eps) * self.weight + self.bias


class SharedBatchNorm(_BatchNorm):
    """What `share` makes of BatchNorm1d and BatchNorm2d."""

    def forward(self, maps: Tensor) -> Tensor:
        """maps (N, C, ...) → the same shape."""
        if not self.training:
            return F.batch_norm(
                maps, self.running_mean, self.running_var, self.weight, self.bias, eps=self.eps
            )
        axes = [axis for axis in range(maps.ndim) if axis != 1]
        real = maps.new_ones(()).expand(maps.shape[0], 1, *maps.shape[2:])
        mean, variance = _statistics(self, maps, real, axes, shared=True)
        mean, scale, bias = (
            one.view(-1, *(1 for _ in axes[1:]))
            for one in (mean, torch.rsqrt(variance + self.eps) * self.weight, self.bias)
        )
        return (maps - mean) * scale + bias


def _statistics(
    norm: _BatchNorm, x: Tensor, real: Tensor, axes: tuple[int, ...] | list[int], shared: bool
) -> tuple[Tensor, Tensor]:
    """Mean and variance of every channel; the running ones move.

    real  1 where x counts, 0 on padding; its axis of channels has length 1
    axes  of x, all but its channels
    """
    total = _over_processes if shared else lambda own: own
    count = total(real.sum())
    mean = total((x * real).sum(axes)) / count
    shape = [1 if axis in axes else -1 for axis in range(x.ndim)]
    variance = total(((x - mean.view(shape)).square() * real).sum(axes)) / count
    with torch.no_grad():
        norm.num_batches_tracked.add_(1)
        kept = norm.running_mean.dtype
        norm.running_mean.lerp_(mean.to(kept), norm.momentum)
        norm.running_var.lerp_((variance * count / (count - 1)).to(kept), norm.momentum)
    return mean, variance


def _over_processes(own: Tensor) -> Tensor:
    """The sum over all processes; gradients flow back to each."""
    from torch.distributed.nn.functional import all_reduce

    return all_reduce(own)
