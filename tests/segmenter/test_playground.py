"""What a notebook plays and asks."""

import sys
import types

import numpy as np
import pytest
import tiny

from mmvs.segmenter import playground
from mmvs.segmenter.overlay import Overlay, write_overlay
from mmvs.segmenter.segmenter import Segmenter
from mmvs.video.stream import open_video


@pytest.fixture(scope="module")
def segmenter(tmp_path_factory) -> Segmenter:
    run = tiny.run(tmp_path_factory.mktemp("run"))
    return Segmenter(run)


FRAMES = np.random.default_rng(0).integers(0, 255, (4, 24, 32, 3), dtype=np.uint8)


def test_an_overlay_is_played_from_inside_the_page(segmenter):
    answers = list(segmenter.segment(FRAMES, "the red circle"))
    page = playground.play(answers, ["the red circle"])._repr_html_()
    assert "data:video/mp4;base64," in page and "<script" not in page


def test_a_large_overlay_is_played_small(tmp_path):
    overlay = Overlay((300, 1000), ["the red circle"])
    pictures = [
        (t / 10, overlay(np.zeros((300, 1000, 3), np.uint8), np.ones((1, 300, 1000), bool))) for t in (0, 1)
    ]
    write_overlay(tmp_path / "overlay.mp4", pictures)
    (tmp_path / "small.mp4").write_bytes(playground.play_file(tmp_path / "overlay.mp4").data)
    small = open_video(tmp_path / "small.mp4")
    assert small.size[1] == playground.WIDEST and small.count == 2


def test_without_widgets_it_says_how_to_get_them(segmenter, monkeypatch):
    monkeypatch.setitem(sys.modules, "ipywidgets", None)
    assert "make lab" in playground.ask(segmenter, FRAMES, "the red circle")


class Field:
    """What `ask` uses of ipywidgets' widgets."""

    def __init__(self, value=None, description="", **_):
        self.value, self.description, self.called, self.clicked = value, description, None, None

    def observe(self, call, name):
        self.called = call

    def on_click(self, call):
        self.clicked = call

    def clear_output(self, wait):
        pass

    def __enter__(self):
        return self

    def __exit__(self, *_):
        return False


def test_a_changed_sentence_changes_what_is_shown(segmenter, monkeypatch, capsys):
    pictures = []
    widgets = types.SimpleNamespace(
        Text=Field, Output=Field, Button=Field, Layout=lambda **_: None, VBox=list, HBox=list,
    )  # fmt: skip
    monkeypatch.setitem(sys.modules, "ipywidgets", widgets)
    monkeypatch.setattr(playground, "display", pictures.append)
    (field, button), *tries, _ = playground.ask(segmenter, FRAMES, ["the red circle", "a big square"])
    assert [one.description for one in tries] == ["the red circle", "a big square"]
    tries[1].clicked(tries[1])
    assert field.value == "a big square"
    field.called({})  # as ipywidgets does where the value changes
    assert len(pictures) == 2 and pictures[0].data != pictures[1].data
    button.clicked(button)
    assert len(pictures) == 3
    field.value = "  "
    button.clicked(button)
    assert len(pictures) == 3 and "empty" in capsys.readouterr().out
