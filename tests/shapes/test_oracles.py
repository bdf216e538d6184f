"""What the choosers reach follows from what each kind of sentence is made of."""

import pytest

from mmvs.config import MovingShapes
from mmvs.shapes import oracles
from mmvs.shapes.clip import draw_clip
from mmvs.shapes.language import KINDS


@pytest.fixture(scope="module")
def table():
    return oracles.selection(MovingShapes(), "test", 60)


def test_looks_tell_appearance_and_nothing_of_look_alikes(table):
    assert table.loc["appearance", "looks alone"] == 1
    assert table.loc["motion", "looks alone"] <= 1 / 3  # two look-alikes at least
    assert table.loc["temporal-order", "looks alone"] <= 1 / 4  # four of the same looks


def test_one_flow_field_tells_steady_motion_and_half_of_what_changes(table):
    assert table.loc["temporal-order", "flow of one frame"] == pytest.approx(1 / 2, abs=0.02)
    assert table.loc["motion", "flow of one frame"] > 0.95  # who turns can move alike in one phase
    assert table.loc["temporal", "flow of one frame"] <= 0.55


def test_the_set_of_motions_tells_all_but_order(table):
    assert table.loc["temporal-order", "set of motions"] == pytest.approx(1 / 2, abs=0.02)
    for kind in set(KINDS) - {"temporal-order"}:
        assert table.loc[kind, "set of motions"] == 1


@pytest.mark.parametrize("split", ["test", "unseen"])
def test_who_knows_more_chooses_better(split):
    settings = MovingShapes()
    for index in range(30):
        clip = draw_clip(settings, split, index)
        for sentence in clip.sentences:
            chances = [chance(clip.scene, sentence.description) for chance in oracles.CHOOSERS.values()]
            assert 0 < chances[0] <= chances[1] and 0 < chances[0] <= chances[2] <= 1
