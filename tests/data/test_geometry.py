"""The canvas: joint, physical and invertible."""

import pytest
import torch

from mmvs.data import geometry


@pytest.mark.parametrize(
    ("height", "width", "expected"),
    [
        (240, 320, (40, 0, 240, 320)),
        (320, 240, (0, 40, 320, 240)),
        (480, 854, (70, 0, 180, 320)),
        (64, 64, (0, 0, 320, 320)),
    ],
)
def test_fits_and_centres(height, width, expected):
    assert geometry.placement(height, width, 320) == expected


def test_flow_scales_with_the_picture():
    flow = torch.ones(2, 2, 48, 64) * torch.tensor([3.0, -2.0]).view(2, 1, 1)
    canvas = geometry.fit_flow(flow, 128, (48, 64))
    assert canvas.shape == (2, 2, 128, 128)
    assert canvas[0, :, 64, 64].tolist() == pytest.approx([6, -4])  # twice as large: twice the pixels
    assert canvas[0, :, 5, 64].tolist() == [0, 0]  # padding does not move


def test_flow_stored_at_another_resolution_lies_where_the_picture_lies():
    full = geometry.fit_flow(torch.full((1, 2, 48, 64), 2.0), 64, (48, 64))
    half = geometry.fit_flow(torch.full((1, 2, 24, 32), 1.0), 64, (48, 64))
    assert half.allclose(full)


def test_frames_masks_and_valid_area_agree():
    frames = torch.full((1, 3, 48, 64), 200, dtype=torch.uint8)
    masks = torch.ones(1, 48, 64, dtype=torch.bool)
    valid = geometry.valid_area(96, (48, 64))
    assert torch.equal(geometry.fit_masks(masks, 96)[0], valid)
    assert torch.equal(geometry.fit_frames(frames, 96)[0, 0] > 0, valid)
    assert valid.sum() == 72 * 96


@pytest.mark.parametrize("original", [(48, 64), (64, 48), (31, 77), (64, 64), (240, 321)])
def test_restore_undoes_the_fit(original):
    mask = torch.zeros(1, *original, dtype=torch.bool)
    mask[:, original[0] // 4 : original[0] // 2, original[1] // 4 : original[1] // 2] = True
    back = geometry.restore(geometry.fit_masks(mask, 64).float(), original) > 0.5
    assert back.shape == mask.shape
    shared = (back & mask).sum() / (back | mask).sum()
    assert shared > (0.99 if original == (64, 64) else 0.8)


@pytest.mark.parametrize("size", [64, 320])
@pytest.mark.parametrize(
    "original", [(240, 320), (480, 854), (1080, 1920), (1040, 1920), (606, 1080), (800, 300)]
)
def test_a_mask_comes_back_where_it_was(original, size):
    """A ramp along each axis: what is drawn at a place comes back at that place, to a part of a cell."""
    rows, columns = (torch.arange(n) / n for n in original)
    frames = torch.stack([rows[:, None].expand(original), columns.expand(original), torch.zeros(original)])
    canvas = geometry.fit_frames((frames[None] * 255).round().to(torch.uint8), size)[0].float() / 255
    back = geometry.restore(canvas, original)
    cell = max(original) / size  # pixels of the video
    for axis, plane in enumerate((frames[0], frames[1])):
        inner = tuple(slice(int(2 * cell), n - int(2 * cell)) for n in original)
        shift = ((back[axis] - plane) * original[axis])[inner].mean()  # pixels
        assert abs(shift) < 0.25 * cell


def test_same_size_is_left_alone():
    maps = torch.rand(2, 64, 64)
    assert torch.equal(geometry.restore(maps, (64, 64)), maps)
