"""Frames of a data set's video, which is a file or a folder of numbered pictures."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from mmvs.video import files, folders


def frame_count(path: str | Path) -> int:
    """Number of frames that can be decoded; VideoError names the file at fault."""
    return len(folders.pictures(path)) if Path(path).is_dir() else files.frame_count(path)


def frame_size(path: str | Path) -> tuple[int, int]:
    """(H, W) in pixels; VideoError names the file at fault."""
    return _reader(path).frame_size(path)


def read_frames(path: str | Path, indices: Sequence[int]) -> np.ndarray:
    """Frames at n 0-based indices as (n, H, W, 3) uint8 RGB; VideoError names the file at fault."""
    return _reader(path).read_frames(path, indices)


def frame_files(path: str | Path) -> list[Path]:
    """The files that hold the frames, in order: the video itself, or the folder's pictures."""
    return folders.pictures(path) if Path(path).is_dir() else [Path(path)]


def _reader(path: str | Path):
    return folders if Path(path).is_dir() else files
