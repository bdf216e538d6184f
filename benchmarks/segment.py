"""Where the time of `mmvs segment` goes: `python -m benchmarks.segment`.

A network of random weights (they do not matter), in the size of params/moving_shapes.yaml by default, answers
some sentences on a drifting texture in H.264. Every part is timed alone, on one thread; parts of the intake
(decoding, flow, canvas) overlap with the others where there are two cores.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import torch
from torch import Tensor

from mmvs import config
from mmvs.build import build
from mmvs.data.geometry import restore, valid_area
from mmvs.metrics import binarise, foreground_score
from mmvs.model.inference import ready_for_inference
from mmvs.segmenter.formats import FORMATS, Results, View
from mmvs.segmenter.intake import intake
from mmvs.segmenter.job import SegmentJob
from mmvs.segmenter.streaming import Streaming
from mmvs.video.files import write_video
from mmvs.video.stream import open_video

WORDS = 15  # of a sentence


def clip(path: Path, size: tuple[int, int], frames: int) -> None:
    """A texture that drifts over a size of (H, W)."""
    coarse = np.random.default_rng(0).integers(0, 255, (size[0] // 16, size[1] // 16, 3), dtype=np.uint8)
    texture = cv2.resize(coarse, size[::-1])
    write_video(path, np.stack([np.roll(texture, (t, 2 * t), axis=(0, 1)) for t in range(frames)]))


class Clock:
    """Seconds spent in the parts."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    def call(self, part: str, action: Callable, *given: object) -> object:
        begin = time.thread_time()
        try:
            return action(*given)
        finally:
            self.seconds[part] = self.seconds.get(part, 0.0) + time.thread_time() - begin

    def each(self, part: str, items: Iterable) -> Iterator:
        """The same items; what making them takes counts for the part."""
        source = iter(items)
        while (item := self.call(part, next, source, None)) is not None:
            yield item


def blobs(canvas: Tensor, frame: int) -> Tensor:
    """Probabilities (N, size, size) of a disc a sentence, as large as an object: random weights have none."""
    size = canvas.shape[-1]
    y, x = torch.meshgrid(torch.arange(size), torch.arange(size), indexing="ij")
    centres = [(size * (0.35 + 0.1 * n), size * (0.3 + 0.15 * n)) for n in range(len(canvas))]
    away = torch.stack([((y - v) ** 2 + (x - u - frame % 9) ** 2).sqrt() for v, u in centres])
    return torch.sigmoid((size / 10 - away) / 2)


def masks_of(probability: np.ndarray, settings: config.Evaluation) -> tuple[np.ndarray, np.ndarray]:
    """Masks (N, H, W) bool and score (N,), as Segmenter has them."""
    masks = [binarise(one, settings) for one in probability]
    sure = [foreground_score(one, mask) for one, mask in zip(probability, masks, strict=True)]
    return np.stack(masks), np.array(sure)


def measure(experiment: config.Experiment, given: argparse.Namespace, folder: Path) -> pd.Series:
    """Milliseconds a frame of each part."""
    size, clock = tuple(given.size), Clock()
    clip(folder / "clip.mp4", size, given.frames)
    source = open_video(folder / "clip.mp4")
    for _ in clock.each("decoding", source):
        pass
    still = experiment.model.model_copy(update={"motion": False})
    for _ in clock.each("decoding, canvas", intake(source, experiment.model_copy(update={"model": still}))):
        pass
    pictures = list(clock.each("decoding, canvas, flow", intake(source, experiment)))
    network = ready_for_inference(build(experiment, vocabulary=1000).network.eval())
    words = torch.randint(5, 999, (given.sentences, WORDS), generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        meaning = network.read(words, torch.ones_like(words, dtype=torch.bool))
    data = experiment.data
    streaming = Streaming(network, meaning, data.frames, data.stride, valid=valid_area(data.size, size))
    canvases = list(clock.each("network", streaming(shown.picture for shown in pictures)))
    names = [f"the object {n}" for n in range(given.sentences)]
    identity = {"video": [], "sentences": names}
    job = SegmentJob(folder / "out", identity, {name: one.output for name, one in FORMATS.items()})
    about = Results(job, "clip", [], names, size, 1.0)
    with ExitStack() as stack:
        writers = {
            name: stack.enter_context(FORMATS[name].open(folder / "out" / output, about))
            for name, output in job.missing.items()
        }
        for shown, canvas in zip(pictures, canvases, strict=True):
            answer = blobs(canvas, shown.index)
            enlarged = clock.call("enlarging", restore, answer, size)
            masks, sure = clock.call("masks, score", masks_of, enlarged.numpy(), experiment.evaluation)
            entry = clock.call("journal", job.add, shown.index, shown.time, masks, sure)
            view = View(entry.frame, entry.time, shown.frame, masks, entry.score)
            for name, write in writers.items():
                clock.call(f"format {name}", write, view)
        clock.call("all formats, at the end", stack.close)
    return pd.Series(clock.seconds) * 1e3 / given.frames


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("params", nargs="?", default="params/moving_shapes.yaml", help="of the network")
    parser.add_argument("--size", type=int, nargs=2, default=[720, 1280], help="of the video: height, width")
    parser.add_argument("--frames", type=int, default=30)
    parser.add_argument("--sentences", type=int, default=2)
    given = parser.parse_args()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    experiment = config.load(given.params)
    print(f"{given.sentences} sentences, {given.size[1]} x {given.size[0]}, canvas {experiment.data.size}")
    with tempfile.TemporaryDirectory() as folder:
        print(measure(experiment, given, Path(folder)).to_string(float_format="{:.1f}".format))


if __name__ == "__main__":
    main()
