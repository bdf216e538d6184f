"""The published loss: derived by hand, and against the plain computation over a map of all pairs."""

import math

import pytest
import torch
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode

from mmvs.config import PublishedLoss
from mmvs.published import objective
from mmvs.published.objective import HALF_PI, PublishedObjective, pair_entropy, tangent
from mmvs.schema import Batch, Prediction

N, K, H, W = 2, 5, 6, 7


def streams() -> list[torch.Tensor]:
    torch.manual_seed(0)
    return [F.normalize(torch.randn(N, K, H, W), dim=1).requires_grad_() for _ in range(2)]


def mask(height: int = H, width: int = W) -> torch.Tensor:
    inside = torch.zeros(N, height, width)
    inside[:, height // 4 : height // 2, width // 4 : width // 2] = 1
    return inside


def plain(appearance, motion, inside, limit):
    cosine = torch.einsum("nki,nkj->nij", appearance.flatten(2), motion.flatten(2)).clamp(-limit, limit)
    cells = inside.flatten(1)
    return F.binary_cross_entropy_with_logits(
        torch.tan(HALF_PI * cosine), (cells[:, :, None] == cells[:, None]).float()
    )


@pytest.mark.parametrize("limit", [1.0, 0.6])
@pytest.mark.parametrize("pairs", [1, 5 * H * W, 10**6])  # one row at a time; a rest of two rows; all at once
def test_value_and_gradient_are_those_of_the_whole_map(monkeypatch, pairs, limit):
    monkeypatch.setattr(objective, "PAIRS", pairs)
    ours, theirs = streams(), streams()
    value, expected = pair_entropy(*ours, mask(), limit), plain(*theirs, mask(), limit)
    assert value.item() == pytest.approx(expected.item(), rel=1e-6)
    (3 * value).backward()
    (3 * expected).backward()
    for one, other in zip(ours, theirs, strict=True):
        assert one.grad.allclose(other.grad, rtol=1e-4, atol=1e-4 * other.grad.abs().max().item())


def test_the_map_of_all_pairs_is_never_held(monkeypatch):
    largest = 0

    class Watch(TorchDispatchMode):
        def __torch_dispatch__(self, operation, types, args=(), kwargs=None):
            nonlocal largest
            output = operation(*args, **(kwargs or {}))
            if isinstance(output, torch.Tensor):
                largest = max(largest, output.untyped_storage().nbytes() // output.element_size())
            return output

    rows = 4
    monkeypatch.setattr(objective, "PAIRS", rows * H * W)
    with Watch():
        pair_entropy(*streams(), mask()).backward()
    assert largest == max(rows * H * W, N * K * H * W)
    largest = 0
    with Watch():
        plain(*streams(), mask(), 1.0).backward()
    assert largest >= (H * W) ** 2


def test_without_gradient_the_value_is_the_same():
    with torch.no_grad():
        alone = pair_entropy(*streams(), mask())
    assert alone.item() == pytest.approx(pair_entropy(*streams(), mask()).item(), rel=1e-7)


def test_only_one_stream_may_want_a_gradient():
    appearance, motion = streams()
    pair_entropy(appearance, motion.detach(), mask()).backward()
    assert appearance.grad.abs().sum() > 0 and motion.grad is None


def test_tangent_is_bounded_by_the_limit():
    cosine = torch.tensor([-1.0, -0.5, 0.0, 0.5, 1.0])
    assert tangent(cosine, 0.5).tolist() == pytest.approx([-1, -1, 0, 1, 1], abs=1e-5)
    assert tangent(cosine, 1.0)[-1] > 1e6, "as published: all but unbounded, and of the right sign"


def prediction(logits, appearance, motion, sentence) -> Prediction:
    attention = torch.zeros(len(logits), 1, 1, 1)
    return Prediction(logits, logits, logits, appearance, motion, sentence, attention, appearance, sentence)


def batch(masks) -> Batch:
    return Batch(None, None, masks, None, None, None, None, 0, [], [])


def test_undecided_costs_ln_2_a_term():
    appearance = torch.zeros(N, K, 4, 5)
    terms = PublishedObjective(PublishedLoss(limit=1), alignment=True)(
        prediction(torch.zeros(N, 16, 20), appearance, appearance, torch.zeros(N, K)), batch(mask(16, 20))
    )
    assert {name: round(t.item(), 5) for name, t in terms.items() if name != "loss"} == dict.fromkeys(
        ("final", "appearance_language", "motion_language", "appearance_motion"), round(math.log(2), 5)
    )
    assert terms["loss"].item() == pytest.approx(4 * math.log(2), abs=1e-5)
    assert set(PublishedObjective(PublishedLoss(limit=1), alignment=False)(
        prediction(torch.zeros(N, 16, 20), appearance, appearance, torch.zeros(N, K)), batch(mask(16, 20))
    )) == {"loss", "final"}  # fmt: skip


def test_a_cell_is_what_its_centre_shows():
    """At stride 4 the published loss reads rows and columns 2, 6, 10, ... of the mask."""
    masks = torch.zeros(1, 16, 16)
    masks[:, 2::4, 2::4] = (torch.rand(1, 4, 4, generator=torch.Generator().manual_seed(0)) > 0.5).float()
    right = (masks[:, 2::4, 2::4] * 2 - 1)[:, None] * torch.ones(1, K, 1, 1) / K**0.5
    sentence = torch.ones(1, K) / K**0.5
    terms = PublishedObjective(PublishedLoss(limit=1), alignment=True)(
        prediction(torch.zeros(1, 16, 16), right, right, sentence), batch(masks)
    )
    assert all(terms[name] < 1e-5 for name in ("appearance_language", "motion_language", "appearance_motion"))
