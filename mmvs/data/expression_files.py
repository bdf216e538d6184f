"""Where the data sets of referring expressions keep things, and what their lists say.

    meta_expressions.json   {"videos": {<video>: {"expressions": {<id>: {"exp": <sentence>, ...}},
                                                  "frames": [<name>, ...]}}}

    MeViS             <root>/<split>/{meta_expressions.json, mask_dict.json, JPEGImages/<video>/<frame>.jpg}
                      (v2 names the first meta_expressions_v2.json)
    Ref-YouTube-VOS   <root>/meta_expressions/<split>/meta_expressions.json
                      <root>/<split>/{JPEGImages/<video>/<frame>.jpg, Annotations/<video>/<frame>.png}
    Ref-DAVIS17       the same once converted; raw: <root>/DAVIS and <root>/davis_text_annotations

A fault of one expression or video leaves it out and is named; what breaks the whole list is a DataError.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mmvs.data.csv_files import DataError, is_blank, plain, text

LISTS = ("meta_expressions.json", "meta_expressions_v2.json")
TRACKS = "mask_dict.json"
TEXTS = {  # the four sentences of an object in their order, and how the files are encoded
    "Davis17_annot1.txt": "utf-8-sig",
    "Davis17_annot1_full_video.txt": "utf-8-sig",
    "Davis17_annot2.txt": "latin-1",
    "Davis17_annot2_full_video.txt": "latin-1",
}
MISSPELT = {"clasic-car": "classic-car", "dog-scale": "dogs-scale", "motor-bike": "motorbike"}
QUOTES = '"“”'
BACKGROUND, VOID = 0, 255  # pixel values that are no object's number
PICTURES = (".jpg", ".jpeg", ".png")
MEVIS, REF_YOUTUBE_VOS, REF_DAVIS17 = "MeViS", "Ref-YouTube-VOS", "Ref-DAVIS17"
OWN = "own data in Ref-YouTube-VOS's layout"
MARK = {"layout": "own"}  # of a list that `mmvs new-data` wrote: its ids may look like anything
YOUTUBE_ID = re.compile("[0-9a-f]{10}")
PUBLISHED_SPLITS = ("train", "valid_u", "valid", "test")


@dataclass(frozen=True)
class Place:
    """Where a split lies: its list, and the folders of its videos."""

    listing: Path  # meta_expressions.json, or the folder of raw Ref-DAVIS17's text files
    pictures: Path  # <video>/<frame>.jpg, or <video>.mp4
    masks: Path  # the folder of <video>/<frame>.png, or MeViS's mask_dict.json
    test: Path | None = None  # Ref-YouTube-VOS, "valid": the list of the videos of the split "test"
    videos: Path | None = None  # raw Ref-DAVIS17: the names of the split's videos

    @property
    def has_tracks(self) -> bool:
        """Are masks run lengths of tracks? Otherwise they are pictures of object numbers."""
        return self.masks.name == TRACKS


@dataclass
class ListedExpression:
    """An expression as a list has it."""

    expression_id: str
    sentence: str  # not cleaned yet
    object_ids: list[int] | None  # None: not published; empty: the sentence is about nothing in the video
    tracks: list[int] | None = None  # MeViS: numbers in mask_dict.json


@dataclass
class ListedVideo:
    """A video as a list has it."""

    frames: list[str]  # in the order of the list
    expressions: list[ListedExpression]


@dataclass
class Listing:
    """What a split lists, less what cannot be used."""

    videos: dict[str, ListedVideo] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)  # what is wrong with the list, one line each
    of_test: list[str] = field(default_factory=list)  # Ref-YouTube-VOS, "valid": videos of another split


def find(root: Path, split: str) -> Place:
    """Where a split lies below `root`, which may also be the split's own folder.

    DataError says which files were looked for.
    """
    plain(split, f"{root}, split")
    if not root.is_dir():
        raise DataError(f"{root}: no such folder: put the data set there, or change the root")
    bases = [root, root.absolute().parent] if root.absolute().name == split else [root]
    places = [place for base in bases for place in _candidates(base, split)]
    for place in places:
        if place.listing.is_dir() if place.videos else place.listing.is_file():
            return place
    sought = f"looked for {', '.join(dict.fromkeys(str(place.listing) for place in places))}"
    if known := splits(root):
        raise DataError(f"{root}: has no split '{split}', there are {', '.join(known)}: {sought}")
    raise DataError(f"{root}: in no layout that is known: {sought}{_hint(root, split)}")


def _hint(root: Path, split: str) -> str:
    """What may be meant: another list by its name, or the data set one folder deeper."""
    if others := sorted(path.name for path in (root / split).glob("*.json")):
        return f"; {root / split} has {', '.join(others)}: is one of them the list?"
    deeper = [folder for folder in sorted(root.iterdir()) if folder.is_dir() and splits(folder)]
    return f"; did you mean {deeper[0]}?" if deeper else ""


def splits(root: Path) -> list[str]:
    """Names of the splits that have a list below `root`, the data set's own folder."""
    listed = [path.parent.name for name in LISTS for path in root.glob(f"*/{name}")]
    listed += [path.parent.name for path in root.glob(f"meta_expressions/*/{LISTS[0]}")]
    if _raw_davis(root, "train").listing.is_dir():
        listed += ["train", "valid"]
    return sorted(dict.fromkeys(name for name in listed if name != "meta_expressions"))


def data_set(root: Path) -> str | None:
    """Which of the data sets a folder holds; None for none of them.

    Ref-YouTube-VOS, Ref-DAVIS17 converted and data of one's own look alike. What tells them apart: a mark;
    ids of ten hexadecimal digits; four expressions an object, numbered object by object.
    """
    places = [find(root, split) for split in splits(root)] if root.is_dir() else []
    if any(place.videos for place in places) or (root / "davis_text_annotations").is_dir():
        return REF_DAVIS17
    if any(place.listing.parent.parent == root for place in places):
        return MEVIS if all(place.has_tracks for place in places) else OWN
    videos: dict[str, Any] = {}
    for place in places:
        try:
            content = parsed(place.listing)
            videos |= videos_in(place.listing, content)
        except DataError:
            continue  # the check says what is wrong with it
        if content.items() >= MARK.items():
            return OWN
    if all(YOUTUBE_ID.fullmatch(video_id) for video_id in videos):
        return REF_YOUTUBE_VOS if places else None
    return REF_DAVIS17 if all(_has_four_an_object(video) for video in videos.values()) else OWN


def _has_four_an_object(video: Any) -> bool:
    expressions = video.get("expressions") if isinstance(video, dict) else None
    if not isinstance(expressions, dict) or not expressions:
        return False
    objects: dict[int, set[str]] = {}
    for name, one in expressions.items():
        number = one.get("obj_id") if isinstance(one, dict) else None
        if not name.isdecimal() or number is None:
            return False
        objects.setdefault(int(name) // len(TEXTS), set()).add(str(number))
    return len(expressions) == len(TEXTS) * len(objects) and all(len(own) == 1 for own in objects.values())


def videos_present(pictures: Path) -> set[str]:
    """Ids of the videos in a folder: names of folders, and of files without ".mp4"."""
    if not pictures.is_dir():
        return set()
    return {path.name if path.is_dir() else path.name.removesuffix(".mp4") for path in pictures.iterdir()}


def read(place: Place) -> Listing:
    """What a split lists. DataError where nothing of it can be used."""
    listing = _read_texts(place) if place.videos else _read_json(place)
    if place.test is not None:
        listing.of_test = _videos_of_test(place, listing)
        for video_id in listing.of_test:
            del listing.videos[video_id]
    if not listing.videos:
        faults = f" ({listing.faults[0]})" if listing.faults else ""
        raise DataError(f"{place.listing}: lists no video that can be used{faults}: get it anew")
    return listing


def _candidates(base: Path, split: str) -> Iterator[Place]:
    folder = base / split
    for name in LISTS:
        yield _place(folder / name, folder)
    test = base / "meta_expressions" / "test" / LISTS[0] if split == "valid" else None
    yield _place(base / "meta_expressions" / split / LISTS[0], folder, test)
    if split in ("train", "valid", "val"):
        yield _raw_davis(base, split)
    if base.name not in PUBLISHED_SPLITS:  # the split's own folder, under a name of the user's
        for name in LISTS:
            yield _place(base / name, base)


def _place(listing: Path, folder: Path, test: Path | None = None) -> Place:
    of_pictures = (folder / "Annotations").is_dir() or listing.parent != folder
    tracks = (folder / TRACKS).is_file() or not of_pictures
    return Place(listing, folder / "JPEGImages", folder / (TRACKS if tracks else "Annotations"), test)


def _raw_davis(base: Path, split: str) -> Place:
    davis = base / "DAVIS"
    return Place(
        listing=base / "davis_text_annotations",
        pictures=davis / "JPEGImages" / "480p",
        masks=davis / "Annotations_unsupervised" / "480p",
        videos=davis / "ImageSets" / "2017" / ("train.txt" if split == "train" else "val.txt"),
    )


def _videos_of_test(place: Place, listing: Listing) -> list[str]:
    """Ref-YouTube-VOS lists the videos of `test` in `valid` as well.

    The list of `test` tells them; where it is not there, as in newer downloads, the pictures tell. A split
    whose objects are published is of another data set: in it, a video without pictures is a fault.
    """
    if place.test is not None and place.test.is_file():
        others = videos_in(place.test, parsed(place.test))
        return [video_id for video_id in listing.videos if video_id in others]
    if any(one.object_ids is not None for video in listing.videos.values() for one in video.expressions):
        return []
    present = videos_present(place.pictures)
    return [video_id for video_id in listing.videos if video_id not in present] if present else []


class _Object(dict):
    """A JSON object that remembers which keys stand there twice; the last one counts, as for everybody."""

    def __init__(self, pairs: list[tuple[str, Any]]):
        super().__init__(pairs)
        names = [name for name, _ in pairs] if len(self) < len(pairs) else []
        self.repeated = sorted({name for name in names if names.count(name) > 1})


class _Fault(ValueError):
    """Why a video or an expression of a list cannot be used."""


def parsed(path: Path) -> Any:
    """The content of a JSON file, in which keys that stand there twice are remembered."""
    try:
        return json.loads(text(path), object_pairs_hook=_Object)
    except (json.JSONDecodeError, RecursionError) as error:
        raise DataError(f"{path}: damaged or cut short ({error}): get it anew") from None


def videos_in(path: Path, content: Any) -> _Object:
    """The videos of a list, as they stand there; DataError where it is none."""
    videos = content.get("videos") if isinstance(content, dict) else None
    if not isinstance(videos, dict):
        raise DataError(
            f'{path}: not a list of expressions, which has {{"videos": {{<video>: {{"expressions": ..., '
            '"frames": ...}}}}: is it another json of the data set?'
        )
    return videos


def _read_json(place: Place) -> Listing:
    videos = videos_in(place.listing, parsed(place.listing))
    listing = Listing(
        faults=[f"video '{name}': stands there twice: the last counts" for name in videos.repeated]
    )
    for video_id, content in videos.items():
        try:
            listing.videos[_name(video_id)] = _video(video_id, content, listing.faults)
        except _Fault as fault:
            listing.faults.append(f"video '{video_id}': {fault}: it is left out")
    _leave_out_without_object(listing, place.has_tracks)
    return listing


def _video(video_id: str, content: Any, faults: list[str]) -> ListedVideo:
    if not isinstance(content, dict) or not isinstance(content.get("expressions"), dict):
        raise _Fault('has no "expressions"')
    frames = content.get("frames")
    if not isinstance(frames, list) or not frames:
        raise _Fault('has no "frames"')
    for frame in frames:
        if not isinstance(frame, str):
            raise _Fault(f"frame {frame!r} is no name in quotes")
        _name(frame)
    again = (
        sorted({frame for frame in frames if frames.count(frame) > 1})
        if len(set(frames)) < len(frames)
        else []
    )
    faults += [f"video '{video_id}': frame '{frame}' is listed twice: it is used once" for frame in again]
    expressions = []
    for name in content["expressions"].repeated:
        faults.append(f"video '{video_id}', expression '{name}': stands there twice: the last counts")
    for name, expression in content["expressions"].items():
        try:
            expressions.append(_expression(_name(name), expression))
        except _Fault as fault:
            faults.append(f"video '{video_id}', expression '{name}': {fault}: it is left out")
    return ListedVideo(frames, expressions)


def _expression(name: str, content: Any) -> ListedExpression:
    sentence = content.get("exp") if isinstance(content, dict) else None
    if not isinstance(sentence, str):
        raise _Fault('has no "exp", its sentence')
    if is_blank(sentence):
        raise _Fault("the sentence is empty")
    try:
        sentence.encode()
    except UnicodeEncodeError:
        raise _Fault("the sentence holds half a character") from None
    tracks = _numbers(content, "anno_id")
    objects = _numbers(content, "obj_id")
    return ListedExpression(name, sentence, tracks if objects is None else objects, tracks)


def _numbers(content: dict[str, Any], key: str) -> list[int] | None:
    """Numbers of objects or tracks: one or a list of them, in quotes or not; None without the key."""
    value = content.get(key)
    if value is None:
        return None
    values = value if isinstance(value, list) else [value]
    if any(isinstance(one, bool) or not isinstance(one, (int, str)) for one in values):
        raise _Fault(f'"{key}" is {value!r}, no number of an object')
    try:
        return [int(one) for one in values]
    except ValueError:
        raise _Fault(f'"{key}" is {value!r}, no number of an object') from None


def _leave_out_without_object(listing: Listing, tracks: bool) -> None:
    """Where a split's objects are published, every expression names its own."""
    every = [one for video in listing.videos.values() for one in video.expressions]
    if all(one.object_ids is None for one in every):
        return
    for video_id, video in listing.videos.items():
        usable = []
        for one in video.expressions:
            if fault := _fault_of_objects(one, tracks):
                listing.faults.append(
                    f"video '{video_id}', expression '{one.expression_id}': {fault}: it is left out"
                )
            else:
                usable.append(one)
        video.expressions = usable


def _fault_of_objects(one: ListedExpression, tracks: bool) -> str:
    if one.object_ids is None:
        return 'names no object ("obj_id"), though others of the split do'
    if tracks:
        return 'names no mask tracks ("anno_id")' if one.object_ids and one.tracks is None else ""
    return next(
        (f"object {number} is no object: 0 is the background, 255 is void"
         for number in one.object_ids if number in (BACKGROUND, VOID)),
        "",
    )  # fmt: skip


def _name(name: str) -> str:
    """A name that may become a file's: it must not lead out of the data set's folders."""
    try:
        return plain(name, "")
    except DataError:
        raise _Fault(f"'{name}' is no plain name without slashes") from None


def _read_texts(place: Place) -> Listing:
    """Raw Ref-DAVIS17, as ReferFormer's converter to Ref-YouTube-VOS's layout reads it."""
    assert place.videos is not None
    listing = Listing()
    sentences = [_sentences(place.listing / name, code, listing.faults) for name, code in TEXTS.items()]
    for video_id in text(place.videos).split():
        try:
            frames = _frames_on_disk(place, _name(video_id))
            expressions = list(_expressions_of(video_id, sentences, listing.faults))
            if not expressions:
                raise _Fault("has no sentence")
            listing.videos[video_id] = ListedVideo(frames, expressions)
        except _Fault as fault:
            listing.faults.append(f"video '{video_id}': {fault}: it is left out")
    return listing


def _sentences(path: Path, encoding: str, faults: list[str]) -> dict[tuple[str, int], str]:
    """(video, object) → sentence of one text file, whose lines are <video> <object> "<sentence>"."""
    try:
        lines = path.read_bytes().decode(encoding).split("\n")
    except FileNotFoundError:
        raise DataError(f"{path}: no such file: it belongs to the data set, put it there") from None
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: not UTF-8 ({error}): get it anew") from None
    found: dict[tuple[str, int], str] = {}
    for number, line in enumerate(lines, 1):
        parts = line.split()
        if not parts:
            continue
        sentence = " ".join(parts[2:])
        if len(sentence) > 1 and sentence[0] in QUOTES and sentence[-1] in QUOTES:
            sentence = sentence[1:-1]
        if len(parts) < 3 or not parts[1].isdecimal() or is_blank(sentence):
            faults.append(
                f'{path.name}, line {number}: expected <video> <object> "<sentence>": it is left out'
            )
            continue
        key = MISSPELT.get(parts[0], parts[0]), int(parts[1])
        if key in found:
            faults.append(
                f"{path.name}, line {number}: video '{key[0]}', object {key[1]} stands there twice: the last "
                "counts"
            )
        found[key] = sentence
    return found


def _expressions_of(
    video_id: str, sentences: list[dict[tuple[str, int], str]], faults: list[str]
) -> Iterator[ListedExpression]:
    """Object by object, in the order of their numbers as strings; each has a sentence of every annotator."""
    objects = {number for some in sentences for video, number in some if video == video_id}
    for rank, number in enumerate(sorted(objects, key=str)):
        for annotator, (name, some) in enumerate(zip(TEXTS, sentences, strict=True)):
            if (video_id, number) in some:
                name = str(len(sentences) * rank + annotator)
                yield ListedExpression(name, some[video_id, number], [number])
            else:
                faults.append(f"video '{video_id}', object {number}: {name} has no sentence: it is left out")


def _frames_on_disk(place: Place, video_id: str) -> list[str]:
    for folder in (place.pictures / video_id, place.masks / video_id):
        if folder.is_dir():
            names = {path.stem for path in folder.iterdir() if path.suffix.lower() in PICTURES}
            if frames := sorted(name for name in names if not name.startswith(".")):
                return frames
    raise _Fault(f"has no pictures in {place.pictures}")
