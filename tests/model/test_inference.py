"""BriefAttention gathers what Attention gathers. tests/contracts tests ready_for_inference."""

import pytest
import torch

from mmvs.model.attention import Attention
from mmvs.model.inference import BriefAttention


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("keys", [1, 6, 8, 9, 15, 16, 63, 64, 70])
def test_brief_attention_gathers_the_same(keys, masked):
    plain, queries, context = Attention(16, 4).eval(), torch.randn(3, 5, 16), torch.randn(3, keys, 16)
    mask = torch.arange(keys) < torch.tensor([[1], [keys], [max(1, keys - 2)]]) if masked else None
    brief = BriefAttention(16, 4).eval()
    brief.load_state_dict(plain.state_dict())
    with torch.inference_mode():
        assert (plain(queries, context, mask) - brief(queries, context, mask)).abs().max() < 1e-5
