"""MeViS's mask_dict.json: {"<anno_id>": [COCO run lengths or null, one a frame]}, hundreds of MB of it.

The file is read once, in pieces, for an index: where each track lies. The index is kept beside it, and a
track is read from its own place from then on: a process holds a few hundred KB, and all of them share
the operating system's copy of the file.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import suppress
from json import JSONDecodeError, JSONDecoder
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from faster_coco_eval.core import mask as coco

from mmvs.data.csv_files import DataError
from mmvs.files import write_text

PIECE = 4 << 20  # bytes read at once
LONGEST = 64 << 20  # bytes of one track: what is longer is no track, but a damaged file
WORTH_KEEPING = 32 << 20  # bytes of a file whose index is kept on disk: a second or so to make anew
BLANKS = " \t\n\r"
BYTE_ORDER_MARK = "\xef\xbb\xbf"  # of UTF-8, as Latin-1 reads it

Span = tuple[int, int]  # first byte of a track, and the first behind it


class MaskTracks:
    """The tracks of a mask_dict.json by their number; DataError names the file and the track at fault."""

    def __init__(self, path: str | Path):
        """Read the file's index, or make it."""
        self.path = Path(path)
        self.spans, self.repeated = _index(self.path)

    def __contains__(self, track: int) -> bool:
        return str(track) in self.spans

    def read(self, track: int) -> list[dict[str, Any] | None]:
        """The run lengths of a track, one a listed frame; None where it shows nothing."""
        if track not in self:
            raise DataError(f"{self.path}: has no track '{track}': file and expressions are of one release?")
        start, end = self.spans[str(track)]
        try:
            with self.path.open("rb") as file:
                file.seek(start)
                codes = json.loads(file.read(end - start))
        except (OSError, ValueError, RecursionError) as error:
            raise DataError(f"{self.path}, track '{track}': cannot be read ({error}): load it anew") from None
        if not isinstance(codes, list):
            raise DataError(f"{self.path}, track '{track}': expected a list of run lengths: replace the file")
        return codes

    def size(self, track: int) -> tuple[int, int] | None:
        """(H, W) that the first run lengths of a track give; None where it has none."""
        sizes = (code.get("size") for code in self.read(track) if isinstance(code, dict))
        return next((tuple(size) for size in sizes if _is_size(size)), None)

    def masks(
        self, track: int, frames: int, positions: Sequence[int], size: tuple[int, int]
    ) -> Iterator[np.ndarray]:
        """(H, W) bool, the pixels of a track in n frames.

        frames     how many the video lists: as many entries has every track
        positions  n of them, 0-based, in the order of the list
        size       (H, W) that masks must have
        """
        codes = self.read(track)
        if len(codes) != frames:
            raise DataError(
                f"{self.path}, track '{track}': {len(codes)} entries, but the video lists {frames} frames: "
                "masks and expressions must be of the same release"
            )
        for position in positions:
            code = codes[position]
            yield np.zeros(size, bool) if code is None else self._decode(track, position, code, size)

    def _decode(self, track: int, position: int, code: Any, size: tuple[int, int]) -> np.ndarray:
        return decode_run_lengths(code, size, f"{self.path}, track '{track}', entry {position} (from 0)")


def decode_run_lengths(code: Any, size: tuple[int, int], where: str) -> np.ndarray:
    """(H, W) bool of COCO's run lengths, compressed or not.

    size   (H, W) that the mask must have
    where  they stand, for the DataError that says what is wrong with them
    """
    if not isinstance(code, dict) or not _is_size(code.get("size")) or "counts" not in code:
        raise DataError(f"{where}: no run lengths with 'size' and 'counts': replace the file")
    if tuple(code["size"]) != tuple(size):
        raise DataError(
            f"{where}: the mask is {tuple(code['size'])} (H, W), but the video is {tuple(size)}: masks "
            "and pictures must be of the same release"
        )
    try:
        if isinstance(code["counts"], list):  # run lengths that are not compressed
            code = coco.frPyObjects(code, *size)
        return coco.decode(code).astype(bool)
    except (ValueError, RuntimeError, TypeError, OverflowError) as error:
        reason = str(error).splitlines()[0]
        raise DataError(f"{where}: damaged run lengths ({reason}): replace the file") from None


def _is_size(size: Any) -> bool:
    return isinstance(size, list) and len(size) == 2 and all(type(one) is int and one > 0 for one in size)


def _index(path: Path) -> tuple[dict[str, Span], list[str]]:
    """Where each track lies, and the numbers of tracks that stand there twice, of which the last counts."""
    try:
        stamp = [path.stat().st_size, path.stat().st_mtime_ns]
    except OSError:
        raise DataError(f"{path}: no such file: it holds the split's masks, put it there") from None
    cache = path.with_name(f".mmvs_{path.stem}_index.json")
    with suppress(OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        kept = json.loads(cache.read_text())
        if kept["file"] == stamp:
            return {track: tuple(span) for track, span in kept["tracks"].items()}, kept["repeated"]
    with path.open("rb") as file:
        spans, repeated = _Scan(path, file).tracks()
    if stamp[0] >= WORTH_KEEPING:
        with suppress(OSError):  # where it may not be written, every process reads the file once
            write_text(cache, json.dumps({"file": stamp, "tracks": spans, "repeated": repeated}))
    return spans, repeated


class _Scan:
    """One pass over the file that holds no more of it than a piece and a track."""

    def __init__(self, path: Path, file: BinaryIO):
        self.path, self.file = path, file
        self.text, self.at, self.dropped, self.ended = "", 0, 0, False
        self.decoder = JSONDecoder()

    def tracks(self) -> tuple[dict[str, Span], list[str]]:
        """Where each mask's run lengths stand in the file, by name; and the names that stand twice."""
        spans: dict[str, Span] = {}
        repeated = []
        if self._next_character() == BYTE_ORDER_MARK[0]:
            self.at += len(BYTE_ORDER_MARK)
        self._expect("{")
        while self._next_character() != "}":
            if spans:
                self._expect(",")
            track, _ = self._value()
            if not isinstance(track, str):
                raise self._damage("a track's number in quotes")
            self._expect(":")
            repeated += [track] if track in spans else []
            spans[track] = self._value()[1]
        return spans, repeated

    def _next_character(self) -> str:
        while True:
            while self.at < len(self.text) and self.text[self.at] in BLANKS:
                self.at += 1
            if self.at < len(self.text):
                return self.text[self.at]
            if self.ended:
                return ""
            self._read(PIECE)

    def _expect(self, character: str) -> None:
        if self._next_character() != character:
            raise self._damage(f"'{character}'")
        self.at += 1

    def _value(self) -> tuple[Any, Span]:
        """The next value, and the bytes that it takes."""
        self._next_character()
        while True:
            try:
                value, end = self.decoder.raw_decode(self.text, self.at)
                break
            except (JSONDecodeError, RecursionError):  # it goes on behind this piece, or it is damaged
                rest = len(self.text) - self.at
                if self.ended or rest > LONGEST:
                    raise self._damage("a track") from None
                self._read(max(PIECE, rest))  # twice as much each time
        span = self.dropped + self.at, self.dropped + end
        self.at = end
        return value, span

    def _read(self, size: int) -> None:
        piece = self.file.read(size)
        self.ended = len(piece) < size
        # Latin-1: a character a byte. What the JSON means is read from the bytes themselves later.
        self.dropped += self.at
        self.text, self.at = self.text[self.at :] + piece.decode("latin-1"), 0

    def _damage(self, expected: str) -> DataError:
        place = self.dropped + self.at
        return DataError(
            f"{self.path}: damaged or cut short at byte {place:,}, where {expected} should stand: get it anew"
        )
