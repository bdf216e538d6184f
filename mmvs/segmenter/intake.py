"""What a network takes of a video: frames and their flow on its canvas, one after the other."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import tee
from typing import NamedTuple

import cv2
import numpy as np
import torch
from torch import Tensor

from mmvs.config import Experiment
from mmvs.data import geometry
from mmvs.flow.estimators import estimator, flows
from mmvs.flow.store import STEPS
from mmvs.segmenter.streaming import Picture
from mmvs.video.stream import VideoSource

LARGEST_FLOW = 1920 * 1080  # pixels; DIS takes gigabytes and seconds for 8k, and the canvas shows none of it
SMALLEST_FLOW = 16  # pixels a side: DIS refuses less


class Shown(NamedTuple):
    """A frame as it is shown, and as the network takes it."""

    index: int  # 0-based
    time: float  # seconds since the first frame
    frame: np.ndarray  # (H, W, 3) uint8 RGB
    picture: Picture


def intake(source: VideoSource, experiment: Experiment, first: int = 0) -> Iterator[Shown]:
    """Frames from `first` on with their flow, both as evaluation has them of a data set and its flow store.

    One frame is read ahead, as the flow of a frame needs the next one.
    """
    size, original = experiment.data.size, source.size
    wanted = ((index, *timed) for index, timed in enumerate(source) if index >= first)
    wanted, same = tee(wanted)
    moves = _flows((frame for _, _, frame in same), original, experiment)
    for (index, time, frame), flow in zip(wanted, moves, strict=True):
        pixels = torch.from_numpy(np.require(frame, requirements=["C", "W"]))  # it may be a mirrored view
        looks = geometry.fit_frames(pixels.permute(2, 0, 1)[None], size)[0]
        yield Shown(index, time, frame, Picture(looks, geometry.fit_flow(flow, size, original)[0]))


def _flows(
    frames: Iterable[np.ndarray], original: tuple[int, int], experiment: Experiment
) -> Iterator[Tensor]:
    """Flow (1, 2, h, w) of every frame; zeros for a network without motion."""
    height, width = _flow_size(*original, experiment.flow.height)
    if not experiment.model.motion:
        yield from (torch.zeros(1, 2, height, width) for _ in frames)
        return
    below, right = max(0, SMALLEST_FLOW - height), max(0, SMALLEST_FLOW - width)
    scaled = (cv2.resize(frame, (width, height), interpolation=cv2.INTER_AREA) for frame in frames)
    padded = (np.pad(frame, ((0, below), (0, right), (0, 0)), mode="edge") for frame in scaled)
    for flow in flows(estimator(experiment.flow), padded):
        steps = np.rint(flow[None, :, :height, :width] * STEPS)  # rounded, as the flow store keeps it
        yield torch.from_numpy(steps.astype(np.float32) / STEPS)


def _flow_size(height: int, width: int, wanted: int | None) -> tuple[int, int]:
    """(h, w) at which flow is estimated: as in the flow store, but no more than LARGEST_FLOW pixels."""
    if wanted is not None:
        return wanted, max(1, round(width * wanted / height))
    scale = min(1.0, (LARGEST_FLOW / (height * width)) ** 0.5)
    return max(1, round(height * scale)), max(1, round(width * scale))
