"""The dynamic filters of language-guided fusion, against the definition written down with unfold."""

import pytest
import torch
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

from mmvs.model.fusion import Filtering, LanguageGuidedFusion, PlainFusion


def by_definition(streams, filters, kernel):
    """Every patch of k x k cells, times the filter of its middle, summed, divided by k."""
    n, s, c, h, w = streams.shape
    patches = F.unfold(streams.flatten(0, 1), kernel, padding=kernel // 2).view(n, s, c, kernel**2, h, w)
    taps = filters.view(n, 1, kernel**2, c, h, w).transpose(2, 3)
    return (patches * taps).sum(3) / kernel


@pytest.mark.parametrize("kernel", [3, 5])
def test_filtering_is_its_definition_and_so_are_its_gradients(kernel):
    torch.manual_seed(0)
    streams = torch.randn(2, 2, 3, 4, 6, dtype=torch.double, requires_grad=True)
    filters = torch.randn(2, kernel**2 * 3, 4, 6, dtype=torch.double, requires_grad=True)
    out = Filtering.apply(streams, filters, kernel)
    assert torch.allclose(out, by_definition(streams, filters, kernel))
    assert torch.autograd.gradcheck(lambda *inputs: Filtering.apply(*inputs, kernel), (streams, filters))


@pytest.mark.parametrize(("row", "column"), [(0, 0), (1, 1), (2, 1)])
def test_a_filter_of_one_tap_moves_the_map(row, column):
    streams = torch.arange(40.0).view(1, 1, 2, 4, 5)
    filters = torch.zeros(1, 9, 2, 4, 5)
    filters[:, 3 * row + column] = 3  # divided by k again
    moved = Filtering.apply(streams, filters.flatten(1, 2), 3)
    down, right = 1 - row, 1 - column  # the neighbour above brings the map down
    expected = F.pad(streams, (1, 1, 1, 1))[..., 1 - down : 5 - down, 1 - right : 6 - right]
    assert torch.equal(moved, expected)


@pytest.mark.parametrize("separable", [False, True])
@pytest.mark.parametrize("kernel", [1, 3])
def test_without_filters_the_streams_stay_what_they_are(kernel, separable):
    torch.manual_seed(0)
    fusion = LanguageGuidedFusion(8, 12, 16, 2, kernel, separable).eval()
    torch.nn.init.zeros_(fusion.filters.weight)
    torch.nn.init.zeros_(fusion.filters.bias)
    appearance, motion, coarser = torch.randn(2, 8, 6, 9), torch.randn(2, 8, 6, 9), torch.randn(2, 12, 3, 5)
    words, mask, sentence = torch.randn(2, 4, 16), torch.ones(2, 4, dtype=torch.bool), torch.randn(2, 16)
    with torch.no_grad():
        features, _ = fusion(appearance, motion, words, mask, sentence, coarser)
        above = F.interpolate(fusion.carry(coarser), size=(6, 9), mode="bilinear", align_corners=False)
        plain = fusion.fuse(torch.cat([appearance + above, motion], dim=1))
    assert torch.allclose(features, plain, atol=1e-6)


@pytest.mark.parametrize("kind", [LanguageGuidedFusion, PlainFusion])
def test_a_separable_convolution_takes_an_eighth_of_the_work(kind):
    width, cells = 64, 10 * 12
    work = []
    for separable in (False, True):
        own = (16, 2, 3) if kind is LanguageGuidedFusion else ()
        fuse = kind(width, 12, *own, separable).fuse
        with FlopCounterMode(display=False) as counter:
            assert fuse(torch.randn(1, 2 * width, 10, 12)).shape == (1, width, 10, 12)
        work.append(counter.get_total_flops())
    assert work == [2 * cells * 2 * width * width * 9, 2 * cells * (2 * width * 9 + 2 * width * width)]
    assert work[0] / work[1] > 7.8
