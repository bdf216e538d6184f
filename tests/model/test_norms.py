"""Batch normalisation over processes, against torch's own over their batches together."""

from pathlib import Path

import pytest
import torch
from timm.layers.norm_act import BatchNormAct2d
from torch import multiprocessing, nn

from mmvs.config import ConfigError
from mmvs.model.norms import BatchNormOfWords, share_norms

MAPS, WORDS = (6, 3, 4, 5), (6, 7, 3)
MASK = torch.arange(7) < torch.tensor([7, 2, 3, 5, 1, 4])[:, None]  # the processes have 12 and 10 words
SHARES = (slice(0, 3), slice(3, 6))


class Norms(nn.Module):
    """One normalisation of each kind, on maps and on words."""

    def __init__(self):
        super().__init__()
        self.of_maps, self.of_words = nn.BatchNorm2d(3), BatchNormOfWords(3)
        self.frozen = nn.BatchNorm2d(3).requires_grad_(False)
        self.double().train()
        self.frozen.eval()

    def forward(self, maps, words, mask):
        """A number that every element has a part in: of powers, as a normalisation's sum is always 0."""
        return (
            self.frozen(self.of_maps(maps)).pow(3).sum()
            + (self.of_words(words, mask).pow(3) * mask[..., None]).sum()
        )


def inputs():
    g = torch.Generator().manual_seed(0)
    return [torch.randn(size, generator=g).double().requires_grad_() for size in (MAPS, WORDS)]


def outcome(network, part, maps, words):
    loss = network(maps[part], words[part], MASK[part])
    loss.backward()
    own = [maps.grad[part], words.grad[part]]
    return (
        own,
        [parameter.grad for parameter in network.parameters() if parameter.requires_grad],
        network.state_dict(),
    )


def process(rank, rendezvous, results):
    torch.distributed.init_process_group("gloo", init_method=f"file://{rendezvous}", rank=rank, world_size=2)
    network = Norms()
    share_norms(network)
    torch.save(outcome(network, SHARES[rank], *inputs()), Path(results) / str(rank))
    torch.distributed.destroy_process_group()


@pytest.mark.timeout(180)
def test_two_processes_normalise_as_one_that_has_both_their_batches(tmp_path):
    arguments = (str(tmp_path / "rendezvous"), str(tmp_path))
    multiprocessing.start_processes(process, arguments, nprocs=2, start_method="spawn")
    own, gradients, state = outcome(Norms(), slice(0, 6), *inputs())
    parts = [torch.load(tmp_path / rank) for rank in ("0", "1")]
    for kind in (0, 1):
        together = torch.cat([part[0][kind] for part in parts])
        torch.testing.assert_close(together, own[kind], rtol=1e-10, atol=1e-10)
    for whole, *shares in zip(gradients, *(part[1] for part in parts), strict=True):
        torch.testing.assert_close(sum(shares), whole, rtol=1e-10, atol=1e-10)
    for _, _, after in parts:
        assert after.keys() == state.keys()
        for (
            name,
            value,
        ) in state.items():
            torch.testing.assert_close(after[name], value, rtol=1e-10, atol=1e-10, msg=name)


def test_in_evaluation_nothing_is_exchanged():
    network, (maps, words) = Norms().eval(), inputs()
    expected = network(maps, words, MASK)
    share_norms(network)
    assert torch.equal(network(maps, words, MASK), expected)


@pytest.fixture
def alone(tmp_path):
    """A group of one process: what it shares are its own batches."""
    torch.distributed.init_process_group("gloo", init_method=f"file://{tmp_path}/one", rank=0, world_size=1)
    yield
    torch.distributed.destroy_process_group()


@pytest.mark.parametrize("frozen", [False, True])
def test_timms_normalisation_keeps_its_activation(alone, frozen):
    maps = torch.randn(4, 3, 5, 6)
    plain, shared = BatchNormAct2d(3), nn.Sequential(BatchNormAct2d(3))
    for norm in (plain, shared):
        norm.train(not frozen)
    share_norms(shared)
    torch.testing.assert_close(shared(maps), plain(maps), rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(shared[0].running_var, plain.running_var)
    assert shared(maps).min() == 0


def test_in_half_precision_sums_are_exact_and_maps_stay_half(alone):
    torch.manual_seed(0)
    maps = (torch.rand(8, 3, 40, 90) + 0.5).bfloat16()  # 28,800 cells a channel: no whole number of bfloat16
    plain, shared = nn.BatchNorm2d(3), nn.Sequential(nn.BatchNorm2d(3))
    share_norms(shared)
    with torch.autocast("cpu", torch.bfloat16):
        out, expected = shared(maps), plain(maps)
    assert out.dtype == expected.dtype == torch.bfloat16
    torch.testing.assert_close(out, expected, rtol=0.02, atol=0.02)
    torch.testing.assert_close(shared[0].running_mean, plain.running_mean, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(shared[0].running_var, plain.running_var, rtol=1e-4, atol=1e-5)


def test_norms_that_cannot_be_shared_are_named():
    for norm in (nn.BatchNorm2d(3, affine=False), nn.BatchNorm3d(3), nn.BatchNorm2d(3, momentum=None)):
        with pytest.raises(ConfigError, match="shared_norms: 1 is a BatchNorm.*freeze: norm"):
            share_norms(nn.Sequential(nn.Identity(), norm))
        share_norms(nn.Sequential(nn.Identity(), norm.eval()))  # frozen: nothing to share
