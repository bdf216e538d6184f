"""Legends: letters of any script, or the sentence's number; never boxes. And pixels that are not square."""

import av
import numpy as np
import pytest

from mmvs.segmenter import legend
from mmvs.segmenter.legend import draw_legend
from mmvs.segmenter.overlay import Overlay
from mmvs.video.stream import open_video

COLOURS = [(230, 85, 13), (0, 158, 255)]


@pytest.fixture
def fonts(monkeypatch):
    """Which fonts a machine has: those that matplotlib brings, or none."""

    def of(files: tuple[str, ...]) -> None:
        legend._font_with.cache_clear()
        monkeypatch.setattr(legend, "_font_files", lambda: files)

    yield of
    legend._font_with.cache_clear()


def test_a_sentence_that_no_font_shows_is_a_number(fonts):
    fonts(())
    asked = draw_legend(["the red circle", "красный круг"], COLOURS, 320, "segmentation.json")
    number = draw_legend(["the red circle", "sentence 2 (in segmentation.json)"], COLOURS, 320)
    assert np.array_equal(asked, number)


def test_cyrillic_letters_are_drawn_where_a_font_has_them(fonts):
    pytest.importorskip("matplotlib")
    fonts(legend._font_files()[:1])  # DejaVu Sans
    cyrillic, other = (draw_legend([text], COLOURS[:1], 320) for text in ("красный круг", "красный крук"))
    assert not np.array_equal(cyrillic, other), "its letters differ; boxes would not"
    assert np.array_equal(
        draw_legend(["红色的圆圈"], COLOURS[:1], 320), draw_legend(["sentence 1"], COLOURS[:1], 320)
    )


def test_invisible_characters_change_nothing():
    assert np.array_equal(
        draw_legend(["the\u200b red\ufeff circle"], COLOURS[:1], 320),
        draw_legend(["the red circle"], COLOURS[:1], 320),
    )


def test_pixels_that_are_not_square_are_drawn_as_a_player_shows_them(tmp_path):
    with av.open(str(tmp_path / "wide.mp4"), "w") as video:
        stream = video.add_stream("libx264", 10)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        stream.codec_context.sample_aspect_ratio = 2
        for _ in range(3):
            video.mux(stream.encode(av.VideoFrame.from_ndarray(np.zeros((48, 64, 3), np.uint8), "rgb24")))
        video.mux(stream.encode(None))
    source = open_video(tmp_path / "wide.mp4")
    assert source.size == (48, 64) and source.pixel_aspect == 2, "masks have the stored pixels"
    height, width = Overlay(source.size, ["the red circle"], source.pixel_aspect).size
    assert width / height == pytest.approx(8 / 3, rel=0.02)
