"""Operations that a GPU would wait for: `python -m benchmarks.operations`; docs/scale.md has the answers.

Operations are those that torch dispatches; on a GPU each is a kernel or more that the CPU starts. The colour
wheel is compared with torchvision's, field by field. Milliseconds and seconds are CPU time on one thread, the
best of several turns.
"""

from __future__ import annotations

import resource
import subprocess
import sys
import time
from collections.abc import Callable

import pandas as pd
import torch
from torch._dynamo.utils import counters
from torch.utils._python_dispatch import TorchDispatchMode
from torchvision.utils import flow_to_image

from mmvs.config import Multimodal
from mmvs.model.colour_wheel import ColourWheel
from mmvs.model.network import Network

FIELDS = {"3 of 320 pixels": (3, 320), "24 of 320 pixels": (24, 320), "12 of 64 pixels": (12, 64)}
IMPORTS = ("torch", "torchvision, transformers", "mmvs.segmenter")
TURNS = 5
BATCHES = [(4, 7), (4, 9), (6, 7), (2, 5), (6, 11), (4, 12), (3, 8), (5, 6), (8, 10)]  # sentences, words


class Operations(TorchDispatchMode):
    """Counts operations on tensors."""

    def __init__(self):
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, operation, types, arguments=(), options=None):
        self.count += 1
        return operation(*arguments, **(options or {}))


def cost(way: Callable[[], object]) -> tuple[int, float]:
    """Operations and milliseconds."""
    with Operations() as operations:
        way()
    durations = []
    for _ in range(TURNS):
        start = time.process_time()
        way()
        durations.append(1000 * (time.process_time() - start))
    return operations.count, min(durations)


def wheels(fields: int, side: int) -> dict[str, float]:
    """Both ways to colour flow fields."""
    flow, wheel = torch.randn(fields, 2, side, side), ColourWheel()
    one_by_one = cost(lambda: torch.stack([flow_to_image(field) for field in flow]))
    together = cost(lambda: wheel(flow))
    return {
        "operations, one by one": one_by_one[0],
        "together": together[0],
        "ms, one by one": one_by_one[1],
        "together, ms": together[1],
    }


def graphs() -> list[int]:
    """How many graphs torch.compile has made of a small network's `read` and `decide` after each batch.

    Sentences and words differ in number from batch to batch.
    """
    model = Multimodal(
        width=16,
        heads=2,
        layers=1,
        level_widths=[8, 8, 8],
        appearance_backbone={"name": "narrow", "weights": None, "widths": [8, 8, 8, 8]},
        motion_backbone={"name": "narrow", "weights": None, "widths": [8, 8, 8, 8], "input": "uv"},
        language={"name": "small", "width": 16, "layers": 1, "heads": 2},
    )
    network = Network(model, vocabulary=40).train()
    with torch.no_grad():
        observed = network.observe(torch.zeros(6, 3, 32, 48, dtype=torch.uint8), torch.zeros(6, 2, 32, 48))
    observed.tops = [top.unflatten(0, (2, 3)) for top in observed.tops]
    observed.levels = [level[1::3] for level in observed.levels]

    def step(words: torch.Tensor, clip_of_sentence: torch.Tensor) -> torch.Tensor:
        sentences = network.read(words, words > 0)
        return network.decide(observed, sentences, clip_of_sentence, 1).logits

    compiled, made = torch.compile(step, fullgraph=True, backend="eager"), []
    for sentences, words in BATCHES:
        compiled(torch.randint(1, 40, (sentences, words)), torch.arange(sentences) % 2)
        made.append(counters["stats"]["unique_graphs"])
    return made


def seconds(modules: str) -> float:
    """CPU seconds of a Python that imports modules."""
    durations = []
    for _ in range(3):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([sys.executable, "-c", f"import {modules}"], check=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        durations.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    return min(durations)


def main() -> None:
    torch.set_num_threads(1)
    table = pd.DataFrame({label: wheels(*sizes) for label, sizes in FIELDS.items()}).T
    print(table.to_string(float_format="{:.1f}".format))
    print(f"graphs of torch.compile after batches of {BATCHES} sentences and words: {graphs()}")
    for modules in IMPORTS:
        print(f"import {modules}: {seconds(modules):.1f} s", flush=True)


if __name__ == "__main__":
    main()
