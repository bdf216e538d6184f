"""Values and gradients of the losses that can be derived by hand."""

import math

import pytest
import torch
from torch.nn import functional as F

from mmvs.config import Loss
from mmvs.losses import (
    Judgement,
    Objective,
    cross_modal_loss,
    segmentation_loss,
    symmetric_kl,
    temporal_loss,
)
from mmvs.schema import Batch, Prediction

N, D, H = 4, 6, 8


def batch_of(masks: torch.Tensor, words: torch.Tensor | None = None) -> Batch:
    n, height, width = masks.shape
    return Batch(
        frames=torch.zeros(n, 1, 3, height, width, dtype=torch.uint8),
        flow=torch.zeros(n, 1, 2, height, width),
        masks=masks,
        valid=torch.ones(n, height, width, dtype=torch.bool),
        words=torch.arange(n)[:, None] if words is None else words,
        words_mask=torch.ones(n, 1, dtype=torch.bool),
        clip_of_sentence=torch.arange(n),
        target=0,
        samples=list(range(n)),
        original_sizes=[(height, width)] * n,
    )


def prediction_of(logits, appearance, motion, sentence) -> Prediction:
    attention = torch.zeros(len(logits), 1, 1, 1)
    maps = appearance, motion, sentence, attention, appearance, sentence
    return Prediction(logits, logits, logits, *maps)


def alignment_loss(prediction, batch, form, temperature) -> tuple[torch.Tensor, torch.Tensor]:
    judgement = Judgement(prediction, batch, Loss(form=form, temperature=temperature))
    return cross_modal_loss(judgement), temporal_loss(judgement)


@pytest.fixture
def masks() -> torch.Tensor:
    masks = torch.zeros(N, H, H)
    for n in range(N):
        masks[n, 2 * (n // 2) * 2 : 2 * (n // 2) * 2 + 4, (n % 2) * 4 : (n % 2) * 4 + 4] = 1
    return masks


def test_undecided_mask_costs_ln_2_plus_dice(masks):
    # a quarter of the picture is object: Dice of a map of one half is 1 - (2*8 + 1) / (32 + 16 + 1)
    loss = segmentation_loss(torch.zeros(N, H, H), masks, torch.ones_like(masks))
    assert loss.item() == pytest.approx(math.log(2) + 1 - 17 / 49, abs=1e-6)


def test_perfect_mask_costs_nothing_and_padding_does_not_count(masks):
    valid = torch.ones_like(masks)
    valid[:, :, -1] = 0
    right = (masks * 2 - 1) * 50
    wrong_on_padding = right.clone()
    wrong_on_padding[:, :, -1] *= -1
    masks = masks * valid
    assert segmentation_loss(wrong_on_padding, masks, valid).item() == pytest.approx(0, abs=1e-5)
    assert segmentation_loss(wrong_on_padding, masks, torch.ones_like(valid)).item() > 1


def test_symmetric_kl_by_hand():
    p = torch.tensor([[0.25, 0.75]]).log()
    q = torch.tensor([[0.5, 0.5]]).log()
    by_hand = 0.5 * (0.25 * math.log(0.5) + 0.75 * math.log(1.5) + 0.5 * math.log(2) + 0.5 * math.log(2 / 3))
    assert symmetric_kl(p, q).item() == pytest.approx(by_hand, abs=1e-6)
    assert symmetric_kl(p, q) == symmetric_kl(q, p)
    assert symmetric_kl(p, p + 3).item() == pytest.approx(0, abs=1e-7)


def test_cosine_form_is_zero_for_constant_features_and_contrastive_is_not(masks):
    constant = torch.ones(N, D, 4, 4)
    prediction = prediction_of(torch.zeros(N, H, H), constant, constant, torch.ones(N, D))
    batch = batch_of(masks)
    cosine = alignment_loss(prediction, batch, "cosine", 0.1)
    contrastive = alignment_loss(prediction, batch, "contrastive", 0.1)
    assert [round(t.item(), 5) for t in cosine] == [0, 0]
    # a quarter of the cells and one of N sentences are right, all equally likely: (ln 4 + ln N) / 2
    assert contrastive[0].item() == pytest.approx((math.log(4) + math.log(N)) / 2, abs=1e-4)


def test_contrastive_form_rewards_the_object_and_ignores_the_same_sentence_elsewhere(masks):
    cells = F.avg_pool2d(masks[:, None], 2)
    own = torch.eye(N, D)
    appearance = own[:, :, None, None] * cells - (1 - cells) * own[:, :, None, None]
    prediction = prediction_of(torch.zeros(N, H, H), appearance, appearance, own)
    assert alignment_loss(prediction, batch_of(masks), "contrastive", 0.05)[0].item() < 0.01
    # two clips with one and the same sentence: with it as its own counter-example the loss were ln 2 of two
    same = own.clone()
    same[1] = same[0]
    maps = same[:, :, None, None] * (2 * cells - 1)
    words = torch.tensor([[0], [0], [2], [3]])
    prediction = prediction_of(torch.zeros(N, H, H), maps, maps, same)
    assert alignment_loss(prediction, batch_of(masks, words), "contrastive", 0.05)[0].item() < 0.01
    assert alignment_loss(prediction, batch_of(masks), "contrastive", 0.05)[0].item() > 0.1


@pytest.mark.parametrize("form", ["cosine", "contrastive"])
def test_every_stream_receives_gradient(masks, form):
    torch.manual_seed(0)
    parts = [torch.randn(N, D, 4, 4, requires_grad=True) for _ in range(2)]
    sentence = torch.randn(N, D, requires_grad=True)
    logits = torch.randn(N, H, H, requires_grad=True)
    objective = Objective(Loss(form=form), alignment=True)
    objective(prediction_of(logits, *parts, sentence), batch_of(masks))["loss"].backward()
    assert all(x.grad.abs().sum() > 0 for x in (*parts, sentence, logits))


def test_switch_and_weights_decide_the_sum(masks):
    torch.manual_seed(0)
    features = torch.randn(N, D, 4, 4)
    prediction = prediction_of(torch.randn(N, H, H), features, features.flip(0), torch.randn(N, D))
    without = Objective(Loss(coarse=0.5, decoder=0.25), alignment=False)(prediction, batch_of(masks))
    assert "cross_modal" not in without
    assert without["loss"].item() == pytest.approx(1.75 * without["final"].item(), rel=1e-5)
    settings = Loss(coarse=0.5, decoder=0.25, cross_modal=2, temporal=3)
    with_ = Objective(settings, alignment=True)(prediction, batch_of(masks))
    extra = 2 * with_["cross_modal"] + 3 * with_["temporal"]
    assert with_["loss"].item() == pytest.approx((without["loss"] + extra).item(), rel=1e-5)
