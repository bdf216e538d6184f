"""The masks of one video on their way to disk: a stopped job goes on where it was, no file is half-written.

A journal gets one line a frame, after that frame's masks are whole on disk. When all frames are there, the
journal becomes `confidence.csv` (and `masks.json`), and `segmentation.json` marks the end.
"""

from __future__ import annotations

import csv
import json
import os
import re
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal

import numpy as np
from faster_coco_eval.core import mask as coco
from PIL import Image

from mmvs.files import regular, remove_partial, whole, write_json, write_text

COLUMNS = ["frame", "time", "sentence", "confidence", "area"]  # of confidence.csv; area: share of the picture
FINISHED, JOURNAL, CONFIDENCE, RLE = "segmentation.json", ".journal.jsonl", "confidence.csv", "masks.json"
OVERLAY = "overlay.mp4"  # mmvs.segmenter.folder writes it before it finishes the job
MASKS = "masks"
PICTURE = re.compile(r"\d{6,}\.png")  # of a mask, in masks/<number of the sentence>
Entry = dict[str, Any]  # a journal's line: frame, time, and of every sentence: confidence, area, rle


class SegmentJob:
    """One video and its sentences, in one folder."""

    def __init__(self, folder: Path, identity: dict[str, Any], masks: Literal["png", "rle"] = "png"):
        """Go on with the folder's earlier job, or begin a new one.

        identity  all that decides the result, `sentences` among it, ready for JSON
        masks     "png": a picture a frame and sentence; "rle": COCO's run lengths in one file

        Results of an earlier job stay if its identity is the same and, once finished, it is still complete.
        Otherwise they give way: those files alone that the job wrote, and nothing behind a link. Raises
        FileExistsError, before anything changes, where a file of somebody else has the name of a result.
        """
        self.folder, self.identity, self.format = folder, {**identity, "masks": masks}, masks
        self.journal = folder / JOURNAL
        finished = _read(folder / FINISHED)
        earlier = finished or _read(self.journal)
        same = earlier is not None and earlier["identity"] == self.identity
        results = [folder / name for name in (CONFIDENCE, OVERLAY, RLE if masks == "rle" else MASKS)]
        self.frames = 0  # in the journal
        self.result = (
            finished if same and all(path.exists() for path in results) else None
        )  # None: unfinished
        if self.result is None:
            self._refuse_files_of_others(earlier)
            if finished or (earlier and not same):
                self._remove(earlier)
            if not self.journal.exists():
                write_text(self.journal, json.dumps({"identity": self.identity}) + "\n")
            self.frames = self._mend()

    def add(self, index: int, time: float, masks: np.ndarray, confidence: np.ndarray) -> None:
        """Write one more frame: its masks first, then its line of the journal.

        index       0-based
        time        seconds since the first frame
        masks       (N, H, W) bool
        confidence  (N,) mean foreground probability in each mask
        """
        entry: Entry = {
            "frame": index,
            "time": round(time, 4),
            "confidence": [round(float(c), 4) for c in confidence],
            "area": [round(float(mask.mean()), 6) for mask in masks],
        }
        if self.format == "rle":
            entry["rle"] = [_run_lengths(mask) for mask in masks]
        else:
            for file, mask in zip(self._files(index, len(masks)), masks, strict=True):
                with whole(file) as partial:
                    Image.fromarray(mask).save(partial, "png")
        with self.journal.open("a") as lines:
            lines.write(json.dumps(entry) + "\n")
        self.frames += 1

    def masks(self) -> Iterator[np.ndarray]:
        """Yield the masks (N, H, W) bool of every frame so far; ValueError names a damaged one."""
        for entry in _entries(self.journal):
            if self.format == "rle":
                masks = [self._decode(code) for code in entry["rle"]]
            else:
                files = self._files(entry["frame"], len(entry["area"]))
                masks = [_read_mask(file) for file in files]
            yield np.stack(masks)

    def finish(self, **facts: Any) -> None:
        """Turn the journal into the results; `facts` about the job go into segmentation.json."""
        with whole(self.folder / CONFIDENCE) as partial, partial.open("w", newline="") as out:
            table = csv.writer(out, lineterminator="\n")
            table.writerow(COLUMNS)
            for entry in _entries(self.journal):
                of_each = zip(self.identity["sentences"], entry["confidence"], entry["area"], strict=True)
                table.writerows([entry["frame"], entry["time"], *row] for row in of_each)
        if self.format == "rle":
            with whole(self.folder / RLE) as partial, partial.open("w") as out:
                # Line by line: the run lengths of a long video do not fit into memory.
                out.write(f'{{"sentences": {json.dumps(self.identity["sentences"])}, "frames": [')
                for n, entry in enumerate(_entries(self.journal)):
                    line = json.dumps({key: entry[key] for key in ("frame", "time", "rle")})
                    out.write(f"{',' if n else ''}\n{line}")
                out.write("\n]}\n")
        write_json(self.folder / FINISHED, {"identity": self.identity, "frames": self.frames, **facts})
        self.journal.unlink()

    def _decode(self, code: dict[str, Any]) -> np.ndarray:
        try:
            return coco.decode(code).astype(bool)
        except Exception as error:  # the library raises several kinds
            raise ValueError(f"{self.journal} is damaged ({error}): choose another folder") from None

    def _files(self, frame: int, sentences: int) -> list[Path]:
        return [self.folder / MASKS / str(n) / f"{frame:06d}.png" for n in range(1, sentences + 1)]

    def _refuse_files_of_others(self, earlier: dict[str, Any] | None) -> None:
        """FileExistsError where what the earlier job did not write is in this job's way, or a link is."""
        mine = set(self._written(earlier)) if earlier else set()
        coming = [self.folder / name for name in (FINISHED, JOURNAL, CONFIDENCE, OVERLAY)]
        if earlier is None:
            coming += [self.folder / RLE, self.folder / MASKS]
        elif self.format == "rle":
            coming.append(self.folder / RLE)
        elif earlier["identity"]["masks"] == "rle":
            coming.append(self.folder / MASKS)
        else:
            coming += _links_and_pictures(self.folder / MASKS, len(self.identity["sentences"]))
        for path in coming:
            if path.is_symlink() or (path.exists() and path not in mine):
                raise FileExistsError(f"{path} was not made here: choose another folder")

    def _written(self, job: dict[str, Any]) -> Iterator[Path]:
        """The files that a job, given by its mark or the first line of its journal, has written at most."""
        identity, frames = job["identity"], job.get("frames")
        if frames is None:  # unfinished: a frame's masks are written before its line
            with self.journal.open("rb") as lines:
                frames = sum(1 for _ in lines)
        yield from (self.folder / name for name in (OVERLAY, CONFIDENCE))
        if identity["masks"] == "rle":
            yield self.folder / RLE
        else:
            for frame in reversed(range(frames)):  # so that what a killed removal leaves has no gaps
                yield from self._files(frame, len(identity["sentences"]))
        yield from (self.folder / name for name in (JOURNAL, FINISHED))  # last: a killed removal begins again

    def _remove(self, job: dict[str, Any]) -> None:
        """Remove what a job has written, nothing behind a link, and the folders that this leaves empty."""
        masks = self.folder / MASKS
        for path in self._written(job):
            above = {path.parent, path.parent.parent} - {self.folder, self.folder.parent}
            if not any(folder.is_symlink() for folder in {path, *above}):
                path.unlink(missing_ok=True)
        for number in range(1, len(job["identity"]["sentences"]) + 1):
            remove_partial(masks / str(number))
            with suppress(OSError):  # a link, or something of somebody else is in it
                (masks / str(number)).rmdir()
        with suppress(OSError):
            masks.rmdir()

    def _mend(self) -> int:
        """Cut off half a line that a killed job left, and lines without their masks; returns the frames."""
        complete, frames = 0, -1  # its first line is no frame
        with self.journal.open("rb") as lines:
            for line in lines:
                if not line.endswith(b"\n") or (frames >= 0 and not self._is_whole(line, frames)):
                    break
                complete, frames = complete + len(line), frames + 1
        os.truncate(self.journal, complete)
        return frames

    def _is_whole(self, line: bytes, frame: int) -> bool:
        """Whether a line of the journal is that of this frame, and its masks are there."""
        sentences = len(self.identity["sentences"])
        try:
            entry = json.loads(line)
            counts = {len(entry["confidence"]), len(entry["area"]), len(entry.get("rle", entry["area"]))}
            masks = self._files(frame, sentences) if self.format == "png" else []
            return entry["frame"] == frame and counts == {sentences} and all(m.exists() for m in masks)
        except (ValueError, LookupError, TypeError, RecursionError):
            return False


def _links_and_pictures(masks: Path, sentences: int) -> Iterator[Path]:
    """What may be in the way of the masks of some sentences: links in place of folders, and pictures."""
    folders = [masks / str(number) for number in range(1, sentences + 1)]
    yield from (folder for folder in (masks, *folders) if folder.is_symlink())
    for folder in folders:
        if folder.is_dir():
            yield from (path for path in folder.iterdir() if PICTURE.fullmatch(path.name))


def _read(file: Path) -> dict[str, Any] | None:
    """The mark of a finished job, or the first line of a journal; None where no job of ours wrote it."""
    try:
        if file.is_symlink() or not file.is_file():  # a pipe would be waited for
            return None
        with file.open() as lines:
            record = json.loads(lines.readline() if file.name == JOURNAL else lines.read())
        identity, frames = record["identity"], record.get("frames", 0)
        ours = {"video", "sentences", "weights", "masks"} <= identity.keys() and isinstance(frames, int)
        return record if ours and isinstance(identity["sentences"], list) else None
    except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError):
        return None


def _entries(journal: Path) -> Iterator[Entry]:
    with journal.open() as lines:
        next(lines)
        yield from map(json.loads, lines)


def _read_mask(file: Path) -> np.ndarray:
    """(H, W) bool; ValueError, naming the file, where it is not what `add` wrote."""
    try:
        with Image.open(regular(file)) as picture:
            mask = np.asarray(picture)
        if mask.dtype != bool:
            raise ValueError(f"not a mask, but {mask.dtype} {mask.shape}")
    except Exception as error:  # Pillow raises many kinds on damaged pictures
        raise ValueError(f"{file} is damaged ({error}): remove it, the same command makes it anew") from None
    return mask


def _run_lengths(mask: np.ndarray) -> dict[str, Any]:
    """COCO's run-length code of a mask (H, W) bool, ready for JSON."""
    code = coco.encode(np.asfortranarray(mask, np.uint8))
    return {"size": list(mask.shape), "counts": code["counts"].decode()}
