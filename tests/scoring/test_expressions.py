"""J and F of expressions: the numbers of MeViS's script, in sound submissions and in broken ones."""

import json

import cv2
import numpy as np
import pytest

from mmvs.scoring.expressions import groups

CASES = ["missing frame", "missing first frame", "wrong size", "missing expression", "missing video"]


def case_of(tree, name):
    return next(case for case in tree.expected["faults"]["cases"] if case["name"] == name)


@pytest.mark.parametrize("data_set", ["mevis", "ref-youtube-vos"])
def test_every_number_is_that_of_the_public_code(tree, same, data_set):
    tree = tree(data_set)
    report = tree.score()
    record, expected = report.record(), tree.expected["scores"]
    same(record["overall"], expected["overall"])
    same(record["per_expression"], expected["per_expression"])
    assert report.is_sound and not report.faults and json.dumps(record)


@pytest.mark.parametrize("name", CASES)
def test_what_mevis_script_does_with_a_fault_is_said_and_on_demand_done(tree, same, name):
    tree = tree("mevis")
    case = case_of(tree, name)
    tree.damage(case)
    report, official = tree.score(), case["official"]
    expected = {key: value for key, value in official.items() if key != "errors_on_stderr"}
    same(report.record()["official"], expected)
    assert not report.is_sound and report.record()["overall"]["expressions"] == 16
    fault = report.faults[0]
    assert fault.fault == name.replace("first ", "") and fault.video == "aa47bb1ad2b4"
    assert fault.exp_id in report.text() and fault.official in report.text()
    assert ("counts J = F = 0" if name == "missing video" else "leaves the expression out") in fault.official
    assert len(report.faults) == (5 if name == "missing video" else 1)
    again = tree.score(as_official=True)
    assert again.is_sound and again.faults
    same(again.record()["overall"], official["printed"])
    assert again.record()["overall"]["expressions"] == official["expressions_averaged"]


@pytest.mark.parametrize("name", CASES)
def test_where_no_official_code_is_public_the_exit_status_stays(tree, name):
    tree = tree("ref-youtube-vos")
    tree.damage(case_of(tree, name))
    for as_official in (False, True):
        report = tree.score(as_official=as_official)
        assert not report.is_sound and "not published" in report.faults[0].official


def test_a_mask_that_is_not_there_scores_nothing_even_where_the_object_is_not(tree):
    """Frame 00003 of expression 0 is without the object: an empty mask scores 1, none at all 0."""
    tree = tree("mevis")
    before = tree.score().record()["per_expression"][0]
    assert before["J_per_frame"][3] == 1
    (tree.submission / "aa47bb1ad2b4" / "0" / "00003.png").unlink()
    after = tree.score().record()["per_expression"][0]
    assert after["J_per_frame"][3] == after["F_per_frame"][3] == 0
    assert after["J"] == pytest.approx(before["J"] - 1 / 5)


def test_sentences_about_nothing_stand_apart(tree):
    tree = tree("mevis")
    record = tree.score().record()
    everything, with_target, without = (record[name] for name in ("overall", "with_target", "no_target"))
    assert with_target["expressions"], without["expressions"] == (15, 1)
    sums = 15 * with_target["J"] + without["J"]
    assert everything["J"] == pytest.approx(sums / 16)
    assert without["without any mask"] == 0 and "unverified" in " ".join(record["notes"])
    empty = np.zeros((64, 48), np.uint8)
    for path in (tree.submission / "a1f12c9352b6" / "6").iterdir():
        cv2.imwrite(str(path), empty)
    assert tree.score().record()["no_target"] == {
        "J": 1, "F": 1, "J&F": 1, "expressions": 1, "without any mask": 1
    }  # fmt: skip


def test_another_size_where_no_frame_shows_the_object_is_a_fault_that_mevis_script_does_not_see(tree):
    tree = tree("mevis")
    for path in (tree.submission / "a1f12c9352b6" / "6").iterdir():
        cv2.imwrite(str(path), np.zeros((10, 20), np.uint8))
    report = tree.score()
    assert not report.is_sound and "does not notice" in report.faults[0].official
    assert report.record()["official"]["expressions_averaged"] == 16
    assert report.record()["no_target"]["J"] == 0
    assert tree.score(as_official=True).record()["no_target"]["J"] == 1


def test_more_faults_than_the_script_has_processes_leave_no_official_number(tree, monkeypatch):
    monkeypatch.setattr("mmvs.scoring.expressions.PROCESSES", 2)
    tree = tree("mevis")
    for exp_id in "012":
        (tree.submission / "aa47bb1ad2b4" / exp_id / "00001.png").unlink()
    report = tree.score(as_official=True)
    assert not report.is_sound and "official number is not known" in report.text()


@pytest.mark.parametrize("content", [b"", b"no picture", None])
def test_a_damaged_mask_is_named_and_the_rest_is_scored(tree, content):
    tree = tree("mevis")
    path = tree.submission / "f7270b83dc93" / "2" / "00004.png"
    path.write_bytes(path.read_bytes()[:60] if content is None else content)
    (fault,) = tree.score().faults
    assert (fault.fault, fault.video, fault.exp_id) == ("damaged file", "f7270b83dc93", "2")
    assert fault.frames == ["00004"] and "without a word" in fault.official


def test_expressions_of_one_object_share_its_truth(trees):
    from mmvs.data.expressions import Expressions

    data = Expressions(trees / "mevis", "valid_u")
    shared = groups(data)
    assert sorted(i for group in shared for i in group) == list(range(16))
    together = [{data[i].expression_id for i in group} for group in shared if len(group) > 1]
    assert together == [{"0", "4"}, {"0", "4"}, {"0", "3"}]


def test_several_processes_give_the_same_numbers(tree):
    tree = tree("mevis")
    assert tree.score(workers=2).record() == tree.score().record()
