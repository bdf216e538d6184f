"""What the published network costs, plain and with its savings: `python -m benchmarks.published`.

Every measurement has a process of its own, so that its peak memory is its own, and the variants take turns.
Times are the fastest of all rounds; "cpu" is the process's own time, which other work on the machine disturbs
less.

    inference   one target frame, one sentence: seconds, GFLOP, and seconds for one more sentence on the same
    clip
    training    one step at batch 1: forward, the four losses, backward, Adam over all but BERT's embeddings
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time
from collections.abc import Callable

import pandas as pd
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode
from tqdm.auto import tqdm

from benchmarks.published_plain import Whole
from mmvs.config import PublishedLoss
from mmvs.model.inference import fit_to_cpu
from mmvs.published.network import PublishedNetwork
from mmvs.published.objective import PublishedObjective
from mmvs.schema import Batch, Sentences

VARIANTS, TASKS, STEPS = ("plain", "ours"), ("inference", "training"), 3


def inputs(size: int) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Frames, flow, tokens, attention and mask of one clip of three frames, the target last."""
    torch.manual_seed(0)
    frames, flow = torch.randn(2, 1, 3, 3, size, size)
    attention = torch.ones(1, 20, dtype=torch.long)
    attention[:, 9:] = 0
    mask = torch.zeros(1, size, size)
    mask[:, size // 4 : size // 2, size // 4 : size // 2] = 1
    return frames, flow, torch.randint(1000, 3000, (1, 20)), attention, mask


def network(variant: str) -> nn.Module:
    torch.manual_seed(0)
    return Whole() if variant == "plain" else fit_to_cpu(PublishedNetwork())


def clocked(action: Callable) -> dict[str, float]:
    """Seconds of one call, by the wall and of this process."""
    wall, cpu = time.perf_counter(), time.process_time()
    action()
    return {"s": time.perf_counter() - wall, "cpu s": time.process_time() - cpu}


def inference(variant: str, size: int) -> dict[str, float]:
    net = network(variant).eval()
    *given, _ = inputs(size)
    with torch.inference_mode():
        with FlopCounterMode(display=False) as flops:
            net(*given)
        found = {"GFLOP": flops.get_total_flops() / 1e9} | clocked(lambda: net(*given))
        if variant == "plain":  # it computes everything again
            again, again_flops = clocked(lambda: net(*given)), flops
        else:
            frames, flow, tokens, attention = given
            seen = net.observe_images(frames.flatten(0, 1), flow.flatten(0, 1), torch.tensor([2]))
            seen.tops = [top[None] for top in seen.tops]

            def one_more() -> Tensor:
                said = Sentences(*net.language(tokens, attention.bool()), attention.bool())
                return net.segment(seen, said, torch.tensor([0]), target=2)

            with FlopCounterMode(display=False) as again_flops:
                one_more()
            again = clocked(one_more)
    more = {f"{name}, one more sentence": value for name, value in again.items()}
    return found | more | {"GFLOP, one more sentence": again_flops.get_total_flops() / 1e9}


def loss(net: nn.Module, variant: str, given: tuple[Tensor, ...]) -> Tensor:
    frames, flow, tokens, attention, mask = given
    if variant == "plain":
        return sum(net.losses(net(frames, flow, tokens, attention), mask).values())
    prediction = net.decide(*net.as_observed(frames, flow, tokens, attention))
    judged = Batch(frames, flow, mask, None, tokens, attention, None, 2, [], [])
    return PublishedObjective(PublishedLoss(limit=1), alignment=True)(prediction, judged)["loss"]


def training(variant: str, size: int) -> dict[str, float]:
    net, given = network(variant).train(), inputs(size)
    embeddings = {id(p) for name, p in net.named_parameters() if ".embeddings." in name}
    optimizer = torch.optim.Adam([p for p in net.parameters() if id(p) not in embeddings], 2e-5)

    def step() -> None:
        optimizer.zero_grad()
        loss(net, variant, given).backward()
        optimizer.step()

    with FlopCounterMode(display=False) as flops:
        step()  # makes Adam's state, too
    times = [clocked(step) for _ in range(STEPS - 1)]
    return {"GFLOP": flops.get_total_flops() / 1e9} | {k: min(t[k] for t in times) for k in times[0]}


def one(task: str, variant: str, size: int) -> dict[str, float]:
    """Measure here and now; the peak is that of the process."""
    found = {"inference": inference, "training": training}[task](variant, size)
    return found | {"peak GiB": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20}


def apart(task: str, variant: str, size: int, threads: int) -> dict[str, float]:
    """Measure in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.published", "--one", task, variant]
    command += ["--size", str(size), "--threads", str(threads)]
    return json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", type=int, default=320, help="pixels a side")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument(
        "--one", nargs=2, metavar=("TASK", "VARIANT"), help="measure in this process, print JSON"
    )
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    if given.one:
        print(json.dumps(one(*given.one, given.size)))
        return
    turns = [(task, variant) for _ in range(given.rounds) for task in TASKS for variant in VARIANTS]
    rows = []
    for task, variant in tqdm(turns, unit="process"):
        found = apart(task, variant, given.size, given.threads)
        rows += [(task, what, variant, value) for what, value in found.items()]
    table = pd.DataFrame(rows, columns=["task", "what", "variant", "value"])
    best = table.groupby(["task", "what", "variant"], sort=False)["value"].min().unstack()[list(VARIANTS)]
    best["plain / ours"] = best["plain"] / best["ours"]
    print(f"{given.size} x {given.size}, {given.threads} thread(s), fastest of {given.rounds} rounds")
    print(best.to_string(float_format="{:.2f}".format))


if __name__ == "__main__":
    main()
