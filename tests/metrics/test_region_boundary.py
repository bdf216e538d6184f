"""J and F: values of the public DAVIS evaluation code, its definitions word by word, and what is refused.

jf.npz holds invented masks, one bit a pixel, and what that code (of 2017, with NumPy 2.4) gives.
"""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from mmvs.config import ROOT
from mmvs.metrics import FrameTruth, boundary_accuracy, region_similarity, statistics


def golden():
    """The pairs, each with its masks, and the series."""
    file = np.load(Path(__file__).with_name("jf.npz"))
    values, bits, start = json.loads(file["values"].tobytes()), file["bits"], 0
    for pair in values["pairs"]:
        shape = pair["height"], pair["width"]
        size = -(-shape[0] * shape[1] // 8)
        for name in ("truth", "prediction") + ("void_mask",) * pair["void"]:
            packed = bits[start : start + size]
            pair[name] = np.unpackbits(packed, count=shape[0] * shape[1]).reshape(shape).astype(bool)
            start += size
    assert start == len(bits)
    return values["pairs"], values["series"]


PAIRS, SERIES = golden()
exactly = pytest.approx


@pytest.mark.parametrize("pair", PAIRS, ids=lambda pair: pair["name"])
def test_every_pair_gets_the_public_codes_numbers(pair):
    prediction, truth = pair["prediction"], pair["truth"]
    assert region_similarity(prediction, truth) == exactly(pair["J"], abs=1e-12)
    assert boundary_accuracy(prediction, truth) == exactly(pair["F"], abs=1e-12)
    assert FrameTruth(truth).scores(prediction) == exactly((pair["J"], pair["F"]), abs=1e-12)
    for radius in {1, 3} if "F_radius_1" in pair else ():
        result = boundary_accuracy(prediction, truth, tolerance=radius)
        assert result == exactly(pair[f"F_radius_{radius}"], abs=1e-12)
    if pair["void"]:
        void = pair["void_mask"]
        assert region_similarity(prediction, truth, void) == exactly(pair["J_void_excluded"], abs=1e-12)
        assert boundary_accuracy(prediction, truth, void) == exactly(pair["F_void_excluded"], abs=1e-12)


@pytest.mark.parametrize("series", SERIES, ids=lambda series: series["name"])
def test_every_series_gets_the_public_codes_statistics(series):
    values = [np.nan if value is None else value for value in series["values"]]
    expected = {name: series[name] for name in ("mean", "recall", "decay")}
    expected["decay"] = series.get("decay_with_plain_integers", expected["decay"])
    assert statistics(values) == exactly(expected, abs=1e-12)


def boundary_by_definition(mask):
    height, width = mask.shape
    at = np.zeros_like(mask)
    for y in range(height):
        for x in range(width):
            below, right = min(y + 1, height - 1), min(x + 1, width - 1)
            at[y, x] = len({mask[y, x], mask[below, x], mask[y, right], mask[below, right]}) > 1
    return np.argwhere(at)


def f_by_definition(prediction, truth, radius):
    one, other = boundary_by_definition(prediction), boundary_by_definition(truth)
    if not len(one) or not len(other):
        return float(len(one) == len(other))
    near = ((one[:, None] - other[None]) ** 2).sum(-1) <= radius**2
    precision, recall = near.any(1).mean(), near.any(0).mean()
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0


def test_every_place_and_size_of_an_object_is_as_defined():
    """The windows around objects, which are an optimisation, change no number."""
    random = np.random.default_rng(0)
    for _ in range(150):
        height, width = random.integers(1, 24, 2)
        masks = np.zeros((2, height, width), bool)
        for mask in masks:
            top, left = random.integers(0, height), random.integers(0, width)
            tall, wide = random.integers(1, 12, 2)
            mask[top : top + tall, left : left + wide] = random.random() < 0.9
            mask ^= random.random((height, width)) < random.choice([0, 0.02])
        radius = int(random.integers(1, 5))
        expected = f_by_definition(*masks, radius)
        assert boundary_accuracy(*masks, tolerance=radius) == exactly(expected, abs=1e-12)
        union = (masks[0] | masks[1]).sum()
        expected = (masks[0] & masks[1]).sum() / union if union else 1.0
        assert region_similarity(*masks) == exactly(expected, abs=1e-12)


def test_the_tolerance_is_a_share_of_the_diagonal_rounded_up():
    """480x854: 7.84, so that 8 pixels are near and 9 are not."""
    truth = np.zeros((480, 854), bool)
    truth[200:203, 100:700] = True  # rows 199 and 202 of the boundary map
    assert boundary_accuracy(np.roll(truth, 8, axis=0), truth) == 1
    assert 0 < boundary_accuracy(np.roll(truth, 11, axis=0), truth) < 1  # only 202 and 210 are near
    assert boundary_accuracy(np.roll(truth, 12, axis=0), truth) == 0  # 202 and 211
    assert boundary_accuracy(np.roll(truth, 12, axis=0), truth, tolerance=12) == 1


def test_one_truth_serves_many_predictions():
    random = np.random.default_rng(1)
    truth, predictions = random.random((30, 40)) < 0.1, random.random((5, 30, 40)) < 0.1
    prepared = FrameTruth(truth)
    for prediction in predictions:
        assert prepared.scores(prediction) == FrameTruth(truth).scores(prediction)
        assert prepared.region_similarity(prediction) == region_similarity(prediction, truth)
        assert prepared.boundary_accuracy(prediction) == boundary_accuracy(prediction, truth)


def test_masks_stay_what_they_were_and_any_memory_layout_will_do():
    random = np.random.default_rng(2)
    truth, prediction = random.random((2, 60, 40)) < 0.5
    before = truth.copy(), prediction.copy()
    expected = FrameTruth(truth).scores(prediction)
    assert FrameTruth(truth.T).scores(prediction.T)[0] == expected[0]
    strided = np.repeat(truth, 2, axis=1)[:, ::2], np.asfortranarray(prediction)
    assert FrameTruth(strided[0]).scores(strided[1]) == expected
    assert FrameTruth(torch.from_numpy(truth)).scores(torch.from_numpy(prediction)) == expected
    assert (truth == before[0]).all() and (prediction == before[1]).all()


MASK = np.ones((4, 5), bool)


@pytest.mark.parametrize(
    "arguments, error, reason",
    [
        ((MASK.astype(np.uint8), MASK), TypeError, "prediction is uint8; expected bool"),
        ((MASK, MASK * 0.5), TypeError, "truth is float64"),
        ((MASK, MASK[1:]), ValueError, r"prediction has shape \(4, 5\) but truth \(3, 5\)"),
        ((MASK, MASK, MASK[:, 1:]), ValueError, r"void has shape \(4, 4\)"),
        ((MASK[None], MASK[None]), ValueError, "one mask"),
        ((MASK[:0], MASK[:0]), ValueError, "at least one pixel"),
    ],
)
def test_what_is_no_mask_is_refused(arguments, error, reason):
    for measure in (region_similarity, boundary_accuracy):
        with pytest.raises(error, match=reason):
            measure(*arguments)


def test_a_tolerance_or_a_series_that_means_nothing_is_refused():
    for tolerance in (-1, np.nan, np.inf):
        with pytest.raises(ValueError, match="tolerance"):
            boundary_accuracy(MASK, MASK, tolerance=tolerance)
    with pytest.raises(ValueError, match="one or more frames"):
        statistics([])


def test_the_names_of_the_folder_are_found_without_loading_torch():
    code = "import sys, mmvs.metrics as m; m.region_similarity; print('torch' in sys.modules)"
    code += "; from mmvs.metrics import *; print(SegmentationMetrics.__name__)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.stdout.split() == ["False", "SegmentationMetrics"], done.stderr
