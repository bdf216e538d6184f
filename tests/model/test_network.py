"""Properties of the whole network that hold whatever the weights."""

from dataclasses import replace

import pytest
import tiny
import torch

from mmvs.config import LADDER, Loss
from mmvs.losses import Objective
from mmvs.model.network import Network


@pytest.mark.parametrize("frames", [1, 3, 5])
@pytest.mark.parametrize("size", [(32, 48), (40, 40), (33, 47)])
def test_any_size_and_any_number_of_frames(frames, size):
    batch = tiny.batch(frames=frames, height=size[0], width=size[1])
    prediction = tiny.network()(batch)
    assert prediction.logits.shape == prediction.coarse.shape == prediction.decoder.shape == (4, *size)
    cells = prediction.appearance.shape[-2:]
    assert prediction.motion.shape == prediction.appearance.shape == (4, 16, *cells)
    assert prediction.attention.shape == (4, 7, *cells)
    assert prediction.attention.sum(1).allclose(torch.ones(4, *cells), atol=1e-5)


def test_padding_words_cannot_change_the_output():
    network, batch = tiny.network(), tiny.batch()
    padded = replace(
        batch,
        words=torch.cat([batch.words, torch.full((4, 3), 9)], dim=1),
        words_mask=torch.cat([batch.words_mask, torch.zeros(4, 3, dtype=torch.bool)], dim=1),
    )
    with torch.no_grad():
        assert network(padded).logits.allclose(network(batch).logits, atol=1e-5)
        read = replace(padded, words_mask=torch.ones(4, 10, dtype=torch.bool))
        assert not network(read).logits.allclose(network(batch).logits, atol=1e-4)


def test_batched_equals_single():
    network, batch = tiny.network(), tiny.batch()
    with torch.no_grad():
        together = network(batch).logits
        for n in range(4):
            c = int(batch.clip_of_sentence[n])
            alone = replace(
                batch,
                frames=batch.frames[c : c + 1],
                flow=batch.flow[c : c + 1],
                words=batch.words[n : n + 1],
                words_mask=batch.words_mask[n : n + 1],
                clip_of_sentence=torch.zeros(1, dtype=torch.long),
            )
            assert network(alone).logits[0].allclose(together[n], atol=1e-5)


def test_every_parameter_receives_gradient():
    network, batch = tiny.network().train(), tiny.batch()
    Objective(Loss(), alignment=True)(network(batch), batch)["loss"].backward()
    without = [name for name, p in network.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    assert without == []


@pytest.mark.parametrize("part", ["frames", "flow", "words"])
def test_every_input_matters(part):
    network, batch, other = tiny.network(), tiny.batch(), tiny.batch(seed=1)
    with torch.no_grad():
        changed = network(replace(batch, **{part: getattr(other, part)})).logits
        assert not changed.allclose(network(batch).logits, atol=1e-4)


def test_frames_around_the_target_matter_and_their_order_too():
    network, batch = tiny.network(), tiny.batch()
    reversed_ = replace(batch, frames=batch.frames.flip(1), flow=batch.flow.flip(1))
    repeated = replace(
        batch,
        frames=batch.frames[:, 1:2].expand(-1, 3, -1, -1, -1),
        flow=batch.flow[:, 1:2].expand(-1, 3, -1, -1, -1),
    )
    with torch.no_grad():
        plain = network(batch).logits
        assert not network(reversed_).logits.allclose(plain, atol=1e-5)
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
    batch, seen = tiny.batch(), []
    for rung, switches in LADDER.items():
        network = tiny.network(**switches)
        with torch.no_grad():
            prediction = network(batch)
        terms = Objective(Loss(), switches["alignment"])(prediction, batch)
        assert prediction.logits.shape == (4, 32, 48), rung
        seen.append((sum(p.numel() for p in network.parameters()), len(terms)))
    assert len(set(seen)) == len(LADDER)


def test_without_motion_flow_is_not_seen():
    network, batch = tiny.network(motion=False), tiny.batch()
    with torch.no_grad():
        other = network(replace(batch, flow=batch.flow * 9)).logits
        assert torch.equal(other, network(batch).logits)


def test_without_motion_the_order_of_the_other_frames_is_not_seen():
    """Only flow tells what happens when: of the other frames' appearance an unordered summary is read."""
    network, batch = tiny.network(motion=False), tiny.batch()
    with torch.no_grad():
        backwards = network(replace(batch, frames=batch.frames.flip(1))).logits
        assert backwards.allclose(network(batch).logits, atol=1e-5)


def test_motion_is_asked_about_the_target_frames_appearance_only():
    network, batch, other = tiny.network(), tiny.batch(), tiny.batch(seed=1)
    target, rest = torch.arange(batch.frames.shape[1]) == batch.target, batch.frames.clone()
    rest[:, ~target] = other.frames[:, ~target]
    mine = batch.frames.clone()
    mine[:, target] = other.frames[:, target]
    with torch.no_grad():
        tm = network(batch).motion
        assert network(replace(batch, frames=rest)).motion.allclose(tm, atol=1e-6)
        assert not network(replace(batch, frames=mine)).motion.allclose(tm, atol=1e-4)
        assert not network(replace(batch, words=other.words)).motion.allclose(tm, atol=1e-4)
        assert not network(replace(batch, flow=other.flow)).motion.allclose(tm, atol=1e-4)


@pytest.mark.parametrize("name", ["resnet18", "resnet50"])
def test_torchvision_backbones_and_the_colour_wheel(name):
    backbone = {"name": name, "weights": None}
    for motion in (True, False):
        network = tiny.network(appearance_backbone=backbone, motion_backbone=backbone, motion=motion)
        with torch.no_grad():
            assert network(tiny.batch(clips=1, height=64, width=96)).logits.shape == (2, 64, 96)


def test_overfits_one_batch():
    torch.manual_seed(0)
    network, batch = Network(tiny.model(), tiny.VOCABULARY).train(), tiny.batch(clips=1)
    batch.masks[1] = batch.masks[1].flip(1)  # the sentence alone decides
    objective = Objective(Loss(), alignment=True)
    optimizer = torch.optim.AdamW(network.parameters(), 5e-3)
    for _ in range(60):
        optimizer.zero_grad()
        objective(network(batch), batch)["loss"].backward()
        optimizer.step()
    mask = network(batch).logits > 0
    truth = batch.masks.bool()
    assert ((mask & truth).sum((1, 2)) / (mask | truth).sum((1, 2))).min() > 0.9


def test_width_must_fit_the_heads():
    with pytest.raises(ValueError, match="width 16 must be a multiple of the number of heads 3"):
        tiny.network(heads=3)
