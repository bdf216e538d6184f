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


def test_frames_are_observed_in_one_graph():
    """`fullgraph` refuses whatever would stop the compiler and wait for the GPU."""
    if not torch._dynamo.is_dynamo_supported():
        pytest.skip("torch.compile does not know this Python or this system")
    network, batch = tiny.network(**WHEEL), tiny.batch()
    frames, flow = batch.frames.flatten(0, 1), batch.flow.flatten(0, 1)
    compiled = torch.compile(network.observe, fullgraph=True, backend="eager")
    with torch.no_grad():
        expected, observed = network.observe(frames, flow), compiled(frames, flow)
    for one, other in zip(observed.tops + observed.levels, expected.tops + expected.levels, strict=True):
        assert torch.equal(one, other)
