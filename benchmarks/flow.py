"""What DIS costs and how good it is, and what the flow store takes: `python -m benchmarks.flow`.

The videos are made here: textured discs that drift over a drifting textured ground, with sensor noise,
through H.264. Times are of one thread. Errors are end-point errors in pixels, inside and outside the discs.
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
from tqdm.auto import tqdm

from mmvs.config import Flow
from mmvs.flow.estimators import Estimator, endpoint_error, estimator, flows
from mmvs.flow.store import FlowStore
from mmvs.video.files import read_frames, write_video

FRAMES = 13
SIZES = {"64x64": (64, 64), "320x240": (240, 320)}  # label (width x height) -> (H, W)


def texture(random: np.random.Generator, height: int, width: int, grain: int) -> np.ndarray:
    grains = random.uniform(50, 205, (height // grain + 1, width // grain + 1, 3)).astype(np.float32)
    return cv2.resize(grains, (width, height), interpolation=cv2.INTER_CUBIC)


def scene(height: int, width: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """uint8 frames (T, H, W, 3), exact flow (T, 2, H, W) and masks of the discs (T, H, W)."""
    random = np.random.default_rng(seed)
    margin = FRAMES * 3
    layers = [(np.array([0.2, -0.1]), texture(random, height + 2 * margin, width + 2 * margin, 8))]
    layers += [
        (random.uniform(-2.3, 2.3, 2), texture(random, height + 2 * margin, width + 2 * margin, 5))
        for _ in range(4)
    ]
    centres = random.uniform(0.2, 0.8, (4, 2)) * (width, height)
    radii = random.uniform(0.08, 0.16, 4) * height
    places = np.stack(np.meshgrid(np.arange(width), np.arange(height)), axis=-1)
    frames, exact, masks = [], [], []
    for t in range(FRAMES):
        frame, flow = np.zeros((height, width, 3)), np.zeros((2, height, width))
        mask = np.zeros((height, width), bool)
        for k, (velocity, picture) in enumerate(layers):
            shift = np.hstack([np.eye(2), (velocity * t - margin)[:, None]])
            moved = cv2.warpAffine(picture, shift, (width, height))
            disc = np.ones_like(mask)
            if k:
                centre = centres[k - 1] + velocity * t
                disc = np.linalg.norm(places - centre, axis=-1) < radii[k - 1]
                mask |= disc
            frame[disc], flow[:, disc] = moved[disc], velocity[:, None]
        frame += random.normal(0, 4, frame.shape)
        frames.append(frame.clip(0, 255).astype(np.uint8))
        exact.append(flow)
        masks.append(mask)
    return np.stack(frames), np.stack(exact), np.stack(masks)


def milliseconds(action, repeats: int) -> float:
    """Median duration of a call."""
    durations = []
    for _ in range(repeats):
        start = time.perf_counter()
        action()
        durations.append(1000 * (time.perf_counter() - start))
    return float(np.median(durations))


def errors(
    estimate: Estimator, frames: np.ndarray, exact: np.ndarray, masks: np.ndarray
) -> tuple[float, float]:
    """Mean end-point error in pixels inside and outside the discs; arguments as `scene` makes them."""
    triples = list(zip(flows(estimate, frames), exact, masks, strict=True))[:-1]  # the last has no next frame
    inside = [endpoint_error(flow, truth, mask) for flow, truth, mask in triples]
    outside = [endpoint_error(flow, truth, ~mask) for flow, truth, mask in triples]
    return float(np.mean(inside)), float(np.mean(outside))


def measure(settings: Flow, folder: Path, label: str) -> dict[str, float]:
    """One setting on one scene."""
    _, exact, masks = scene(*SIZES[label])
    video = folder / f"{label}.mp4"
    frames = read_frames(video, range(FRAMES))
    estimate = estimator(settings)
    estimate.settle("cpu")
    inside, outside = errors(estimate, frames, exact, masks)
    store = FlowStore(folder / f"{settings.preset}-{settings.finest_scale}", estimate)
    summary = store.compute({label: video}, progress=False)
    summary.raise_failures()
    return {
        "ms/pair": milliseconds(lambda: list(flows(estimate, frames)), 5) / (FRAMES - 1),
        "error in": inside,
        "error out": outside,
        "bytes/frame": summary.bytes / FRAMES,
        "ms to read 3": milliseconds(lambda: store.read(label, video, [5, 6, 7]), 50),
    }


def main() -> None:
    settings = [Flow(preset=p, finest_scale=s) for p in ("ultrafast", "fast", "medium") for s in range(3)]
    rows = {}
    with tempfile.TemporaryDirectory() as folder:
        for label, size in SIZES.items():
            write_video(Path(folder) / f"{label}.mp4", scene(*size)[0])
        for setting in tqdm(settings, desc="DIS", unit="setting"):
            for label in SIZES:
                rows[label, setting.preset, setting.finest_scale] = measure(setting, Path(folder), label)
    table = pd.DataFrame(rows).T.sort_index(level=0, sort_remaining=False)
    table = table.rename_axis(["frame", "preset", "finest scale"])
    formats = {"bytes/frame": "{:.0f}".format}
    print(table.to_string(float_format="{:.2f}".format, formatters=formats))


if __name__ == "__main__":
    main()
