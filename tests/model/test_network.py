"""What the multimodal network alone holds; what every network holds is in tests/contracts."""

from dataclasses import replace

import pytest
import tiny
import torch
from torch.utils.flop_counter import FlopCounterMode

from mmvs.config import LADDER, Loss
from mmvs.losses import Objective
from mmvs.model.backbones import resampled


def test_frames_around_the_target_matter_and_their_order_too():
    network, batch = tiny.network(), tiny.batch()
    backwards = replace(batch, frames=batch.frames.flip(1), flow=batch.flow.flip(1))
    repeated = replace(
        batch,
        frames=batch.frames[:, 1:2].expand(-1, 3, -1, -1, -1),
        flow=batch.flow[:, 1:2].expand(-1, 3, -1, -1, -1),
    )
    with torch.no_grad():
        plain = network(batch).logits
        assert not network(backwards).logits.allclose(plain, atol=1e-5)
        assert not network(repeated).logits.allclose(plain, atol=1e-4)


def test_the_refined_mask_starts_from_the_coarse_one():
    network, batch = tiny.network(), tiny.batch()
    with torch.no_grad():
        before = network(batch)
        network.coarse.head.draw[0].bias += 3
        after = network(batch)
    assert (after.coarse - before.coarse).allclose(torch.full_like(before.coarse, 3.0), atol=1e-4)
    assert (after.logits - before.logits).allclose(torch.full_like(before.logits, 3.0), atol=1e-4)


def test_every_rung_changes_the_network_or_the_loss_never_the_interface():
    batch, sizes = tiny.batch(), []
    for rung, switches in LADDER.items():
        network = tiny.network(**switches)
        with torch.no_grad():
            prediction = network(batch)
        terms = Objective(Loss(), switches["alignment"])(prediction, batch)
        assert prediction.logits.shape == (4, 32, 48), rung
        sizes.append((sum(p.numel() for p in network.parameters()), len(terms)))
    assert len(set(sizes)) == len(LADDER)


def test_without_motion_the_network_ignores_flow():
    network, batch = tiny.network(motion=False), tiny.batch()
    with torch.no_grad():
        other = network(replace(batch, flow=batch.flow * 9)).logits
        assert torch.equal(other, network(batch).logits)


def test_without_motion_the_order_of_the_frames_is_seen_all_the_same():
    """The network without flow sees every frame: what flow adds is measured against that."""
    network, batch = tiny.network(motion=False), tiny.batch()
    with torch.no_grad():
        backwards = network(replace(batch, frames=batch.frames.flip(1))).logits
        assert not backwards.allclose(network(batch).logits, atol=1e-5)


def test_of_the_target_frames_appearance_alone_no_other_frame_matters():
    network, batch, other = tiny.network(appearance="target", motion=False), tiny.batch(), tiny.batch(seed=1)
    is_target = torch.arange(batch.frames.shape[1]) == batch.target
    rest, target = batch.frames.clone(), batch.frames.clone()
    rest[:, ~is_target] = other.frames[:, ~is_target]
    target[:, is_target] = other.frames[:, is_target]
    with torch.no_grad():
        plain = network(batch).logits
        assert network(replace(batch, frames=rest)).logits.allclose(plain, atol=1e-6)
        assert not network(replace(batch, frames=target)).logits.allclose(plain, atol=1e-4)


def test_without_appearance_flow_alone_decides():
    network, batch, other = tiny.network(appearance="none"), tiny.batch(), tiny.batch(seed=1)
    with torch.no_grad():
        plain = network(batch).logits
        assert torch.equal(network(replace(batch, frames=other.frames)).logits, plain)
        assert not network(replace(batch, flow=other.flow)).logits.allclose(plain, atol=1e-4)


def test_a_network_that_sees_nothing_is_refused():
    with pytest.raises(ValueError, match="leave nothing to see"):
        tiny.network(appearance="none", motion=False)


@pytest.mark.parametrize("name", ["resnet18", "resnet50"])
def test_torchvision_backbones_and_the_colour_wheel(name):
    backbone = {"name": name, "weights": None}
    for motion in (True, False):
        network = tiny.network(appearance_backbone=backbone, motion_backbone=backbone, motion=motion)
        with torch.no_grad():
            assert network(tiny.batch(clips=1, height=64, width=96)).logits.shape == (2, 64, 96)


def test_width_must_fit_the_heads():
    with pytest.raises(ValueError, match="width 16 must be a multiple of the number of heads, 3"):
        tiny.network(heads=3)


@torch.no_grad()
@pytest.mark.parametrize("size", [(32, 48), (33, 47)])
def test_a_shrunk_backbone_sees_half_the_picture_and_gives_maps_of_the_same_size(size):
    network, small = tiny.network(), tiny.network(motion_backbone={**tiny.NARROW, "shrink": 2, "input": "uv"})
    small.load_state_dict(network.state_dict())  # the same weights
    flow = torch.randn(2, 2, *size)
    full, shrunk = network.motion(flow), small.motion(flow)
    for one, other in zip([*full.levels, full.top], [*shrunk.levels, shrunk.top], strict=True):
        assert one.shape == other.shape
    if size == (32, 48):  # what shrinks to pixels that are all alike is those
        coarse = torch.randn(2, 2, 16, 24)
        fine = coarse.repeat_interleave(2, 2).repeat_interleave(2, 3)
        expected = resampled(network.motion(coarse).levels[0], small.motion(fine).levels[0].shape[-2:])
        assert torch.allclose(small.motion(fine).levels[0], expected, atol=1e-5)
    with FlopCounterMode(display=False) as counter:
        network.motion(flow)
    work = counter.get_total_flops()
    with FlopCounterMode(display=False) as counter:
        small.motion(flow)
    assert 3 < work / counter.get_total_flops() < 4.5
