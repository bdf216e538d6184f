"""What `mmvs segment` writes of a video's masks: a format a tool that reads them.

    overlay  overlay.mp4                                      a colour a sentence over the video
    png      masks/<number of the sentence>/<frame>.png       black and white
    palette  palette/<frame>.png                              all sentences, in DAVIS's colours
    coco     masks.json                                       run lengths, one file
    ytvos    Annotations/<video>/<0, 1, ...>/<frame>.png      as Ref-YouTube-VOS's server takes them
    npz      masks.npz                                        NumPy: masks, score, time, frame, sentences

Sentences are numbered from 1, in ytvos from 0. A frame goes by its number in the video, from 0; in palette,
ytvos and coco by the name of its picture, if the video is a folder of pictures. Each format appears whole or
not at all.
"""

from __future__ import annotations

import csv
import json
import zipfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import NamedTuple
from urllib.parse import urlsplit

import numpy as np
from faster_coco_eval.core import mask as coco
from PIL import Image

from mmvs.data.own.mask_pictures import palette as davis_colours
from mmvs.files import remove_partial, whole
from mmvs.segmenter.job import FINISHED, SegmentJob
from mmvs.segmenter.overlay import Overlay, overlay_file
from mmvs.segmenter.submission import grey_png
from mmvs.video import folders

COLUMNS = ["frame", "time", "sentence", "score", "area"]  # of score.csv; area: share of the picture
UNFINISHED = ".unfinished-"  # begins the hidden name of a folder that is being written
MOST_IN_PALETTE = 254  # sentences: 0 is background, 255 void


@dataclass
class Results:
    """What formats need to know about the whole video."""

    job: SegmentJob
    video: str  # its name, without a suffix
    pictures: list[str]  # names of its files, of a folder of pictures
    sentences: Sequence[str]
    size: tuple[int, int]  # (H, W)
    pixel_aspect: float

    def stem(self, frame: int) -> str:
        """A frame's name in the layouts of data sets."""
        return Path(self.pictures[frame]).stem if self.pictures else f"{frame:05d}"


class View(NamedTuple):
    """One frame and its masks."""

    frame: int  # number in the whole video, from 0
    time: float  # seconds since the whole video's first frame
    picture: np.ndarray | None  # (H, W, 3) uint8; None where no format asked for it
    masks: np.ndarray  # (N, H, W) bool
    score: list[float]  # N


Write = Callable[[View], None]


class Format(NamedTuple):
    """A format: inside `open` it takes every frame; at its end `output` is whole."""

    output: str
    open: Callable[[Path, Results], AbstractContextManager[Write]]


def video_name(video: str | Path) -> tuple[str, list[str]]:
    """A video's name, and the names of its pictures, if it is a folder of them."""
    path = Path(video).resolve()
    if path.is_dir():
        return path.name or "video", [file.name for file in folders.in_order(path)]
    return (path.stem if path.exists() else PurePosixPath(urlsplit(str(video)).path).stem) or "video", []


@contextmanager
def _overlay(path: Path, results: Results) -> Iterator[Write]:
    draw = Overlay(results.size, results.sentences, results.pixel_aspect, FINISHED)
    begin: list[float] = []
    with overlay_file(path) as add:

        def write(view: View) -> None:
            assert view.picture is not None
            begin[:] = begin or [view.time]
            add(view.time - begin[0], draw(view.picture, view.masks))

        yield write


@contextmanager
def _png(path: Path, results: Results) -> Iterator[Write]:
    with _folder(path) as folder:

        def write(view: View) -> None:
            for number, mask in enumerate(view.masks, 1):
                _save(folder / str(number) / f"{view.frame:06d}.png", Image.fromarray(mask))

        yield write


@contextmanager
def _palette(path: Path, results: Results) -> Iterator[Write]:
    colours = davis_colours().tobytes()
    with _folder(path) as folder:

        def write(view: View) -> None:
            """Write one frame's numbers as a PNG with a palette."""
            numbers = np.zeros(results.size, np.uint8)
            # The surest last, as it stays where masks overlap; of equally sure ones the first sentence.
            for n in sorted(range(len(view.masks)), key=lambda n: (view.score[n], -n)):
                numbers[view.masks[n]] = n + 1
            picture = Image.fromarray(numbers)
            picture.putpalette(colours)
            _save(folder / f"{results.stem(view.frame)}.png", picture)

        yield write


@contextmanager
def _ytvos(path: Path, results: Results) -> Iterator[Write]:
    with _folder(path) as folder:

        def write(view: View) -> None:
            for expression, mask in enumerate(view.masks):
                file = folder / results.video / str(expression) / f"{results.stem(view.frame)}.png"
                if not file.exists():
                    with whole(file) as partial:
                        partial.write_bytes(grey_png(mask))

        yield write


@contextmanager
def _table(path: Path, results: Results) -> Iterator[Write]:
    yield _wait
    with whole(path) as partial, partial.open("w", newline="") as out:
        table = csv.writer(out, lineterminator="\n")
        table.writerow(COLUMNS)
        for entry in results.job.entries():
            of_each = zip(results.sentences, entry.score, entry.area, strict=True)
            table.writerows([entry.frame, entry.time, *row] for row in of_each)


@contextmanager
def _coco(path: Path, results: Results) -> Iterator[Write]:
    """A data set as COCO has them: empty masks have no annotation."""
    yield _wait
    height, width = results.size
    categories = [{"id": n, "name": sentence} for n, sentence in enumerate(results.sentences, 1)]
    with whole(path) as partial, partial.open("w") as out:  # line by line: long videos do not fit into memory
        out.write(f'{{"info": {json.dumps({"description": results.video})},\n')
        out.write(f'"categories": {json.dumps(categories)},\n"images": [')
        for count, entry in enumerate(results.job.entries()):
            name = results.pictures[entry.frame] if results.pictures else f"{results.stem(entry.frame)}.png"
            image = {"id": entry.frame, "file_name": f"{results.video}/{name}", "time": entry.time}
            out.write(("," * bool(count)) + "\n" + json.dumps(image | {"height": height, "width": width}))
        out.write('],\n"annotations": [')
        for count, annotation in enumerate(_annotations(results.job), 1):
            out.write(("," * (count > 1)) + "\n" + json.dumps({"id": count, **annotation}))
        out.write("]}\n")


def _annotations(job: SegmentJob) -> Iterator[dict]:
    for entry in job.entries():
        for number, (code, score) in enumerate(zip(entry.codes, entry.score, strict=True), 1):
            if area := int(coco.area(code)):
                yield {
                    "image_id": entry.frame,
                    "category_id": number,
                    "track_id": number,
                    "segmentation": code,
                    "score": score,
                    "area": area,
                    "bbox": [float(side) for side in coco.toBbox(code)],
                    "iscrowd": 0,
                }


@contextmanager
def _npz(path: Path, results: Results) -> Iterator[Write]:
    """frame (F,), time (F,), score (F, N), sentences (N,), masks (F, N, H, W) bool; F frames."""
    yield _wait
    rows = [(entry.frame, entry.time, entry.score) for entry in results.job.entries()]
    arrays = {
        "frame": np.array([frame for frame, _, _ in rows]),
        "time": np.array([time for _, time, _ in rows]),
        "score": np.array([score for _, _, score in rows]),
        "sentences": np.array(results.sentences),
    }
    shape = (*arrays["score"].shape, *results.size)
    header = {"descr": np.lib.format.dtype_to_descr(np.dtype(bool)), "fortran_order": False, "shape": shape}
    with whole(path) as partial, zipfile.ZipFile(partial, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, array in arrays.items():
            with archive.open(f"{name}.npy", "w") as out:
                np.lib.format.write_array(out, array, allow_pickle=False)
        with archive.open("masks.npy", "w", force_zip64=True) as out:  # frame by frame: see _coco
            np.lib.format.write_array_header_2_0(out, header)
            for entry in results.job.entries():
                out.write(entry.masks().tobytes())


def _wait(view: View) -> None:
    """What comes from the journal at the end does nothing at a frame."""


@contextmanager
def _folder(path: Path) -> Iterator[Path]:
    """A folder to write into, which takes its place at the end; a stopped job finds in it what it wrote."""
    unfinished = path.with_name(f"{UNFINISHED}{path.name}")
    if unfinished.is_symlink():
        raise FileExistsError(f"{unfinished} was not made here: choose another folder")
    unfinished.mkdir(parents=True, exist_ok=True)
    remove_partial(unfinished)
    yield unfinished
    unfinished.rename(path)


def _save(file: Path, picture: Image.Image) -> None:
    if not file.exists():
        with whole(file) as partial:
            picture.save(partial, "png")


FORMATS = {
    "score": Format("score.csv", _table),  # of every call
    "overlay": Format("overlay.mp4", _overlay),
    "png": Format("masks", _png),
    "palette": Format("palette", _palette),
    "coco": Format("masks.json", _coco),
    "ytvos": Format("Annotations", _ytvos),
    "npz": Format("masks.npz", _npz),
}


def chosen(names: Sequence[str]) -> list[str]:
    """Names of formats, each once, of texts such as "png" and "overlay,coco"; ValueError for others."""
    every = [name.strip() for some in names for name in some.split(",")]
    if unknown := [name for name in every if name not in FORMATS]:
        raise ValueError(f"unknown format '{unknown[0]}': there are {', '.join(FORMATS)}")
    return list(dict.fromkeys(every))
