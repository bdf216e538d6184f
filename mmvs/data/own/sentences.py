"""The sentences of a CSV: columns video, object, sentence, in any order; there may be others, and split.

What spreadsheets write is read: comma, semicolon or tab; a byte order mark; a first line "sep=;".
"""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass
from pathlib import Path

from mmvs.data.csv_files import DataError, is_blank, table, text
from mmvs.video.folders import FILMS

COLUMNS = ("video", "object", "sentence")
DELIMITERS = ",;\t"
SPLITS = ("train", "valid")


@dataclass(frozen=True)
class Row:
    """A line of the CSV."""

    line: int
    video: str  # without a suffix
    object: str  # a number, or the name in the annotation tool; "1" where the cell is empty
    sentence: str  # "": not written yet
    split: str  # "": no matter


def read(path: Path) -> list[Row]:
    """Every row; DataError names the line that cannot be read."""
    delimiter, skipped = _delimiter(path)
    rows = [row for row in table(path, delimiter) if row[0] > skipped]
    header = [cell.casefold() for cell in rows[0][1]]
    return [_row(path, line, cells, header) for line, cells in rows[1:]]


def video_name(name: str) -> str:
    """A video's id: the name without folders and without the suffix of a video file, composed as NFC."""
    name = unicodedata.normalize("NFC", name.strip().replace("\\", "/").rstrip("/").rpartition("/")[2])
    stem, dot, suffix = name.rpartition(".")
    return stem if dot and f".{suffix.lower()}" in FILMS else name


def _delimiter(path: Path) -> tuple[str, int]:
    """The delimiter whose header has the columns, and how many lines stand before the header."""
    lines = text(path).splitlines()
    skipped = 0
    if lines and lines[0].strip().lower().startswith("sep="):
        skipped = 1
    first = next(((i, line) for i, line in enumerate(lines[skipped:], skipped) if line.strip()), (0, ""))[1]
    for delimiter in DELIMITERS:
        names = [cell.strip().strip('"').casefold() for cell in first.split(delimiter)]
        if all(name in names for name in COLUMNS):
            return delimiter, skipped
    raise DataError(
        f"{path}: the first line should be {','.join(COLUMNS)}, or with ; or tabs between, but is "
        f"'{first[:60]}'"
    )


def _row(path: Path, line: int, cells: list[str], header: list[str]) -> Row:
    if len(cells) < len(header):
        cells = cells + [""] * (len(header) - len(cells))
    if any(cells[len(header) :]):
        raise DataError(
            f"{path}, line {line}: {len(cells)} columns, not {len(header)}: put sentences with the delimiter "
            "in quotes"
        )
    values = dict(zip(header, cells, strict=False))
    split = values.get("split", "").lower()
    if split not in ("", *SPLITS):
        raise DataError(f"{path}, line {line}: split '{split}': expected {' or '.join(SPLITS)}, or nothing")
    sentence = values["sentence"]
    name = unicodedata.normalize("NFC", values["object"])
    return Row(line, video_name(values["video"]), name or "1", "" if is_blank(sentence) else sentence, split)
