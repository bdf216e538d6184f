"""The page of a sweep, from a small record whose numbers are worked out by hand."""

import json

import pytest
import tiny

from mmvs.report import intervals, pages
from mmvs.report.sweeps import SweepScores
from mmvs.run_folder import ReportError


def record(one=(0.4, 0.5, 0.6), other=(0.5, 0.6, 0.7), measure="J&F"):
    def scores(value):
        measures = {"mean_iou": value / 2, measure: value}
        return {
            name: {"all": measures if name == "own" else {measure: 0.1}} for name in ("own", "own-shuffled")
        }

    points = {
        name: {"changes": {}, "scores": {str(seed): scores(value) for seed, value in enumerate(values)}}
        for name, values in (("flow", one), ("no <flow>", other))
    }
    return {"points": points, "table": [], "failed": {"no <flow>/3": "no <space> left"}}


def test_points_have_intervals_over_seeds_and_paired_gains(tmp_path):
    path = tmp_path / "sweep.json"
    path.write_text(json.dumps(record()))
    sweep = SweepScores.read(path)
    assert (sweep.data_set, sweep.measure) == ("own", "J&F"), "the measure of whole videos where there is one"
    assert sweep.points["flow"].value == pytest.approx(0.5)
    # 0.4, 0.5, 0.6: standard deviation 0.1, t of 97.5 % with 2 degrees of freedom 4.302653
    assert sweep.points["flow"].high == pytest.approx(0.5 + 4.302653 * 0.1 / 3**0.5)
    assert sweep.gains["no <flow>"].value == pytest.approx(0.1)
    assert sweep.floors == {"sentences of other videos": pytest.approx(0.1)}
    assert sweep.finding().startswith("Best on own: no <flow>, J&F 0.600 [")


def test_a_page_shows_points_and_what_failed_as_plain_text(tmp_path):
    folder = tmp_path / "tiny"
    folder.mkdir()
    (folder / "sweep.json").write_text(json.dumps(record()))
    html = pages.write_index(tmp_path)[0].read_text()
    assert 'href="tiny/sweep.html"' in html and "no &lt;flow&gt;" in html
    page = (folder / "sweep.html").read_text()
    assert "no &lt;flow&gt;/3: no &lt;space&gt; left" in page and "<flow>" not in page
    assert "data:image/png;base64," in page and "0.500 [0.252, 0.748]" in page


def test_one_seed_has_the_interval_over_videos_that_the_sweep_kept(tmp_path):
    content = record((0.4,), (0.5,), measure="mean_iou")
    estimate = intervals.Estimate(0.4, 0.3, 0.5, 12).record()
    content["table"] = [{"point": "flow", "data_set": "own", "kind": "all", "score": estimate, "gain": None}]
    (tmp_path / "sweep.json").write_text(json.dumps(content))
    sweep = SweepScores.read(tmp_path / "sweep.json")
    assert sweep.points["flow"].text() == "0.400 [0.300, 0.500]"
    assert sweep.points["no <flow>"].text() == "0.500 [1 seed]"


@pytest.mark.parametrize("text", ["", "{}", "[]", json.dumps({"points": {}, "table": [], "failed": {}})])
def test_a_record_without_scores_is_refused_and_the_index_names_it(tmp_path, text):
    (tmp_path / "tiny").mkdir()
    (tmp_path / "tiny" / "sweep.json").write_text(text)
    with pytest.raises(ReportError, match="sweep.json is damaged, or of a sweep without scores"):
        SweepScores.read(tmp_path / "tiny" / "sweep.json")
    assert "sweep.json is damaged" in pages.write_index(tmp_path)[0].read_text()


def test_intervals_outlive_the_table_that_they_are_of(tmp_path):
    """4 videos of one sample each: 0.2, 0.4, 0.6, 0.8."""
    rows = [(video, "temporal-set", value) for video, value in zip("abcd", (0.2, 0.4, 0.6, 0.8), strict=True)]
    folder, _ = tiny.scored(tmp_path / "run", rows, weights="w1")
    first = intervals.of_run(folder)
    (kinds,) = first.values()
    assert kinds["all"].value == pytest.approx(0.5) and kinds["all"].low < 0.4 < 0.6 < kinds["all"].high
    folder.samples.unlink()
    assert intervals.of_run(folder) == first
    content = json.loads(folder.intervals.read_text())
    folder.intervals.write_text(json.dumps(content | {"weights": "w2"}))
    assert intervals.of_run(folder) == {}, "they are of other weights"
    folder.intervals.write_text("{")
    assert intervals.of_run(folder) == {}
