"""What a sample costs to read: a window by seeking, or the whole video: `python -m benchmarks.decoding`.

Clips are made here, as large as those of A2D (320 pixels high, H.264): textured discs that drift over a
drifting ground. How far apart key frames are decides how much has to be decoded before a wanted frame, and
it is not known of videos from outside, so the first table has several distances. The default of x264, 250,
means one key frame a clip: for the mean window half of all frames that others lean on have to be decoded,
which alone takes a fifth of the time of decoding and converting the whole.

Where torchcodec is installed (`pip install torchcodec`; it needs FFmpeg's libraries), it reads the same
windows.

The second table is the loader of training: windows, flow and masks, on the canvas, in batches.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
import pandas as pd
import torch
from torch.utils.data import DataLoader
from tqdm.auto import tqdm

from benchmarks.flow import texture
from mmvs.config import Data, Flow, MovingShapes
from mmvs.data.a2d import A2DSentences
from mmvs.data.clips import Clips
from mmvs.data.training_clips import TrainingClips
from mmvs.flow.estimators import estimator
from mmvs.flow.store import FlowStore
from mmvs.shapes import writing
from mmvs.video.files import frame_count, read_frames, window

try:
    from torchcodec.decoders import VideoDecoder
except (ImportError, RuntimeError, OSError):  # not installed, or no FFmpeg
    VideoDecoder = None

HEIGHT, WIDTH, FRAMES, WINDOW = 320, 568, 100, 3
DISTANCES = (12, 25, 50, 250)  # frames between key frames


def picture(layers: list[np.ndarray], t: int) -> np.ndarray:
    """Frame t: three discs, each of its own texture and speed, over the ground."""
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    frame = layers[0][t : t + HEIGHT, t : t + WIDTH].copy()
    for k, layer in enumerate(layers[1:], 1):
        inside = np.hypot(x - (80 + 120 * k + k * t), y - (100 + 40 * k)) < 45
        frame[inside] = layer[:HEIGHT, :WIDTH][inside]
    return frame.clip(0, 255).astype(np.uint8)


def write_clip(path: Path, distance: int, seed: int) -> None:
    """A clip with key frames `distance` frames apart."""
    random = np.random.default_rng(seed)
    layers = [texture(random, HEIGHT + FRAMES, WIDTH + FRAMES, grain) for grain in (8, 5, 6, 7)]
    with av.open(str(path), "w", format="mp4") as container:
        options = {"crf": "23", "g": str(distance), "x264-params": "scenecut=0", "threads": "1"}
        stream = container.add_stream("libx264", 25, options)
        stream.height, stream.width, stream.pix_fmt = HEIGHT, WIDTH, "yuv420p"
        for t in range(FRAMES):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture(layers, t), format="rgb24")))
        container.mux(stream.encode(None))


def rate(action: Callable[[int], object], samples: int, name: str) -> float:
    """Samples a second."""
    start = time.perf_counter()
    for i in tqdm(range(samples), name, unit="clip", leave=False):
        action(i)
    return samples / (time.perf_counter() - start)


def decoding(folder: Path, clips: int, samples: int) -> pd.DataFrame:
    """Clips a second by seeking and by decoding all, on one thread, the same random targets for both."""
    rows = {}
    for distance in DISTANCES:
        paths = [folder / f"{distance}-{seed}.mp4" for seed in range(clips)]
        for seed, path in enumerate(paths):
            write_clip(path, distance, seed)
        targets = np.random.default_rng(0).integers(FRAMES, size=samples).tolist()

        counts = {path: frame_count(path) for path in paths}  # which a data set remembers

        def seek(i: int, paths=paths, targets=targets, counts=counts) -> np.ndarray:
            path = paths[i % len(paths)]
            return read_frames(path, window(targets[i], WINDOW, 1, counts[path]))

        def whole(i: int, paths=paths, targets=targets) -> np.ndarray:
            frames = read_frames(paths[i % len(paths)], range(FRAMES))
            return frames[window(targets[i], WINDOW, 1, len(frames))]

        def torchcodec(i: int, paths=paths, targets=targets, counts=counts) -> np.ndarray:
            path = paths[i % len(paths)]
            decoder = VideoDecoder(path, dimension_order="NHWC", num_ffmpeg_threads=1)
            return decoder.get_frames_at(window(targets[i], WINDOW, 1, counts[path])).data.numpy()

        np.testing.assert_array_equal(seek(0), whole(0))
        fast, slow = (
            rate(seek, samples, f"{distance}: seek"),
            rate(whole, max(4, samples // 5), f"{distance}: all"),
        )
        rows[distance] = {"seek, clips/s": fast, "whole video, clips/s": slow, "times": fast / slow}
        if VideoDecoder:
            np.testing.assert_array_equal(seek(0), torchcodec(0))
            rows[distance]["torchcodec, clips/s"] = rate(torchcodec, samples, f"{distance}: torchcodec")
    return pd.DataFrame(rows).T.rename_axis("key frame every")


def loading(folder: Path, clips: int, workers: tuple[int, ...] = (0, 1, 2)) -> pd.DataFrame:
    """Clips a second of the training's loader, flow and masks included; the first batch is not counted."""
    shapes = MovingShapes(train_clips=clips, test_clips=1, unseen_clips=1, height=240, width=320, frames=25)
    samples = A2DSentences(writing.write(folder / "shapes", shapes, progress=False), "train")
    store = FlowStore(folder / "flow", estimator(Flow(preset="ultrafast")))
    store.compute({v: samples.video_path(v) for v in samples.videos}, progress=False).raise_failures()
    rows = {}
    for count in workers:
        clips = Clips(samples, store, Data(size=320))
        options = {"num_workers": count, "collate_fn": list, "persistent_workers": count > 0}
        loader = DataLoader(TrainingClips(clips, seed=0), 4, sampler=range(len(clips)), **options)
        batches = iter(loader)
        next(batches)
        start, seen = time.perf_counter(), 0
        for _ in range(2):
            for batch in tqdm(batches, f"{count} workers", unit="batch", leave=False):
                seen += len(batch)
            batches = iter(loader)
        rows[count] = {"clips/s": seen / (time.perf_counter() - start)}
    return pd.DataFrame(rows).T.rename_axis("workers")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--clips", type=int, default=4, help="different videos of each kind")
    parser.add_argument("--samples", type=int, default=60, help="windows read by seeking")
    given = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        print(decoding(Path(folder), given.clips, given.samples).to_string(float_format="{:.1f}".format))
        print(loading(Path(folder), 8 * given.clips).to_string(float_format="{:.1f}".format))


if __name__ == "__main__":
    main()
