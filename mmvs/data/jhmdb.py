"""J-HMDB-Sentences as its owners publish it: evaluation only, by a model trained on A2D-Sentences.

    <root>/Rename_Images/<action>/<video>/<frame:05d>.png    numbered from 1, 320x240
    <root>/puppet_mask/<action>/<video>/puppet_mask.mat      MATLAB v5, part_mask: uint8 (H, W, T)
    <root>/jhmdb_annotation.txt                              video_id,query

Videos and masks: Jhuang et al. 2013; sentences: Gavrilyuk et al. 2018.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from mmvs.config import Data, resolve
from mmvs.data.annotated_videos import AnnotatedVideos, Row
from mmvs.data.csv_files import DataError, columns, plain
from mmvs.data.jhmdb_files import ANNOTATION, FRAMES, MASKS, actions, annotated_frames, mask_path, part_mask
from mmvs.data.jhmdb_samples import PERSON, drawn_list, name_of, read_list


class JHMDBSentences(AnnotatedVideos):
    """The samples of a list: a sentence, and a frame of the video that it speaks of.

    root     folder of the tree above
    samples  path of a list with the columns video_id, frame (1-based) and query; None: the list that is
             drawn once for this root and kept there

    Order: that of the list. `samples_from` names the list, as scores depend on it. DataError names what is
    missing or wrong, also a listed frame beyond the annotated ones.
    """

    layout = "J-HMDB-Sentences"
    marks = (FRAMES, MASKS, ANNOTATION)
    check = "mmvs.verify.jhmdb"

    @classmethod
    def open(cls, root: Path, split: str, data: Data) -> JHMDBSentences:
        """The samples of the list `data.jhmdb_samples`; None: of the list that is drawn for this root."""
        return cls(root, resolve(data.jhmdb_samples) if data.jhmdb_samples else None)

    @classmethod
    def sentences(cls, root: Path) -> list[Row]:
        """Every row of jhmdb_annotation.txt, as it stands there: of one instance a video, without an id."""
        return [
            (video_id, "", query) for _, (video_id, query) in columns(root / ANNOTATION, "video_id", "query")
        ]

    def __init__(self, root: str | Path, samples: str | Path | None = None) -> None:
        self.root = Path(root)
        if not self.root.is_dir():
            raise DataError(f"{self.root}: no such folder: put J-HMDB-Sentences there, or change the root")
        path = drawn_list(self.root) if samples is None else Path(samples)
        super().__init__(read_list(path))
        self.samples_from = name_of(path, len(self))
        self._actions = actions(self.root)
        self._counts = annotated_frames(self.root, self._actions, (sample.video_id for sample in self))
        for sample in self:
            if sample.frame >= self._counts[sample.video_id]:
                raise DataError(
                    f"{path}: frame {sample.frame + 1} of '{sample.video_id}' is listed, but only "
                    f"{self._counts[sample.video_id]} are annotated: the list is of another copy of the data"
                )

    def video_path(self, video_id: str) -> Path:
        """The folder of the video's pictures."""
        return self.root / FRAMES / self._action(video_id) / video_id

    def frame_count(self, video_id: str) -> int:
        """Frames that a window may show: those annotated, whether there are more pictures or more masks."""
        return self._counts[plain(video_id, self.root / FRAMES)]

    def annotation_path(self, i: int) -> Path:
        """Where the masks of sample i's video lie."""
        return mask_path(self.root, self._action(self[i].video_id), self[i].video_id)

    def masks_in_frame(self, i: int) -> dict[int, np.ndarray]:
        """Instance id to (H, W) bool: the one person that is annotated."""
        return {PERSON: self._masks_of_frames(i, [self[i].frame])[0]}

    def frames_with_truth(self, i: int) -> list[int]:
        """Every frame of sample i's video."""
        return list(range(self.frame_count(self[i].video_id)))

    def _masks_of_frames(self, i: int, indices: list[int]) -> np.ndarray:
        """(n, H, W) bool: the person in any frames of sample i's video."""
        video_id, path = self[i].video_id, self.annotation_path(i)
        masks, size = part_mask(path), self.size(video_id)
        if max(indices, default=0) >= len(masks):
            raise DataError(f"{path}: {len(masks)} masks, fewer than when the data was loaded: load it anew")
        if masks.shape[1:] != size:
            raise DataError(
                f"{path}: masks are {masks.shape[1:]} (H, W), but {self.video_path(video_id)} is "
                f"{size}: {MASKS} and {FRAMES} must be of the same release"
            )
        return masks[indices]

    def _action(self, video_id: str) -> str:
        try:
            return self._actions[plain(video_id, self.root / FRAMES)]
        except KeyError:
            raise DataError(f"{self.root / FRAMES}: no folder for video '{video_id}': put it there") from None
