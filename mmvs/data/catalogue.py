"""Data sets by name, and everything an experiment needs on disk before it can start.

A name is `<family>-<split>`, or `<family>` where the data set is not divided. `mosaic:<name>` has two
videos in each frame.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from mmvs.config import MOSAIC, ConfigError, Data, Experiment, resolve
from mmvs.data.a2d import A2DSentences
from mmvs.data.annotated_videos import AnnotatedVideos, Row
from mmvs.data.expression_videos import ExpressionVideos, MeViS, OwnVideos, RefDAVIS17, RefYouTubeVOS
from mmvs.data.jhmdb import JHMDBSentences
from mmvs.data.mosaics import MosaicFlow, Mosaics
from mmvs.data.moving_shapes import MovingShapes
from mmvs.data.refcoco import RefCOCO, RefCOCOg, RefCOCOPlus
from mmvs.flow.estimators import estimator
from mmvs.flow.still import StillFlow
from mmvs.flow.store import FlowStore, Summary
from mmvs.processes import one_at_a_time

FAMILIES: dict[str, type[AnnotatedVideos]] = {
    "a2d": A2DSentences,
    "jhmdb": JHMDBSentences,
    "moving_shapes": MovingShapes,
    "mevis": MeViS,
    "ref-youtube-vos": RefYouTubeVOS,
    "ref-davis17": RefDAVIS17,
    "own": OwnVideos,
    "refcoco": RefCOCO,
    "refcoco+": RefCOCOPlus,
    "refcocog": RefCOCOg,
}


@dataclass(frozen=True)
class Source:
    """A data set as an experiment reads it."""

    samples: AnnotatedVideos
    flow: FlowStore | MosaicFlow  # of the samples' videos; nothing is computed


def names() -> list[str]:
    """Every name that `open` takes; of data of one's own, which may have any splits, the usual ones."""
    return [
        f"{family}-{split}" if split else family
        for family, data_set in FAMILIES.items()
        for split in data_set.splits or ("",)
    ]


def has_expressions(name: str) -> bool:
    """Is it a data set of expressions, whose masks go to a server in a zip?"""
    return not name.startswith(MOSAIC) and issubclass(FAMILIES[_parts(name)[0]], ExpressionVideos)


def tells_by_order(name: str) -> bool:
    """Are there sentences that only the order of motions answers, and is that known of each?"""
    return not name.startswith(MOSAIC) and FAMILIES[_parts(name)[0]] is MovingShapes


def open(name: str, experiment: Experiment) -> Source:
    """Open a data set under its configured root.

    Raises ConfigError on a name that does not exist, DataError naming what is missing or wrong.
    """
    family, split = _parts(name)
    samples = FAMILIES[family].open(_root(family, experiment.data), split, experiment.data)
    flow = _flow(family, split, experiment)
    if name.startswith(MOSAIC):
        samples = Mosaics(samples)
        flow = MosaicFlow(samples, flow)
    return Source(samples, flow)


def roots(data: Data) -> dict[str, Path]:
    """Folders of the data sets in use, each once: by family, or by name where a split has its own folder."""
    folders = {}
    for name in _names_in_use(data):
        family, split = _parts(name)
        root = _root(family, data)
        folder = FAMILIES[family].folder(root, split)
        folders[family if folder == root else name] = folder
    return folders


def sentences(data: Data) -> dict[str, list[Row]]:
    """All rows of the annotation files in use, by the keys of `roots`, as they stand there.

    All splits of a folder: its file does not tell them apart. Neither videos nor masks are needed.
    """
    families = {key: key if key in FAMILIES else _parts(key)[0] for key in roots(data)}
    return {key: FAMILIES[families[key]].sentences(folder) for key, folder in roots(data).items()}


def prepare(
    experiment: Experiment, progress: bool = True, part: tuple[int, int] = (1, 1)
) -> dict[str, Summary]:
    """Write moving shapes if they are in use, and compute the flow of every video; what exists is kept.

    part  (k, n): of the videos, every n-th from the k-th on, so that n machines share them

    Returns a flow Summary for each data set.
    """
    first, parts = part
    data = experiment.data
    for family in dict.fromkeys(_parts(name)[0] for name in _names_in_use(data)):
        FAMILIES[family].write(_root(family, data), data, progress)
    summaries = {}
    for name in dict.fromkeys(name.removeprefix(MOSAIC) for name in _names_in_use(data)):
        source = open(name, experiment)
        own = list(source.samples.videos)[first - 1 :: parts]
        videos = {video: source.samples.video_path(video) for video in own}
        lock = ".lock" if parts == 1 else f".lock-{first}-of-{parts}"
        with one_at_a_time(source.flow.root / lock):
            summaries[name] = source.flow.compute(videos, experiment.flow.workers, progress)
    return summaries


def _names_in_use(data: Data) -> list[str]:
    return list(dict.fromkeys([*data.training_sets, *data.evaluate_on]))


def _parts(name: str) -> tuple[str, str]:
    """Family and split, "" for none; ConfigError on a name that does not exist."""
    name = name.removeprefix(MOSAIC)
    for family, data_set in FAMILIES.items():
        split = name.removeprefix(f"{family}-") if name != family else ""
        if split != name and (split in (data_set.splits or ("",)) or (split and data_set.any_split)):
            return family, split
    raise ConfigError(f"unknown data set '{name}': known are {', '.join(names())}")


def _root(family: str, data: Data) -> Path:
    """Where a family lies; see `AnnotatedVideos.home`."""
    return FAMILIES[family].home(_configured(family, data), data)


def _configured(family: str, data: Data) -> Path:
    """The configured folder of a family; else its default; else data/<family>."""
    defaults = Data.model_fields["roots"].default
    return resolve(data.roots.get(family) or defaults.get(family) or f"data/{family}")


def _flow(family: str, split: str, experiment: Experiment) -> FlowStore:
    """Data of their own folder have flow of their own folder; so has flow of another estimator or height."""
    settings, data = experiment.flow, experiment.data
    suffix = _root(family, data).name.removeprefix(_configured(family, data).name)
    folder = resolve(settings.root) / f"{family}{suffix}"
    if FAMILIES[family].shares_ids:
        folder = folder / split
    if FAMILIES[family].is_still:
        return StillFlow(folder, estimator(settings), settings.height)
    return FlowStore.beside_others(folder, estimator(settings), settings.height)
