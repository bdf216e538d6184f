"""Where the data sets of referring expressions keep things, and what their lists say.

    meta_expressions.json   {"videos": {<video>: {"expressions": {<id>: {"exp": <sentence>, ...}},
                                                  "frames": [<name>, ...]}}}

    MeViS             <root>/<split>/{meta_expressions.json, mask_dict.json, JPEGImages/<video>/<frame>.jpg}
                      (v2 names the first meta_expressions_v2.json)
    Ref-YouTube-VOS   <root>/meta_expressions/<split>/meta_expressions.json
                      <root>/<split>/{JPEGImages/<video>/<frame>.jpg, Annotations/<video>/<frame>.png}
    Ref-DAVIS17       the same once converted; raw: <root>/DAVIS and <root>/davis_text_annotations

Every complaint names the file and what to do.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mmvs.data.csv_files import DataError, integer, is_blank, normalise, plain, text
from mmvs.data.words import is_text

LISTS = ("meta_expressions.json", "meta_expressions_v2.json")
TRACKS = "mask_dict.json"
TEXTS = {  # the four sentences of an object in their order, and how the files are encoded
    "Davis17_annot1.txt": "utf-8",
    "Davis17_annot1_full_video.txt": "utf-8",
    "Davis17_annot2.txt": "latin-1",
    "Davis17_annot2_full_video.txt": "latin-1",
}
MISSPELT = {"clasic-car": "classic-car", "dog-scale": "dogs-scale", "motor-bike": "motorbike"}
QUOTES = ('"', "“", "”")


@dataclass(frozen=True)
class Place:
    """Where a split lies: its list, and the folders of its videos."""

    listing: Path  # meta_expressions.json, or the folder of raw Ref-DAVIS17's text files
    pictures: Path  # <video>/<frame>.jpg
    masks: Path  # the folder of <video>/<frame>.png, or MeViS's mask_dict.json
    test: Path | None = None  # Ref-YouTube-VOS: the list of the videos of the split "test"
    davis: Path | None = None  # raw Ref-DAVIS17's folder DAVIS

    @property
    def has_tracks(self) -> bool:
        """Are masks run lengths of tracks? Otherwise they are pictures of object numbers."""
        return self.masks.name == TRACKS


@dataclass
class Video:
    """What a list says of a video."""

    frames: list[str]  # as listed
    expressions: dict[str, dict[str, Any]]  # by id: "exp", and "obj_id", "anno_id" where the truth is known


@dataclass
class Listing:
    """What a split lists, less what cannot be used, which `faults` names."""

    path: Path
    videos: dict[str, Video] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)
    without_pictures: list[str] = field(default_factory=list)  # left out: those of another split


def find(root: Path, split: str) -> Place:
    """Where a split lies below `root`, which may also be the split's own folder.

    DataError says which files were looked for.
    """
    plain(split, root)
    if not root.is_dir():
        raise DataError(f"{root}: no such folder: put the data set there, or change the root")
    places = [place for base in _bases(root, split) for place in _candidates(base, split)]
    for place in places:
        if place.listing.exists():
            return place
    known = ", ".join(splits(root))
    if known:
        raise DataError(f"{root}: has no split '{split}': there are {known}")
    sought = ", ".join(dict.fromkeys(str(place.listing) for place in places))
    raise DataError(f"{root}: in no layout that is known: looked for {sought}{_hint(root, split)}")


def splits(root: Path) -> list[str]:
    """Names of the splits that have a list below `root`, the data set's own folder."""
    listed = [path.parent.name for name in LISTS for path in root.glob(f"*/{name}")]
    listed += [path.parent.name for path in root.glob(f"meta_expressions/*/{LISTS[0]}")]
    if (root / "davis_text_annotations").is_dir() and (root / "DAVIS").is_dir():
        listed += ["train", "valid"]
    return sorted(dict.fromkeys(name for name in listed if name != "meta_expressions"))


def read(place: Place) -> Listing:
    """What a split lists. DataError where nothing of it can be used; single faults are named in it."""
    listing = _read_texts(place) if place.davis else _read_json(place.listing)
    if place.test is not None and place.test.is_file():  # `valid` lists the videos of `test` as well
        for video_id in _json_videos(place.test):
            if listing.videos.pop(video_id, None):
                listing.without_pictures.append(video_id)
    if not listing.videos:
        faults = f" ({listing.faults[0]})" if listing.faults else ""
        raise DataError(f"{place.listing}: lists no video that can be used{faults}: get it anew")
    return listing


def _bases(root: Path, split: str) -> list[Path]:
    return [root, root.absolute().parent] if root.absolute().name == split else [root]


def _candidates(base: Path, split: str) -> Iterator[Place]:
    folder = base / split
    for name in LISTS:
        yield _place(folder / name, folder)
    test = base / "meta_expressions" / "test" / LISTS[0] if split == "valid" else None
    yield _place(base / "meta_expressions" / split / LISTS[0], folder, test)
    if split in ("train", "valid"):
        davis = base / "DAVIS"
        yield Place(
            base / "davis_text_annotations",
            davis / "JPEGImages" / "480p",
            davis / "Annotations_unsupervised" / "480p",
            davis=davis,
        )
    if base.name not in ("train", "valid", "valid_u", "test"):  # a split's folder under a name of its own
        for name in LISTS:
            yield _place(base / name, base)


def _place(listing: Path, folder: Path, test: Path | None = None) -> Place:
    tracks = (folder / TRACKS).is_file() or (
        listing.parent == folder and not (folder / "Annotations").is_dir()
    )
    return Place(listing, folder / "JPEGImages", folder / (TRACKS if tracks else "Annotations"), test)
