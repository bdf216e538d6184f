"""What reaches a device is what every device has: Apple's GPUs refuse float64."""

import numpy as np
import pytest
import tiny
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from mmvs.segmenter import Segmenter
from mmvs.training.optimisation import NetworkTraining


class NoFloat64(TorchDispatchMode):
    """Refuses every operation that makes a tensor of double precision, wherever it is."""

    def __torch_dispatch__(self, operation, types, given=(), named=None):
        made = operation(*given, **(named or {}))
        doubles = [one for one in tree_leaves(made) if getattr(one, "dtype", None) == torch.float64]
        assert not doubles, f"{operation} makes float64"
        return made


@pytest.fixture(params=["multimodal", "published"])
def module(request, tmp_path):
    it = tiny.run(tmp_path, name=request.param).experiment
    module = NetworkTraining(it, tiny.VOCABULARY)
    module.log = module.log_dict = lambda *_, **__: None
    return module


def test_the_check_finds_what_it_looks_for():
    with NoFloat64(), pytest.raises(AssertionError, match="makes float64"):
        torch.ones(2).double()


def test_a_training_step(module):
    optimizer = module.configure_optimizers()["optimizer"]
    with NoFloat64():
        module.training_step(tiny.batch(), 0).backward()
        optimizer.step()


def test_a_validation(module):
    logged = {}
    module.log = lambda name, value, **_: logged.update({name: value})
    module.eval()
    with NoFloat64(), torch.no_grad():
        module.validation_step(tiny.batch(), 0)
        module.on_validation_epoch_end()
    assert 0 <= logged["val/mean_iou"] <= 1


def test_segmenting(tmp_path):
    segmenter = Segmenter(tiny.run(tmp_path))
    video = np.random.default_rng(0).integers(0, 256, (4, 40, 48, 3), np.uint8)
    with NoFloat64():
        assert len(list(segmenter.segment(video, "the red circle"))) == 4
