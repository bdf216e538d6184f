"""ready_for_inference: another way to the same numbers, and the network it was made of stays as it is."""

import pytest
import tiny
import torch

from mmvs.model.attention import Attention
from mmvs.model.inference import BriefAttention, ready_for_inference


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"motion": False, "language_guided": False},
        {
            "appearance_backbone": {"name": "resnet50", "weights": None},
            "motion_backbone": {"name": "resnet50", "weights": None},
        },
    ],
)
def test_the_same_numbers(changes):
    network, batch = tiny.network(**changes), tiny.batch(clips=1, height=64, width=64)
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):  # one that does something
            torch.nn.init.uniform_(module.running_mean, -0.2, 0.2)
            torch.nn.init.uniform_(module.running_var, 0.7, 1.3)
            torch.nn.init.uniform_(module.weight, 0.7, 1.3)
    kept = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    quick = ready_for_inference(network)
    with torch.inference_mode():
        before, after = network(batch).logits, quick(batch).logits
    assert (before - after).abs().max() < 1e-4 * before.abs().max().clamp(min=1)
    assert kept.keys() == network.state_dict().keys()
    assert all(torch.equal(tensor, kept[name]) for name, tensor in network.state_dict().items())
    assert all(tensor.is_contiguous() for tensor in network.state_dict().values()), "it can still be saved"
    assert not [m for m in quick.modules() if isinstance(m, torch.nn.BatchNorm2d)]
    assert quick.language is network.language, "the largest part is not copied"


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("keys", [1, 6, 8, 9, 15, 16, 63, 64, 70])
def test_brief_attention_gathers_the_same(keys, masked):
    plain, queries, context = Attention(16, 4).eval(), torch.randn(3, 5, 16), torch.randn(3, keys, 16)
    mask = torch.arange(keys) < torch.tensor([[1], [keys], [max(1, keys - 2)]]) if masked else None
    brief = BriefAttention(16, 4).eval()
    brief.load_state_dict(plain.state_dict())
    with torch.inference_mode():
        assert (plain(queries, context, mask) - brief(queries, context, mask)).abs().max() < 1e-5
