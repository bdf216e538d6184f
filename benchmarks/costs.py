"""What a run costs, counted: `python -m benchmarks.costs params/mevis.yaml`; docs/costs.md keeps the answers.

Work and memory of one clip are counted in one step on a CPU, with random weights and no data. Of models
of Hugging Face the architecture alone is fetched. Where there is no network, give their config.json:
`--set model.language.name=roberta/config.json`.
"""

from __future__ import annotations

import argparse
from typing import Any

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from mmvs import config
from mmvs.build import build
from mmvs.config import Experiment
from mmvs.schema import Batch

WORDS = 20  # tokens of a sentence
BYTES = 16  # a trained parameter: weight, gradient and the two moments of Adam, float32


def clip(experiment: Experiment, vocabulary: int) -> Batch:
    """One clip of noise, with as many sentences as training takes of a clip at most."""
    data, g = experiment.data, torch.Generator().manual_seed(0)
    sides, n = (data.size, data.size), max(2, data.sentences_per_clip)
    return Batch(
        frames=torch.randint(0, 256, (1, data.frames, 3, *sides), dtype=torch.uint8, generator=g),
        flow=torch.randn(1, data.frames, 2, *sides, generator=g),
        masks=torch.zeros(n, *sides),
        valid=torch.ones(1, *sides, dtype=torch.bool),
        words=torch.randint(5, vocabulary, (n, WORDS), generator=g),
        words_mask=torch.ones(n, WORDS, dtype=torch.bool),
        clip_of_sentence=torch.zeros(n, dtype=torch.long),
        target=data.frames // 2,
        samples=list(range(n)),
        original_sizes=[sides],
    )


def costs(experiment: Experiment) -> dict[str, float]:
    """Parameters; FLOP forward and in a step, and bytes kept for the gradient, of one clip."""
    built = build(experiment, 30)
    network = built.network.train()
    batch, kept = clip(experiment, 30), {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    parameters = list(network.parameters())
    counter = FlopCounterMode(display=False)
    with sdpa_kernel(SDPBackend.MATH), counter:  # fused attention is not counted on a CPU
        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            loss = built.objective(network(batch), batch)["loss"]
        forward = counter.get_total_flops()
        own = {p.untyped_storage().data_ptr() for p in parameters}
        activations = sum(size for place, size in kept.items() if place not in own)
        loss.backward()
    return {
        "parameters": sum(p.numel() for p in parameters),
        "trained": sum(p.numel() for p in parameters if p.requires_grad),
        "forward": forward,
        "step": counter.get_total_flops(),
        "activations": activations,
    }


def table(experiment: Experiment) -> str:
    """The lines of docs/costs.md."""
    of, t = costs(experiment), experiment.training
    weights = of["trained"] * BYTES + (of["parameters"] - of["trained"]) * 4
    memory, step = of["activations"] * t.batch, of["step"] * t.batch
    rows = {
        "parameters, of which trained": f"{of['parameters'] / 1e6:.1f} M, {of['trained'] / 1e6:.1f} M",
        "work of a clip, forward": f"{of['forward'] / 1e9:.0f} GFLOP",
        "work of a clip, forward and backward": f"{of['step'] / 1e9:.0f} GFLOP",
        f"work of a step of {t.batch} clips": f"{step / 1e12:.2f} TFLOP",
        f"work of {t.steps:,} steps": f"{step * t.steps / 1e15:.0f} PFLOP",
        "memory of the weights": f"{weights / 1e9:.1f} GB",
        "memory of the activations of a clip, float32": f"{of['activations'] / 1e9:.2f} GB",
        "memory in total, float32": f"{(weights + memory) / 1e9:.1f} GB",
        "time at 20 TFLOP/s (RTX 3090)": f"{step * t.steps / 20e12 / 3600:.1f} h",
        "time at 60 TFLOP/s (A100)": f"{step * t.steps / 60e12 / 3600:.1f} h",
    }
    return "\n".join(
        ["| what | |", "| --- | --- |", *(f"| {key} | {value} |" for key, value in rows.items())]
    )


def changed(values: dict[str, Any], changes: list[str]) -> dict[str, Any]:
    """Parameters with KEY.KEY=VALUE laid over them."""
    for change in changes:
        place, _, value = change.partition("=")
        *parts, last = place.split(".")
        inner = values
        for part in parts:
            inner = inner[part]
        inner[last] = value
    return values


def without_weights(values: dict[str, Any]) -> dict[str, Any]:
    """Parameters whose backbones have random weights, frozen as with the weights that are not fetched."""
    for name in ("appearance_backbone", "motion_backbone"):
        part = values["model"][name]
        frozen = config.Backbone(**part).frozen
        part |= {"weights": None, "freeze": part["freeze"] or frozen}
    return values


def main() -> None:
    """Print the table of every params file."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("params", nargs="+")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", dest="changes")
    arguments = parser.parse_args()
    for file in arguments.params:
        values = without_weights(changed(config.load(file).model_dump(), arguments.changes))
        print(f"\n{file}\n\n{table(config.experiment(**values))}", flush=True)


if __name__ == "__main__":
    main()
