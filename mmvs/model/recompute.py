"""Layers whose inner maps are computed again in the backward pass, not kept for it (Chen et al. 2016)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.checkpoint import checkpoint


def recomputed(layer: nn.Module, x: Tensor) -> Tensor:
    """layer(x); for the gradient only x is kept, and the layer runs once more in the backward pass."""
    if not torch.is_grad_enabled():
        return layer(x)
    contexts = lambda: (nullcontext(), statistics_kept(layer))  # noqa: E731
    return checkpoint(layer, x, use_reentrant=False, context_fn=contexts)


@contextmanager
def statistics_kept(layer: nn.Module) -> Iterator[None]:
    """Running statistics of batch normalisation do not move: the first run has counted."""
    moving = [
        m for m in layer.modules() if isinstance(m, _BatchNorm) and m.training and m.track_running_stats
    ]
    before = [(norm, norm.momentum, norm.num_batches_tracked.clone()) for norm in moving]
    for norm in moving:
        norm.momentum = 0.0
    try:
        yield
    finally:
        for norm, momentum, counted in before:
            norm.momentum = momentum
            norm.num_batches_tracked.copy_(counted)
