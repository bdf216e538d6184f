"""A video as a network takes it: frames and their flow on its canvas, one after the other."""

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

# The longer side of flow, in canvases: a finer field takes most of the time, and the canvas shows none of it.
# `python -m benchmarks.flow_size` measures what it does to masks.
FLOW_IN_CANVASES = 2
SMALLEST_FLOW = 16  # pixels a side: DIS refuses less


class VideoFrame(NamedTuple):
    """A frame in the video, and on the network's canvas."""

    index: int  # 0-based
    time: float  # seconds since the first frame
    frame: np.ndarray  # (H, W, 3) uint8 RGB
    picture: Picture


def intake(source: VideoSource, experiment: Experiment, first: int = 0) -> Iterator[VideoFrame]:
    """Yield the frames from index `first` on with their flow, both as evaluation has them of a data set.

    The flow of a frame needs the next frame: this reads the source one frame ahead. Raises FlowError where
    the experiment's flow cannot be estimated.
    """
    size, original = experiment.data.size, source.size
    numbered = ((index, *timed) for index, timed in enumerate(source) if index >= first)
    numbered, again = tee(numbered)
    motion = _flows((frame for _, _, frame in again), original, experiment)
    for (index, time, frame), flow in zip(numbered, motion, strict=True):
        pixels = torch.from_numpy(np.require(frame, requirements=["C", "W"]))  # it may be a mirrored view
        appearance = geometry.fit_frames(pixels.permute(2, 0, 1)[None], size)[0]
        picture = Picture(appearance, geometry.fit_flow(flow, size, original)[0])
        yield VideoFrame(index, time, frame, picture)


def _flows(
    frames: Iterable[np.ndarray], original: tuple[int, int], experiment: Experiment
) -> Iterator[Tensor]:
    """Yield the flow (1, 2, h, w) of every frame in pixels of h x w; zeros for a network without motion."""
    height, width = _flow_size(*original, experiment.flow.height, FLOW_IN_CANVASES * experiment.data.size)
    if not experiment.model.motion:
        yield from (torch.zeros(1, 2, height, width) for _ in frames)
        return
    below, right = max(0, SMALLEST_FLOW - height), max(0, SMALLEST_FLOW - width)
    scaled = (cv2.resize(frame, (width, height), interpolation=cv2.INTER_AREA) for frame in frames)
    padded = (np.pad(frame, ((0, below), (0, right), (0, 0)), mode="edge") for frame in scaled)
    for flow in flows(estimator(experiment.flow), padded):
        steps = np.rint(flow[None, :, :height, :width] * STEPS)  # rounded, as the flow store keeps it
        yield torch.from_numpy(steps.astype(np.float32) / STEPS)


def _flow_size(height: int, width: int, flow_height: int | None, longest: int) -> tuple[int, int]:
    """(h, w) for the flow estimator: as in the flow store, the longer side at most `longest` pixels."""
    if flow_height is not None:
        return flow_height, max(1, round(width * flow_height / height))
    scale = min(1.0, longest / max(height, width))
    return max(1, round(height * scale)), max(1, round(width * scale))
