"""The colour wheel: torchvision's colours of each field by itself, in one pass for all."""

import pytest
import torch
from torchvision.utils import flow_to_image

from mmvs.model.colour_wheel import ColourWheel


def fields(frames: int, height: int, width: int, largest: float) -> torch.Tensor:
    """Noise; the first field stands still, of the second one half does, the third has whole pixels."""
    flow = torch.randn(frames, 2, height, width, generator=torch.Generator().manual_seed(0))
    flow *= largest * torch.linspace(0, 1, frames)[:, None, None, None]
    flow[1:2, :, : height // 2] = 0
    flow[2:3] = flow[2:3].round()
    return flow


@pytest.mark.parametrize("largest", [1e-9, 0.1, 3.0, 1e6])
@pytest.mark.parametrize("size", [(1, 1), (33, 47), (64, 64)])
@pytest.mark.parametrize("frames", [1, 2, 7])
def test_every_field_has_the_colours_that_it_has_by_itself(frames, size, largest):
    flow = fields(frames, *size, largest)
    expected = torch.stack([flow_to_image(field) for field in flow])
    assert torch.equal(ColourWheel()(flow), expected)
    assert torch.equal(ColourWheel()(flow.mT.contiguous().mT), expected), "in any memory format"


def test_directions_have_their_hues():
    """Right is red, left is cyan; what stands still is white; half the speed is half as far from white."""
    flow = torch.tensor([[2.0, 0], [-2, 0], [0, 0], [1, 0]]).T[None, :, None]
    right, left, still, slower = ColourWheel()(flow)[0, :, 0].T.tolist()
    assert still == [255, 255, 255]
    assert right == [255, 0, 0] and left == [0, 209, 255]
    assert slower[0] == 255 and all(abs(s - (255 + r) / 2) <= 1 for s, r in zip(slower, right, strict=True))


def test_the_wheel_is_not_rounded_with_the_weights():
    flow = fields(3, 8, 8, 3.0)
    assert torch.equal(ColourWheel().bfloat16()(flow), ColourWheel()(flow))


def test_it_adds_nothing_to_a_checkpoint():
    assert ColourWheel().state_dict() == {}
