"""What a network asks of a GPU: no loop over pictures, and nothing that `torch.compile` cannot trace.

On a GPU every operation is a kernel that the CPU starts, so that thousands of small ones leave it waiting.
"""

import pytest
import tiny
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

WHEEL = {"motion_backbone": tiny.NARROW | {"input": "wheel"}}

every_network = pytest.mark.parametrize("name", ["multimodal", "published"])


class Operations(TorchDispatchMode):
    """Counts operations on tensors."""

    def __init__(self):
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, operation, types, arguments=(), options=None):
        self.count += 1
        return operation(*arguments, **(options or {}))


def operations(network: nn.Module, **sizes: int) -> int:
    batch = tiny.batch(**sizes)
    with Operations() as operations, torch.no_grad():
        network(batch)
    return operations.count


@pytest.mark.parametrize("changes", [{}, WHEEL], ids=["uv", "wheel"])
@every_network
def test_operations_do_not_grow_with_frames_clips_or_sentences(name, changes):
    network = tiny.network(name, **changes)
    operations(network)  # what is computed once is out of the way
    expected = operations(network)
    assert operations(network, frames=5) == expected
    assert operations(network, clips=4) == expected
    assert operations(network, per_clip=4) == expected


def test_a_step_is_one_graph():
    """`fullgraph` refuses whatever would stop the compiler and wait for the GPU."""
    if not torch._dynamo.is_dynamo_supported():
        pytest.skip("torch.compile does not know this Python or this system")
    network, batch = tiny.network(**WHEEL), tiny.batch()
    clips, frames = batch.frames.shape[:2]

    def answer(observe, read, decide):
        observed = observe(batch.frames.flatten(0, 1), batch.flow.flatten(0, 1), torch.tensor([1, 4]))
        observed.tops = [top.unflatten(0, (clips, frames)) for top in observed.tops]
        return decide(observed, read(batch.words, batch.words_mask), batch.clip_of_sentence, 1).logits

    steps = network.observe, network.read, network.decide
    compiled = [torch.compile(step, fullgraph=True, backend="eager") for step in steps]
    for training in (False, True):
        network.train(training)
        expected, actual = answer(*steps), answer(*compiled)
        torch.testing.assert_close(actual, expected)
    of_mask = [
        torch.autograd.grad(logits.sum(), network.parameters(), allow_unused=True)
        for logits in (expected, actual)
    ]
    torch.testing.assert_close(of_mask[1], of_mask[0], rtol=1e-4, atol=1e-3)


def test_what_is_observed_lies_channels_first():
    """The fusion multiplies maps cell by cell with filters: ten times slower where channels lie last."""
    network, batch = tiny.network(), tiny.batch()
    observed = network.observe(batch.frames.flatten(0, 1), batch.flow.flatten(0, 1))
    assert all(maps.is_contiguous() for maps in observed.tops + observed.levels)
