"""The answers of one video on their way to disk: a stopped job goes on where it was.

A hidden journal has a line a frame: the masks as COCO's run lengths, and their scores. All formats come
from it, also those that a later call adds; so it stays. It says which formats were begun, too: what it names
and what is there is whole, as results take their places in one step. `segmentation.json` marks the end.
"""

from __future__ import annotations

import json
import os
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from faster_coco_eval.core import mask as coco

from mmvs.files import whole, write_json

FINISHED, JOURNAL = "segmentation.json", ".journal.jsonl"
DIFFERENT = {  # what a job's identity has, and what a folder of another one holds
    "video": "another video",
    "sentences": "other sentences",
    "weights": "another model",
    "excerpt": "another part of the video",
    "precision": "another precision",
    "threshold": "another threshold",
}


@dataclass
class Entry:
    """The answers in one frame."""

    frame: int  # number in the whole video, from 0
    time: float  # seconds since the whole video's first frame
    score: list[float]  # N, mean foreground probability in each mask
    area: list[float]  # N, share of the picture
    codes: list[dict[str, Any]]  # N masks in COCO's run lengths

    def masks(self) -> np.ndarray:
        """(N, H, W) bool."""
        return np.stack([coco.decode(code).astype(bool) for code in self.codes])


class SegmentJob:
    """One video and its sentences, in one folder."""

    def __init__(self, folder: Path, identity: dict[str, Any], outputs: Mapping[str, str]):
        """Go on with the folder's earlier job, or begin a new one.

        identity  all that decides the masks, a value for each key of DIFFERENT, ready for JSON
        outputs   format → the file or folder that it writes into `folder`

        What an earlier job left stays: `missing` has the formats that are to be written. Raises
        FileExistsError, before anything changes, where the folder has results of another identity, or where a
        file of somebody else has the name of a result.
        """
        self.folder, self.journal = folder, folder / JOURNAL
        self.identity = json.loads(json.dumps(identity))  # as it comes back from a file
        self.finished = self._earlier(folder / FINISHED)
        begun = self._earlier(self.journal)
        self.formats = {name for job in (self.finished, begun) if job for name in job["formats"]}
        for name, output in outputs.items():
            path = folder / output
            if path.is_symlink() or (path.exists() and name not in self.formats):
                raise FileExistsError(f"{path} was not made here: choose another folder")
        self.missing = {name: output for name, output in outputs.items() if not (folder / output).exists()}
        self.frames = 0  # in the journal
        if self.missing or not self.finished:
            if begun is None:
                with whole(self.journal) as partial:
                    partial.write_bytes(_line({"identity": self.identity, "formats": []}))
            self.frames = self._mend()
            if new := [name for name in self.missing if name not in self.formats]:
                self._write({"formats": new})
            self.formats.update(self.missing)

    @property
    def is_complete(self) -> bool:
        """Does the journal have all frames?"""
        return self.finished is not None and self.finished["frames"] == self.frames

    def add(self, frame: int, time: float, masks: np.ndarray, score: np.ndarray) -> Entry:
        """Write one more frame.

        frame       number in the whole video, from 0
        time        seconds since the whole video's first frame
        masks       (N, H, W) bool
        score       (N,) mean foreground probability in each mask
        """
        entry = Entry(
            frame,
            round(time, 4),
            [round(float(c), 4) for c in score],
            [round(float(mask.mean()), 6) for mask in masks],
            [_run_lengths(mask) for mask in masks],
        )
        self._write(asdict(entry))
        self.frames += 1
        return entry

    def entries(self) -> Iterator[Entry]:
        """Yield the answers so far."""
        with self.journal.open("rb") as lines:
            yield from (Entry(**record) for record in map(_parse, lines) if record and "frame" in record)

    def finish(self, **facts: Any) -> None:
        """Mark the end; `facts` about the job go into segmentation.json, those of its first call stay."""
        known = {key: value for key, value in (self.finished or {}).items() if key in facts}
        job = {"identity": self.identity, "frames": self.frames, "formats": sorted(self.formats)}
        write_json(self.folder / FINISHED, {**job, **facts, **known})

    def _earlier(self, file: Path) -> dict[str, Any] | None:
        """A finished job's mark, or a journal's first line and all formats; None where there is no file."""
        if not (file.exists() or file.is_symlink()):
            return None
        record = _read(file)
        if record is None:
            raise FileExistsError(f"{file} was not made here: choose another folder")
        identity = record["identity"]
        if others := [what for key, what in DIFFERENT.items() if identity.get(key) != self.identity.get(key)]:
            raise FileExistsError(
                f"{self.folder} holds the results of {', '.join(others)}: choose another folder"
            )
        return record

    def _write(self, record: dict[str, Any]) -> None:
        with self.journal.open("ab") as lines:
            lines.write(_line(record))

    def _mend(self) -> int:
        """Cut off what follows the last whole line: a kill leaves half a line. Returns the frames."""
        complete = frames = 0
        with self.journal.open("rb") as lines:
            for line in lines:
                if (record := _parse(line)) is None:
                    break
                complete, frames = complete + len(line), frames + ("frame" in record)
        os.truncate(self.journal, complete)
        return frames


def _read(file: Path) -> dict[str, Any] | None:
    """{"identity", "formats", ...} of a finished job's mark or of a journal; None where no job wrote it."""
    try:
        if file.is_symlink() or not file.is_file():  # a pipe would be waited for
            return None
        if file.name == FINISHED:
            record = json.loads(file.read_bytes())
        else:
            with file.open("rb") as lines:
                record = _parse(lines.readline())
                later = [more["formats"] for more in map(_parse, lines) if more and "formats" in more]
            record["formats"] += sum(later, [])
        formats, frames = record["formats"], record.get("frames", 0)
        ours = isinstance(record["identity"], dict) and isinstance(formats, list) and isinstance(frames, int)
        if "confidence" in formats:  # as the score was called in an earlier version
            return None
        return record if ours and all(isinstance(name, str) for name in formats) else None
    except (OSError, ValueError, LookupError, TypeError, RecursionError):
        return None


def _line(record: dict[str, Any]) -> bytes:
    """A line of the journal: a record behind its checksum."""
    text = json.dumps(record).encode()
    return b"%08x %s\n" % (zlib.crc32(text), text)


def _parse(line: bytes) -> dict[str, Any] | None:
    """The record of a journal's line; None where it is not what was written."""
    checksum, _, text = line.rstrip(b"\n").partition(b" ")
    whole = line.endswith(b"\n") and checksum == b"%08x" % zlib.crc32(text)
    return json.loads(text) if whole else None


def _run_lengths(mask: np.ndarray) -> dict[str, Any]:
    """COCO's run-length code of a mask (H, W) bool, ready for JSON."""
    code = coco.encode(np.asfortranarray(mask, np.uint8))
    return {"size": list(mask.shape), "counts": code["counts"].decode()}
