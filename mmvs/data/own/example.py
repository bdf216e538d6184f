"""Data as a user has them, where there are none: clips, a table of sentences, and masks of some frames.

They come from a data set that is there, such as moving shapes.
"""

from __future__ import annotations

import csv
import shutil
from pathlib import Path

import numpy as np
from PIL import Image

from mmvs.config import Experiment, resolve
from mmvs.data import catalogue
from mmvs.data.annotated_videos import AnnotatedVideos
from mmvs.data.own.making import make
from mmvs.files import whole

VIDEOS = 10


def in_place_of_own(experiment: Experiment) -> Experiment:
    """The experiment itself, where it trains on data of one's own; else the same on an example of such data.

    The example lies beside the flow of the experiment's own data set, of whose videos it has some.
    """
    if experiment.data.train_on.startswith("own-"):
        return experiment
    catalogue.prepare(experiment, progress=False)
    samples = catalogue.open(experiment.data.train_on, experiment).samples
    folder = resolve(experiment.flow.root).with_name(f"{experiment.run}_own")
    write(samples, folder)
    root = folder / "own"
    make(root, [folder / "clips"], folder / "sentences.csv", folder / "masks")
    roots = experiment.data.roots | {"own": str(root)}
    data = {"train_on": "own-train", "evaluate_on": ["own-valid"], "roots": roots}
    changes = {"run": f"{experiment.run}_own", "data": experiment.data.model_copy(update=data)}
    return experiment.model_copy(update=changes)


def write(samples: AnnotatedVideos, folder: Path, videos: int = VIDEOS) -> None:
    """Write clips/, sentences.csv and masks/ of the first videos; what is there is kept."""
    rows: dict[tuple[str, int, str], None] = {}
    chosen = samples.videos[:videos]
    for i in range(len(samples)):
        sample = samples[i]
        if sample.video_id not in chosen:
            continue
        rows[sample.video_id, sample.instance_id + 1, sample.sentence] = None
        path = folder / "masks" / sample.video_id / f"{sample.frame:05d}.png"
        if not path.exists():
            _write_mask(path, samples.masks_in_frame(i))
    for video_id in chosen:
        source = samples.video_path(video_id)
        target = folder / "clips" / source.name
        if not target.exists():
            with whole(target) as partial:
                shutil.copyfile(source, partial)
    with whole(folder / "sentences.csv") as partial, partial.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("video", "object", "sentence"), *rows])


def _write_mask(path: Path, masks: dict[int, np.ndarray]) -> None:
    labels = np.zeros(next(iter(masks.values())).shape, np.uint8)
    for instance, mask in masks.items():
        labels[mask] = instance + 1
    with whole(path) as partial:
        Image.fromarray(labels).save(partial, "PNG")
