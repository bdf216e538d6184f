"""A Batch moves as one: every tensor of it, and nothing else."""

from dataclasses import replace

import pytest
import tiny
import torch
from torch import Tensor
from torch.utils.data._utils.pin_memory import pin_memory

from mmvs.data.loaders import Loaders

TENSORS = {"frames", "flow", "masks", "valid", "words", "words_mask", "clip_of_sentence"}


def test_every_tensor_goes_to_the_device_and_the_rest_stays():
    batch = tiny.batch()
    moved = batch.to("meta")
    for name, value in vars(batch).items():
        other = getattr(moved, name)
        if name in TENSORS:
            assert other.device.type == "meta" and other.shape == value.shape and other.dtype == value.dtype
        else:
            assert other is value
    assert batch.frames.device.type == "cpu"
    assert replace(batch, masks=None).to("meta").masks is None


@pytest.mark.parametrize("masks", [True, False])
def test_a_loader_pins_every_tensor(monkeypatch, masks):
    """What a DataLoader with `pin_memory` does to a batch: of an object that it does not know, nothing."""
    pinned = []
    monkeypatch.setattr(Tensor, "pin_memory", lambda tensor: pinned.append(tensor) or tensor.clone())
    batch = tiny.batch() if masks else replace(tiny.batch(), masks=None)
    there = pin_memory(batch)
    of_batch = [value for value in vars(batch).values() if isinstance(value, Tensor)]
    assert len(pinned) == len(of_batch) == len(TENSORS) - (not masks)
    assert all(any(one is tensor for tensor in of_batch) for one in pinned)
    for name, value in vars(batch).items():
        other = getattr(there, name)
        assert torch.equal(other, value) if isinstance(value, Tensor) else other == value


@pytest.mark.parametrize("device, waits", [("cuda:0", False), ("cpu", True), ("mps", True)])
def test_training_does_not_wait_for_a_copy_to_a_gpu(device, waits):
    class Asked:
        def to(self, device: torch.device, non_blocking: bool) -> tuple[torch.device, bool]:
            return device, non_blocking

    where = torch.device(device)
    assert Loaders.transfer_batch_to_device(None, Asked(), where, 0) == (where, not waits)
