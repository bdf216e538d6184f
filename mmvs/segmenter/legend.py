"""The legend of an overlay: every sentence after a square of its colour, in a font that has its letters.

Where no font of the machine has all letters of a sentence the legend gives its number: boxes in the place of
letters would tell nothing.
"""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Sequence
from functools import cache, lru_cache
from importlib import import_module

import numpy as np
from PIL import Image, ImageDraw, ImageFont, features

SMALLEST_FONT = 12  # pixels
JOINERS = "\u200c\u200d"  # invisible, but they shape the letters of some scripts
SELECTORS = {*range(0xFE00, 0xFE10), *range(0xE0100, 0xE01F0)}  # variation selectors, invisible too
NO_LETTERS = ("lastresort",)  # fonts whose glyphs stand for missing ones
Font = ImageFont.FreeTypeFont | ImageFont.ImageFont


def draw_legend(
    sentences: Sequence[str], colours: Sequence[tuple[int, int, int]], width: int, listed_in: str = ""
) -> np.ndarray:
    """(H, width, 3) uint8, H even: every sentence after a square of its colour; long ones wrap.

    listed_in  the file that has the sentences, for those that no font can show
    """
    size = max(SMALLEST_FONT, width // 50)
    line, margin = round(1.5 * size), size // 2
    rows: list[tuple[tuple[int, int, int] | None, str, Font]] = []
    for number, (sentence, colour) in enumerate(zip(sentences, colours, strict=True), 1):
        text, font = _readable(sentence, size)
        if font is None:
            text, font = f"sentence {number}" + f" (in {listed_in})" * bool(listed_in), _plain_font(size)
        lines = _wrapped(text, font, width - 3 * size)
        rows += [(colour if k == 0 else None, part, font) for k, part in enumerate(lines)]
    height = line * len(rows) + 2 * margin
    picture = Image.new("RGB", (width, height + height % 2), (24, 24, 24))
    pen = ImageDraw.Draw(picture)
    for number, (mark, text, font) in enumerate(rows):
        top = margin + number * line
        if mark:
            pen.rectangle((margin, top + size // 4, margin + size, top + size // 4 + size), fill=mark)
        pen.text((margin + round(1.6 * size), top), text, fill="white", font=font)
    return np.asarray(picture)


def _wrapped(text: str, font: Font, width: int) -> list[str]:
    """Lines of at most `width` pixels; a longer word is broken, as scripts without blanks need it."""
    lines = [""]
    for word in text.split():
        longer = f"{lines[-1]} {word}".strip()
        if font.getlength(longer) <= width:
            lines[-1] = longer
            continue
        lines += [""] * bool(lines[-1])
        for letter in word:
            full = font.getlength(lines[-1] + letter) > width and not unicodedata.combining(letter)
            lines += [""] * (full and bool(lines[-1]))
            lines[-1] += letter
    return lines


def _readable(sentence: str, size: int) -> tuple[str, Font | None]:
    """A sentence less what is invisible, and a font that shows all of it; None where there is none."""
    visible = (c for c in unicodedata.normalize("NFC", " ".join(sentence.split())) if _matters(c))
    text = "".join(visible)
    if text.isascii():
        return text, _plain_font(size)
    if any(map(_needs_shaping, text)) and not features.check("raqm"):
        return text, None
    letters = frozenset(text) - {" ", *JOINERS} - {chr(code) for code in SELECTORS}
    return text, _font_with(letters, size)


def _matters(character: str) -> bool:
    return character in JOINERS or unicodedata.category(character) not in ("Cc", "Cf")


def _needs_shaping(character: str) -> bool:
    """Does a script need more than its letters side by side, from left to right?"""
    right_to_left = unicodedata.bidirectional(character) in ("R", "AL", "AN")
    return right_to_left or unicodedata.category(character) in ("Mn", "Mc", "Cf")


@cache
def _plain_font(size: int) -> Font:
    """Pillow's own font, of ASCII letters and little else."""
    return ImageFont.load_default(size)


@lru_cache(maxsize=64)
def _font_with(letters: frozenset[str], size: int) -> Font | None:
    """The first font of the machine that shows all of the letters."""
    for file in _font_files():
        if {ord(letter) for letter in letters} <= _characters(file):
            try:
                font = ImageFont.truetype(file, size)
                if all(font.getmask(letter).getbbox() for letter in letters):  # some fonts are blank
                    return font
            except OSError:  # a font of bitmaps of another size
                continue
    return None


@cache
def _font_files() -> tuple[str, ...]:
    """Files of fonts, upright ones without serifs first; none without matplotlib, which is no dependency."""
    try:
        manager, matplotlib = import_module("matplotlib.font_manager"), import_module("matplotlib")
    except ImportError:
        return ()
    own = os.path.join(matplotlib.get_data_path(), "fonts", "ttf", "DejaVuSans.ttf")
    others = [f for f in manager.findSystemFonts() if not os.path.basename(f).lower().startswith(NO_LETTERS)]
    return (own, *sorted(others, key=_rank))


def _rank(file: str) -> tuple[bool, bool, str]:
    name = os.path.basename(file).lower()
    special = any(style in name for style in ("bold", "italic", "oblique", "light", "thin", "black"))
    return special, any(style in name for style in ("serif", "mono", "condensed", "narrow")), name


@cache
def _characters(file: str) -> frozenset[int]:
    """Code points that a font has glyphs for; none where it cannot be read."""
    try:
        return frozenset(import_module("matplotlib.ft2font").FT2Font(file).get_charmap())
    except (OSError, RuntimeError):
        return frozenset()
