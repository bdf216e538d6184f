"""The first sentence of a page, from files whose numbers are worked out by hand."""

import json

import pytest
import tiny

from mmvs.report import findings, sentence_survey
from mmvs.run_folder import RunFolder

KINDS = {
    "all": {"mean_iou": 0.5, "samples": 10},
    "motion": {"mean_iou": 0.75, "samples": 5},
    "both": {"mean_iou": 0.25, "samples": 5},
}


@pytest.fixture
def folder(tmp_path):
    scores = {"shapes-test": KINDS, "shapes-test-shuffled": {"all": {"mean_iou": 0.125, "samples": 10}}}
    tiny.result(scores).write(tmp_path / "metrics.json")
    return RunFolder(tmp_path)


def test_of_scores_and_kinds(folder):
    assert findings.of_page(folder, "03_train").sentence == (
        "Mean IoU 0.500 on shapes-test; 0.125 with sentences of other videos."
    )
    assert findings.of_page(folder, "05_qualitative").sentence == (
        "Best understood are motion sentences (mean IoU 0.750), worst both sentences (0.250), on shapes-test."
    )


def test_of_whole_videos_it_is_their_measure(tmp_path):
    tiny.result({"own": {"all": {"mean_iou": 0.5, "J&F": 0.25}}}).write(tmp_path / "metrics.json")
    assert findings.of_page(RunFolder(tmp_path), "07_your_data").sentence == "J&F 0.250 on own."


def test_of_data_and_flow(folder):
    sentence_survey.save(
        {"set": [("v", "0", "a dog"), ("v", "1", "a cat"), ("w", "0", "a dog")]}, folder.path
    )
    assert findings.of_page(folder, "01_explore_data").sentence == "set has 3 sentences about 2 videos."
    folder.flow_quality.write_text(json.dumps({"pixels": {"inside": 0.25, "outside": 0.5, "speed": 1.5}}))
    assert findings.of_page(folder, "02_compute_flow").sentence == (
        "Inside the objects, which move 1.50 pixels a frame, the estimated flow is off by 0.25 pixels on "
        "average."
    )


def test_of_a_ladder_by_pairs_of_seeds(folder):
    def cell(value):
        return {"shapes-test": {"all": {"mean_iou": value}}}

    folder.ladder.write_text(json.dumps({"B": {"0": cell(0.2)}}))
    assert "No other rung of the ladder is trained yet" in findings.of_page(folder, "04_ablations").sentence
    rungs = {"B": {"0": cell(0.2), "1": cell(0.3)}, "B+M": {"0": cell(0.4), "1": cell(0.5)}}
    folder.ladder.write_text(json.dumps(rungs))
    assert findings.of_page(folder, "04_ablations").sentence == (
        "From B to B+M the mean IoU goes from 0.250 to 0.450: +0.200 [+0.200, +0.200] by pairs of equal "
        "seeds."
    )


@pytest.mark.parametrize(
    "page", ["03_train", "04_ablations", "02_compute_flow", "08_explicit_motion", "unknown"]
)
def test_a_page_without_a_result_has_no_finding(tmp_path, page):
    assert findings.of_page(RunFolder(tmp_path), page) == ("", "")
    for name in ("metrics.json", "ladder.json", "flow_quality.json", "explicit_motion.json"):
        (tmp_path / name).write_text("{")
    assert findings.of_page(RunFolder(tmp_path), page).sentence == "", (
        "a damaged file costs the sentence alone"
    )
