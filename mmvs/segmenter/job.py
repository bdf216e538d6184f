"""The masks of one video on their way to disk: a stopped job goes on where it was, no file is half-written.

A journal gets one line a frame, after that frame's masks are whole on disk. When all frames are there, the
journal becomes `confidence.csv` (and `masks.json`), and `segmentation.json` marks the end.
"""

from __future__ import annotations

import csv
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import numpy as np
from faster_coco_eval.core import mask as coco
from PIL import Image

from mmvs.files import whole, write_json, write_text

COLUMNS = ["frame", "time", "sentence", "confidence", "area"]  # of confidence.csv; area: share of the picture
FINISHED, JOURNAL, CONFIDENCE, RLE = "segmentation.json", ".journal.jsonl", "confidence.csv", "masks.json"
OVERLAY = "overlay.mp4"  # mmvs.segmenter.folder writes it before it finishes the job
RESULTS = ("masks", RLE, CONFIDENCE, OVERLAY)
Entry = dict[str, Any]  # a journal's line: frame, time, and of every sentence: confidence, area, rle


class SegmentJob:
    """One video and its sentences, in one folder."""

    def __init__(self, folder: Path, identity: dict[str, Any], masks: Literal["png", "rle"] = "png"):
        """Go on with the folder's earlier job, or begin a new one.

        identity  all that decides the result, `sentences` among it, ready for JSON
        masks     "png": a picture a frame and sentence; "rle": COCO's run lengths in one file

        Results of an earlier job stay if its identity is the same and, once finished, it is still complete.
        Otherwise they give way. Raises FileExistsError where the folder holds results that no job wrote.
        """
        self.folder, self.identity, self.format = folder, {**identity, "masks": masks}, masks
        self.journal = folder / JOURNAL
        finished = _read(folder / FINISHED)
        earlier = finished or _read(self.journal)
        if earlier is None and (others := [name for name in RESULTS if (folder / name).exists()]):
            raise FileExistsError(f"{folder / others[0]} was not made here: choose another folder")
        results = [CONFIDENCE, OVERLAY, RLE if masks == "rle" else "masks"]
        removed = finished and not all((folder / name).exists() for name in results)
        if earlier and (removed or earlier["identity"] != self.identity):
            shutil.rmtree(folder / "masks", ignore_errors=True)
            for name in (FINISHED, JOURNAL, *RESULTS[1:]):
                (folder / name).unlink(missing_ok=True)
        self.result = _read(folder / FINISHED)  # None until the job is finished
        if not self.result and not self.journal.exists():
            write_text(self.journal, json.dumps({"identity": self.identity}) + "\n")
        self.frames = 0 if self.result else self._mend()  # frames in the journal

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
        """Yield the masks (N, H, W) bool of every frame so far."""
        for entry in _entries(self.journal):
            if self.format == "rle":
                masks = [coco.decode(code).astype(bool) for code in entry["rle"]]
            else:
                files = self._files(entry["frame"], len(entry["area"]))
                masks = [np.asarray(Image.open(file)) for file in files]
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

    def _files(self, frame: int, sentences: int) -> list[Path]:
        return [self.folder / "masks" / str(n) / f"{frame:06d}.png" for n in range(1, sentences + 1)]

    def _mend(self) -> int:
        """Cut off the half line that a killed job left; returns the number of frames in the journal."""
        complete, frames = 0, -1  # its first line is no frame
        with self.journal.open("rb") as lines:
            for line in lines:
                if line.endswith(b"\n"):
                    complete, frames = complete + len(line), frames + 1
        os.truncate(self.journal, complete)
        return frames


def _read(file: Path) -> dict[str, Any] | None:
    """The mark of a finished job, or the first line of a journal; None where no job of ours wrote it."""
    try:
        with file.open() as lines:
            record = json.loads(lines.readline() if file.name == JOURNAL else lines.read())
        return record if "identity" in record else None
    except (OSError, ValueError, TypeError):
        return None


def _entries(journal: Path) -> Iterator[Entry]:
    with journal.open() as lines:
        next(lines)
        yield from map(json.loads, lines)


def _run_lengths(mask: np.ndarray) -> dict[str, Any]:
    """COCO's run-length code of a mask (H, W) bool, ready for JSON."""
    code = coco.encode(np.asfortranarray(mask, np.uint8))
    return {"size": list(mask.shape), "counts": code["counts"].decode()}
