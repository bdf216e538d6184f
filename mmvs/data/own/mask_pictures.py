"""Masks as pictures: <video>/<frame>.png, or <frame>.png where there is one video.

    palette, or grey with values below 255   the value is the object's number; 255 beside them is void
    grey or 1 bit, 0 and 255 alone           one object, number 1
    colours                                  an object a colour, black the background; those of DAVIS's
                                             palette have its numbers, others names such as "#ff0000"

One rule holds for all pictures of a video; what it is, is said aloud.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

import numpy as np
from PIL import Image

from mmvs.data.csv_files import DataError, require_file
from mmvs.data.expression_files import VOID
from mmvs.data.own.labels import VOID_NAME, Draw, LabelledFrame, Labels

SUFFIXES = (".png", ".bmp", ".gif", ".tif", ".tiff")  # pictures that keep every value
LOSSY = (".jpg", ".jpeg", ".webp")
MOST = 32  # values or colours of a video's masks; more are edges that were smoothed
NUMBERS, ONE, COLOURS = "numbers", "one object", "colours"


def palette() -> np.ndarray:
    """(256, 3) uint8 RGB: DAVIS's and PASCAL VOC's colours: the bits of a number, spread over three."""
    numbers = np.arange(256)
    colours = np.zeros((256, 3), np.uint8)
    for bit in range(8):
        for channel in range(3):
            colours[:, channel] |= ((numbers >> (3 * bit + channel) & 1) << (7 - bit)).astype(np.uint8)
    return colours


def read(folder: Path) -> Labels:
    """What a folder of masks shows; DataError where it holds none."""
    labels = Labels([])
    groups = {group: sorted(_pictures(group, labels)) for group in _folders(folder)}
    if not any(groups.values()):
        rest = f" ({labels.faults[0]})" if labels.faults else ""
        raise DataError(f"{folder}: holds no masks{rest}: expected <video>/<frame>.png, or <frame>.png")
    for group, files in groups.items():
        video = None if group == folder else group.name
        _add_video(video, files, labels)
    return labels


def _folders(folder: Path) -> list[Path]:
    try:
        inside = sorted(one for one in folder.iterdir() if one.is_dir() and not one.name.startswith("."))
    except OSError as error:
        raise DataError(f"{folder}: cannot be read ({error.strerror}): look at its permissions") from None
    return [folder, *inside]


def _pictures(folder: Path, labels: Labels) -> Iterator[Path]:
    lossy = []
    for path in folder.iterdir():
        if path.name.startswith(".") or path.is_dir():
            continue
        if path.suffix.lower() in SUFFIXES:
            yield path
        elif path.suffix.lower() in LOSSY:
            lossy.append(path.name)
    if lossy:
        labels.faults.append(
            f"{folder}: {len(lossy)} masks as JPEG or WebP, such as {min(lossy)}: values change, save PNG"
        )


def _add_video(video: str | None, files: list[Path], labels: Labels) -> None:
    seen: dict[Path, tuple[bool, np.ndarray, tuple[int, int]]] = {}
    for file in files:
        try:
            picture, is_palette = _open(file)
        except DataError as error:
            labels.faults.append(str(error))
            continue
        flat = picture.reshape(-1, *picture.shape[2:])
        seen[file] = is_palette, np.unique(flat, axis=0), picture.shape[:2]
    if not seen:
        return
    where = str(files[0].parent)
    try:
        rule = _rule([(is_palette, values) for is_palette, values, _ in seen.values()], where)
    except DataError as error:
        labels.faults.append(str(error))
        return
    for file, (_, values, size) in seen.items():
        objects = [(_name(value, rule), _draw(file, value)) for value in values if np.any(value)]
        labels.frames.append(LabelledFrame(str(file), video, file.stem, size, objects))
    if rule == ONE:
        labels.notes.append(f"{where}: masks of 0 and 255: one object, number 1")
    elif rule == COLOURS:
        names = {name for frame in labels.frames[-len(seen) :] for name, _ in frame.objects}
        labels.notes.append(f"{where}: colours, not a palette: objects {', '.join(sorted(names)) or 'none'}")


def _rule(pictures: list[tuple[bool, np.ndarray]], where: str) -> str:
    if any(values.ndim == 2 for _, values in pictures):
        if not all(values.ndim == 2 for _, values in pictures):
            raise DataError(f"{where}: masks in colours beside others in grey or a palette: save all alike")
        colours = np.unique(np.concatenate([values for _, values in pictures]), axis=0)
        if len(colours) > MOST:
            raise DataError(
                f"{where}: {len(colours):,} colours: were the edges smoothed? Save a palette, or hard edges"
            )
        return COLOURS
    values = set(np.concatenate([values for _, values in pictures]).tolist())
    grey = {value for is_palette, own in pictures if not is_palette for value in own.tolist()}
    if grey and len(grey - {0}) > MOST:
        raise DataError(
            f"{where}: {len(grey)} grey values: were the edges smoothed? Save 0 and 255, or a palette"
        )
    if max(values) > VOID:
        raise DataError(f"{where}: the value {max(values)}: numbers of objects are 1 to 254")
    return ONE if values - {0} == {VOID} else NUMBERS


def _name(value: np.ndarray, rule: str) -> str:
    if rule == ONE:
        return "1"
    if rule == NUMBERS:
        return VOID_NAME if value == VOID else str(int(value))
    known = np.flatnonzero((palette() == value).all(axis=1))
    return str(known[0]) if len(known) and known[0] != VOID else "#" + "".join(f"{int(c):02x}" for c in value)


def _draw(file: Path, value: np.ndarray) -> Draw:
    def draw(size: tuple[int, int]) -> np.ndarray:
        picture, _ = _open(file)
        return (picture == value).reshape(*picture.shape[:2], -1).all(axis=2)

    return draw


def _open(file: Path) -> tuple[np.ndarray, bool]:
    """(H, W) numbers or (H, W, 3) RGB; and whether it has a palette. Alpha is left out."""
    require_file(file, "file: put the mask there")
    return _values(file, file.stat().st_mtime_ns)


@lru_cache(maxsize=1)
def _values(file: Path, _: int) -> tuple[np.ndarray, bool]:
    try:
        with Image.open(file) as picture:
            if picture.mode == "1":
                return np.asarray(picture).astype(np.int64) * VOID, False
            if picture.mode in ("P", "L", "I", "I;16", "I;16B", "I;16L"):
                return np.asarray(picture).astype(np.int64), picture.mode == "P"
            if picture.mode == "LA":
                return np.asarray(picture.getchannel("L")).astype(np.int64), False
            return np.asarray(picture.convert("RGB")).astype(np.int64), False
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise DataError(f"{file}: damaged or not a picture ({error}): replace the file") from None


def labels(file: Path) -> np.ndarray:
    """(H, W) numbers of one mask in the tree; DataError where it is damaged or of colours."""
    values, _ = _open(file)
    if values.ndim != 2:
        raise DataError(f"{file}: a picture of colours: expected a palette PNG; name its folder with --masks")
    return values
