"""The flow of pictures that are taken for videos of one frame: nothing moves, and nothing is stored."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from mmvs.flow.store import FlowStore, Summary
from mmvs.video.pictures import picture_size


class StillFlow(FlowStore):
    """In the place of a store."""

    def read(self, video_id: str, video_path: str | Path, indices: Sequence[int]) -> np.ndarray:
        """Zeros (n, 2, H, W) float32, of the picture's size."""
        return np.zeros((len(indices), 2, *picture_size(video_path)), np.float32)

    def is_good(self, video_id: str, video_path: str | Path) -> bool:
        """There is nothing that could be stale."""
        return True

    def compute(self, videos: Mapping[str, str | Path], workers: int = 1, progress: bool = True) -> Summary:
        """Nothing is to be computed."""
        return Summary(skipped=len(videos))
