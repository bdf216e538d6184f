"""The data sets of referring expressions as their owners publish them, through one loader.

MeViS, Ref-YouTube-VOS, Ref-DAVIS17 (raw, and converted to Ref-YouTube-VOS's layout), and data of one's own in
Ref-YouTube-VOS's layout. `mmvs.data.expression_files` says where files lie.

Conventions of all published loaders: frames are sorted by name; sentences are lower case with single spaces.
A MeViS track's entry i belongs to frame i as listed, not as sorted.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from mmvs.data import expression_files
from mmvs.data.csv_files import DataError, normalise, plain, require_file
from mmvs.data.expression_files import PICTURES, ListedExpression
from mmvs.data.mask_tracks import MaskTracks
from mmvs.video import files, folders
from mmvs.video.files import VideoError
from mmvs.video.folders import FILMS
from mmvs.video.pictures import picture_size


@dataclass(frozen=True)
class Expression:
    """A sentence about a video."""

    video_id: str
    expression_id: str
    sentence: str  # lower case, single spaces
    frames: list[str]  # names of the video's T frames, sorted
    object_ids: list[int] | None  # None: not published; empty: the sentence is about nothing in the video


class Expressions(Sequence[Expression]):
    """The expressions of a split, in the order of its list.

    root   folder of the data set, or of the split itself
    split  as the data set names it: "train", "valid_u", "valid", ...

    What is wrong with the list is left out; `faults` names it, a line each, and a warning the first of them.
    Raises DataError where there is no list, naming the files looked for, and where nothing of it can be used.
    """

    def __init__(self, root: str | Path, split: str) -> None:
        self.root, self.split = Path(root), split
        self.place = expression_files.find(self.root, split)
        listing = expression_files.read(self.place)
        self.faults = listing.faults
        self.of_test = listing.of_test  # videos that the list has, though they are of the split "test"
        self._positions: dict[str, dict[str, int]] = {}  # video: frame name → position in the list
        self._listed: dict[str, int] = {}  # video: how many frames the list has, repeated ones too
        self._every: list[Expression] = []
        self._of_video: dict[str, list[int]] = {}  # positions of a video's expressions
        self._tracks_of: list[list[int]] = []
        for video_id, video in listing.videos.items():
            self._listed[video_id] = len(video.frames)
            self._positions[video_id] = {
                name: position for position, name in reversed(list(enumerate(video.frames)))
            }
            frames = sorted(self._positions[video_id])
            for one in video.expressions:
                self._of_video.setdefault(video_id, []).append(len(self._every))
                self._every.append(_expression(video_id, one, frames))
                self._tracks_of.append(one.tracks or [])
        self.truth_is_known = any(one.object_ids is not None for one in self._every)
        self._sizes: dict[str, tuple[int, int]] = {}
        self.tracks = self._open_tracks()
        if self.tracks:
            self.faults += [
                f"{self.tracks.path.name}: track '{track}' stands there twice: the last counts"
                for track in self.tracks.repeated
            ]
        self._warn()

    def __len__(self) -> int:
        return len(self._every)

    def __getitem__(self, i: int) -> Expression:
        return self._every[i]

    @property
    def videos(self) -> list[str]:
        """Ids of the videos, in the order of the list."""
        return list(self._listed)

    def require_truth(self, purpose: str) -> None:
        """DataError where the truth is not known; `purpose` says what needs it, such as "scoring"."""
        if not self.truth_is_known:
            raise DataError(
                f"{purpose} needs masks, but {self.place.listing} names no objects: those of split "
                f"'{self.split}' are not published, name another split"
            )

    def truth(self, i: int) -> np.ndarray | None:
        """(T, H, W) bool: the pixels of any object of expression i, in its frames; None where not published.

        DataError names the mask that is missing, damaged or of another size than the video.
        """
        if self[i].object_ids is None:
            return None
        return self.masks(i, range(len(self[i].frames)))

    def masks(self, i: int, positions: Sequence[int]) -> np.ndarray:
        """(n, H, W) bool: as `truth`, of n of its T frames; DataError where it is not published."""
        one, size = self[i], self.size(self[i].video_id)
        if one.object_ids is None:
            self.require_truth(f"the mask of '{one.sentence}' in video '{one.video_id}'")
        names = [one.frames[position] for position in positions]
        masks = np.zeros((len(names), *size), bool)
        if self.place.has_tracks:
            listed = [self._positions[one.video_id][name] for name in names]
            for track in self._tracks_of[i]:
                for mask, more in zip(
                    masks, self._tracks().masks(track, self._listed[one.video_id], listed, size), strict=True
                ):
                    mask |= more
            return masks
        for mask, name in zip(masks, names, strict=True):
            mask[:] = np.isin(self.labels(one.video_id, name), one.object_ids)
        return masks

    def masks_in_frame(
        self, video_id: str, frame: str, only: Sequence[int] | None = None
    ) -> dict[int, np.ndarray]:
        """Position of each of a video's expressions to (H, W) bool; masks that they share are read once.

        only  positions of some of the video's expressions; None: all of them
        """
        own = self.expressions_of(video_id) if only is None else only
        if not self.place.has_tracks:
            labels = self.labels(video_id, frame)
            return {i: np.isin(labels, self[i].object_ids) for i in own}
        listed, size = self._positions[video_id][frame], self.size(video_id)
        masks = {
            track: next(self._tracks().masks(track, self._listed[video_id], [listed], size))
            for track in dict.fromkeys(track for i in own for track in self._tracks_of[i])
        }
        empty = np.zeros(size, bool)
        return {i: np.logical_or.reduce([empty, *(masks[t] for t in self._tracks_of[i])]) for i in own}

    def frames_of_video(self, i: int) -> dict[int, int]:
        """Which of the T frames have pictures → each one's place among all pictures of the video, from 0."""
        one, path = self[i], self.video_path(self[i].video_id)
        if path.is_file():
            return {position: number_of(name, path) for position, name in enumerate(one.frames)}
        with suppress(VideoError):
            there = {file.stem: place for place, file in enumerate(folders.pictures(path))}
            return {position: there[name] for position, name in enumerate(one.frames) if name in there}
        return {}

    def positions_with_truth(self, i: int) -> list[int]:
        """Which of its T frames have a truth: all of published data; of one's own data maybe some."""
        one = self[i]
        if one.object_ids is None:
            return []
        if self.place.has_tracks:
            return list(range(len(one.frames)))
        there = _files(self.place.masks / one.video_id)  # asked once: a set has 100,000 masks
        return [p for p, name in enumerate(one.frames) if f"{name}.png" in there]

    def labels(self, video_id: str, frame: str) -> np.ndarray:
        """(H, W) integers: the number of the object at each pixel, 0 background, 255 void.

        Of data sets whose masks are pictures, not MeViS. DataError names the file at fault.
        """
        path, size = self.mask_path(video_id, frame), self.size(video_id)
        labels = _read_labels(path)
        if labels.shape != size:
            raise DataError(
                f"{path}: the mask is {labels.shape} (H, W), but the video is {size}: masks and pictures "
                "must be of the same release"
            )
        return labels

    def frames(self, i: int, positions: Sequence[int]) -> np.ndarray:
        """(n, H, W, 3) uint8 RGB: n of the expression's T frames; DataError names the file at fault."""
        one = self[i]
        names, path = [one.frames[position] for position in positions], self.video_path(one.video_id)
        try:
            if path.is_file():
                return files.read_frames(path, [number_of(name, path) for name in names])
            return folders.read_pictures([self.picture(one.video_id, name) for name in names], path)
        except VideoError as error:
            raise DataError(str(error)) from error

    def size(self, video_id: str) -> tuple[int, int]:
        """(H, W) of a video in pixels: of its first picture that is there, else of its masks."""
        if video_id not in self._sizes:
            self._sizes[video_id] = self._size_of_pictures(video_id) or self._size_of_masks(video_id)
        return self._sizes[video_id]

    def video_path(self, video_id: str) -> Path:
        """Where the video lies: a folder of pictures or, of one's own, a video file beside such folders."""
        folder = self.place.pictures / plain(video_id, self.place.pictures)
        if folder.is_dir():
            return folder
        films = (folder.with_name(video_id + suffix) for suffix in FILMS)
        return next((film for film in films if film.is_file()), folder)

    def picture(self, video_id: str, frame: str) -> Path:
        """Where a frame's picture lies, or should lie."""
        folder = self.video_path(video_id)
        named = [folder / f"{frame}{suffix}" for suffix in PICTURES]
        return next((path for path in named if path.is_file()), named[0])

    def mask_path(self, video_id: str, frame: str) -> Path:
        """Where a frame's mask lies, or should lie: a picture, or the file of all tracks."""
        return self.place.masks if self.place.has_tracks else self.place.masks / video_id / f"{frame}.png"

    def expressions_of(self, video_id: str) -> list[int]:
        """Positions of a video's expressions."""
        return self._of_video.get(video_id, [])

    def target(self, i: int) -> tuple[int, ...] | None:
        """What expression i is about, ascending: tracks in MeViS, else objects; None where not published."""
        if self[i].object_ids is None:
            return None
        return tuple(sorted(set(self._tracks_of[i] if self.place.has_tracks else self[i].object_ids)))

    def tracks_of(self, i: int) -> list[int]:
        """MeViS: the tracks whose union is the truth of expression i."""
        return self._tracks_of[i]

    def draw_track(self, video_id: str, track: int) -> int:
        """MeViS: pixels of a track in all frames of its video; DataError names what is wrong with it."""
        count, size = self._listed[video_id], self.size(video_id)
        return sum(int(mask.sum()) for mask in self._tracks().masks(track, count, range(count), size))

    def missing_tracks(self, i: int) -> list[int]:
        """MeViS: tracks that expression i names and mask_dict.json lacks."""
        return [track for track in self._tracks_of[i] if self.tracks is None or track not in self.tracks]

    def _open_tracks(self) -> MaskTracks | None:
        """The tracks, indexed before the object travels to workers; None where there is no such file."""
        known = self.place.has_tracks and self.truth_is_known and self.place.masks.is_file()
        return MaskTracks(self.place.masks) if known else None

    def _tracks(self) -> MaskTracks:
        if self.tracks is None:
            raise DataError(f"{self.place.masks}: no such file: it holds the split's masks, put it there")
        return self.tracks

    def _size_of_pictures(self, video_id: str) -> tuple[int, int] | None:
        path = self.video_path(video_id)
        if path.is_file():
            with suppress(VideoError):
                return files.frame_size(path)
        for name in sorted(self._positions[video_id]):
            with suppress(VideoError):  # missing or damaged: another one tells
                return picture_size(self.picture(video_id, name))
        return None

    def _size_of_masks(self, video_id: str) -> tuple[int, int]:
        if self.place.has_tracks:
            own = self.expressions_of(video_id)
            for track in dict.fromkeys(track for i in own for track in self._tracks_of[i]):
                if size := self._tracks().size(track):
                    return size
        else:
            for name in sorted(self._positions[video_id]):
                path = self.mask_path(video_id, name)
                if path.is_file():
                    return _read_labels(path).shape
        raise DataError(
            f"{self.place.pictures / video_id}: no picture of the video, and no mask that tells its size: "
            "put the pictures there"
        )

    def _warn(self) -> None:
        if self.faults:
            shown = "; ".join(self.faults[:3]) + ("; ..." if len(self.faults) > 3 else "")
            more = f"(`mmvs verify {self.root}` says more)"
            warnings.warn(
                f"{self.place.listing}: {len(self.faults)} faults: {shown} {more}",
                stacklevel=3,
            )


def _expression(video_id: str, one: ListedExpression, frames: list[str]) -> Expression:
    return Expression(video_id, one.expression_id, normalise(one.sentence), frames, one.object_ids)


def _files(folder: Path) -> set[str]:
    """Names of the files in a folder; none where there is no such folder."""
    try:
        with os.scandir(folder) as entries:
            return {entry.name for entry in entries if entry.is_file()}
    except OSError:
        return set()


def number_of(frame: str, path: Path) -> int:
    """A frame's number in a video file, from 0: its name."""
    if not frame.isdecimal():
        raise DataError(f"{path}: frame '{frame}' is listed: frames of a video file are numbers from 0")
    return int(frame)


def _read_labels(path: Path) -> np.ndarray:
    """The palette's indices, not its colours: those are the objects' numbers."""
    require_file(path, "file: the frame is listed, put its mask there")
    try:
        with Image.open(path) as picture:
            if picture.mode not in ("P", "L", "1", "I", "I;16"):
                raise DataError(
                    f"{path}: a picture of colours ({picture.mode}): expected a palette PNG, whose pixel "
                    "values are numbers of objects, 0 the background"
                )
            return np.asarray(picture).astype(np.int32)
    except DataError:
        raise
    except (OSError, SyntaxError, ValueError) as error:
        raise DataError(f"{path}: damaged or not a picture ({error}): replace the file") from None
