"""What a training step keeps in memory: `python -m benchmarks.training_memory params/a2d.yaml`.

Steps of 1 and of 3 clips of noise, with random weights, run on a CPU in processes of their own. A clip takes
half of what the most memory ever held grows by between the two; weights, gradients and the moments of Adam
are arithmetic. Where there is no network: `--set model.language.name=bert/config.json`, a file of that kind.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
from contextlib import nullcontext
from dataclasses import replace

import pandas as pd
import torch

from benchmarks.costs import BYTES, changed, clip, without_weights
from mmvs import config
from mmvs.config import Experiment
from mmvs.training.optimisation import NetworkTraining

WAYS = {  # bfloat16, recompute
    "float32": (False, False),
    "float32, recompute": (False, True),
    "bfloat16": (True, False),
    "bfloat16, recompute": (True, True),
}
FEW, MANY, BATCH = 1, 3, 8
REPEATED = ["frames", "flow", "masks", "valid", "words", "words_mask"]


def peak(experiment: Experiment, clips: int, bfloat16: bool, recompute: bool) -> tuple[float, int, int]:
    """Most GB that this process ever held, after a step of so many clips; parameters, and those trained."""
    torch.set_num_threads(1)
    training = experiment.training.model_copy(update={"recompute": recompute})
    module = NetworkTraining(experiment.model_copy(update={"training": training}), 30).train()
    one, parameters = clip(experiment, 30), list(module.network.parameters())
    for p in parameters:  # so that gradients are no part of what grows
        p.grad = torch.zeros_like(p)
    n = len(one.words)
    batch = replace(
        one,
        **{key: getattr(one, key).repeat(clips, *[1] * (getattr(one, key).ndim - 1)) for key in REPEATED},
        clip_of_sentence=torch.arange(clips).repeat_interleave(n),
        samples=list(range(clips * n)),
        original_sizes=one.original_sizes * clips,
    )
    with torch.autocast("cpu", torch.bfloat16) if bfloat16 else nullcontext():
        loss = module.objective(module.network(batch), batch)["loss"]
    loss.backward()
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    return most, sum(p.numel() for p in parameters), sum(p.numel() for p in parameters if p.requires_grad)


def main() -> None:
    """Print the table of a params file."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("params")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", dest="changes")
    parser.add_argument("--way", nargs=2, metavar=("NAME", "CLIPS"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.way:
        way, clips = arguments.way
        values = without_weights(changed(config.load(arguments.params).model_dump(), arguments.changes))
        print(*peak(config.experiment(**values), int(clips), *WAYS[way]))
        return
    rows = {}
    for way in WAYS:
        command = [sys.executable, "-m", "benchmarks.training_memory", *sys.argv[1:], "--way", way]
        measured = [
            subprocess.check_output([*command, str(clips)], text=True).splitlines()[-1].split()
            for clips in (FEW, MANY)
        ]
        few, many = (float(one[0]) for one in measured)
        of_clip = (many - few) / (MANY - FEW)
        parameters, trained = map(int, measured[0][1:])
        weights = (BYTES * trained + 4 * (parameters - trained)) / 1e9
        rows[way] = {
            "GB a clip": of_clip,
            "GB of weights": weights,
            f"GB, {BATCH} clips": weights + BATCH * of_clip,
            "GB, 1 clip": weights + of_clip,
        }
        print(f"{way}: done", file=sys.stderr, flush=True)
    print(pd.DataFrame(rows).T.round(2).to_string())


if __name__ == "__main__":
    main()
