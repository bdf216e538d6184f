"""A video as a folder of pictures.

`pictures` has the frames of a data set. 00001.png, 00002.png, ...: the numbers begin at 1 (or 0) and have no
gaps; a frame's index is its number less the first. 00000.jpg, 00005.jpg, ..., where there is no such PNG
file: with gaps or without; a frame's index is its place in their order.

`in_order` takes any folder of a user's. Other files in a folder (thumbnails, notes, the `._00001.png` that
macOS adds to archives) are not frames.
"""

from __future__ import annotations

import os
import re
import unicodedata
from collections.abc import Iterator, Sequence
from decimal import Decimal
from itertools import count, islice
from pathlib import Path

import numpy as np

from mmvs.video.container import VideoError
from mmvs.video.pictures import SUFFIXES, picture_size, read_picture

SUFFIX, JPEG = ".png", (".jpg", ".jpeg")
FILMS = (".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".mpg", ".mpeg", ".wmv", ".ogv", ".mts", ".ts")
# A sign is the first character, or follows a blank, "_", "=" or a bracket: "2024-01-05", "frame-1" have none.
NUMBER = re.compile(r"((?:(?<![^\s_=(\[])[-+])?(?:\d+(?:[.,]\d+)?e[-+]\d{1,3}(?!\w)|\d+(?:[.,]\d+)*))")
DECIMAL = re.compile(r"\d+[.,]\d+")
Key = tuple[str | tuple[Decimal, ...], ...]  # text, number, text, number, ..., text


def pictures(folder: str | Path) -> list[Path]:
    """The frames' files in order; VideoError where there are none, one is missing or one is there twice."""
    folder = Path(folder)
    numbered: dict[int, str] = {}
    for name in _names(folder):
        stem, suffix = os.path.splitext(name)
        if suffix.lower() == SUFFIX and DECIMAL.fullmatch(stem):  # named by seconds: nothing tells gaps
            return _ordered(folder, (SUFFIX,))
        if suffix.lower() == SUFFIX and stem.isdecimal():
            if other := numbered.get(int(stem)):
                raise VideoError(f"{folder}: {other} and {name} are of the same number: keep one of them")
            numbered[int(stem)] = name
    if not numbered:
        if jpegs := _ordered(folder, JPEG):
            return jpegs
        raise VideoError(f"{folder}: no frames ({1:05d}{SUFFIX}, ...): restore the folder")
    first, last = min(1, *numbered), max(numbered)
    if missing := last + 1 - first - len(numbered):
        numbers = islice((number for number in count(first) if number not in numbered), min(missing, 3))
        some, of = ", ".join(f"{number:05d}{SUFFIX}" for number in numbers), last + 1 - first
        raise VideoError(f"{folder}: {missing} of {of} frames are missing ({some}): restore them")
    return [folder / numbered[number] for number in sorted(numbered)]


def films(folder: str | Path) -> list[Path]:
    """The video files of a folder, by the ends of their names; none where it has pictures, or is none."""
    folder = Path(folder)
    files = [folder / name for name in _names(folder)] if folder.is_dir() else []
    if any(file.suffix.lower() in SUFFIXES for file in files):
        return []
    return [file for file in files if file.suffix.lower() in FILMS and file.is_file()]


def frame_size(folder: str | Path) -> tuple[int, int]:
    """(H, W) of the first frame, in pixels; VideoError names the file."""
    return picture_size(pictures(folder)[0])


def read_frames(folder: str | Path, indices: Sequence[int]) -> np.ndarray:
    """Frames at n 0-based indices, in their order; indices may repeat.

    Returns (n, H, W, 3) uint8 RGB. VideoError names what is missing, damaged or of another size.
    """
    files, indices = pictures(folder), [int(i) for i in indices]
    if indices and not 0 <= min(indices) <= max(indices) < len(files):
        numbers = sorted(set(indices))
        raise VideoError(f"{folder}: has {len(files)} frames, but frames {numbers} were asked for")
    return read_pictures([files[i] for i in indices], folder)


def read_pictures(files: Sequence[Path], folder: str | Path) -> np.ndarray:
    """N pictures of a folder, which may repeat: (n, H, W, 3) uint8 RGB, of one size; VideoError as above."""
    if not files:
        return np.empty((0, *frame_size(folder), 3), np.uint8)
    frames = {file: read_picture(file) for file in dict.fromkeys(files)}
    size = frames[files[0]].shape[:2]
    for file, frame in frames.items():
        if frame.shape[:2] != size:
            sizes = f"{frame.shape[:2]} here, {size} (H, W) in {files[0].name}"
            raise VideoError(f"{file}: frames are of different sizes, {sizes}: replace the folder")
    return np.stack([frames[file] for file in files])


def in_order(folder: str | Path) -> list[Path]:
    """The pictures of any folder, in the order of the numbers in their names.

    Numbers may be padded or not, decimal (0.25, 1e-05) or negative, in any script's digits. Several in a name
    count from left to right; where there is none the name counts. Upper and lower case are the same.
    VideoError where the folder holds no picture, or two of the same number.
    """
    folder = Path(folder)
    if files := _ordered(folder, SUFFIXES):
        return files
    names = _names(folder)
    others = f"; what it holds, such as {names[0]}, is something else" if names else ""
    raise VideoError(f"{folder}: holds no picture (.png, .jpg, .tiff, ...){others}")


def frames_in_order(files: Sequence[Path], damage: list[str]) -> Iterator[tuple[int, np.ndarray]]:
    """Yield index and picture (H, W, 3) uint8 RGB of the files that can be read and have the first's size.

    `damage` gets a line for each of the others.
    """
    first, size = "", None
    for index, file in enumerate(files):
        try:
            picture = read_picture(file)
        except VideoError as error:
            damage.append(str(error))
            continue
        first, size = (first, size) if size else (file.name, picture.shape[:2])
        if picture.shape[:2] == size:
            yield index, picture
        else:
            damage.append(f"{file}: is {picture.shape[:2]} (H, W), but {first} is {size}")


def _ordered(folder: Path, suffixes: Sequence[str]) -> list[Path]:
    """Files with one of the suffixes, in lower case, in the order of `in_order`."""
    keys: dict[Key, str] = {}
    for name in _names(folder):
        stem, suffix = os.path.splitext(name)
        if suffix.lower() not in suffixes or (folder / name).is_dir():
            continue
        if other := keys.get(key := _key(stem)):
            raise VideoError(f"{folder}: {other} and {name} are of the same number: keep one of them")
        keys[key] = name
    return [folder / keys[key] for key in sorted(keys)]


def _names(folder: Path) -> list[str]:
    """Names in a folder, less hidden ones: .DS_Store, ._00001.png."""
    try:
        return sorted(name for name in os.listdir(folder) if not name.startswith("."))
    except OSError as error:
        raise VideoError(f"{folder}: cannot be read ({error.strerror}): restore the folder") from None


def _key(stem: str) -> Key:
    text = unicodedata.normalize("NFKC", stem).casefold()
    text = text.replace("\N{MINUS SIGN}", "-").replace("\N{ARABIC DECIMAL SEPARATOR}", ".")
    return tuple(_number(part) if k % 2 else part for k, part in enumerate(NUMBER.split(text)))


def _number(text: str) -> tuple[Decimal, ...]:
    """One decimal number; several of a version or a date, which has more than one dot: 1.2.10."""
    parts = text.replace(",", ".").split(".")
    return tuple(map(Decimal, parts)) if len(parts) > 2 else (Decimal(".".join(parts)),)
