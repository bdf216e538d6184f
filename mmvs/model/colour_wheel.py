"""Optical flow as colours (Baker et al. 2007): hue is direction, saturation is speed."""

from __future__ import annotations

import torch
from torch import Tensor, nn

# From red through yellow, green, cyan, blue and magenta back to red: which channel of RGB changes, in how
# many steps. More steps lie where the eye tells more hues apart.
TURNS = ((1, 15), (0, 6), (2, 4), (1, 11), (0, 13), (2, 6))


class ColourWheel(nn.Module):
    """Colours of flow fields, each as torchvision's `flow_to_image` gives it by itself, to the bit.

    That function has one radius for all fields of a batch, and makes its wheel on the CPU at every call. Here
    each field has its own radius, and the number of operations does not grow with the number of fields.
    """

    def __init__(self):
        super().__init__()
        self.register_buffer("hues", _hues(), persistent=False)  # bytes: no `.bfloat16()` rounds them

    @torch.no_grad()
    def forward(self, flow: Tensor) -> Tensor:
        """flow (F, 2, H, W) float32, pixels per frame → (F, 3, H, W) uint8 RGB.

        What stands still is white; the largest motion of a field has full colour.
        """
        radius = _speed(flow).flatten(1).amax(1)[:, None, None, None]
        flow = flow / (radius + torch.finfo(flow.dtype).eps)
        angle = torch.atan2(-flow[:, 1], -flow[:, 0]) / torch.pi  # [-1, 1]
        place = (angle + 1) / 2 * (self.hues.shape[1] - 1)
        before = place.floor()
        share, places = place - before, before.long().flatten()
        one, other = (
            (hues / 255).index_select(1, places).view(3, *share.shape)  # faster on a CPU than hues[:, places]
            for hues in (self.hues, self.hues.roll(-1, dims=1))
        )
        hue = (1 - share) * one + share * other
        return (255 * (1 - _speed(flow) * (1 - hue))).floor().to(torch.uint8).transpose(0, 1)


def _speed(flow: Tensor) -> Tensor:
    """(F, 2, H, W) → (F, H, W)."""
    return flow.pow(2).sum(1).sqrt()


def _hues() -> Tensor:
    """(3, 55) uint8 RGB around the wheel."""
    colour, hues = [255, 0, 0], []
    for channel, steps in TURNS:
        start, end = colour[channel], 255 - colour[channel]
        for step in range(steps):
            part = 255 * step // steps
            colour[channel] = part if start == 0 else start - part
            hues.append(list(colour))
        colour[channel] = end
    return torch.tensor(hues, dtype=torch.uint8).T.contiguous()
