"""What is in a data set, sample by sample: the tables behind 01_explore_data and 02_compute_flow.

A data set is any sequence of schema.Sample with `.mask(i)`, `.window(i, size)` and `.video_path(video_id)`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any

import numpy as np
import pandas as pd

from mmvs.report.tables import kinds_first


def samples(data_set: Any, flow: Any = None, limit: int = 600) -> pd.DataFrame:
    """Size, speed and words of up to `limit` evenly spread samples of a data set; one row each.

    data_set  a sequence of schema.Sample with .mask(i) and .video_path(video_id)
    flow      its flow store, or None to leave `speed` out

    Columns: index, video_id, kind, sentence, words (count), size (share of the frame),
    speed (mean flow inside the mask, pixels per frame at the video's own width). The table's attrs["of"] is
    how many samples the data set has.
    """
    rows = []
    for index in np.unique(np.linspace(0, len(data_set) - 1, min(limit, len(data_set))).astype(int)).tolist():
        sample, mask = data_set[index], data_set.mask(index)
        row = {
            "index": index,
            "video_id": sample.video_id,
            "kind": sample.kind or "all",
            "sentence": sample.sentence,
        }
        row |= {"words": len(sample.sentence.split()), "size": float(mask.mean())}
        if flow is not None:
            field = flow.read(sample.video_id, data_set.video_path(sample.video_id), [sample.frame])[0]
            row["speed"] = _speed(field, mask)
        rows.append(row)
    table = pd.DataFrame(rows)
    table.attrs["of"] = len(data_set)
    return table


def frequent_words(sentences: Any, count: int = 24) -> pd.Series:
    """The most frequent words of sentences and how often each occurs, most frequent first."""
    return most_frequent((word for sentence in sentences for word in sentence.split()), count)


def most_frequent(words: Iterable[str], count: int, name: str = "count") -> pd.Series:
    """How often each word occurs, most frequent first; equally frequent words by the alphabet."""
    occurrences = Counter(words)
    first = sorted(occurrences.items(), key=lambda item: (-item[1], item[0]))[:count]
    return pd.Series(dict(first), name=name)


def counts(data_sets: dict[str, Any]) -> pd.DataFrame:
    """Videos, annotated frames, sentences and samples (of each kind) of data sets by name."""
    rows = {}
    for name, data_set in data_sets.items():
        records = list(data_set)
        kinds = Counter(sample.kind for sample in records if sample.kind)
        rows[name] = {
            "videos": len({sample.video_id for sample in records}),
            "annotated frames": len({(sample.video_id, sample.frame) for sample in records}),
            "sentences": len({(sample.video_id, sample.instance_id, sample.sentence) for sample in records}),
            "samples": len(records),
            **{kind: kinds[kind] for kind in kinds_first(kinds)},
        }
    return pd.DataFrame.from_dict(rows, orient="index").fillna(0).astype(int)


def strips(
    data_set: Any, frames: int, per_kind: int = 1
) -> list[tuple[str, np.ndarray, dict[int, np.ndarray]]]:
    """For pictures.film_strips: the frames around some samples of every kind, spread over the data set."""
    by_kind: dict[str, list[int]] = {}
    for i, sample in enumerate(data_set):
        by_kind.setdefault(sample.kind or "all", []).append(i)
    rows = []
    for kind in kinds_first(by_kind):
        for i in by_kind[kind][:: max(1, len(by_kind[kind]) // per_kind)][:per_kind]:
            pictures = data_set.window(i, frames)[1]
            rows.append((f"{kind}: “{data_set[i].sentence}”", pictures, {frames // 2: data_set.mask(i)}))
    return rows


def flow_strips(
    data_set: Any, flow: Any, clips: int = 3, frames: int = 6
) -> list[tuple[str, np.ndarray, np.ndarray]]:
    """For pictures.flow_strips: frames and stored flow of some clips, spread over the data set."""
    rows = []
    for i in np.linspace(0, len(data_set) - 1, clips).astype(int).tolist():
        sample = data_set[i]
        indices, pictures = data_set.window(i, frames)
        field = flow.read(sample.video_id, data_set.video_path(sample.video_id), indices)
        rows.append((f"{sample.video_id}: “{sample.sentence}”", pictures, field))
    return rows


def _speed(flow: np.ndarray, mask: np.ndarray) -> float:
    """Mean length of flow (2, h, w) inside mask (H, W), in pixels of the mask; NaN for an empty mask."""
    rows = np.arange(flow.shape[1]) * mask.shape[0] // flow.shape[1]
    columns = np.arange(flow.shape[2]) * mask.shape[1] // flow.shape[2]
    inside = mask[rows[:, None], columns]
    length = np.hypot(flow[0], flow[1]) * mask.shape[1] / flow.shape[2]
    return float(length[inside].mean()) if inside.any() else float("nan")
