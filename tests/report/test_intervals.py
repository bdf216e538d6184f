"""Intervals: what they must be by hand, and how often they hold the true mean of simulated videos."""

import math

import numpy as np
import pandas as pd
import pytest
import tiny

from mmvs.report import intervals
from mmvs.run_folder import ReportError


def test_equal_scores_have_an_interval_of_width_zero():
    one = intervals.over_videos([0.25] * 12, ["a", "b", "c"] * 4)
    assert (one.value, one.low, one.high, one.count) == (0.25, 0.25, 0.25, 3)


def test_samples_of_a_video_are_drawn_together():
    """Two videos, 0 and 1: a draw of two holds both with chance 1/2, else one of them twice."""
    few = intervals.over_videos([0, 1], ["a", "b"])
    many = intervals.over_videos([0] * 50 + [1] * 50, ["a"] * 50 + ["b"] * 50)
    assert (few.low, few.high) == (many.low, many.high) == (0, 1)
    as_if_apart = intervals.over_videos([0] * 50 + [1] * 50, range(100))
    assert 0.39 < as_if_apart.low < 0.42 and 0.58 < as_if_apart.high < 0.61  # 0.5 ± 1.96 * 0.05


def test_a_video_weighs_as_many_samples_as_it_has():
    one = intervals.over_videos([0, 0, 0, 1], ["a", "a", "a", "b"])
    assert one.value == 0.25 and (one.low, one.high) == (0, 1)


def test_intervals_of_simulated_videos_hold_the_true_mean():
    """100 experiments of 40 videos that differ, with 1 to 9 samples each: 95 % hold the mean, 0.5."""
    random, held, held_apart = np.random.default_rng(1), 0, 0
    for _ in range(100):
        sizes = random.integers(1, 10, 40)
        videos = np.repeat(np.arange(40), sizes)
        values = 0.5 + np.repeat(random.normal(0, 0.2, 40), sizes) + random.normal(0, 0.1, len(videos))
        one = intervals.over_videos(values, videos, resamples=300)
        held += one.low <= 0.5 <= one.high
        apart = intervals.over_videos(values, np.arange(len(videos)), resamples=300)
        held_apart += apart.low <= 0.5 <= apart.high
    assert 0.89 <= held / 100 <= 0.99
    assert held_apart / 100 < 0.75, "samples drawn one by one promise too much: videos differ"


def test_the_same_table_gives_the_same_interval_in_any_order():
    random = np.random.default_rng(0)
    values, videos = random.random(60).round(4), random.integers(0, 12, 60)
    order = random.permutation(60)
    one, other = intervals.over_videos(values, videos), intervals.over_videos(values[order], videos[order])
    assert (one.low, one.high) == pytest.approx((other.low, other.high))
    assert (one.low, one.high) != intervals.over_videos(values, videos, seed=1)


def test_one_video_has_no_interval_and_says_so():
    one = intervals.over_videos([0.2, 0.4], ["a", "a"])
    assert one.value == pytest.approx(0.3) and math.isnan(one.low) and math.isnan(one.high)
    assert one.text() == "0.300 [1 video]" and one.record()["low"] is None


@pytest.mark.parametrize("values", [[], [0.5, math.nan]])
def test_no_samples_or_no_numbers_are_refused(values):
    with pytest.raises(ValueError, match="needs samples, each with a number"):
        intervals.over_videos(values, ["a"] * len(values))


def test_seeds_have_students_t():
    one = intervals.over_seeds([0.1, 0.2, 0.3])
    assert one.value == pytest.approx(0.2)
    assert one.high - one.value == pytest.approx(4.3027 * 0.1 / math.sqrt(3), rel=1e-4)  # t of 2 degrees
    assert intervals.over_seeds([0.4]).text("+") == "+0.400 [1 seed]"


def test_samples_are_read_as_they_were_written(tmp_path):
    """Video ids are text, "NA" is a name as any other, and a sample may have no kind."""
    folder, result = tiny.scored(
        tmp_path / "r", [("007", "motion", 0.5), ("NA", "", 0.1), ("1e3", "both", 0.9)]
    )
    table = intervals.samples(folder, result)
    assert table["video_id"].tolist() == ["007", "NA", "1e3"] and table["kind"].tolist() == [
        "motion",
        "",
        "both",
    ]
    assert len(intervals.of_kind(table, "shapes-test", "all")) == 3
    assert intervals.of_kind(table, "shapes-test", "both")["iou"].tolist() == [0.9]
    assert intervals.measured(table, "precision@0.5").tolist() == [0, 0, 1]
    assert intervals.measured(table, "map") is None
    folder.samples.unlink()
    assert intervals.samples(folder, result) is None


@pytest.mark.parametrize(
    "change, reason",
    [
        (lambda text: text.replace("video_id", "video"), "of another version .no column video_id."),
        (lambda text: "", "cannot be read"),
        (lambda text: "\x00\xff", "of another version"),
        (lambda text: text.replace("0.5", "much"), "row 1: iou is not in 0 to 1"),
        (lambda text: text.replace("0.5", "1.5"), "row 1: iou is not in 0 to 1"),
        (
            lambda text: text.replace("0.5", "0.7"),
            "not of the same evaluation .* 2 samples of mean IoU 0.4000",
        ),
        (lambda text: text[: text.rindex("shapes-test")], "1 samples of mean IoU 0.5000, not 2 of 0.3000"),
    ],
)
def test_a_samples_file_that_does_not_fit_is_refused_by_name(tmp_path, change, reason):
    folder, result = tiny.scored(tmp_path / "r", [("a", "motion", 0.5), ("b", "motion", 0.1)])
    folder.samples.write_text(change(folder.samples.read_text()))
    with pytest.raises(ReportError, match=f"samples.csv.*{reason}.*mmvs evaluate"):
        intervals.samples(folder, result)


def test_differences_pair_the_samples_that_both_runs_have():
    def table(*rows):
        content = [dict(zip(intervals.KEY, ("d", *row[:4]), strict=True)) | {"iou": row[4]} for row in rows]
        return pd.DataFrame(content)

    a = table(("v", 1, 0, "x", 0.1), ("w", 1, 0, "x", 0.5), ("w", 1, 0, "x", 0.2), ("u", 1, 0, "x", 0))
    b = table(("w", 1, 0, "x", 0.6), ("w", 1, 0, "x", 0.3), ("v", 1, 0, "x", 0.2), ("t", 1, 0, "x", 1))
    one = intervals.paired(a, b, "mean_iou")
    assert one.count == 2, (
        "the videos v and w, whatever the order; a sentence that stands twice pairs in order"
    )
    assert (one.value, one.low, one.high) == pytest.approx((0.1, 0.1, 0.1))
    assert intervals.paired(a.iloc[:1], b.iloc[:1], "mean_iou") is None
