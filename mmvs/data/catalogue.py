"""Data sets by name, and everything an experiment needs on disk before it can start."""

from __future__ import annotations

from pathlib import Path

from mmvs.config import ConfigError, Data, Experiment, resolve
from mmvs.data import jhmdb_files
from mmvs.data.a2d import A2DSentences
from mmvs.data.annotated_videos import AnnotatedVideos
from mmvs.data.csv_files import columns
from mmvs.data.jhmdb import JHMDBSentences
from mmvs.flow.estimators import estimator
from mmvs.flow.store import FlowStore, Summary
from mmvs.processes import one_at_a_time
from mmvs.shapes import writing

NAMES = (
    "a2d-train", "a2d-test", "jhmdb", "moving_shapes-train", "moving_shapes-test", "moving_shapes-unseen",
)  # fmt: skip


def root_of(name: str, data: Data) -> Path:
    """Folder of the data set `<family>` or `<family>-<split>`; ConfigError on a name that does not exist."""
    if name not in NAMES:
        raise ConfigError(f"unknown data set '{name}': known are {', '.join(NAMES)}")
    family, _, split = name.partition("-")
    root = resolve(data.roots.get(family) or Data.model_fields["roots"].default[family])
    return root / "unseen" if split == "unseen" else root


def open_dataset(name: str, data: Data) -> AnnotatedVideos:
    """Open a data set under its configured root; ConfigError on a name that does not exist."""
    root = root_of(name, data)
    if name == "jhmdb":
        return JHMDBSentences(root, resolve(data.jhmdb_samples) if data.jhmdb_samples else None)
    return A2DSentences(root, "train" if name.endswith("-train") else "test")


def roots(data: Data) -> dict[str, Path]:
    """The folders of the data sets in use, each once: by the name of the data set, not of its splits."""
    names = (data.train_on, *data.evaluate_on)
    return {
        name if name.endswith("-unseen") else name.partition("-")[0]: root_of(name, data) for name in names
    }


def sentences(root: Path) -> list[tuple[str, str, str]]:
    """(video id, instance id, sentence) of every row of a folder's annotation file, as it stands there.

    All splits: the file does not tell them apart. It alone is read: neither videos nor masks are needed.
    """
    if (root / jhmdb_files.ANNOTATION).is_file():
        rows = columns(root / jhmdb_files.ANNOTATION, "video_id", "query")
        return [(video_id, "", query) for _, (video_id, query) in rows]
    path = root / "text_annotations" / "a2d_annotation.txt"
    return [tuple(row) for _, row in columns(path, "video_id", "instance_id", "query")]


def open_flow(name: str, experiment: Experiment) -> FlowStore:
    """The flow store of a data set; nothing is computed."""
    settings = experiment.flow
    return FlowStore(resolve(settings.root) / name.partition("-")[0], estimator(settings), settings.height)


def prepare(experiment: Experiment, progress: bool = True) -> dict[str, Summary]:
    """Write moving shapes if wanted, and compute the flow of every video in use; what exists is kept.

    Returns a flow Summary for each data set.
    """
    data = experiment.data
    names = list(dict.fromkeys([data.train_on, *data.evaluate_on]))
    if any(name.startswith("moving_shapes-") for name in names):
        writing.write(resolve(data.roots["moving_shapes"]), data.moving_shapes, progress)
    summaries = {}
    for name in names:
        samples = open_dataset(name, data)
        videos = {video: samples.video_path(video) for video in samples.videos}
        store = open_flow(name, experiment)
        with one_at_a_time(store.root / ".lock"):
            summaries[name] = store.compute(videos, experiment.flow.workers, progress)
    return summaries
