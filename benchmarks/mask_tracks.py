"""What a file of masks as large as MeViS's costs to open and to read: `python -m benchmarks.mask_tracks`.

The file is made here: as many bytes, videos and tracks as the train split of MeViS has, of discs that drift.
Every row is a process of its own, so that its peak of memory is its own; the first row imports only.

    whole, json / orjson   the file parsed at once, as published loaders do in every process
    mmvs, first            the index made, and kept
    mmvs, then             the index read
    sample                 one frame's mask of a random expression: a track parsed, its run lengths drawn
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
from faster_coco_eval.core import mask as coco
from PIL import Image
from tqdm.auto import tqdm

VIDEOS, FRAMES, MEGABYTES = 1662, 80, 411
HEIGHT, WIDTH = 720, 1280
SAMPLES = 200
WAYS = ("imports", "whole, json", "whole, orjson", "mmvs, first", "mmvs, then", "sample")


def codes(random: np.random.Generator, harmonics: int) -> list[dict | None]:
    """Run lengths of a blob with a wavy outline that drifts through the frames, and is absent in some."""
    angle = np.linspace(0, 2 * np.pi, 400)
    radius = 150 + sum(
        random.normal(0, 12) * np.sin(k * angle + random.uniform(0, 6)) for k in range(2, harmonics)
    )
    outline = np.stack([radius * np.cos(angle), radius * np.sin(angle)], 1)
    start, speed = random.uniform((300, 200), (900, 500)), random.uniform(-3, 3, 2)
    entries: list[dict | None] = []
    for t in range(FRAMES):
        mask = np.zeros((HEIGHT, WIDTH), np.uint8)
        cv2.fillPoly(mask, [(outline + start + t * speed).astype(np.int32)], 1)
        code = coco.encode(np.asfortranarray(mask))
        code = {"size": [HEIGHT, WIDTH], "counts": code["counts"].decode()}
        entries.append(code if mask.any() and random.random() > 0.1 else None)
    return entries


def write(root: Path, megabytes: int) -> None:
    """A split "train" of `megabytes`: its list, its masks, and one picture a video."""
    random = np.random.default_rng(0)
    folder = root / "train"
    folder.mkdir(parents=True)
    blobs = [json.dumps(codes(random, 40)) for _ in tqdm(range(12), "drawing")]
    tracks, size = 0, 0
    with (folder / "mask_dict.json").open("w") as file:
        while size < megabytes << 20:
            blob = blobs[tracks % len(blobs)]
            size += file.write(f'{"{" if tracks == 0 else ", "}"{tracks}": {blob}')
            tracks += 1
        file.write("}")
    names = [f"{t:05d}" for t in range(FRAMES)]
    videos = {}
    for v in range(VIDEOS):
        own = list(range(v % tracks, tracks, VIDEOS))
        expressions = {
            str(e): {"exp": "the one that drifts to the left", "obj_id": [e % len(own)], "anno_id": [track]}
            for e, track in enumerate((own * 14)[:14])
        }
        videos[f"{v:012x}"] = {"expressions": expressions, "frames": names}
        pictures = folder / "JPEGImages" / f"{v:012x}"
        pictures.mkdir(parents=True)
        Image.new("RGB", (WIDTH, HEIGHT)).save(pictures / "00000.jpg")
    (folder / "meta_expressions.json").write_text(json.dumps({"videos": videos}))


def run(way: str, root: Path) -> dict[str, float]:
    """Seconds and the peak of memory of one way, in this process."""
    from mmvs.data.expressions import Expressions

    path, start, cpu = root / "train" / "mask_dict.json", time.perf_counter(), time.process_time()
    if way == "whole, json":
        with path.open() as file:
            json.load(file)
    elif way == "whole, orjson":
        import orjson

        orjson.loads(path.read_bytes())
    elif way.startswith("mmvs"):
        Expressions(root, "train")
    elif way == "sample":
        data, random = Expressions(root, "train"), np.random.default_rng(0)
        start, cpu = time.perf_counter(), time.process_time()
        for i in random.integers(len(data), size=SAMPLES):
            data.masks(int(i), [int(random.integers(FRAMES))])
    times = {"seconds": time.perf_counter() - start, "of the CPU": time.process_time() - cpu}
    if way == "sample":
        times = {name: seconds / SAMPLES for name, seconds in times.items()}
    return times | {"MB": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--megabytes", type=int, default=MEGABYTES)
    parser.add_argument("--way", choices=WAYS, help="this one alone, on a file that is there")
    parser.add_argument("--root", type=Path)
    options = parser.parse_args()
    if options.way:
        print(json.dumps(run(options.way, options.root)))
        return
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "mevis"
        write(root, options.megabytes)
        rows = {}
        for way in WAYS:
            command = [sys.executable, "-m", "benchmarks.mask_tracks", "--way", way, "--root", str(root)]
            rows[way] = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)
        size = (root / "train" / "mask_dict.json").stat().st_size
        print(f"{size / 1e6:,.0f} MB of masks, {VIDEOS} videos, {14 * VIDEOS:,} expressions")
        print(pd.DataFrame(rows).T.round(4).to_string())


if __name__ == "__main__":
    main()
