"""Where the cells of a map lie: eight coordinates a cell, as the published network concatenates them."""

from __future__ import annotations

import torch
from torch import Tensor

CHANNELS = 8


def places(like: Tensor) -> Tensor:
    """Left, top, right, bottom, centre x, centre y of every cell in [-1, 1], then 1 / w and 1 / h.

    like  (..., h, w): the map whose cells are meant

    Returns (8, h, w), computed in double precision, of the map's type and device.
    """
    h, w = like.shape[-2:]
    x, y = (torch.arange(n + 1, dtype=torch.float64, device=like.device) / n * 2 - 1 for n in (w, h))
    left, right = (edge.expand(h, w) for edge in (x[:-1], x[1:]))
    top, bottom = (edge[:, None].expand(h, w) for edge in (y[:-1], y[1:]))
    size = [torch.full_like(left, 1 / n) for n in (w, h)]
    corners = [left, top, right, bottom, (left + right) / 2, (top + bottom) / 2]
    return torch.stack(corners + size).to(like.dtype)
