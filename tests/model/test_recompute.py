"""Maps that are computed again: the same gradients and statistics, and fewer bytes kept."""

import tiny
import torch

from mmvs.config import experiment
from mmvs.training.optimisation import NetworkTraining


def step(recompute: bool) -> tuple[dict, dict, int]:
    """Gradients, buffers and bytes kept of one step."""
    torch.manual_seed(0)
    module = NetworkTraining(
        experiment(model=tiny.model(), training={"recompute": recompute}), tiny.VOCABULARY
    ).train()
    network, batch, kept = module.network, tiny.batch(), {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        loss = module.objective(network(batch), batch)["loss"]
    loss.backward()
    gradients = {name: p.grad for name, p in network.named_parameters() if p.grad is not None}
    return gradients, dict(network.named_buffers()), sum(kept.values())


def test_a_step_is_the_same_with_less_memory():
    (gradients, buffers, kept), (others, other_buffers, fewer) = step(False), step(True)
    torch.testing.assert_close(others, gradients)
    torch.testing.assert_close(other_buffers, buffers)
    assert fewer < 0.9 * kept


def test_it_is_no_other_training():
    plain, recomputed = (experiment(training={"recompute": switch}) for switch in (False, True))
    assert plain.fingerprint() == recomputed.fingerprint()
