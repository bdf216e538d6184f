"""The tree of data of one's own: what lies in it, and what is added. Nothing of it is changed or removed.

meta_expressions/<split>/meta_expressions.json    videos, their frames and sentences
<split>/JPEGImages/<video>/<frame>.jpg            or JPEGImages/<video>.mp4, as it was
<split>/Annotations/<video>/<frame>.png           palette: numbers of objects
<split>/meta.json                                 the objects' names, as `category`; pictures' old names
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from mmvs.data import expression_files
from mmvs.data.csv_files import DataError, normalise, plain
from mmvs.data.expression_files import LISTS, MARK, OWN, PICTURES
from mmvs.data.own.mask_pictures import palette
from mmvs.data.own.sentences import SPLITS, video_name
from mmvs.files import whole, write_json
from mmvs.video import folders, frames
from mmvs.video.files import VideoError
from mmvs.video.folders import FILMS
from mmvs.video.pictures import picture_size, read_picture

MOST_OBJECTS = 254  # 0 is the background, 255 void
DIGITS = re.compile(r"(\d+)\D*$")


@dataclass
class Video:
    """A video of the tree."""

    video_id: str
    split: str
    path: Path  # a file, or a folder of pictures
    frames: list[str]  # names, in order
    size: tuple[int, int]  # (H, W)
    old_names: dict[str, str] = field(default_factory=dict)  # of pictures that were renamed: old → new
    objects: dict[str, int] = field(default_factory=dict)  # name → number

    def frame(self, name: str | int) -> str | None:
        """The frame that an annotation file means: by its number from 0, its name, or the number in that."""
        if isinstance(name, int):
            return self.frames[name] if 0 <= name < len(self.frames) else None
        stem = name.rpartition("/")[2]
        stem = stem.rpartition(".")[0] if f".{stem.rpartition('.')[2].lower()}" in _SUFFIXES else stem
        if stem in self.old_names:
            return self.old_names[stem]
        if stem in self.frames:
            return stem
        number = DIGITS.search(stem)
        if number is None:
            return None
        if self.path.is_file():
            return self.frame(int(number[1]))
        same = [one for one in self.frames if (own := DIGITS.search(one)) and int(own[1]) == int(number[1])]
        return same[0] if len(same) == 1 else None

    def number(self, name: str) -> int:
        """The number of an object; a new name gets the lowest that is free. DataError beyond 254."""
        if name.isdecimal() and 1 <= int(name) <= MOST_OBJECTS and str(int(name)) == name:
            if int(name) not in self.objects.values():
                self.objects[name] = int(name)
            return int(name)
        if name not in self.objects:
            taken = set(self.objects.values())
            free = next((n for n in range(1, MOST_OBJECTS + 1) if n not in taken), None)
            if free is None:
                raise DataError(
                    f"video '{self.video_id}': more than {MOST_OBJECTS} objects, a PNG has no more"
                )
            self.objects[name] = free
        return self.objects[name]

    def name_of(self, number: int) -> str:
        """The name of an object, or its number."""
        return next((name for name, own in self.objects.items() if own == number), str(number))


_SUFFIXES = (*PICTURES, ".bmp", ".gif", ".tif", ".tiff", ".webp")


class Tree:
    """A folder of data of one's own."""

    def __init__(self, root: Path) -> None:
        """Read what is there; DataError where the folder holds something else, or a list is damaged."""
        self.root = root
        if root.exists() and not root.is_dir():
            raise DataError(f"{root}: is a file: name a folder, or one that does not exist yet")
        self.lists = {split: self._list(split) for split in SPLITS}
        if root.is_dir() and (other := expression_files.data_set(root)) not in (None, OWN):
            raise DataError(f"{root}: holds {other}, as its owners publish it: name a folder of its own")
        self.meta = {split: self._meta(split) for split in SPLITS}
        self.faults: list[str] = []  # of what lies there
        self.videos: dict[str, Video] = {}
        for split in SPLITS:
            for path in self._paths(split):
                self._take(path, split)

    def pictures(self, split: str) -> Path:
        """Where the videos of a split lie."""
        return self.root / split / "JPEGImages"

    def mask(self, video: Video, frame: str) -> Path:
        """Where the mask of a frame lies, or would."""
        return self.root / video.split / "Annotations" / video.video_id / f"{frame}.png"

    def masks(self, video: Video) -> list[str]:
        """Names of a video's frames that have a mask."""
        folder = self.mask(video, "0").parent
        there = {path.stem for path in folder.iterdir()} if folder.is_dir() else set()
        return [frame for frame in video.frames if frame in there]

    def expressions(self, video: Video) -> dict[str, Any]:
        """Id to content of a video's expressions."""
        return self.lists[video.split]["videos"].get(video.video_id, {}).get("expressions", {})

    def add_video(self, name: str, source: Path, split: str) -> tuple[Video, bool]:
        """Copy a video; True where something was new. VideoError or DataError says why it cannot be used."""
        known = self.videos.get(name)
        if known and (known.path.is_file() or source.is_file()):
            if (
                known.path.is_file()
                and source.is_file()
                and known.path.stat().st_size == source.stat().st_size
            ):
                return known, False
            raise DataError(f"{source}: another video '{name}' is in {known.path}: rename the new one")
        plain(name, source)
        split = known.split if known else split
        if source.is_file():
            frames.frame_count(source)  # VideoError before anything is written
            target = self.pictures(split) / f"{name}{source.suffix.lower()}"
            with whole(target) as partial:
                shutil.copyfile(source, partial)
            new = True
        else:
            new = self._copy_pictures(name, source, split)
        if known:
            del self.videos[name]
        self._take(self.pictures(split) / (name if source.is_dir() else target.name), split)
        return self.videos[name], new

    def add_sentence(self, video: Video, number: int, sentence: str) -> bool:
        """Add an expression about an object; False where the same is there already."""
        own = self.lists[video.split]["videos"].setdefault(video.video_id, {})
        expressions = own.setdefault("expressions", {})
        for one in expressions.values():
            same = isinstance(one, dict) and normalise(str(one.get("exp", ""))) == normalise(sentence)
            if same and numbers_of(one) == [number]:
                return False
        free = next(str(n) for n in range(len(expressions) + 1) if str(n) not in expressions)
        expressions[free] = {"exp": sentence, "obj_id": str(number)}
        return True

    def add_mask(self, video: Video, frame: str, labels: np.ndarray) -> str:
        """Write (H, W) numbers as a palette PNG: "added", or "same" or "kept" where there is one already."""
        path = self.mask(video, frame)
        if path.exists():
            try:
                with Image.open(path) as there:
                    return "same" if np.array_equal(np.asarray(there), labels) else "kept"
            except (OSError, SyntaxError, ValueError):
                return "kept"
        picture = Image.fromarray(labels.astype(np.uint8))
        picture.putpalette(palette().tobytes())
        with whole(path) as partial:
            picture.save(partial, "PNG")
        return "added"

    def write(self) -> None:
        """Write the lists of the splits that have videos, and the objects' names."""
        for split in SPLITS:
            for part in ("JPEGImages", "Annotations"):
                (self.root / split / part).mkdir(parents=True, exist_ok=True)
            own = [video for video in self.videos.values() if video.split == split]
            if not own:
                continue
            content = self.lists[split]
            for video in own:
                entry = content["videos"].setdefault(video.video_id, {})
                entry.setdefault("expressions", {})
                listed = entry.get("frames") if isinstance(entry.get("frames"), list) else []
                entry["frames"] = sorted({*listed, *video.frames})
                self._describe(video)
            _write(self._listing(split), content)
            _write(self.root / split / "meta.json", self.meta[split])

    def _describe(self, video: Video) -> None:
        """What meta.json says of a video: Ref-YouTube-VOS's `objects`, and old names of pictures."""
        entry = self.meta[video.split]["videos"].setdefault(video.video_id, {})
        objects = entry.setdefault("objects", {})
        for name, number in video.objects.items():
            objects.setdefault(str(number), {"category": name})
        if video.old_names:
            entry["pictures"] = {new: old for old, new in video.old_names.items()}

    def _listing(self, split: str) -> Path:
        return self.root / "meta_expressions" / split / LISTS[0]

    def _list(self, split: str) -> dict[str, Any]:
        path = self._listing(split)
        if not path.exists():
            return {**MARK, "videos": {}}
        content = expression_files.parsed(path)
        for video_id, video in expression_files.videos_in(path, content).items():
            if not isinstance(video, dict) or not isinstance(video.get("expressions", {}), dict):
                raise DataError(f"{path}: video '{video_id}' has no \"expressions\": mend the list")
        return {**MARK, **content}

    def _meta(self, split: str) -> dict[str, Any]:
        path = self.root / split / "meta.json"
        content = expression_files.parsed(path) if path.exists() else {"videos": {}}
        if not isinstance(content, dict) or not isinstance(content.setdefault("videos", {}), dict):
            raise DataError(f'{path}: has no "videos": mend it, or remove it')
        if wrong := [name for name, video in content["videos"].items() if not isinstance(video, dict)]:
            raise DataError(f"{path}: video '{wrong[0]}' is no object in braces: mend it, or remove the file")
        return content

    def _paths(self, split: str) -> Iterable[Path]:
        folder = self.pictures(split)
        every = sorted(folder.iterdir()) if folder.is_dir() else []
        return [
            path
            for path in every
            if not path.name.startswith(".") and (path.is_dir() or path.suffix.lower() in FILMS)
        ]

    def _take(self, path: Path, split: str) -> None:
        """Take a video of the folder into account."""
        video_id = video_name(path.name)
        if other := self.videos.get(video_id):
            self.faults.append(f"{path}: '{video_id}' is also in {other.path}: keep one of them")
            return
        entry = self.meta[split]["videos"].get(video_id, {})
        try:
            if path.is_file():
                count = frames.frame_count(path)
                names = [f"{t:0{max(5, len(str(count - 1)))}d}" for t in range(count)]
            else:
                names = sorted(one.stem for one in folders.pictures(path))
            video = Video(video_id, split, path, names, frames.frame_size(path))
        except VideoError as error:
            self.faults.append(str(error))
            return
        old, objects = entry.get("pictures", {}), entry.get("objects", {})
        if isinstance(old, dict):
            video.old_names = {str(before): new for new, before in old.items()}
        for number, one in objects.items() if isinstance(objects, dict) else ():
            if number.isdecimal() and isinstance(one, dict):
                video.objects[self._free_name(video, str(one.get("category", number)), number)] = int(number)
        self.videos[video_id] = video

    def _free_name(self, video: Video, category: str, number: str) -> str:
        """Two objects of one category, as of published data: the second goes by its number."""
        return number if category in video.objects else category

    def _copy_pictures(self, name: str, source: Path, split: str) -> bool:
        """Copy pictures; their names stay where every loader would sort them into the same order."""
        every, target = folders.in_order(source), self.pictures(split) / name
        files = _of_one_size(every, self.faults)
        if not files:
            raise DataError(f"{source}: holds no picture that can be read")
        stems, suffixes = [one.stem for one in files], {one.suffix.lower() for one in files}
        keep = suffixes <= {".jpg", ".jpeg"} and stems == sorted(set(stems))
        names = stems if keep else [f"{t:0{max(5, len(str(len(files))))}d}" for t in range(len(files))]
        entry = self.meta[split]["videos"].setdefault(name, {})
        old = dict(zip(names, stems, strict=True)) if not keep else {}
        if target.is_dir() and entry.get("pictures", old) != old:
            raise DataError(
                f"{source}: other pictures than those of '{name}' in {target}: give it another name"
            )
        lossy, new = suffixes <= {".jpg", ".jpeg"}, False
        for file, frame in zip(files, names, strict=True):
            path = target / f"{frame}{file.suffix.lower() if lossy else '.png'}"
            if path.exists():
                continue
            new = True
            with whole(path) as partial:
                if lossy or file.suffix.lower() == ".png":
                    shutil.copyfile(file, partial)
                else:
                    Image.fromarray(read_picture(file)).save(partial, "PNG")
        if old:
            entry["pictures"] = old
        return new


def numbers_of(expression: Any) -> list[int]:
    """The objects of an expression as a list has it; [] where it names none."""
    value = expression.get("obj_id") if isinstance(expression, dict) else None
    values = value if isinstance(value, list) else [value]
    return [int(one) for one in values if str(one).isdecimal()]


def _of_one_size(files: list[Path], faults: list[str]) -> list[Path]:
    """The pictures that can be read and have the first one's size; the others are faults."""
    good, size = [], None
    for file in files:
        try:
            own = picture_size(file)
        except VideoError as error:
            faults.append(f"{error}; it is left out")
            continue
        if own != (size := size or own):
            faults.append(f"{file}: is {own} (H, W), but {good[0].name} is {size}: left out, scale it")
            continue
        good.append(file)
    return good


def _write(path: Path, content: dict[str, Any]) -> None:
    """Write a list, unless it says the same already."""
    if not path.exists() or expression_files.parsed(path) != content:
        write_json(path, content)
