"""`mmvs compare`: intervals and paired differences by hand, what differs, and what is refused."""

import json

import pytest
import tiny

from mmvs.report.comparison import ABSENT, Comparison
from mmvs.run_folder import ReportError

ROWS = [("a", "motion", 0.5), ("a", "both", 0.3), ("b", "motion", 0.1), ("c", "both", 0.9)]
VIDEOS = [("v", 0.75, 0.25), ("w", 0.25, 0.25)]  # J, F
BETTER = [(video, kind, round(iou + 0.05, 4)) for video, kind, iou in ROWS]


def row(comparison, kind="all", measure="mean_iou"):
    return next(one for one in comparison.rows if (one.kind, one.measure) == (kind, measure))


def seeds(folder, *values):
    """A folder that holds a run a seed, each of one sample of that score in two videos."""
    for seed, value in enumerate(values):
        tiny.scored(folder / str(seed), [("a", "", value), ("b", "", value)], seed=seed)
    return folder


def test_two_runs_are_compared_by_their_common_videos(tmp_path):
    """Every sample gains 0.05: the scores are uncertain, the difference is not."""
    tiny.scored(tmp_path / "a", ROWS, parameters={"training": {"rate": 0.1}, "run": "a"})
    tiny.scored(tmp_path / "b", BETTER, parameters={"training": {"rate": 0.2}, "run": "b"})
    comparison = Comparison.of([tmp_path / "a", tmp_path / "b" / "metrics.json"])
    scores, (gain,) = row(comparison).scores, row(comparison).differences
    assert [one.value for one in scores] == pytest.approx([0.45, 0.5]) and scores[0].count == 3
    assert scores[0].low < 0.3 and scores[0].high > 0.6
    assert (gain.value, gain.low, gain.high) == pytest.approx((0.05, 0.05, 0.05))
    assert row(comparison, "motion").scores[0].value == pytest.approx(0.3)
    assert comparison.differing()["parameters"] == {"training.rate": [0.1, 0.2]}
    text = comparison.text()
    assert "+0.050 [+0.050, +0.050]" in text and "training.rate  0.1  0.2" in text and "flow: nothing" in text
    comparison.write_json(tmp_path / "c.json")
    record = json.loads((tmp_path / "c.json").read_text())
    assert record["rows"][0]["differences"][0]["value"] == pytest.approx(0.05)


def test_several_seeds_are_paired_and_have_students_t(tmp_path):
    """Gains of 0.1 and 0.3: 0.2 ± 12.7 * 0.1414 / sqrt(2), whatever the seeds themselves score."""
    a, b = seeds(tmp_path / "a", 0.1, 0.5), seeds(tmp_path / "b", 0.2, 0.8, 0.0)
    (gain,) = row(Comparison.of([a, b])).differences
    assert (gain.value, gain.count, gain.unit) == (pytest.approx(0.2), 2, "seed")
    assert gain.high - gain.value == pytest.approx(1.2706, abs=1e-3)
    one = tmp_path / "b" / "1"
    (gain,) = row(Comparison.of([a, one])).differences
    assert (gain.value, gain.unit) == (pytest.approx(0.3), "video"), "one common seed: over its videos"


def test_runs_without_samples_have_scores_and_are_told_what_intervals_need(tmp_path):
    for name in ("a", "b"):
        folder, _ = tiny.scored(tmp_path / name, ROWS)
        folder.samples.unlink()
    comparison = Comparison.of([tmp_path / "a", tmp_path / "b"])
    text = comparison.text()
    assert "0.450  0.450  +0.000" in text and "No samples.csv in" in text and "`mmvs evaluate`" in text
    assert comparison.record()["rows"][0]["scores"][0]["low"] is None


def test_other_measures_are_chosen_by_name(tmp_path):
    for name in ("a", "b"):
        tiny.scored(tmp_path / name, ROWS)
    comparison = Comparison.of([tmp_path / "a", tmp_path / "b"], ["samples"])
    assert row(comparison, measure="samples").scores[0].value == 4
    assert row(comparison, measure="samples").differences == [None], "of the data, no difference of runs"
    with pytest.raises(ReportError, match="no run has the measure 'mean_io': did you mean 'mean_iou'"):
        Comparison.of([tmp_path / "a", tmp_path / "b"], ["mean_io"])


def test_j_and_f_have_the_intervals_of_their_expressions(tmp_path):
    """Of two videos; the samples have none of J and F. A table that is of another time counts as none."""
    for name, more in (("a", 0.0), ("b", 0.25)):
        folder, _ = tiny.scored(tmp_path / name, ROWS)
        content = json.loads(folder.metrics.read_text())
        content["scores"]["shapes-test"]["all"] |= {"J": 0.5 + more, "F": 0.25 + more, "J&F": 0.375 + more}
        folder.metrics.write_text(json.dumps(content))
        rows = [f"{video},0,x,{j + more},{f + more},{(j + f) / 2 + more}" for video, j, f in VIDEOS]
        table = folder.submission("shapes-test").with_suffix(".csv")
        table.parent.mkdir()
        table.write_text("\n".join(["video,exp_id,sentence,J mean,F mean,J&F", *rows]))
    comparison = Comparison.of([tmp_path / "a", tmp_path / "b"])
    assert comparison.measures == ["mean_iou", "J&F"]
    scores, (gain,) = row(comparison, measure="J&F").scores, row(comparison, measure="J&F").differences
    assert (scores[0].low, scores[0].high) == pytest.approx((0.25, 0.5))
    assert (gain.value, gain.low, gain.high) == pytest.approx((0.25, 0.25, 0.25))
    table.write_text(table.read_text().replace("0.25", "0.35").replace("0.5", "0.6"))
    assert row(Comparison.of([tmp_path / "a", tmp_path / "b"]), measure="J&F").scores[1].count == 0


@pytest.mark.parametrize(
    "name, ours, theirs, reason",
    [
        ("own-valid", {}, {"data_fingerprint": {"own-valid": "2" * 12}}, "fingerprint 111111111111, 2222"),
        (
            "mosaic:moving_shapes-test",
            {"parameters": {"data": {"moving_shapes": {"noise": 4.0, "test_clips": 5, "crf": 18}}}},
            {"parameters": {"data": {"moving_shapes": {"noise": 9.0, "test_clips": 6, "generator": 4}}}},
            "(noise 4.0, 9.0)",
        ),
    ],
)
def test_different_data_are_refused_or_named(tmp_path, capsys, name, ours, theirs, reason):
    """Other samples, or other pictures. Numbers of clips do not count: they are in the fingerprint."""
    tiny.scored(tmp_path / "a", ROWS, name, **ours)
    tiny.scored(tmp_path / "b", ROWS, name, **theirs)
    with pytest.raises(ReportError) as refusal:
        Comparison.of([tmp_path / "a", tmp_path / "b"])
    line, advice = str(refusal.value).splitlines()
    assert "different data" in line and "--different-data" in advice
    assert tiny.command("compare", tmp_path / "a", tmp_path / "b") == 1
    assert tiny.command("compare", tmp_path / "a", tmp_path / "b", "--different-data") == 0
    captured = capsys.readouterr()
    assert captured.out.startswith(f"warning: {line}") and "different data" in captured.err
    assert row(Comparison.of([tmp_path / "a", tmp_path / "b"], None, True)).differences == [None]
    assert reason in line


def test_other_training_data_are_no_obstacle(tmp_path):
    sets = {"shapes-test": "1" * 12}
    tiny.scored(tmp_path / "a", ROWS, data_fingerprint=sets | {"shapes-train": "2" * 12})
    tiny.scored(tmp_path / "b", ROWS, data_fingerprint=sets)
    comparison = Comparison.of([tmp_path / "a", tmp_path / "b"])
    assert comparison.differing()["data"] == {"shapes-train": ["2" * 12, ABSENT]}


def test_what_cannot_be_compared_is_refused_by_name(tmp_path):
    folder, _ = tiny.scored(tmp_path / "a", ROWS)
    tiny.scored(tmp_path / "b", ROWS, "other-test")
    (tmp_path / "empty").mkdir()
    for seed in "01":
        tiny.scored(tmp_path / "twice" / seed, ROWS)
    for second, reason in {
        "missing": "no run '.*missing', neither a folder nor below",
        "empty": "empty is not scored, it has no metrics.json: run `mmvs evaluate`",
        "b": "not scored on a common data set: shapes-test there, other-test here",
        "twice": "two of its runs have the same seed",
        ".": "holds several experiments: name one, twice",
    }.items():
        with pytest.raises(ReportError, match=reason):
            Comparison.of([tmp_path / "a", tmp_path / second])
    with pytest.raises(ReportError, match="two runs or more"):
        Comparison.of([tmp_path / "a"])
    with pytest.raises(ReportError, match="did you mean 'moving_shapes'"):
        Comparison.of(["moving_shape", tmp_path / "a"])
    folder.samples.write_text("data_set,iou\n")
    with pytest.raises(ReportError, match="samples.csv is of another version"):
        Comparison.of([tmp_path / "a", tmp_path / "a"])
