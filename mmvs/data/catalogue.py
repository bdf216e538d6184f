"""Data sets by name, and everything an experiment needs on disk before it can start."""

from __future__ import annotations

from mmvs.config import ConfigError, Data, Experiment, resolve
from mmvs.data import moving_shapes
from mmvs.data.a2d import A2DSentences
from mmvs.flow import estimator
from mmvs.flow_store import FlowStore, Summary

NAMES = ("a2d-train", "a2d-test", "moving_shapes-train", "moving_shapes-test", "moving_shapes-unseen")


def open_dataset(name: str, data: Data) -> A2DSentences:
    """Open `<data set>-<split>` under its configured root; ConfigError on a name that does not exist."""
    if name not in NAMES:
        raise ConfigError(f"unknown data set '{name}': known are {', '.join(NAMES)}")
    family, split = name.rsplit("-", 1)
    root = resolve(data.roots.get(family) or Data.model_fields["roots"].default[family])
    if split == "unseen":
        return A2DSentences(root / "unseen", "test")
    return A2DSentences(root, split)


def open_flow(name: str, experiment: Experiment) -> FlowStore:
    """The flow store of a data set; nothing is computed."""
    settings = experiment.flow
    return FlowStore(resolve(settings.root) / name.rsplit("-", 1)[0], estimator(settings), settings.height)


def prepare(experiment: Experiment, progress: bool = True) -> dict[str, Summary]:
    """Write moving shapes if wanted, and compute the flow of every video in use; what exists is kept.

    Returns a flow Summary for each data set.
    """
    data = experiment.data
    names = list(dict.fromkeys([data.train_on, *data.evaluate_on]))
    if any(name.startswith("moving_shapes-") for name in names):
        moving_shapes.write(resolve(data.roots["moving_shapes"]), data.moving_shapes, progress)
    summaries = {}
    for name in names:
        samples = open_dataset(name, data)
        videos = {video: samples.video_path(video) for video in samples.videos}
        summaries[name] = open_flow(name, experiment).compute(videos, experiment.flow.workers, progress)
    return summaries
