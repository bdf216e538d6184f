"""Masks of one frame, bool (H, W): what counts as one, how a probability map becomes one, and its score.

An array is NumPy's, or a tensor on any device.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

import numpy as np

if TYPE_CHECKING:
    from torch import Tensor

    from mmvs.config import Evaluation

Array: TypeAlias = "np.ndarray | Tensor"


def as_array(values: Array) -> np.ndarray:
    """NumPy's view of an array or tensor; numbers of a tensor become float64, which not every device has."""
    if hasattr(values, "detach"):  # a tensor, told without torch
        values = values.detach().cpu()
        if values.is_floating_point():
            values = values.float() if values.element_size() < 4 else values  # numpy has no bfloat16
            return values.numpy().astype(np.float64)
    return np.asarray(values)


def as_mask(name: str, values: Array) -> np.ndarray:
    """One mask (H, W) bool; TypeError for other types, ValueError for other shapes."""
    mask = as_array(values)
    if mask.dtype != bool:
        raise TypeError(f"{name} is {mask.dtype}; expected bool: binarise it first, as in values > 0.5")
    if mask.ndim != 2:
        raise ValueError(f"{name} has shape {mask.shape}; expected one mask (H, W): give one frame at a time")
    return mask


def same_shape(first: str, one: np.ndarray, second: str, other: np.ndarray) -> None:
    """ValueError where two arrays differ in shape; their names are for its text."""
    if one.shape != other.shape:
        raise ValueError(
            f"{first} has shape {one.shape} but {second} {other.shape}; expected the same (H, W): "
            "bring both to the original resolution of the frame"
        )


def binarise(probability: Array, settings: Evaluation) -> Array:
    """A bool mask from a probability map, both (H, W).

    settings  the threshold, and whether it is relative: a share of the map's maximum
    """
    return probability > settings.threshold * (probability.max() if settings.relative else 1.0)


def foreground_score(probability: Array, mask: Array) -> float:
    """Mean foreground probability over a mask, 0 where the mask is empty: the score of a single-mask model.

    probability  (H, W) in [0, 1]
    mask         (H, W) bool

    ValueError: shapes that differ, or values that are no probabilities (NaN, logits).
    """
    probability, mask = as_array(probability), as_mask("mask", mask)
    same_shape("probability", probability, "mask", mask)
    if not mask.any():
        return 0.0
    score = float(probability[mask].mean(dtype=np.float64))
    if not 0 <= score <= 1:
        raise ValueError(f"probability has mean {score} over the mask; expected values in [0, 1], not logits")
    return score
