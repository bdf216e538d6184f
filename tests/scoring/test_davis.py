"""Ref-DAVIS17 by both conventions: the numbers of the DAVIS 2017 tool, and of averages over expressions."""

import numpy as np
import pytest
from PIL import Image


def test_both_conventions_give_the_public_numbers_from_masks_of_expressions(tree, same):
    tree = tree("ref-davis17")
    report = tree.score()
    record, expected = report.record(), tree.expected["scores"]
    same(record["official"], expected["official"])
    same(record["per_expression"], expected["per_expression"])
    assert report.is_sound
    assert "official" in report.text() and "per_expression" in report.text()
    assert f"J&F {record['official']['overall']['J&F']:.4f}" in report.text()


def test_maps_of_object_numbers_give_the_official_numbers_too(tree, same):
    tree = tree("ref-davis17", "predictions_by_annotator")
    report = tree.score()
    same(report.record()["official"], tree.expected["scores"]["official"])
    assert report.is_sound and "overlaps" in " ".join(report.notes)


def test_an_exchange_of_objects_costs_nothing_by_the_official_convention_only(tree):
    tree = tree("ref-davis17")
    before = tree.score().record()
    video = tree.submission / "judo"
    for one, other in (("0", "4"), ("1", "5"), ("2", "6"), ("3", "7")):
        (video / one).rename(video / "aside")
        (video / other).rename(video / one)
        (video / "aside").rename(video / other)
    after = tree.score().record()
    assert after["official"]["overall"]["J"] == pytest.approx(before["official"]["overall"]["J"], abs=0.03)
    assert after["per_expression"]["overall"]["J"] < before["per_expression"]["overall"]["J"] - 0.02


@pytest.mark.parametrize("number", range(2))
def test_a_fault_in_a_map_stops_the_davis_tool(tree, number):
    tree = tree("ref-davis17", "predictions_by_annotator")
    case = tree.expected["faults_by_annotator"]["cases"][number]
    tree.damage(case, "anno_0")
    report = tree.score()
    (fault,) = report.faults
    assert not report.is_sound and fault.video == "anno_0/dogs-jump" and fault.frames == ["00001"]
    assert fault.fault == case["name"]
    assert case["official"].get("stopped", "stops the whole run") in fault.official
    assert report.record()["official"]["overall"]["J"] < tree.expected["scores"]["official"]["overall"]["J"]
    official = tree.score(as_official=True)
    assert not official.is_sound and official.record()["official"]["overall"]["J"] is None
    assert "stopped" in official.record()["official"]["annotators"][0]


@pytest.mark.parametrize("number", range(5))
def test_a_fault_in_the_masks_of_an_expression_is_named(tree, number):
    tree = tree("ref-davis17")
    case = tree.expected["faults"]["cases"][number]
    tree.damage(case)
    report = tree.score()
    assert not report.is_sound and {fault.video for fault in report.faults} == {"blackswan"}
    assert report.faults[0].fault == case["name"].replace("first ", "")
    assert not tree.score(as_official=True).is_sound
    scores = tree.expected["scores"]
    assert report.record()["per_expression"]["overall"]["J"] <= scores["per_expression"]["overall"]["J"]


@pytest.mark.parametrize(
    "change, fault",
    [
        (lambda labels: np.full_like(labels, 21), "too many objects"),
        (lambda labels: np.stack([labels] * 3, axis=-1), "no object numbers"),
    ],
)
def test_a_map_that_is_none_is_named(tree, change, fault):
    tree = tree("ref-davis17", "predictions_by_annotator")
    path = tree.submission / "anno_2" / "judo" / "00002.png"
    Image.fromarray(change(np.array(Image.open(path)))).save(path)
    (found,) = tree.score().faults
    assert (found.fault, found.video, found.frames) == (fault, "anno_2/judo", ["00002"])


def test_a_missing_annotator_is_named_video_by_video(tree):
    import shutil

    tree = tree("ref-davis17", "predictions_by_annotator")
    shutil.rmtree(tree.submission / "anno_1")
    faults = tree.score().faults
    assert [fault.fault for fault in faults] == ["missing video"] * 3
    assert faults[0].video == "anno_1/blackswan"


def test_a_mask_that_is_not_there_scores_nothing_by_either_convention_even_where_the_object_is_not(tree):
    tree = tree("ref-davis17")
    place, before = absent_and_not_predicted(tree)
    (tree.submission / place).unlink()
    after = tree.score().record()
    for convention in ("official", "per_expression"):
        assert after[convention]["overall"]["J"] < before[convention]["overall"]["J"] - 1e-6


def absent_and_not_predicted(tree):
    """The file of an empty mask where its object is absent, which scores 1; and the scores with it."""
    before = tree.score().record()
    rows = {(row["video"], row["exp_id"]): row for row in before["per_expression"]["rows"]}
    for one in tree.expected["splits"]["valid"]:
        row = rows[one["video"], one["exp_id"]]
        for area, j, frame in zip(one["areas"], row["J_per_frame"], one["frames"], strict=True):
            if area == 0 and j == 1:
                return f"{one['video']}/{one['exp_id']}/{frame}.png", before
    raise AssertionError("no such frame in the tree")
