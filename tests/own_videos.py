"""Videos, masks and sentences of a user, before `mmvs new-data`: squares that move, generated."""

from pathlib import Path

import numpy as np
from PIL import Image

from mmvs.video.files import write_video

SIZE = (32, 48)  # H, W
FRAMES = 6


def square(t: int, top: int = 8) -> np.ndarray:
    """(H, W) bool: 8 x 8 pixels that move to the right, 3 a frame."""
    mask = np.zeros(SIZE, bool)
    mask[top : top + 8, 4 + 3 * t : 12 + 3 * t] = True
    return mask


def frame(t: int) -> np.ndarray:
    """(H, W, 3) uint8: a red square above a blue one, on grey."""
    picture = np.full((*SIZE, 3), 90, np.uint8)
    picture[square(t)] = (220, 30, 30)
    picture[square(t, 20)] = (30, 30, 220)
    return picture


def film(path: Path, frames: int = FRAMES) -> Path:
    """A video file."""
    write_video(path, np.stack([frame(t) for t in range(frames)]))
    return path


def pictures(folder: Path, names: list[str]) -> Path:
    """A folder of pictures with these names."""
    folder.mkdir(parents=True, exist_ok=True)
    for t, name in enumerate(names):
        Image.fromarray(frame(t)).save(folder / name)
    return folder


def table(path: Path, *rows: str, header: str = "video,object,sentence") -> Path:
    """A CSV of sentences."""
    path.write_text("\n".join([header, *rows]) + "\n", encoding="utf-8")
    return path


def masks(folder: Path, names: list[str], mode: str = "P") -> Path:
    """A folder of masks of both squares, as a palette, in grey (the first alone, as 255), or in colours."""
    folder.mkdir(parents=True, exist_ok=True)
    for t, name in enumerate(names):
        labels = square(t) * 1 + square(t, 20) * 2
        if mode == "RGB":
            values = np.array([(0, 0, 0), (250, 250, 0), (128, 0, 0)], np.uint8)[labels]
            Image.fromarray(values).save(folder / name)
        elif mode == "L":
            Image.fromarray((square(t) * 255).astype(np.uint8)).save(folder / name)
        else:
            picture = Image.fromarray(labels.astype(np.uint8))
            picture.putpalette([0, 0, 0, 9, 9, 9, 99, 99, 99])
            picture.save(folder / name)
    return folder
