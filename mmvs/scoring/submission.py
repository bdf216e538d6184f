"""The masks that a method wrote: a folder, or a zip of it that is never unpacked.

    <video>/<exp_id>/<frame>.png               of an expression: any value but 0 is the object
    anno_<0..3>/<video>/<frame>.png            Ref-DAVIS17, joined: the value is the number of the object

A folder around them all, such as Ref-YouTube-VOS's `Annotations`, is passed through.
"""

from __future__ import annotations

import io
import math
import re
import zipfile
import zlib
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path, PurePosixPath

import cv2
import numpy as np
from PIL import Image

from mmvs.data.csv_files import DataError
from mmvs.files import regular
from mmvs.scoring.report import shorten
from mmvs.video import pictures

LARGEST = 256 << 20  # bytes of a file inside a zip; a larger one is no mask
JUNK = ("__MACOSX",)  # what macOS adds to archives
ANNOTATORS = range(4)  # of Ref-DAVIS17

# A damaged file is named in the report, not by OpenCV.
cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)


class MaskError(ValueError):
    """A mask that cannot be scored."""

    def __init__(self, fault: str, detail: str = "") -> None:
        """What is wrong in two words, and what is to be said besides."""
        super().__init__(f"{fault}: {detail}" if detail else fault)
        self.fault, self.detail = fault, detail


class Submission:
    """The files of a submission by their names below its top.

    path   folder or zip
    tops   names of the folders at its top, of which at least one must be there

    DataError where there is no such file, where it is no zip or an unsafe one, or holds none of `tops`.
    """

    def __init__(self, path: str | Path, tops: Collection[str]) -> None:
        self.path = Path(path)
        if not self.path.exists():
            raise DataError(f"{self.path}: no such folder or zip: it should hold the masks to score")
        self.top = self._find(set(tops))

    @property
    def is_zip(self) -> bool:
        """Is it a zip, not a folder?"""
        return not self.path.is_dir()

    def folders(self, below: str = "") -> set[str]:
        """Names of the folders in a folder; "" is the top."""
        return self._folders((self.top / below).as_posix())

    def read(self, name: str) -> bytes:
        """The content of a file; MaskError where it is missing or damaged."""
        inside = (self.top / name).as_posix()
        try:
            if not self.is_zip:
                return regular(self.path / inside).read_bytes()
            member = self._members[inside]
            if member.file_size > LARGEST:
                raise MaskError("damaged file", f"{member.file_size:,} bytes")
            return self._zip.read(member)
        except (FileNotFoundError, NotADirectoryError, KeyError):
            raise MaskError("missing frame") from None
        except (OSError, zipfile.BadZipFile, zlib.error, EOFError, RuntimeError) as error:
            raise MaskError("damaged file", str(error)) from None

    def mask(self, name: str) -> np.ndarray:
        """(H, W) bool, read as MeViS's script does: as grey, every value but 0 is the object."""
        content = self.read(name)
        with _opened(content):  # refuses a size that nothing stands behind, which takes OpenCV half a minute
            picture = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_GRAYSCALE)
        if picture is None:
            raise MaskError("damaged file")
        return picture != 0

    def labels(self, name: str) -> np.ndarray:
        """(H, W) integers, read as the DAVIS tool does: a palette's index or a grey value is the number."""
        with _opened(self.read(name)) as picture:
            labels = np.array(picture)
        if labels.ndim != 2:
            raise MaskError("no object numbers", "a picture in colours, not a palette")
        return labels

    def __getstate__(self) -> dict[str, object]:
        return {"path": self.path, "top": self.top}  # each process opens the zip itself

    @cached_property
    def _zip(self) -> zipfile.ZipFile:
        try:
            return zipfile.ZipFile(self.path)
        except (zipfile.BadZipFile, OSError) as error:
            raise DataError(f"{self.path}: not a folder and not a zip ({error}): make it anew") from None

    @cached_property
    def _members(self) -> dict[str, zipfile.ZipInfo]:
        members: dict[str, zipfile.ZipInfo] = {}
        for member in self._zip.infolist():
            name = member.filename.replace("\\", "/")
            if name.startswith("/") or re.match("[A-Za-z]:", name) or ".." in name.split("/"):
                raise DataError(
                    f"{self.path}: the name '{member.filename}' leads out of the archive: make the zip anew, "
                    "with names below its top"
                )
            if member.is_dir() or name.split("/")[0] in JUNK:
                continue
            if name in members:
                raise DataError(f"{self.path}: holds '{name}' twice: make the zip anew")
            members[PurePosixPath(name).as_posix()] = member
        return members

    @cached_property
    def _tree(self) -> dict[str, set[str]]:
        """Of a zip: folder to the names of the folders in it."""
        tree: dict[str, set[str]] = {}
        for folder in {PurePosixPath(name).parent for name in self._members}:
            while folder.name:
                tree.setdefault(folder.parent.as_posix(), set()).add(folder.name)
                folder = folder.parent
        return tree

    def _folders(self, folder: str) -> set[str]:
        if self.is_zip:
            return self._tree.get(folder, set())
        path = self.path / folder
        return {one.name for one in path.iterdir() if one.is_dir()} if path.is_dir() else set()

    def _find(self, tops: set[str]) -> PurePosixPath:
        first = self._folders(".")
        for top in (".", *sorted(first - set(JUNK))):
            if tops & self._folders(top):
                return PurePosixPath(top)
        shown = shorten(sorted(first), 3)
        expected = shorten(sorted(tops), 3)
        raise DataError(
            f"{self.path}: holds none of the {len(tops)} folders that belong there ({expected}); it holds "
            f"{shown or 'no folder'}: are data set and split those of the masks?"
        )


@contextmanager
def _opened(content: bytes) -> Iterator[Image.Image]:
    """A picture whose pixels are not read yet; MaskError where it is damaged, then or in the block."""
    try:
        with Image.open(io.BytesIO(content)) as picture:
            if math.prod(picture.size) > pictures.LARGEST:
                raise MaskError("damaged file", f"{picture.width} x {picture.height} pixels")
            yield picture
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise error if isinstance(error, MaskError) else MaskError("damaged file") from None


class ExpressionMasks:
    """A mask for each expression and frame."""

    def __init__(self, submission: Submission) -> None:
        self.submission = submission

    def absence(self, video: str, exp_id: str) -> str | None:
        """What is missing of an expression as a whole; None where its folder is there."""
        if video not in self._videos:
            return "missing video"
        if exp_id not in self.submission.folders(video):
            return "missing expression"
        return None

    def mask(self, video: str, exp_id: str, frame: str) -> np.ndarray:
        """(H, W) bool; MaskError where there is none."""
        return self.submission.mask(f"{video}/{exp_id}/{frame}.png")

    @cached_property
    def _videos(self) -> set[str]:
        return self.submission.folders()


class JoinedMasks:
    """Ref-DAVIS17's four folders `anno_0` to `anno_3`: in each a map of object numbers a frame."""

    def __init__(self, submission: Submission) -> None:
        self.submission = submission

    def absence(self, video: str, exp_id: str) -> str | None:
        """As of ExpressionMasks."""
        annotator, _ = annotator_and_number(exp_id)
        there = video in self.submission.folders(f"anno_{annotator}")
        return None if there else "missing video"

    def mask(self, video: str, exp_id: str, frame: str) -> np.ndarray:
        """(H, W) bool: what the map leaves of the expression's object, as objects cannot overlap in it."""
        annotator, number = annotator_and_number(exp_id)
        return self.labels(annotator, video, frame) == number

    def labels(self, annotator: int, video: str, frame: str) -> np.ndarray:
        """(H, W) of object numbers, 0 is background; MaskError where there is none."""
        return self.submission.labels(f"anno_{annotator}/{video}/{frame}.png")


def annotator_and_number(exp_id: str) -> tuple[int, int]:
    """Ref-DAVIS17's exp_id is 4 * (rank of the object) + annotator; numbers in joined masks begin at 1."""
    rank, annotator = divmod(int(exp_id), len(ANNOTATORS))
    return annotator, rank + 1
