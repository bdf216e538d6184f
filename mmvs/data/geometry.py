"""Fit a picture into the model's square canvas, as published, and bring a prediction back, exactly.

scale = min(size / H, size / W), sizes rounded, centred on zeros (offset = floor of half the rest);
bicubic pictures, nearest masks; flow is resized bilinearly AND its values scale with the picture.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F
from torchvision.transforms.v2 import InterpolationMode
from torchvision.transforms.v2 import functional as T


def placement(height: int, width: int, size: int) -> tuple[int, int, int, int]:
    """Where a picture of height x width lies on the canvas: (top, left, height, width) in pixels."""
    scale = min(size / height, size / width)
    h, w = max(1, round(height * scale)), max(1, round(width * scale))
    return (size - h) // 2, (size - w) // 2, h, w


def fit_frames(frames: Tensor, size: int) -> Tensor:
    """(T, 3, H, W) uint8 → (T, 3, size, size) uint8, black around the picture."""
    return _place(frames, size, lambda x, hw: T.resize(x, hw, InterpolationMode.BICUBIC, antialias=True))


def fit_masks(masks: Tensor, size: int) -> Tensor:
    """(N, H, W) bool → (N, size, size) bool, False around the picture."""
    return _place(
        masks.to(torch.uint8), size, lambda x, hw: T.resize(x, hw, InterpolationMode.NEAREST)
    ).bool()


def fit_flow(flow: Tensor, size: int, original: tuple[int, int]) -> Tensor:
    """(T, 2, h, w) in pixels of its own resolution → (T, 2, size, size) in pixels of the canvas.

    original  (H, W) of the video: what decides where the picture lies; h x w may be any stored resolution.
    """
    top, left, height, width = placement(*original, size)
    stored_h, stored_w = flow.shape[-2:]
    if (stored_h, stored_w) != (height, width):
        flow = F.interpolate(flow, size=(height, width), mode="bilinear", align_corners=False)
        flow = flow * flow.new_tensor([width / stored_w, height / stored_h]).view(2, 1, 1)
    canvas = flow.new_zeros(*flow.shape[:-2], size, size)
    canvas[..., top : top + height, left : left + width] = flow
    return canvas


def valid_area(size: int, original: tuple[int, int]) -> Tensor:
    """(size, size) bool: True where the canvas shows the picture."""
    top, left, height, width = placement(*original, size)
    area = torch.zeros(size, size, dtype=torch.bool)
    area[top : top + height, left : left + width] = True
    return area


def restore(maps: Tensor, original: tuple[int, int]) -> Tensor:
    """Bring maps of the canvas (N, size, size) to the video's (N, H, W): cut the picture out, enlarge it.

    The exact inverse of `placement`. Enlarging the whole canvas and cutting afterwards, as published, rounds
    twice: at 1920 x 1040 a mask comes back 15 pixels beside its object.
    """
    top, left, height, width = placement(*original, maps.shape[-1])
    maps = maps[:, top : top + height, left : left + width]
    if (height, width) == tuple(original):
        return maps
    return F.interpolate(maps[:, None], size=tuple(original), mode="bilinear", align_corners=False)[:, 0]


def _place(pictures: Tensor, size: int, resize) -> Tensor:
    top, left, height, width = placement(*pictures.shape[-2:], size)
    if pictures.shape[-2:] != (height, width):
        pictures = resize(pictures, [height, width])
    canvas = pictures.new_zeros(*pictures.shape[:-2], size, size)
    canvas[..., top : top + height, left : left + width] = pictures
    return canvas
