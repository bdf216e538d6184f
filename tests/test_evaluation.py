"""Evaluation: J and F stand beside mean IoU where every frame of a video is scored, and nowhere else."""

import shutil
from types import SimpleNamespace

import numpy as np
import pytest

from mmvs import evaluation
from mmvs.config import ROOT, experiment
from mmvs.data.expression_videos import MeViS
from mmvs.metrics import ScoresOfExpressions, boundary_accuracy, region_similarity


@pytest.fixture
def samples(tmp_path):
    shutil.unpack_archive(ROOT / "tests" / "scoring" / "trees.tar.xz", tmp_path)
    return MeViS(tmp_path / "mevis", "valid_u")


def scores(samples, monkeypatch, probability):
    """What `_score` gives where the network answers probability(index)."""

    def answers(*_):
        for i in range(len(samples)):
            answer = probability(i).astype(np.float32)
            yield None, [SimpleNamespace(index=i, probability=answer, coarse=answer)]

    monkeypatch.setattr(evaluation, "answers", answers)
    trained = SimpleNamespace(experiment=experiment())
    return evaluation._score(
        trained, "mevis-valid_u", SimpleNamespace(samples=samples, flow=None), False, False
    )


def test_video_truth_gives_j_and_f(samples, monkeypatch):
    results, rows = scores(samples, monkeypatch, samples.mask)
    assert results["all"]["J"] == results["all"]["F"] == results["all"]["J&F"] == 1
    assert len(rows) == len(samples)
    results, _ = scores(samples, monkeypatch, lambda i: np.roll(samples.mask(i), 3, axis=1))
    by_expression = {}
    for i in range(len(samples)):
        pair = np.roll(samples.mask(i), 3, axis=1), samples.mask(i)
        numbers = region_similarity(*pair), boundary_accuracy(*pair)
        by_expression.setdefault(samples.expression(i), []).append(numbers)
    j, f = np.mean([np.mean(frames, axis=0) for frames in by_expression.values()], axis=0)
    assert (results["all"]["J"], results["all"]["F"]) == pytest.approx((j, f))
    assert results["all"]["J&F"] == pytest.approx((j + f) / 2) and 0 < f < 1


def test_an_object_does_not_rival_its_own_sentences(samples, monkeypatch):
    of_object = [samples.rivals(i, samples.masks_in_frame(i)) for i in range(len(samples))]
    results, rows = scores(samples, monkeypatch, samples.mask)
    assert len(rows) == len(samples)
    for row in rows:  # clip by clip, not sample by sample
        rivals, visible = of_object[row[1]], samples.mask(row[1]).any()
        assert row[-1] == ("" if not rivals else 1 if visible or len(rivals) == 1 else row[-1])
    chance = np.mean([1 / len(rivals) for rivals in of_object if rivals])
    assert results["all"]["selection_chance"] == pytest.approx(chance)


def test_single_frames_do_not(samples, monkeypatch):
    monkeypatch.setattr(samples, "frames_with_truth", lambda i: [samples[i].frame])
    results, _ = scores(samples, monkeypatch, samples.mask)
    assert "J" not in results["all"] and results["all"]["mean_iou"] == 1


def test_without_frames_there_is_no_average():
    with pytest.raises(ValueError, match="no frames"):
        ScoresOfExpressions().compute()
