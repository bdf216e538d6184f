"""A2D-Sentences as its owners publish it, and every tree laid out alike.

    <root>/Release/videoset.csv          no header, 9 columns: the first the video id, the last the subset
    <root>/Release/clips320H/<vid>.mp4   (CLIPS320 in older copies)
    <root>/text_annotations/a2d_annotation.txt                          video_id,instance_id,query
    <root>/text_annotations/a2d_missed_videos.txt                       one video id a line
    <root>/text_annotations/a2d_annotation_with_instances/<vid>/<frame>.h5        instance, reMask, reBBox
    <root>/sentence_kinds.csv            not A2D's, optional: video_id,instance_id,query,kind

Videos: Xu et al. 2015; sentences: Gavrilyuk et al. 2018. Which samples there are follows the convention
of published results; each of its rules stands where it is applied.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np

from mmvs.config import Data
from mmvs.data.a2d_files import read_index, read_masks
from mmvs.data.annotated_videos import AnnotatedVideos, Row
from mmvs.data.csv_files import DataError, columns, integer, is_blank, normalise, plain, table, text
from mmvs.schema import Sample

Line = tuple[int, str, int, str]  # line number, video id, instance id, normalised sentence

SUBSETS = {"train": 0, "test": 1}  # the last column of videoset.csv
SENTENCES = "text_annotations/a2d_annotation.txt"
MISTAKEN_INSTANCE = "1 (copy)"  # of one row (video T6bNPuKV-wY), which every published result drops


class A2DSentences(AnnotatedVideos):
    """The samples of one split: a sentence, and one annotated frame that shows the instance it speaks of.

    root    folder of the tree above
    split   "train" or "test"

    Order: rows of a2d_annotation.txt, then frames ascending. DataError names what is missing or wrong;
    sentences about an instance that no annotated frame shows give no sample, and one warning counts them.
    """

    layout = "A2D-Sentences"
    marks = ("Release", "text_annotations")
    splits: Mapping[str, int] = SUBSETS
    check = "mmvs.verify.a2d"

    @classmethod
    def open(cls, root: Path, split: str, data: Data) -> A2DSentences:
        """The samples of a split."""
        return cls(root, split)

    @classmethod
    def sentences(cls, root: Path) -> list[Row]:
        """Every row of a2d_annotation.txt, as it stands there."""
        return [tuple(row) for _, row in columns(root / SENTENCES, "video_id", "instance_id", "query")]

    def __init__(self, root: str | Path, split: str) -> None:
        if split not in self.splits:
            raise DataError(f"unknown split '{split}': expected {' or '.join(map(repr, self.splits))}")
        self.root, self.split = self.folder(Path(root), split), split
        if not self.root.is_dir():
            raise DataError(f"{self.root}: no such folder: put A2D-Sentences there, or change the root")
        clips = [self.root / "Release" / name for name in ("clips320H", "CLIPS320")]
        self._clips = next((folder for folder in clips if folder.is_dir()), clips[0])
        self._annotations = self.root / "text_annotations" / "a2d_annotation_with_instances"
        rows = self._rows(self._split_videos())
        with_sentences = {video_id for _, video_id, _, _ in rows}
        self._index = read_index(self._annotations, with_sentences, self.root / ".mmvs_index.json")
        super().__init__(list(self._samples_of(rows)))

    def video_path(self, video_id: str) -> Path:
        """Where the clip lies, or should lie."""
        return self._clips / f"{plain(video_id, self._clips)}.mp4"

    def masks_in_frame(self, i: int) -> dict[int, np.ndarray]:
        """Instance id to (H, W) bool, for all instances annotated in sample i's frame."""
        path, size = self.annotation_path(i), self.size(self[i].video_id)
        masks = read_masks(path)
        for mask in masks.values():
            if mask.shape != size:
                raise DataError(
                    f"{path}: masks are {mask.shape} (H, W), but {self.video_path(self[i].video_id)} is "
                    f"{size}: annotations and clips must be of the same release"
                )
        return masks

    def annotation_path(self, i: int) -> Path:
        """Where the masks of sample i's frame lie."""
        return self._index[self[i].video_id][self[i].frame].path

    def _split_videos(self) -> set[str]:
        """Videos of the split, less those that a list says have no sentences."""
        path = self.root / "Release" / "videoset.csv"
        videos = set()
        for line, row in table(path):
            if len(row) != 9 or row[8] not in ("0", "1"):
                raise DataError(f"{path}, line {line}: expected 9 columns, the last one 0 or 1, got {row}")
            if int(row[8]) == self.splits[self.split]:
                videos.add(plain(row[0], f"{path}, line {line}"))
        missed = text(self.root / "text_annotations" / "a2d_missed_videos.txt")
        return videos - {line.strip() for line in missed.splitlines()}

    def _rows(self, videos: set[str]) -> list[Line]:
        """The rows of the sentences about `videos`, in the file's order."""
        path = self.root / SENTENCES
        rows = []
        for line, (video_id, instance, query) in columns(path, "video_id", "instance_id", "query"):
            where = f"{path}, line {line}"
            if plain(video_id, where) not in videos or instance == MISTAKEN_INSTANCE:
                continue
            if is_blank(query):
                raise DataError(f"{where}: the sentence of video '{video_id}' is empty: drop the row")
            rows.append((line, video_id, integer(instance, where), normalise(query)))
        return rows

    def _samples_of(self, rows: list[Line]) -> Iterator[Sample]:
        """Every annotated frame in which the instance is present; frames without it give none."""
        kinds, without_frame = self._kinds(), []
        for line, video_id, instance, sentence in rows:
            annotated = self._index[video_id].items()
            frames = [frame for frame, present in annotated if instance in present.ids]
            kind = kinds.get((video_id, instance, sentence))
            yield from (Sample(video_id, frame, instance, sentence, kind) for frame in frames)
            if not frames:
                without_frame.append(f"line {line} (video '{video_id}', instance {instance})")
        if without_frame:
            # An object can leave between its sentence and the few frames that were annotated.
            examples = ", ".join(without_frame[:3]) + (", ..." if len(without_frame) > 3 else "")
            path = self.root / SENTENCES
            warnings.warn(
                f"{path}: {len(without_frame)} of {len(rows)} sentences for {self.split} speak of an "
                f"instance that is in no annotated frame, and give no samples: {examples}",
                stacklevel=3,
            )

    def _kinds(self) -> dict[tuple[str, int, str], str]:
        path = self.root / "sentence_kinds.csv"
        if not path.is_file():
            return {}
        rows = columns(path, "video_id", "instance_id", "query", "kind")
        return {
            (video_id, integer(instance, f"{path}, line {line}"), normalise(query)): kind
            for line, (video_id, instance, query, kind) in rows
        }
