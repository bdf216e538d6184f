"""Reading annotation files: CSV tables, and what a video id may be.

Every complaint names the file, the line where there is one, and what to do.
"""

from __future__ import annotations

import csv
import io
import os
import stat
import unicodedata
from collections.abc import Iterator
from pathlib import Path

LONGEST_ID = 200  # bytes: file systems allow 255, and a file that is being written has a longer name

UTF16 = (b"\xff\xfe", b"\xfe\xff")  # byte order marks


class DataError(ValueError):
    """A file of the data set that is missing or wrong; the text names it and says what to do."""


def normalise(sentence: str) -> str:
    """Lower case, white space collapsed: done to every sentence before it is split into words."""
    return " ".join(sentence.lower().split())


def is_blank(sentence: str) -> bool:
    """Whether a sentence shows nothing: white space, control and format characters, lone marks."""
    return all(unicodedata.category(character)[0] in "CZM" for character in sentence)


def require_file(path: Path, remedy: str) -> None:
    """DataError where there is no regular file: to open a pipe would wait for ever.

    remedy  what to do where there is nothing
    """
    try:
        mode = os.stat(path).st_mode
    except FileNotFoundError:
        raise DataError(f"{path}: no such {remedy}") from None
    except OSError as error:  # a link to itself, a folder that may not be read
        raise DataError(f"{path}: cannot be opened ({error.strerror}): replace the file") from None
    if not stat.S_ISREG(mode):
        raise DataError(f"{path}: not a regular file: replace it")


def text(path: Path) -> str:
    """A text file, UTF-8 with or without byte order mark; UTF-16 with one, as spreadsheets write it."""
    require_file(path, "file: it belongs to the data set, put it there")
    try:
        content = path.read_bytes()
        return content.decode("utf-16" if content[:2] in UTF16 else "utf-8-sig")
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}): mend its permissions") from None
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: not UTF-8 ({error}): convert the file") from None


def table(path: Path, delimiter: str = ",") -> Iterator[tuple[int, list[str]]]:
    """(line number, cells) of every row of a CSV file that is not blank."""
    reader = csv.reader(io.StringIO(text(path), newline=""), delimiter=delimiter, strict=True)
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
        if "_" in number:  # Python takes 1_0 for 10
            raise ValueError
        return int(number)
    except ValueError:
        shown = f"{number[:40]}..." if len(number) > 40 else number
        raise DataError(f"{where}: expected a whole number, got '{shown}'") from None


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
