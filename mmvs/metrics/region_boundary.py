"""J and F: how well a mask covers the truth, and how well its outline follows that of the truth.

The definitions are those of the DAVIS benchmark (Perazzi et al., CVPR 2016) as its public evaluation code of
2017 has them, edge cases included; every number equals that code's. Of a frame with a small object only the
object's surroundings are looked at.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Hashable, Sequence
from functools import cached_property, lru_cache

import cv2
import numpy as np

from mmvs.metrics.masks import Array, as_mask, same_shape
from mmvs.processes import gathered

TOLERANCE = 0.008  # of F, as a share of the frame's diagonal
SUCCESS = 0.5  # recall is the share of frames above it
SQUARE = np.ones((2, 2), np.uint8)


def region_similarity(prediction: Array, truth: Array, void: Array | None = None) -> float:
    """J of one frame: intersection over union; 1 where both masks are empty.

    prediction  (H, W) bool
    truth       (H, W) bool
    void        (H, W) bool, pixels that count neither as object nor as background

    TypeError: masks that are not bool. ValueError: shapes that differ.
    """
    return FrameTruth(truth, void).region_similarity(prediction)


def boundary_accuracy(
    prediction: Array, truth: Array, void: Array | None = None, tolerance: float = TOLERANCE
) -> float:
    """F of one frame: 2PR / (P + R), P and R the shares of either boundary that lie near the other one.

    prediction  (H, W) bool
    truth       (H, W) bool
    void        (H, W) bool, pixels that are background in both masks
    tolerance   what near means: below 1 a share of the frame's diagonal, from 1 on a number of pixels;
                rounded up to whole pixels

    The edge of the picture is no boundary: a mask that fills the frame has none, like an empty one. F is 1
    where neither mask has a boundary, 0 where one has.

    TypeError: masks that are not bool. ValueError: shapes that differ, a tolerance below 0.
    """
    return FrameTruth(truth, void, tolerance).boundary_accuracy(prediction)


def statistics(values: Sequence[float]) -> dict[str, float]:
    """Mean, recall and decay of J or F over the frames of a video.

    values  one a frame, in the order of the frames; NaN is a frame without a value

    recall  share of all frames with more than 0.5; a frame without a value has not
    decay   mean of the first quarter of the frames less mean of the last. Neighbouring quarters share a
            frame. The public code keeps their edges in 8 bits, and gives other numbers from 256 frames on

    ValueError without frames.
    """
    series = np.asarray(values, np.float64)
    if series.ndim != 1 or not len(series):
        raise ValueError(f"values have shape {series.shape}; expected numbers of one or more frames")
    edges = [(i * (len(series) - 1) + 2) // 4 for i in range(5)]  # of i/4 of the way, halves rounded up
    first, last = series[: edges[1] + 1], series[edges[3] :]
    return {
        "mean": _mean(series),
        "recall": float(np.mean(series > SUCCESS)),
        "decay": _mean(first) - _mean(last),
    }


class ScoresOfExpressions:
    """J, F and J&F as MeViS averages them: over the frames of each expression, then over all expressions."""

    def __init__(self) -> None:
        self._scores: list[tuple[int, Hashable, tuple[float, float]]] = []

    def update(
        self, expression: Hashable, prediction: Array, truth: Array, position: int | None = None
    ) -> None:
        """Add one frame of an expression; the masks are those of `region_similarity`.

        position  of the frame among all that are added, by whichever process; None: after those before it
        """
        place = len(self._scores) if position is None else position
        self._scores.append((place, expression, FrameTruth(truth).scores(prediction)))

    def compute(self) -> dict[str, float]:
        """The averages, of all processes within `processes.together`; ValueError without frames."""
        of_expression: dict[Hashable, list[tuple[float, float]]] = {}
        for _, expression, scores in sorted(gathered(self._scores), key=lambda one: one[0]):
            of_expression.setdefault(expression, []).append(scores)
        if not of_expression:
            raise ValueError("no frames: call update for each frame before compute")
        j, f = np.mean([np.mean(frames, axis=0) for frames in of_expression.values()], axis=0).tolist()
        return {"J": j, "F": f, "J&F": (j + f) / 2}


class FrameTruth:
    """The truth of one frame, to be compared with any number of predictions: its outline is drawn once.

    The arguments are those of `boundary_accuracy`.
    """

    def __init__(self, truth: Array, void: Array | None = None, tolerance: float = TOLERANCE) -> None:
        truth = as_mask("truth", truth)
        if not truth.size:
            raise ValueError(f"truth has shape {truth.shape}; expected at least one pixel")
        if not 0 <= tolerance < math.inf:
            raise ValueError(f"tolerance is {tolerance}; expected 0 or more")
        if void is not None:
            void = as_mask("void", void)
            same_shape("void", void, "truth", truth)
        self._truth, self._void = truth, void
        diagonal = math.sqrt(truth.shape[0] ** 2 + truth.shape[1] ** 2)
        self._radius = math.ceil(tolerance if tolerance >= 1 else tolerance * diagonal)
        self._true_region = self._region(truth)

    def region_similarity(self, prediction: Array) -> float:
        """J, as the function of this name."""
        return self._similarity(self._predicted(prediction))

    def boundary_accuracy(self, prediction: Array) -> float:
        """F, as the function of this name."""
        return self._accuracy(self._predicted(prediction))

    def scores(self, prediction: Array) -> tuple[float, float]:
        """(J, F)."""
        predicted = self._predicted(prediction)
        return self._similarity(predicted), self._accuracy(predicted)

    def _predicted(self, prediction: Array) -> _Region:
        prediction = as_mask("prediction", prediction)
        same_shape("prediction", prediction, "truth", self._truth)
        return self._region(prediction)

    def _region(self, mask: np.ndarray) -> _Region:
        visible = mask if self._void is None else mask & ~self._void
        return _Region(visible, self._radius)

    def _similarity(self, predicted: _Region) -> float:
        intersection = _common(predicted, predicted.mask, self._true_region, self._true_region.mask)
        union = predicted.area + self._true_region.area - intersection
        return intersection / union if union else 1.0

    def _accuracy(self, predicted: _Region) -> float:
        true = self._true_region
        if not predicted.length or not true.length:
            return float(predicted.length == true.length)
        precision = _common(predicted, predicted.boundary, true, true.near) / predicted.length
        recall = _common(true, true.boundary, predicted, predicted.near) / true.length
        return 2 * precision * recall / (precision + recall) if precision + recall else 0.0


class _Region:
    """The pixels of a mask in a window, wide enough for the boundary and all that is near it.

    mask    (H, W) bool, the whole frame
    radius  pixels
    """

    def __init__(self, mask: np.ndarray, radius: int) -> None:
        frame = np.ascontiguousarray(mask).view(np.uint8)
        left, top, width, height = cv2.boundingRect(frame)
        margin = radius + 1  # the boundary lies half a pixel up and left
        self.top, self.left = max(top - margin, 0), max(left - margin, 0)
        self.mask = frame[self.top : top + height + margin, self.left : left + width + margin]
        self.radius = radius
        self.area = cv2.countNonZero(self.mask)

    @cached_property
    def boundary(self) -> np.ndarray:
        """Pixels that differ from the one to the right, below, or right and below; there is none outside."""
        return cv2.morphologyEx(
            self.mask, cv2.MORPH_GRADIENT, SQUARE, anchor=(0, 0), borderType=cv2.BORDER_REPLICATE
        )

    @cached_property
    def length(self) -> int:
        """Number of boundary pixels."""
        return cv2.countNonZero(self.boundary) if self.area else 0

    @cached_property
    def near(self) -> np.ndarray:
        """Pixels within the radius of the boundary."""
        return cv2.dilate(self.boundary, _disk(self.radius))


def _common(region: _Region, one: np.ndarray, other_region: _Region, other: np.ndarray) -> int:
    """Number of pixels that are set in two maps, each of them the window of its region."""
    top, left = max(region.top, other_region.top), max(region.left, other_region.left)
    one = one[top - region.top :, left - region.left :]
    other = other[top - other_region.top :, left - other_region.left :]
    height, width = min(len(one), len(other)), min(one.shape[1], other.shape[1])
    if not height or not width:
        return 0
    return cv2.countNonZero(cv2.bitwise_and(one[:height, :width], other[:height, :width]))


@lru_cache
def _disk(radius: int) -> np.ndarray:
    y, x = np.mgrid[-radius : radius + 1, -radius : radius + 1]
    return (y * y + x * x <= radius * radius).astype(np.uint8)


def _mean(values: np.ndarray) -> float:
    """Mean of the values that there are; NaN where there is none."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        return float(np.nanmean(values))
