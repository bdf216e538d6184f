"""Measured and published scores: the field's layout, and two things called mAP in two columns."""

import numpy as np
import pytest
import tiny

from mmvs.metrics import SegmentationMetrics
from mmvs.report import cited_scores


def result(*names, lists=None):
    metrics = SegmentationMetrics()
    mask = np.zeros((10, 10), bool)
    mask[:8] = True
    metrics.update(mask, np.ones((10, 10), bool), 0.5)
    scores = {name: {"all": metrics.compute() | {"selection_accuracy": 1.0}} for name in names}
    return tiny.result(scores, **({"samples_from": lists} if lists else {}))


def test_measured_scores_have_the_fields_columns_in_per_cent():
    table = cited_scores.own_scores(result("a2d-test", "jhmdb"))
    assert list(table) == [
        "P@0.5", "P@0.6", "P@0.7", "P@0.8", "P@0.9", "overall IoU", "mean IoU", "mAP (COCO)",
        "mean precision", "samples",
    ]  # fmt: skip
    row = table.loc["A2D-Sentences"]
    assert row["P@0.7"] == 100 and row["P@0.8"] == 0  # a tie is not above
    assert row["overall IoU"] == pytest.approx(80) and row["mean precision"] == pytest.approx(70)
    assert list(table.index) == ["A2D-Sentences", "J-HMDB-Sentences"]


def test_the_list_of_samples_is_named():
    lists = {"jhmdb": "jhmdb_samples.csv (2784 samples, sha256 0123456789ab)"}
    table = cited_scores.own_scores(result("a2d-test", "jhmdb", "a2d-test-shuffled", lists=lists))
    assert table["list of samples"].tolist() == ["", lists["jhmdb"], ""]


def test_published_scores_are_those_of_the_data_sets_measured():
    table = cited_scores.other_scores(result("jhmdb"))
    assert set(table.index.get_level_values(0)) == {"J-HMDB-Sentences"}
    assert set(cited_scores.other_scores(result("a2d-test", "jhmdb")).index.get_level_values(0)) == {
        "A2D-Sentences", "J-HMDB-Sentences",
    }  # fmt: skip
    assert not len(cited_scores.other_scores(result("moving_shapes-test")))


def test_every_published_figure_has_a_source_and_never_both_measures():
    for line in cited_scores.CITATIONS:
        assert line.source.startswith("https://") and line.scores
        assert set(line.scores) <= set(cited_scores.MEASURES)
        assert not {"map", "mean_precision"} <= set(line.scores)
        assert all(0 < value < 100 for value in line.scores.values())
        precisions = [value for key, value in line.scores.items() if key.startswith("precision")]
        assert precisions == sorted(precisions, reverse=True)


def test_what_is_called_mean_precision_is_one():
    """Between precision at 0.5 and 0.9 and nothing at 0.95, ten thresholds make about the published mean."""
    (line,) = [x for x in cited_scores.CITATIONS if "mean_precision" in x.scores and len(x.scores) > 7]
    known = [line.scores[f"precision@0.{k}"] for k in range(5, 10)]
    between = np.interp(np.arange(50, 100, 5), [50, 60, 70, 80, 90, 97], [*known, 0])
    assert between.mean() == pytest.approx(line.scores["mean_precision"], abs=1)


def test_what_is_unknown_is_shown_empty():
    table = cited_scores.blank_unknown(cited_scores.other_scores(result("jhmdb")))
    row = table.loc[("J-HMDB-Sentences", "MTTR (window 10)")]
    assert row["mAP (COCO)"] == 39.2 and row["P@0.5"] == "" and row["mean precision"] == ""
    assert "nan" not in table.to_html().lower()
