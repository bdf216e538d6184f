"""A video that is published as a folder of numbered pictures: 00001.png, 00002.png, ...

The numbers begin at 1 and have no gaps; a frame's index is its number less 1. Other files in the folder
(thumbnails, the `._00001.png` that macOS adds to archives) are not frames.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

from mmvs.video.files import VideoError

SUFFIX = ".png"


def pictures(folder: str | Path) -> list[Path]:
    """The frames' files in order; VideoError where there are none, or where a number is missing."""
    folder = Path(folder)
    names = [name for name in os.listdir(folder) if name.endswith(SUFFIX)]
    numbered = {int(stem): name for name in names if (stem := name.removesuffix(SUFFIX)).isdecimal()}
    if not numbered:
        raise VideoError(f"{folder}: no frames ({1:05d}{SUFFIX}, ...): restore the folder")
    if missing := sorted(set(range(1, max(numbered) + 1)) - numbered.keys()):
        some, count = ", ".join(f"{number:05d}{SUFFIX}" for number in missing[:3]), max(numbered)
        raise VideoError(f"{folder}: {len(missing)} of {count} frames are missing ({some}): restore them")
    return [folder / numbered[number] for number in range(1, len(numbered) + 1)]


def frame_size(folder: str | Path) -> tuple[int, int]:
    """(H, W) of the first frame, in pixels. Reads its header only; VideoError names the file."""
    with _open(pictures(folder)[0]) as picture:
        return picture.height, picture.width


def read_frames(folder: str | Path, indices: Sequence[int]) -> np.ndarray:
    """Frames at n 0-based indices, in their order; indices may repeat.

    Returns (n, H, W, 3) uint8 RGB. VideoError names what is missing, damaged or of another size.
    """
    files, indices = pictures(folder), [int(i) for i in indices]
    if not indices:
        return np.empty((0, *frame_size(folder), 3), np.uint8)
    if not 0 <= min(indices) <= max(indices) < len(files):
        numbers = sorted(set(indices))
        raise VideoError(f"{folder}: has {len(files)} frames, but frames {numbers} were asked for")
    frames = {i: _read(files[i]) for i in set(indices)}
    sizes = sorted({frame.shape[:2] for frame in frames.values()})
    if len(sizes) > 1:
        raise VideoError(f"{folder}: frames are of different sizes {sizes} (H, W): replace the folder")
    return np.stack([frames[i] for i in indices])


def _read(file: Path) -> np.ndarray:
    with _open(file) as picture:
        try:
            return np.asarray(picture.convert("RGB"))
        except (OSError, SyntaxError, ValueError) as error:  # Pillow raises all three on damaged pictures
            raise VideoError(f"{file}: damaged ({error}): replace the file") from error


def _open(file: Path) -> Image.Image:
    try:
        return Image.open(file)
    except UnidentifiedImageError:
        raise VideoError(f"{file}: damaged or not a picture: replace the file") from None
