"""Reading annotation files: CSV tables, and what a video id may be.

Every complaint names the file, the line where there is one, and what to do.
"""

from __future__ import annotations

import csv
import io
import unicodedata
from collections.abc import Iterator
from pathlib import Path

from mmvs.files import regular

LONGEST_ID = 200  # bytes: file systems allow 255, and a file that is being written has a longer name


class DataError(ValueError):
    """A file of the data set that is missing or wrong; the text names it and says what to do."""


def normalise(sentence: str) -> str:
    """Lower case, white space collapsed: done to every sentence before it is split into words."""
    return " ".join(sentence.lower().split())


def is_blank(sentence: str) -> bool:
    """Whether a sentence shows nothing: white space, control and format characters, lone marks."""
    return all(unicodedata.category(character)[0] in "CZM" for character in sentence)


def text(path: Path) -> str:
    """A text file, UTF-8 with or without byte order mark."""
    try:
        return regular(path).read_bytes().decode("utf-8-sig")
    except FileNotFoundError:
        raise DataError(f"{path}: no such file: it belongs to the data set, put it there") from None
    except OSError as error:  # a folder, a pipe, no permission
        raise DataError(f"{path}: cannot be read ({error.strerror}): replace it") from None
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: not UTF-8 ({error}): convert the file") from None


def table(path: Path) -> Iterator[tuple[int, list[str]]]:
    """(line number, cells) of every row of a CSV file that is not blank."""
    reader = csv.reader(io.StringIO(text(path), newline=""), strict=True)
    try:
        for row in reader:
            if any(cell.strip() for cell in row):
                yield reader.line_num, [cell.strip() for cell in row]
    except csv.Error as error:
        raise DataError(f"{path}, line {reader.line_num}: not CSV ({error}): mend the quotes") from None


def columns(path: Path, *names: str) -> Iterator[tuple[int, list[str]]]:
    """(line number, the named columns) of every row of a CSV file with a header."""
    rows = table(path)
    _, header = next(rows, (1, []))
    missing = [name for name in names if name not in header]
    if missing:
        raise DataError(f"{path}: no column {', '.join(missing)}: the first line should be {','.join(names)}")
    for line, row in rows:
        if len(row) != len(header):
            raise DataError(f"{path}, line {line}: {len(row)} columns, not {len(header)}: quote the commas")
        yield line, [row[header.index(name)] for name in names]


def integer(number: str, where: object) -> int:
    """A whole number found at `where`."""
    try:
        return int(number)
    except ValueError:
        raise DataError(f"{where}: expected a whole number, got '{number[:40]}'") from None


def plain(video_id: str, where: object) -> str:
    """A video id becomes a file name: refuse those that would lead out of the data set's folders."""
    if video_id in ("", ".", "..") or any(c in video_id for c in "/\\\0"):
        raise DataError(f"{where}: '{video_id}' is not a video id: it must be a plain name without slashes")
    if len(video_id.encode()) > LONGEST_ID:
        raise DataError(
            f"{where}: '{video_id[:20]}...' is not a video id: its {len(video_id.encode()):,} bytes make no "
            f"file name, {LONGEST_ID} are the limit"
        )
    return video_id
