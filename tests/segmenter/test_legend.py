"""The legend shows the letters of every sentence or gives its number, and never boxes."""

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont, features

from mmvs.segmenter import legend
from mmvs.segmenter.legend import draw_legend

RED = (230, 85, 13)
SIZE, WIDTH = 12, 400


def drawn(*sentences, listed_in="", width=WIDTH):
    return draw_legend(sentences, [RED] * len(sentences), width, listed_in)


def pictured(text, font):
    """One line of a legend, drawn by Pillow alone."""
    picture = Image.new("RGB", (WIDTH, 30), (24, 24, 24))
    ImageDraw.Draw(picture).rectangle((6, 9, 18, 21), fill=RED)
    ImageDraw.Draw(picture).text((25, 6), text, fill="white", font=font)
    return np.asarray(picture)


@pytest.fixture
def dejavu():
    """Matplotlib's font, which has Latin, Cyrillic, Greek, Arabic and Hebrew letters, and no Chinese ones."""
    pytest.importorskip("matplotlib")
    return ImageFont.truetype(legend._font_files()[0], SIZE)


@pytest.fixture
def bare_machine(monkeypatch):
    """A machine whose only font is matplotlib's."""
    pytest.importorskip("matplotlib")
    own = legend._font_files()[:1]
    legend._font_with.cache_clear()
    monkeypatch.setattr(legend, "_font_files", lambda: own)
    yield
    legend._font_with.cache_clear()


def test_a_plain_sentence_is_drawn_in_the_plain_font():
    np.testing.assert_array_equal(
        drawn("the red circle"), pictured("the red circle", legend._plain_font(SIZE))
    )


@pytest.mark.parametrize("sentence", ["красный круг", "κόκκινος κύκλος", "façade naïve", "smile ☺"])
def test_letters_of_other_scripts_are_drawn(dejavu, bare_machine, sentence):
    np.testing.assert_array_equal(drawn(sentence), pictured(sentence, dejavu))


@pytest.mark.skipif(not features.check("raqm"), reason="Pillow without raqm cannot lay out these scripts")
@pytest.mark.parametrize("sentence", ["الدائرة الحمراء", "עיגול אדום"])
def test_scripts_from_right_to_left_are_laid_out(dejavu, bare_machine, sentence):
    picture = drawn(sentence)
    np.testing.assert_array_equal(picture, pictured(sentence, dejavu))
    backwards = " ".join(word[::-1] for word in sentence.split()[::-1])
    assert (picture != pictured(backwards, dejavu)).any()


@pytest.mark.parametrize(
    "sentence", ["红色的圆圈 🔴", "red 红", "लाल वृत्त", "赤い円", "\ud800", "\ue000", "\U0010fffe"]
)
def test_what_no_font_has_is_given_by_its_number(bare_machine, sentence):
    plain = legend._plain_font(SIZE)
    two = drawn("one", sentence, listed_in="segmentation.json")
    one = drawn("one", "sentence 2 (in segmentation.json)")
    np.testing.assert_array_equal(two, one)
    np.testing.assert_array_equal(drawn(sentence), pictured("sentence 1", plain))


def test_without_raqm_or_matplotlib_the_number_stands_in(monkeypatch):
    expected = drawn("sentence 1")
    monkeypatch.setattr(features, "check", lambda name: False)
    np.testing.assert_array_equal(drawn("עיגול"), expected)
    monkeypatch.undo()
    legend._font_with.cache_clear()
    monkeypatch.setattr(legend, "_font_files", tuple)
    np.testing.assert_array_equal(drawn("красный"), expected)
    legend._font_with.cache_clear()


def test_a_font_that_draws_nothing_is_passed_over(bare_machine, monkeypatch):
    monkeypatch.setattr(legend, "_characters", lambda file: frozenset(range(0x110000)))
    plain = drawn("sentence 1")
    np.testing.assert_array_equal(drawn("\u2800"), plain)  # a Braille pattern without dots


@pytest.mark.parametrize("hidden", ["\u200b", "\u202e", "\ufeff", "\x07", "\u00ad", "  \n"])
def test_invisible_characters_leave_no_trace(hidden):
    expected = drawn("the red circle")
    np.testing.assert_array_equal(
        drawn(f"the{hidden if hidden.isspace() else ' '}red{hidden} circle"), expected
    )


def test_letters_of_two_characters_are_one(bare_machine):
    np.testing.assert_array_equal(drawn("e\u0301te\u0301"), drawn("été"))


@pytest.mark.parametrize(
    "sentence", ["a" * 300, "赤" * 100, "http://" + "x" * 200 + " and more words", "é" * 200]
)
def test_words_that_fit_into_no_line_are_broken(sentence, monkeypatch):
    monkeypatch.setattr(legend, "_readable", lambda text, size: (text, legend._plain_font(size)))
    picture = drawn(sentence)
    assert picture.shape[0] > 2 * 18 and picture.shape[1] == WIDTH
    assert (picture[:, WIDTH - SIZE // 2 :] == 24).all(), "nothing runs out of the picture"
    font = legend._plain_font(SIZE)
    lines = legend._wrapped(sentence, font, 300)
    assert "".join(lines).replace(" ", "") == sentence.replace(" ", "")
    assert max(map(font.getlength, lines)) <= 300 and "" not in lines
