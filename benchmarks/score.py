"""What scoring costs, side by side with a plain loop: `python -m benchmarks.score`.

The plain loop is of the official kind: for every expression it decodes its truth and its masks frame by frame
and draws the outlines of both on whole frames. Videos and masks are made here, in MeViS's layout: blobs that
drift, two expressions an object and one about all. Both ways get the same number of processes, read the same
files, and must give the same numbers.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
from faster_coco_eval.core import mask as coco
from tqdm.auto import tqdm

from mmvs.scoring import Request, score
from mmvs.scoring.parallel import in_parallel

OBJECTS = 3
SIZES = {"854x480": (480, 854), "1280x720": (720, 1280)}  # label (width x height) -> (H, W)


def blobs(random: np.random.Generator, frames: int, height: int, width: int) -> np.ndarray:
    """(OBJECTS, T, H, W) uint8: ellipses that drift and breathe, of a sixth of the frame's height or so."""
    masks = np.zeros((OBJECTS, frames, height, width), np.uint8)
    for track in masks:
        place, speed = random.uniform(0.2, 0.8, 2), random.uniform(-0.01, 0.01, 2)
        axes, turn = random.uniform(0.06, 0.16, 2) * height, random.uniform(0, 180)
        for t, mask in enumerate(track):
            x, y = (place + speed * t) * (width, height)
            scale = 1 + 0.2 * np.sin(t / 5)
            size = int(axes[0] * scale), int(axes[1] * scale)
            cv2.ellipse(mask, (int(x), int(y)), size, turn + t, 0, 360, 1, cv2.FILLED)
    return masks


def write(root: Path, videos: int, frames: int, height: int, width: int) -> None:
    """A split "valid_u" and masks for it: the truth, shifted and with a ragged outline."""
    random = np.random.default_rng(0)
    listing, tracks = {}, {}
    names = [f"{t:05d}" for t in range(frames)]
    for video in tqdm(range(videos), "writing", unit="video", leave=False):
        masks = blobs(random, frames, height, width)
        ids = [OBJECTS * video + k for k in range(OBJECTS)]
        for track, mask in zip(ids, masks, strict=True):
            codes = [coco.encode(np.asfortranarray(frame)) for frame in mask]
            tracks[str(track)] = [{"size": code["size"], "counts": _text(code["counts"])} for code in codes]
        about = [[k] for k in range(OBJECTS) for _ in range(2)] + [list(range(OBJECTS))]
        listing[f"video{video}"] = {
            "frames": names,
            "expressions": {
                str(number): {"exp": "it moves", "obj_id": objects, "anno_id": [ids[k] for k in objects]}
                for number, objects in enumerate(about)
            },
        }
        pictures = root / "valid_u" / "JPEGImages" / f"video{video}"
        pictures.mkdir(parents=True)
        cv2.imwrite(str(pictures / "00000.jpg"), np.zeros((height, width, 3), np.uint8))
        for number, objects in enumerate(about):
            folder = root / "masks" / f"video{video}" / str(number)
            folder.mkdir(parents=True)
            for name, mask in zip(names, masks[objects].max(axis=0), strict=True):
                shift = np.float32([[1, 0, random.integers(-6, 7)], [0, 1, random.integers(-6, 7)]])
                near = cv2.warpAffine(mask * 255, shift, (width, height), flags=cv2.INTER_NEAREST)
                cv2.imwrite(str(folder / f"{name}.png"), near)
    (root / "valid_u" / "meta_expressions.json").write_text(json.dumps({"videos": listing}))
    (root / "valid_u" / "mask_dict.json").write_text(json.dumps(tracks))


def plain(root: Path, listing: dict, tracks: dict, indices: Sequence[tuple[str, str]]) -> list[tuple]:
    """(J, F) of expressions, the plain way."""
    return [_plain(root, listing, tracks, video, exp_id) for video, exp_id in indices]


def _plain(root: Path, listing: dict, tracks: dict, video: str, exp_id: str) -> tuple[float, float]:
    folder, names = root / "masks" / video / exp_id, listing[video]["frames"]
    height, width = cv2.imread(str(folder / "00000.png"), cv2.IMREAD_GRAYSCALE).shape
    truth, predicted = np.zeros((2, len(names), height, width), np.uint8)
    for t, name in enumerate(names):
        for track in listing[video]["expressions"][exp_id]["anno_id"]:
            if code := tracks[str(track)][t]:
                truth[t] += coco.decode(code)
        predicted[t] = cv2.imread(str(folder / f"{name}.png"), cv2.IMREAD_GRAYSCALE)
    truth, predicted = truth.astype(bool), predicted.astype(bool)
    intersection, union = (truth & predicted).sum(axis=(1, 2)), (truth | predicted).sum(axis=(1, 2))
    j = np.where(union == 0, 1, intersection / np.maximum(union, 1))
    return float(j.mean()), float(np.mean([_plain_f(*pair) for pair in zip(predicted, truth, strict=True)]))


def _plain_f(predicted: np.ndarray, truth: np.ndarray) -> float:
    radius = int(np.ceil(0.008 * np.linalg.norm(truth.shape)))
    y, x = np.mgrid[-radius : radius + 1, -radius : radius + 1]
    disk = (x * x + y * y <= radius * radius).astype(np.uint8)
    outlines = []
    for mask in (predicted, truth):
        padded = np.pad(mask, ((0, 1), (0, 1)), mode="edge")
        own = padded[:-1, :-1]
        outlines.append((own ^ padded[1:, :-1]) | (own ^ padded[:-1, 1:]) | (own ^ padded[1:, 1:]))
    near = [cv2.dilate(outline.astype(np.uint8), disk).astype(bool) for outline in outlines]
    lengths = [outline.sum() for outline in outlines]
    if not all(lengths):
        return float(not any(lengths))
    precision = (outlines[0] & near[1]).sum() / lengths[0]
    recall = (outlines[1] & near[0]).sum() / lengths[1]
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0


def measure(root: Path, workers: int) -> dict[str, float]:
    """Seconds of both ways, of which both begin by reading the lists."""
    start = time.perf_counter()
    listing = json.loads((root / "valid_u" / "meta_expressions.json").read_text())["videos"]
    tracks = json.loads((root / "valid_u" / "mask_dict.json").read_text())
    jobs = [[(video, exp_id)] for video in listing for exp_id in listing[video]["expressions"]]
    pairs = np.concatenate(in_parallel(plain, (root, listing, tracks), jobs, workers, "expression", False))
    middle = time.perf_counter()
    report = score(Request(root / "masks", root, "mevis", "valid_u", workers=workers, progress=False))
    end = time.perf_counter()
    numbers = report.record()["overall"]
    np.testing.assert_allclose([numbers["J"], numbers["F"]], pairs.mean(axis=0), rtol=0, atol=1e-9)
    masks = sum(len(listing[video]["frames"]) for ((video, _),) in jobs)
    return {
        "plain, ms/mask": 1000 * (middle - start) / masks,
        "ours, ms/mask": 1000 * (end - middle) / masks,
        "ratio": (middle - start) / (end - middle),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--videos", type=int, default=2)
    parser.add_argument("--frames", type=int, default=30)
    parser.add_argument("--workers", type=int, nargs="*", default=[1, 2])
    parser.add_argument("--repeats", type=int, default=3, help="the fastest counts")
    options = parser.parse_args()
    cv2.setNumThreads(1)
    rows = {}
    for label, size in SIZES.items():
        with tempfile.TemporaryDirectory() as folder:
            write(Path(folder), options.videos, options.frames, *size)
            for workers in options.workers:
                runs = [measure(Path(folder), workers) for _ in range(options.repeats)]
                best = {name: min(run[name] for run in runs) for name in runs[0]}
                best["ratio"] = best["plain, ms/mask"] / best["ours, ms/mask"]
                rows[label, workers] = best
    table = pd.DataFrame(rows).T.rename_axis(["frame", "processes"])
    print(table.to_string(float_format="{:.2f}".format))


def _text(counts: bytes | str) -> str:
    return counts if isinstance(counts, str) else counts.decode()


if __name__ == "__main__":
    main()
