"""Weights and inputs of the reference outputs of the published network, from names and shapes alone."""

from __future__ import annotations

import hashlib
import json

import numpy as np
import torch
from torch import Tensor

from mmvs.config import ROOT

FOLDER = ROOT.parent / "shared" / "golden" / "published"


def numbers(name: str, shape: tuple[int, ...]) -> np.ndarray:
    """Standard normal numbers that hang on a name alone, float64."""
    seed = int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big")
    return np.random.Generator(np.random.PCG64(seed)).standard_normal(int(np.prod(shape))).reshape(shape)


def tensor_of(key: str, shape: tuple[int, ...], dtype: str) -> Tensor | None:
    """The weight of a state-dict key; None for the coordinate maps, which are no weights."""
    name = "Visionmodel." + key.removeprefix("model.") if key.startswith("model.") else key
    last = name.rsplit(".", 1)[-1]
    if dtype.startswith("int"):
        return torch.zeros(shape, dtype=torch.int64)
    if last == "spatial_pos":
        return None
    n = numbers(name, shape)
    if last == "running_mean":
        value = 0.1 * n
    elif last == "running_var":
        value = 1 + 0.1 * np.abs(n)
    elif len(shape) > 1:
        value = n / np.sqrt(np.prod(shape[1:]))
    else:
        value = (1 if last == "weight" else 0) + 0.1 * n
    return torch.from_numpy(value.astype(np.float32))


def state_dict() -> dict[str, Tensor]:
    """All keys of the authors' network but the coordinate maps; both copies of a backbone are one tensor."""
    tensors: dict[str, Tensor] = {}
    for record in json.loads((FOLDER / "state_dict_keys.json").read_text())["keys"]:
        key = record["key"]
        twin = (
            "Visionmodel." + key.removeprefix("model.")
            if key.startswith("model.")
            else "model." + key.removeprefix("Visionmodel.")
        )
        value = tensors[twin] if twin in tensors else tensor_of(key, tuple(record["shape"]), record["dtype"])
        if value is not None:
            tensors[key] = value
    return tensors


def picture(name: str, frames: int = 3, size: int = 320) -> Tensor:
    """(1, frames, 3, size, size) float32: a normalised picture of coarse cells and fine grain."""
    cells = size // 16
    coarse = numbers(f"{name}.coarse", (1, frames, 3, cells, cells)).repeat(16, axis=3).repeat(16, axis=4)
    fine = numbers(f"{name}.fine", (1, frames, 3, size, size))
    return torch.from_numpy((coarse + 0.25 * fine).astype(np.float32))


def truth(size: int = 320) -> Tensor:
    """(1, size, size): the ellipse that stands for the object."""
    y, x = torch.meshgrid(torch.arange(size), torch.arange(size), indexing="ij")
    return ((((x - 160) / 90) ** 2 + ((y - 140) / 70) ** 2) < 1).float()[None]
