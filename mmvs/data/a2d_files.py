"""Reading A2D-Sentences' HDF5 annotations, and the index over thousands of them.

Every complaint names the file, the line where there is one, and what to do.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import h5py
import numpy as np
from tqdm.auto import tqdm

from mmvs.data.csv_files import DataError, integer
from mmvs.files import write_text

WORTH_KEEPING = 500  # newly read HDF5 files from which on the index is kept on disk


def read_index(folder: Path, videos: set[str], cache: Path) -> dict[str, dict[int, list[int]]]:
    """Video id to its annotated frames (0-based, ascending), each with the instance ids present.

    Reads `instance` of every <folder>/<video>/<frame:05d>.h5. Opening thousands of files takes from seconds
    to minutes, so the JSON file `cache` keeps what was read, with each file's size and time of change.
    """
    try:
        entries = json.loads(cache.read_text())
    except (OSError, ValueError):
        entries = {}
    stamps = {name: stamp for video_id in sorted(videos) for name, stamp in _stamps(folder, video_id)}
    new = [name for name, stamp in stamps.items() if entries.get(name, [None])[0] != stamp]
    try:
        for name in tqdm(new, desc="reading annotations", unit="file", disable=None, leave=False):
            ids = read_h5(folder / name, "instance")[0]
            entries[name] = [stamps[name], [int(i) for i in ids]]
    finally:  # a damaged file does not cost what was read before it
        if len(new) >= WORTH_KEEPING:
            _keep(cache, json.dumps(entries))
    index: dict[str, dict[int, list[int]]] = {video_id: {} for video_id in videos}
    for name in sorted(stamps):
        path = folder / name
        number = integer(path.stem, path)
        if number < 1:
            raise DataError(f"{path}: frames are numbered from 1: rename the file")
        index[path.parent.name][number - 1] = entries[name][1]
    return {video_id: dict(sorted(frames.items())) for video_id, frames in index.items()}


def _stamps(folder: Path, video_id: str) -> Iterator[tuple[str, list[int]]]:
    """(<video>/<file>, [bytes, time of change]) of a video's annotation files."""
    annotated = folder / video_id
    files = [e for e in os.scandir(annotated) if e.name.endswith(".h5")] if annotated.is_dir() else []
    if not files:
        raise DataError(f"{annotated}: no .h5 files, but the video has sentences: restore the folder")
    for entry in files:
        yield f"{video_id}/{entry.name}", [entry.stat().st_size, entry.stat().st_mtime_ns]


def read_h5(path: Path, *names: str) -> list[np.ndarray]:
    """Data sets of an HDF5 file; `instance` always as (N,)."""
    try:
        with h5py.File(path, "r") as file:
            values = [np.asarray(file[name][()]) for name in names]
    except FileNotFoundError:
        raise DataError(f"{path}: no such annotation file: restore it") from None
    except KeyError:
        raise DataError(f"{path}: lacks one of the data sets {', '.join(names)}: replace the file") from None
    except OSError as error:
        raise DataError(f"{path}: damaged or not HDF5 ({error}): replace the file") from error
    return [v.reshape(-1) if name == "instance" else v for name, v in zip(names, values, strict=True)]


def read_masks(path: Path) -> dict[int, np.ndarray]:
    """Instance id to (H, W) bool, for all instances of one annotated frame."""
    ids, masks = read_h5(path, "instance", "reMask")
    if masks.ndim == 2 and len(ids) == 1:  # MATLAB drops the leading axis of a single mask
        masks = masks[None]
    if masks.ndim != 3 or len(masks) != len(ids):
        raise DataError(f"{path}: {len(ids)} instances, but reMask is {masks.shape}: replace the file")
    masks = masks.transpose(0, 2, 1) != 0  # stored (N, W, H), as MATLAB counts
    # Of an id that is there twice the first counts, as in published code.
    return {int(ids[k]): masks[k] for k in np.unique(ids, return_index=True)[1]}


def _keep(path: Path, text: str) -> None:
    """Write a file whole, or not at all where that is not allowed: the index is only a convenience."""
    with suppress(OSError):
        write_text(path, text)
