"""Reading J-HMDB's files: where the videos are, and the puppet masks, which are MATLAB's."""

from __future__ import annotations

import math
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import scipy.io
from tqdm.auto import tqdm

from mmvs.data.csv_files import DataError, columns, is_blank, normalise, plain, require_file
from mmvs.video import folders

FRAMES, MASKS, ANNOTATION = "Rename_Images", "puppet_mask", "jhmdb_annotation.txt"
VARIABLE = "part_mask"  # of puppet_mask.mat
INTEGERS = {"logical": 8} | {f"{sign}int{bits}": bits for sign in ("", "u") for bits in (8, 16, 32, 64)}
FLOATS = {"double": "float64", "single": "float32"}  # MATLAB's names
LARGEST = 2**29  # bytes of one array, a hundred times a published one. A small file can claim any size


def actions(root: Path) -> dict[str, str]:
    """Video id to the action that it lies under, of every folder <root>/Rename_Images/<action>/<video>.

    The disk is asked, never an annotation file: what a file says cannot lead out of the data set.
    """
    folder = root / FRAMES
    if not folder.is_dir():
        raise DataError(f"{folder}: no such folder: put J-HMDB's frames there, or change the root")
    return {video.name: action.name for action in _folders(folder) for video in _folders(action)}


def _folders(folder: Path) -> list[Path]:
    """Folders in a folder, less hidden ones and the copies that macOS adds to archives."""
    names = (path for path in folder.iterdir() if path.name[0] != "." and path.name != "__MACOSX")
    return sorted(path for path in names if path.is_dir())


def sentences(root: Path) -> list[tuple[str, str]]:
    """(video id, normalised sentence) of every row of jhmdb_annotation.txt, in its order."""
    path, rows = root / ANNOTATION, []
    for line, (video_id, query) in columns(path, "video_id", "query"):
        if is_blank(query):
            raise DataError(f"{path}, line {line}: the sentence of '{video_id}' is empty: drop the row")
        rows.append((plain(video_id, f"{path}, line {line}"), normalise(query)))
    return rows


def mask_path(root: Path, action: str, video_id: str) -> Path:
    """Where the masks of a video lie."""
    return root / MASKS / action / video_id / "puppet_mask.mat"


def annotated_frames(root: Path, folders: dict[str, str], videos: Iterable[str]) -> dict[str, int]:
    """Usable frames of each video: the masks can be fewer than the pictures, or more; the smaller counts.

    Reads headers only. DataError names videos that are not there.
    """
    videos = list(dict.fromkeys(videos))
    if missing := [video_id for video_id in videos if video_id not in folders]:
        shown = ", ".join(f"'{video_id}'" for video_id in missing[:3]) + (", ..." if len(missing) > 3 else "")
        raise DataError(
            f"{root / FRAMES}: no folder for {len(missing)} of {len(videos)} videos ({shown}): put them "
            "there; `python -m mmvs verify ROOT` lists all that is missing"
        )
    bar = tqdm(videos, desc="reading masks' headers", unit="video", disable=None, leave=False)
    return {video_id: _annotated_frames(root, folders[video_id], video_id) for video_id in bar}


def _annotated_frames(root: Path, action: str, video_id: str) -> int:
    pictures = len(folders.pictures(root / FRAMES / action / video_id))
    path = mask_path(root, action, video_id)
    return min(pictures, (*_mask_shape(path), 1)[2])


def part_mask(path: Path) -> np.ndarray:
    """(T, H, W) bool: the person in every annotated frame; any part counts, 255 as well as 1."""
    _mask_shape(path)
    content = _matlab(lambda file: scipy.io.loadmat(file, variable_names=[VARIABLE]), path)
    if VARIABLE not in content:
        raise DataError(f"{path}: lacks '{VARIABLE}' or is cut short: replace the file")
    mask = content[VARIABLE]
    if mask.ndim == 2:  # MATLAB drops the trailing axis of a single frame
        mask = mask[..., None]
    if mask.ndim != 3 or mask.dtype.kind not in "uib":
        raise _other_kind(path, mask.dtype, mask.shape)
    return mask.transpose(2, 0, 1) != 0


def _mask_shape(path: Path) -> tuple[int, ...]:
    """(H, W, T), or (H, W) of a single frame, by the header alone; DataError where it is something else."""
    found = [(shape, kind) for name, shape, kind in _matlab(scipy.io.whosmat, path) if name == VARIABLE]
    if not found:
        raise DataError(f"{path}: lacks '{VARIABLE}' or is cut short: replace the file")
    shape, kind = found[0]
    bits = INTEGERS.get(kind)
    if len(found) > 1 or bits is None or len(shape) not in (2, 3) or 0 in shape:
        raise _other_kind(path, FLOATS.get(kind, kind), shape)
    if math.prod(shape) * bits // 8 > LARGEST:
        raise DataError(f"{path}: '{VARIABLE}' is {shape}, which is too large: replace the file")
    return shape


def _other_kind(path: Path, kind: object, shape: tuple[int, ...]) -> DataError:
    return DataError(f"{path}: '{VARIABLE}' is {kind} {shape}, not integers (H, W, T): replace the file")


def _matlab(read, path: Path):
    require_file(path, "file: put J-HMDB's puppet masks there")
    try:
        return read(str(path))
    except NotImplementedError:
        raise DataError(
            f"{path}: MATLAB 7.3, but J-HMDB is published as MATLAB 5: replace the file"
        ) from None
    except Exception as error:  # scipy raises many kinds on a damaged file, zlib and struct theirs
        raise DataError(f"{path}: damaged or not MATLAB 5 ({error}): replace the file") from error
