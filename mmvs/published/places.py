"""Where the cells of a map lie: eight coordinates a cell, as the published network concatenates them."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

CHANNELS = 8


def places(like: Tensor) -> Tensor:
    """Left, top, right, bottom, centre x, centre y of every cell in [-1, 1], then 1 / w and 1 / h.

    like  (..., h, w): the map whose cells are meant

    Returns (8, h, w) of the map's type and device; NumPy computes them, as not every device has float64.
    """
    h, w = like.shape[-2:]
    x, y = (np.arange(n + 1) / n * 2 - 1 for n in (w, h))
    left, right = (np.broadcast_to(edge, (h, w)) for edge in (x[:-1], x[1:]))
    top, bottom = (np.broadcast_to(edge[:, None], (h, w)) for edge in (y[:-1], y[1:]))
    size = [np.full((h, w), 1 / n) for n in (w, h)]
    corners = [left, top, right, bottom, (left + right) / 2, (top + bottom) / 2]
    return torch.from_numpy(np.stack(corners + size).astype(np.float32)).to(like)
