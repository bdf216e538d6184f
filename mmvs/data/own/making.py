"""`mmvs new-data`: make a tree of one's own, or add to it, and say what is missing."""

from __future__ import annotations

import difflib
import zipfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from tqdm.auto import tqdm

from mmvs.data.csv_files import DataError, require_file
from mmvs.data.expression_files import VOID
from mmvs.data.own import coco, cvat, mask_pictures, sentences
from mmvs.data.own.labels import VOID_NAME, LabelledFrame, Labels
from mmvs.data.own.tree import Tree, Video, numbers_of
from mmvs.files import write_text
from mmvs.video import folders
from mmvs.video.files import VideoError
from mmvs.video.folders import FILMS

TEMPLATE = "sentences.csv"
SHOWN = 5  # names in a line
LARGEST = 2 << 30  # bytes of an annotation file in a zip
READERS = {".xml": cvat.read, ".json": coco.read}


@dataclass
class Report:
    """What was added, how it was understood, and what must be mended."""

    root: Path
    added: dict[str, int] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)

    @property
    def is_sound(self) -> bool:
        """Is there nothing to mend?"""
        return not self.faults

    def text(self) -> str:
        """All of it, a line each."""
        added = ", ".join(f"{count:,} {what}" for what, count in self.added.items() if count)
        lines = [f"{self.root}: {added or 'nothing'} added"]
        lines += [f"  note: {note}" for note in self.notes]
        lines += [f"  mend: {fault}" for fault in self.faults]
        return "\n".join(lines)


def make(
    root: Path,
    videos: Sequence[Path] = (),
    table: Path | None = None,
    masks: Path | None = None,
    valid: float = 0.2,
    progress: bool = False,
) -> Report:
    """Add videos, sentences and masks to a tree; what is there is kept.

    videos  files, folders of pictures, or folders of them
    table   CSV with the columns video, object, sentence; maybe split
    masks   CVAT's XML, a JSON, a zip of one of them, or a folder of pictures
    valid   share of new videos that are not trained on, where the table does not say

    DataError where one of them is missing or in no known form.
    """
    rows = sentences.read(table) if table else []
    labels = _read_masks(masks) if masks else Labels([])
    sources = find_videos(videos)
    tree = Tree(root)
    report = Report(root, dict.fromkeys(("videos", "sentences", "masks"), 0), labels.notes, labels.faults)
    _add_videos(tree, sources, rows, valid, report, progress)
    located = list(_located(tree, labels.frames, report))
    _number_objects(tree, rows, located)
    _add_sentences(tree, rows, table, report)
    _add_masks(tree, located, report, progress)
    tree.write()
    report.faults += tree.faults
    _say_what_is_missing(tree, report)
    _write_template(tree, table, report)
    return report


def find_videos(paths: Iterable[Path]) -> dict[str, Path]:
    """Id to file or folder of every video; DataError where a path leads to none, or two have one name."""
    found: dict[str, Path] = {}
    for path in paths:
        own = list(_videos_in(path))
        if not own:
            raise DataError(f"{path}: holds no videos: expected {', '.join(FILMS)}, or folders of pictures")
        for one in own:
            name = sentences.video_name(one.absolute().name)
            if name in found and found[name].absolute() != one.absolute():
                raise DataError(f"{one}: {found[name]} has the same name, '{name}': rename one of them")
            found[name] = one
    return found


def _videos_in(path: Path) -> Iterable[Path]:
    if not path.exists():
        raise DataError(f"{path}: no such video, and no such folder")
    if path.is_file():
        return [path]
    inside = [one for one in sorted(path.iterdir()) if not one.name.startswith(".")]
    own = [
        one
        for one in inside
        if (one.is_dir() and _has_pictures(one)) or (one.is_file() and one.suffix.lower() in FILMS)
    ]
    return own or ([path] if _has_pictures(path) else [])


def _has_pictures(folder: Path) -> bool:
    try:
        return bool(folders.in_order(folder))
    except VideoError as error:
        if "of the same number" in str(error):
            raise DataError(str(error)) from None
        return False


def _read_masks(path: Path) -> Labels:
    if path.is_dir():
        return mask_pictures.read(path)
    require_file(path, "file or folder of masks")
    content, name = path.read_bytes(), str(path)
    suffix = path.suffix.lower()
    if zipfile.is_zipfile(path):
        content, suffix = _unzipped(path)
    if suffix not in READERS:
        suffix = ".xml" if content.lstrip(b"\xef\xbb\xbf \r\n\t").startswith(b"<") else ".json"
    return READERS[suffix](content, name)


def _unzipped(path: Path) -> tuple[bytes, str]:
    """The one annotation file of an export."""
    try:
        with zipfile.ZipFile(path) as archive:
            inside = [one for one in archive.infolist() if Path(one.filename).suffix.lower() in READERS]
            if len(inside) != 1:
                names = ", ".join(one.filename for one in inside[:SHOWN]) or "none"
                raise DataError(f"{path}: expected one .xml or .json in it, found {names}: unpack it")
            if inside[0].file_size > LARGEST:
                raise DataError(f"{path}: {inside[0].filename} is too large: unpack it")
            return archive.read(inside[0]), Path(inside[0].filename).suffix.lower()
    except (zipfile.BadZipFile, OSError, RuntimeError, NotImplementedError, EOFError, ValueError) as error:
        if isinstance(error, DataError):
            raise
        raise DataError(f"{path}: damaged or not a zip that can be read ({error}): export it anew") from None


def _add_videos(
    tree: Tree,
    sources: dict[str, Path],
    rows: list[sentences.Row],
    valid: float,
    report: Report,
    progress: bool,
) -> None:
    wished = {row.video: row.split for row in rows if row.split}
    for row in rows:
        if row.split and row.split != wished[row.video]:
            raise DataError(f"line {row.line} of the sentences: '{row.video}' is in both splits: choose one")
    for name, source in tqdm(sources.items(), "copying", unit="video", disable=None if progress else True):
        split = wished.get(name) or _next_split(tree, valid)
        try:
            video, new = tree.add_video(name, source, split)
        except (VideoError, DataError) as error:
            report.faults.append(str(error))
            continue
        report.added["videos"] += new
        if wished.get(name, video.split) != video.split:
            report.faults.append(f"'{name}' lies in {video.split}, not in {wished[name]}: move it yourself")
        if new and video.old_names:
            report.notes.append(
                f"'{name}': pictures are named {video.frames[0]} to {video.frames[-1]}, in the order of "
                "their numbers; meta.json keeps their old names"
            )


def _next_split(tree: Tree, valid: float) -> str:
    """Of one video after the other, spread evenly; so it is the same however often videos are added."""
    of_valid = sum(video.split == "valid" for video in tree.videos.values())
    return "valid" if int(valid * (len(tree.videos) + 1) + 0.5) > of_valid else "train"


def _located(
    tree: Tree, frames: list[LabelledFrame], report: Report
) -> Iterable[tuple[Video, str, LabelledFrame]]:
    """The labelled frames whose video and picture are known; the others are faults, a line a video."""
    lost: dict[str, list[LabelledFrame]] = {}
    for one in frames:
        video = _video_of(tree, one)
        frame = video.frame(one.frame) if video else None
        if video is None:
            lost.setdefault("masks of unknown videos", []).append(one)
        elif frame is None:
            lost.setdefault(f"'{video.video_id}': masks of frames that it does not have", []).append(one)
        elif one.size and tuple(one.size) != video.size:
            sizes = f"masks are {tuple(one.size)} (H, W), but the video is {video.size}"
            lost.setdefault(f"'{video.video_id}': {sizes}", []).append(one)
        else:
            yield video, frame, one
    known = f" (there are {_some(tree.videos)})"
    for fault, some in lost.items():
        names = f"{some[0].where}" + (f" and {len(some) - 1} more" if len(some) > 1 else "")
        report.faults.append(f"{fault}{known if 'unknown' in fault else ''}: {names}: left out")


def _video_of(tree: Tree, one: LabelledFrame) -> Video | None:
    """By its name; by the folder of the picture; by how the picture's name begins; or the only one."""
    name = str(one.frame).rpartition("/")
    for candidate in (one.video, name[0] if name[0] else None):
        if candidate is not None and (video := tree.videos.get(sentences.video_name(str(candidate)))):
            return video
    if one.video is None and isinstance(one.frame, str):
        begins = [video_id for video_id in tree.videos if name[2].startswith(video_id)]
        if begins:
            return tree.videos[max(begins, key=len)]
    only = list(tree.videos.values())
    return only[0] if len(only) == 1 and one.video is None else None


def _number_objects(
    tree: Tree, rows: list[sentences.Row], located: list[tuple[Video, str, LabelledFrame]]
) -> None:
    """Numbers stay what they are; names get what is free, in the order of the sentences, then the masks."""
    names = [(tree.videos[row.video], row.object) for row in rows if row.video in tree.videos]
    names += [(video, name) for video, _, one in located for name, _ in one.objects if name != VOID_NAME]
    for are_numbers in (True, False):
        for video, name in names:
            if name.isdecimal() == are_numbers:
                video.number(name)


def _add_sentences(tree: Tree, rows: list[sentences.Row], table: Path | None, report: Report) -> None:
    for row in rows:
        if video := tree.videos.get(row.video):
            if row.sentence:
                report.added["sentences"] += tree.add_sentence(video, video.number(row.object), row.sentence)
        else:
            near = difflib.get_close_matches(row.video, tree.videos, n=1)
            hint = f"did you mean '{near[0]}'?" if near else f"there are {_some(tree.videos)}"
            report.faults.append(f"{table}, line {row.line}: no video '{row.video}': {hint}")


def _add_masks(
    tree: Tree, located: list[tuple[Video, str, LabelledFrame]], report: Report, progress: bool
) -> None:
    together: dict[tuple[str, str], list[LabelledFrame]] = {}
    for video, frame, one in located:
        together.setdefault((video.video_id, frame), []).append(one)
    kept: dict[str, list[str]] = {}
    for (video_id, frame), some in tqdm(
        together.items(), "masks", unit="mask", disable=None if progress else True
    ):
        video = tree.videos[video_id]
        labels = np.zeros(video.size, np.uint8)
        try:
            for one in some:
                for name, draw in one.objects:
                    mask = draw(video.size)
                    if mask.shape != video.size:
                        raise DataError(f"{one.where}: {mask.shape} (H, W), but the video is {video.size}")
                    labels[mask] = VOID if name == VOID_NAME else video.number(name)
        except DataError as error:
            report.faults.append(f"{error}; the mask is left out")
            continue
        done = tree.add_mask(video, frame, labels)
        report.added["masks"] += done == "added"
        if done == "kept":
            kept.setdefault(video_id, []).append(frame)
    for video_id, frames in kept.items():
        report.notes.append(
            f"'{video_id}': {len(frames)} frames have other masks already, which stay ({_some(frames)}): "
            "remove those that should be made anew"
        )


def _say_what_is_missing(tree: Tree, report: Report) -> None:
    if not tree.videos:
        report.faults.append("no videos yet: name some with --videos")
        return
    silent = [video_id for video_id, video in tree.videos.items() if not tree.expressions(video)]
    if silent:
        report.faults.append(f"videos without a sentence: {_some(silent)}")
    blank, without_sentence = [], []
    for video_id, video in tree.videos.items():
        seen = _objects_seen(tree, video, report)
        asked = {number for one in tree.expressions(video).values() for number in numbers_of(one)}
        blank += [f"{video_id}/{video.name_of(number)}" for number in sorted(asked - seen)]
        without_sentence += [f"{video_id}/{video.name_of(number)}" for number in sorted(seen - asked)]
    if blank:
        report.faults.append(f"sentences about objects without a mask: {_some(blank)}")
    if without_sentence:
        report.notes.append(f"objects without a sentence, not used: {_some(without_sentence)}")
    listed = {name for content in tree.lists.values() for name in content["videos"]}
    if gone := sorted(listed - tree.videos.keys()):
        report.faults.append(f"listed videos that are not there: {_some(gone)}")
    for split in ("train", "valid"):
        if not any(video.split == split for video in tree.videos.values()):
            report.notes.append(f"no video in {split}: add more, or a column split to the sentences")


def _objects_seen(tree: Tree, video: Video, report: Report) -> set[int]:
    """The objects in the masks of a video; masks that cannot be read, or are of another size, are faults."""
    seen: set[int] = set()
    for frame in tree.masks(video):
        try:
            labels = mask_pictures.labels(tree.mask(video, frame))
        except DataError as error:
            report.faults.append(str(error))
            continue
        if labels.shape != video.size:
            report.faults.append(
                f"{tree.mask(video, frame)}: {labels.shape} (H, W), but the video is {video.size}: replace it"
            )
        seen |= set(np.unique(labels).tolist())
    return seen - {0, VOID}


def _write_template(tree: Tree, table: Path | None, report: Report) -> None:
    """Where no sentences are known at all, a table to fill in."""
    path = tree.root / TEMPLATE
    if table or path.exists() or not tree.videos or any(map(tree.expressions, tree.videos.values())):
        return
    lines = ["video,object,sentence"]
    for video_id, video in tree.videos.items():
        lines += [f'"{video_id}",{name},' for name in video.objects or ("1",)]
    write_text(path, "\n".join(lines) + "\n")
    report.notes.append(f"{path}: fill in its sentences, then name it with --sentences")


def _some(names: Iterable[str]) -> str:
    names = list(names)
    return ", ".join(names[:SHOWN]) + (f" and {len(names) - SHOWN} more" if len(names) > SHOWN else "")
