"""Reading A2D-Sentences' HDF5 annotations, and the index over thousands of them.

Every complaint names the file, the line where there is one, and what to do.
"""

from __future__ import annotations

import json
import math
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import h5py
import numpy as np
from tqdm.auto import tqdm

from mmvs.data.csv_files import DataError, integer, require_file
from mmvs.files import write_text

WORTH_KEEPING = 500  # newly read HDF5 files from which on the index is kept on disk
LARGEST = 2**29  # bytes of one array: the masks of 64 objects in 4K. A file of a few bytes can claim any size


class AnnotatedFrame(NamedTuple):
    """One annotated frame of a video."""

    path: Path  # its HDF5 file
    ids: list[int]  # of the instances present


def read_index(folder: Path, videos: set[str], cache: Path) -> dict[str, dict[int, AnnotatedFrame]]:
    """Video id to its annotated frames (0-based, ascending).

    Reads `instance` of every <folder>/<video>/<frame>.h5. Opening thousands of files takes from seconds to
    minutes, so the JSON file `cache` keeps what was read, with each file's size and time of change.
    """
    files = {video_id: _annotated(folder / video_id) for video_id in sorted(videos)}
    stamps = {_name(path): _stamp(path) for frames in files.values() for path in frames.values()}
    entries = _kept(cache)
    new = [name for name, stamp in stamps.items() if name not in entries or entries[name][0] != stamp]
    try:
        for name in tqdm(new, desc="reading annotations", unit="file", disable=None, leave=False):
            entries[name] = [stamps[name], read_h5(folder / name, False)[0]]
    finally:  # a damaged file does not cost what was read before it
        if len(new) >= WORTH_KEEPING:
            _keep(cache, json.dumps(entries))
    return {
        video_id: {frame: AnnotatedFrame(path, entries[_name(path)][1]) for frame, path in frames.items()}
        for video_id, frames in files.items()
    }


def annotated_frames(folder: Path) -> dict[int, Path]:
    """0-based frame to its file in a video's folder, ascending; none where there is no such folder.

    A file's name is the frame's number from 1 on, padded with zeros or not. Hidden files (the `._00003.h5`
    that macOS adds to archives) and those of other kinds are passed over; DataError names any other file.
    """
    frames: dict[int, Path] = {}
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        if path.name.startswith(".") or path.suffix.lower() != ".h5":
            continue
        number = integer(path.stem, path)
        if number < 1:
            raise DataError(f"{path}: frames are numbered from 1: rename the file")
        if other := frames.get(number - 1):
            raise DataError(f"{path}: {other.name} is of the same frame: keep one of them")
        frames[number - 1] = path
    return dict(sorted(frames.items()))


def read_h5(path: Path, masks: bool = True) -> tuple[list[int], np.ndarray | None]:
    """The ids of N instances and, if wanted, their masks as stored: (N, W, H), or (W, H) of a single one."""
    require_file(path, "annotation file: restore it")
    try:
        with h5py.File(path, "r") as file:
            instance, stored = _array(path, file, "instance"), _array(path, file, "reMask")
            ids = _ids(path, instance[()])
            if not _fits(stored.shape, len(ids)):
                raise DataError(
                    f"{path}: {len(ids)} instances, but reMask is {stored.shape}, not (instances, W, H): "
                    "replace the file"
                )
            return ids, stored[()] if masks else None
    except DataError:
        raise
    except Exception as error:  # h5py raises many kinds on a damaged file
        raise DataError(f"{path}: damaged or not HDF5 ({error}): replace the file") from error


def read_masks(path: Path) -> dict[int, np.ndarray]:
    """Instance id to (H, W) bool, for all instances of one annotated frame."""
    ids, masks = read_h5(path)
    if not ids:
        return {}
    if not np.isfinite(masks).all():
        raise DataError(f"{path}: reMask holds NaN or infinite values: replace the file")
    if masks.ndim == 2:  # MATLAB drops the leading axis of a single mask
        masks = masks[None]
    masks = masks.transpose(0, 2, 1) != 0  # stored (N, W, H), as MATLAB counts
    # Of an id that is there twice the first counts, as in published code.
    return {ids[k]: masks[k] for k in np.unique(ids, return_index=True)[1]}


def _array(path: Path, file: h5py.File, name: str) -> h5py.Dataset:
    """An array of numbers that lies in the file itself, before anything of it is read."""
    links = file.id.links
    if not links.exists(name.encode()):
        raise DataError(f"{path}: lacks the array '{name}': replace the file")
    array = file[name] if links.get_info(name.encode()).type == h5py.h5l.TYPE_HARD else None
    if array is None or getattr(array, "is_virtual", False) or getattr(array, "external", None):
        raise DataError(f"{path}: '{name}' lies in another place: store its values in the file itself")
    if not isinstance(array, h5py.Dataset) or array.shape is None or array.dtype.kind not in "biuf":
        kind = f"of type {array.dtype}" if isinstance(array, h5py.Dataset) else "a group"
        raise DataError(f"{path}: '{name}' is {kind}, but expected an array of numbers: replace the file")
    if max(array.nbytes, math.prod(array.chunks or ()) * array.dtype.itemsize) > LARGEST:
        raise DataError(f"{path}: '{name}' is {array.shape}, which is too large: replace the file")
    if array.size and not _is_stored(array):
        raise DataError(f"{path}: '{name}' is {array.shape}, but its values are missing: replace the file")
    return array


def _is_stored(array: h5py.Dataset) -> bool:
    """Are all values there? HDF5 makes up those that are not."""
    if array.chunks is None:
        return array.id.get_storage_size() >= array.nbytes
    chunks = math.prod(-(-side // chunk) for side, chunk in zip(array.shape, array.chunks, strict=True))
    return array.id.get_num_chunks() == chunks


def _ids(path: Path, stored: np.ndarray) -> list[int]:
    """Instance ids as whole numbers; MATLAB keeps them as floating point, in a row or in a column."""
    if stored.size != max((1, *stored.shape)) * (0 not in stored.shape):
        raise DataError(f"{path}: 'instance' is {stored.shape}, but expected a list: replace the file")
    ids = stored.reshape(-1)
    if ids.dtype.kind == "b" or not (np.isfinite(ids) & (ids >= 0) & (ids == np.trunc(ids))).all():
        raise DataError(
            f"{path}: 'instance' holds {', '.join(map(str, ids[:5]))}, but expected whole numbers from 0 on: "
            "replace the file"
        )
    return [int(i) for i in ids]


def _fits(shape: tuple[int, ...], instances: int) -> bool:
    """Can masks of this shape be those of so many instances?"""
    if not instances:
        return 0 in shape
    return 0 not in shape and (shape[:-2] == (instances,) or (instances == 1 and len(shape) == 2))


def _annotated(folder: Path) -> dict[int, Path]:
    """The annotated frames of a video that has sentences, and so needs some."""
    if frames := annotated_frames(folder):
        return frames
    raise DataError(f"{folder}: no .h5 files, but the video has sentences: restore the folder")


def _name(path: Path) -> str:
    """<video>/<file>, as the index has it."""
    return f"{path.parent.name}/{path.name}"


def _stamp(path: Path) -> list[int]:
    """[bytes, time of change] of a file."""
    require_file(path, "annotation file: restore it")
    status = path.stat()
    return [status.st_size, status.st_mtime_ns]


def _kept(cache: Path) -> dict[str, list]:
    """Name to [stamp, ids] of an earlier index; empty where there is none that can be used."""
    try:
        require_file(cache, "index")
        entries = json.loads(cache.read_text())
        for stamp, ids in entries.values():
            if not all(isinstance(number, int) for number in [*stamp, *ids]):
                return {}
        return entries
    except (OSError, ValueError, TypeError, AttributeError, RecursionError):
        return {}


def _keep(path: Path, text: str) -> None:
    """Write a file whole, or not at all where that is not allowed: the index is only a convenience."""
    with suppress(OSError):
        write_text(path, text)
