"""Tiny networks, random batches and small experiments, shared by all tests."""

import csv
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from mmvs import checkpoints, processes
from mmvs.__main__ import main
from mmvs.build import Built, build
from mmvs.config import Experiment, Model, experiment
from mmvs.data.catalogue import prepare
from mmvs.data.words import tokenizer
from mmvs.run_folder import Provenance, Result, RunFolder, Scores
from mmvs.schema import Batch
from mmvs.trained import TrainedNetwork

NARROW = {"name": "narrow", "weights": None, "widths": [8, 10, 12, 12]}
VOCABULARY = 40


def model(name: str = "multimodal", **changes) -> Model:
    """A narrow model; a change replaces a parameter."""
    parts = {
        "name": name,
        "width": 16,
        "heads": 2,
        "layers": 1,
        "dropout": 0.0,
        "appearance_backbone": NARROW,
        "motion_backbone": NARROW | {"input": "uv"},
        "language": {"name": "small", "width": 16, "layers": 1, "heads": 2, "max_words": 12},
    }
    if name == "multimodal":
        parts["level_widths"] = [8, 12, 16]
    return experiment(model=parts | changes).model


def built(name: str = "multimodal", loss: dict | None = None, seed: int = 0, **changes) -> Built:
    """A network of `mmvs.build` with random weights, in train mode, and its objective."""
    torch.manual_seed(seed)
    return build(experiment(model=model(name, **changes), loss=loss or {}), VOCABULARY)


def network(name: str = "multimodal", **changes) -> nn.Module:
    """A network with random weights, in eval mode."""
    return built(name, **changes).network.eval()


def batch(clips=2, frames=3, height=32, width=48, words=7, per_clip=2, seed=0) -> Batch:
    """Noise, and a rectangle as every sentence's mask. Different seeds give different noise."""
    g = torch.Generator().manual_seed(seed)
    n = clips * per_clip
    ids = torch.randint(5, VOCABULARY, (n, words), generator=g)
    masks = torch.zeros(n, height, width)
    masks[:, 8:20, 8:24] = 1
    return Batch(
        frames=torch.randint(0, 256, (clips, frames, 3, height, width), dtype=torch.uint8, generator=g),
        flow=torch.randn(clips, frames, 2, height, width, generator=g),
        masks=masks,
        valid=torch.ones(clips, height, width, dtype=torch.bool),
        words=ids,
        words_mask=torch.ones(n, words, dtype=torch.bool),
        clip_of_sentence=torch.arange(clips).repeat_interleave(per_clip),
        target=frames // 2,
        samples=list(range(n)),
        original_sizes=[(height, width)] * clips,
    )


def with_padding(batch: Batch) -> Batch:
    """Three padding words more in every sentence."""
    n = len(batch.words)
    return replace(
        batch,
        words=torch.cat([batch.words, torch.zeros(n, 3, dtype=torch.long)], dim=1),
        words_mask=torch.cat([batch.words_mask, torch.zeros(n, 3, dtype=torch.bool)], dim=1),
    )


def run(folder: Path, max_words: int = 12, name: str = "multimodal", **data) -> TrainedNetwork:
    """A tiny network of random weights with a vocabulary, in the place of a trained one."""
    data = {"size": 32, "stride": 1, "workers": 0, **data}
    language = {"name": "small", "width": 16, "layers": 1, "heads": 2, "max_words": max_words}
    it = experiment(
        run="tiny", reports=str(folder), data=data, model=model(name, language=language).model_dump()
    )
    words = tokenizer(
        it.model.language, folder / "vocabulary", ["the red circle that goes up", "a big square"]
    )
    torch.manual_seed(0)
    net = build(it, len(words)).network.eval()
    if name == "multimodal":
        net.levels[0].head.draw[0].weight.data *= 20  # masks that are neither empty nor full
    return TrainedNetwork(it, net, words, 0, 0.0)


def checkpoint(trained: TrainedNetwork, folder: Path) -> Path:
    """Write a trained network as a checkpoint of training, with its vocabulary beside it."""
    folder.mkdir(parents=True, exist_ok=True)
    trained.tokenizer.save_pretrained(folder / "vocabulary")
    content = {
        "state_dict": {f"network.{name}": tensor for name, tensor in trained.network.state_dict().items()},
        "global_step": 0,
        "mmvs": {"experiment": trained.experiment.model_dump_json()},
    }
    checkpoints.write(content, folder / "best.ckpt")
    return folder / "best.ckpt"


def result(scores: Scores | None = None, steps: int = 700, **provenance: Any) -> Result:
    """The content of a metrics.json; by default one data set with two kinds of sentences."""
    origin = {
        "command": "papermill",
        "run": "r",
        "seed": 5,
        "fingerprint": "0" * 12,
        "data_fingerprint": {"shapes-test": "1" * 12},
        "flow_fingerprint": {"name": "dis"},
        "parameters": {},
        "git_commit": "0123456789abcdef",
        "git_dirty": True,
        "python": "3.11.7",
        "versions": {"torch": "2.9", "numpy": "2.0"},
        "device": "cpu",
        "wall_seconds": {},
        "peak_memory_mb": 100,
        "date": "2024-05-06T07:08:09+00:00",
        **provenance,
    }
    kinds = {"motion": {"mean_iou": 0.9, "samples": 3}, "all": {"mean_iou": 0.8, "samples": 8}}
    return Result(
        run="r",
        scores=scores or {"shapes-test": kinds},
        steps=steps,
        parameters=1000,
        provenance=Provenance(**origin),
    )


def scored(
    folder: Path, rows: list[tuple[str, str, float]], name: str = "shapes-test", **provenance: Any
) -> tuple[RunFolder, Result]:
    """A run's folder with metrics.json and samples.csv of one data set: rows of (video, kind, iou)."""
    kinds = {kind for _, kind, _ in rows if kind}
    of_kind = {
        kind: [iou for _, one, iou in rows if kind in ("all", one)] for kind in ("all", *sorted(kinds))
    }
    scores = {
        kind: {"mean_iou": sum(ious) / len(ious), "samples": len(ious)} for kind, ious in of_kind.items()
    }
    it = result({name: scores}, **{"data_fingerprint": {name: "1" * 12}, **provenance})
    folder.mkdir(parents=True)
    it.write(folder / "metrics.json")
    with (folder / "samples.csv").open("w", newline="") as out:
        table = csv.writer(out)
        table.writerow(
            "data_set index video_id frame instance_id kind sentence iou coarse_iou score selected".split()
        )
        for i, (video, kind, iou) in enumerate(rows):
            table.writerow([name, i, video, 3, i, kind, "a, b", iou, 0, 0, ""])
    return RunFolder(folder), it


def parameters(folder: Path, data: dict | None = None, **training) -> dict:
    """A params file for a training of seconds on moving shapes; nothing of it is on disk yet."""
    return {
        "run": "tiny",
        "reports": str(folder / "reports"),
        "data": {
            "train_on": "moving_shapes-train",
            "evaluate_on": ["moving_shapes-test"],
            "roots": {"moving_shapes": str(folder / "data")},
            "size": 64,
            "workers": 0,
            "moving_shapes": {"train_clips": 5, "test_clips": 1, "unseen_clips": 1},
        }
        | (data or {}),
        "flow": {"root": str(folder / "flow"), "workers": 1},
        "model": model().model_dump(),
        "training": {"steps": 2, "batch": 2, "warmup": 1, "validate_every": 2, "validation_clips": 1}
        | training,
    }


def prepared(folder: Path, **training) -> Experiment:
    """A tiny experiment, with data and flow."""
    data = {
        "evaluate_on": ["moving_shapes-test", "moving_shapes-unseen"],
        "stride": 3,
        "moving_shapes": {"train_clips": 5, "test_clips": 2, "unseen_clips": 1},
    }
    it = experiment(**parameters(folder, data, **{"steps": 4, "rate": 1e-3, **training}))
    prepare(it, progress=False)
    return it


def command(*words: object) -> int:
    """The exit status of `mmvs WORD ...`, run in this process."""
    try:
        with pytest.raises(SystemExit) as end:
            main([str(word) for word in words])
        return end.value.code
    finally:
        processes._device = None  # what --device chose is for one command
