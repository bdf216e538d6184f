"""95 % intervals of scores: of one run over its videos, of several runs over their seeds.

Samples of one video are alike, so that the bootstrap draws videos, each with all of its samples.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from mmvs.files import write_json
from mmvs.report.tables import half_width
from mmvs.run_folder import ReportError, Result, RunFolder

RESAMPLES = 5000  # the ends of an interval move by less than a fiftieth of its width from draw to draw
ROUNDING = 1e-4  # samples.csv keeps four digits
KEY = ["data_set", "video_id", "frame", "instance_id", "sentence"]  # of a sample, in any run
VIDEO_MEASURES = ("J", "F", "J&F")  # of expressions, over all frames of a video
COLUMNS = [*KEY, "kind", "iou"]


@dataclass(frozen=True)
class Estimate:
    """A score with its 95 % interval; low and high are NaN where `count` is too small for one."""

    value: float
    low: float = math.nan
    high: float = math.nan
    count: int = 0  # of videos, or of seeds; 0: unknown, as where there is no samples.csv
    unit: str = "video"  # "video" or "seed"

    def text(self, sign: str = "") -> str:
        """Three digits and the interval, or that there is one video or seed; sign "+" is for differences."""
        if math.isnan(self.value):
            return "-"
        if math.isnan(self.low):
            return f"{self.value:{sign}.3f}" + (f" [1 {self.unit}]" if self.count == 1 else "")
        return f"{self.value:{sign}.3f} [{self.low:{sign}.3f}, {self.high:{sign}.3f}]"

    @classmethod
    def of(cls, record: dict[str, Any]) -> Estimate:
        """The estimate that `record` wrote."""
        return cls(**{name: math.nan if value is None else value for name, value in record.items()})

    def record(self) -> dict[str, Any]:
        """What a JSON file holds; null in place of NaN."""
        return {
            name: None if isinstance(value, float) and math.isnan(value) else value
            for name, value in asdict(self).items()
        }


def over_videos(
    values: Sequence[float], videos: Sequence[str], resamples: int = RESAMPLES, seed: int = 0
) -> Estimate:
    """The mean of all samples, with its bootstrap interval over videos (percentiles).

    values  one a sample: a score, or a difference of two runs' scores
    videos  of the samples; a video is drawn with all of its samples
    seed    of the draws: the same table gives the same interval

    ValueError without samples, or with a value that is no number.
    """
    values = np.asarray(values, float)
    if not len(values) or not np.isfinite(values).all():
        raise ValueError("an interval needs samples, each with a number as its score")
    _, of_sample = np.unique(np.asarray(videos, str), return_inverse=True)
    sums, counts = np.bincount(of_sample, values), np.bincount(of_sample)
    mean = float(values.mean())
    if len(counts) == 1:
        return Estimate(mean, count=1)
    interval = stats.bootstrap(
        (sums, counts),
        lambda sums, counts, axis: sums.sum(axis) / counts.sum(axis),
        paired=True,
        vectorized=True,
        n_resamples=resamples,
        batch=max(1, 2_000_000 // len(counts)),  # resamples at once: tens of megabytes
        method="percentile",
        rng=np.random.default_rng(seed),
    ).confidence_interval
    return Estimate(mean, float(interval.low), float(interval.high), len(counts))


def over_seeds(values: Sequence[float]) -> Estimate:
    """The mean of a score, or of a paired difference, over seeds, with Student's t interval."""
    series = pd.Series(values, dtype=float)
    mean, half = float(series.mean()), half_width(series)
    return Estimate(mean, mean - half, mean + half, len(series), "seed")


def samples(folder: RunFolder, result: Result) -> pd.DataFrame | None:
    """The samples.csv of a run: a row a sample of each data set; None where there is none.

    ReportError where it lacks a column, cannot be read, or is not of this result.
    """
    if not folder.samples.exists():
        return None
    again = "move it away, and `mmvs evaluate` with the run's params file writes it anew"
    try:
        table = pd.read_csv(folder.samples, dtype=str, keep_default_na=False)
    except (OSError, ValueError) as error:  # of the disk; no text, no table, no columns
        raise ReportError(f"{folder.samples} cannot be read ({str(error).strip()}): {again}") from None
    if missing := [name for name in COLUMNS if name not in table]:
        raise ReportError(f"{folder.samples} is of another version (no column {', '.join(missing)}): {again}")
    table["iou"] = pd.to_numeric(table["iou"], errors="coerce")
    if not table["iou"].between(0, 1).all():
        row = int(np.flatnonzero(~table["iou"].between(0, 1))[0])
        raise ReportError(f"{folder.samples}, row {row + 1}: iou is not in 0 to 1: {again}")
    means = table.groupby("data_set")["iou"].agg(["mean", "size"])
    for name, kinds in result.scores.items():
        if name not in result.provenance.data_fingerprint or "mean_iou" not in kinds["all"]:
            continue  # sentences of other videos, or without a truth: samples.csv has none of these
        mean, size = means.loc[name] if name in means.index else (math.nan, 0)
        expected = kinds["all"]["mean_iou"], kinds["all"].get("samples", size)
        if size != expected[1] or abs(mean - expected[0]) > ROUNDING:
            raise ReportError(
                f"{folder.samples} is not of the same evaluation as {folder.metrics.name}: {name} has "
                f"{size:.0f} samples of mean IoU {mean:.4f}, not {expected[1]} of {expected[0]:.4f}: {again}"
            )
    return table


def of_run(folder: RunFolder) -> dict[str, dict[str, Estimate]]:
    """Mean IoU of a run with its interval over videos: {data set: {kind: estimate}}.

    Of its samples.csv, which git does not keep; the intervals stay in `intervals.json`, and come from there
    where the table is missing. Empty where there is neither, or they are of other weights.
    """
    result = folder.result()
    weights = result.provenance.weights
    table = samples(folder, result)
    if table is None:
        try:
            content = json.loads(folder.intervals.read_text(encoding="utf-8"))
            kept = content["intervals"] if content["weights"] == weights else {}
            return {
                data_set: {kind: Estimate.of(record) for kind, record in kinds.items()}
                for data_set, kinds in kept.items()
            }
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return {}
    found: dict[str, dict[str, Estimate]] = {}
    for data_set in dict.fromkeys(table["data_set"]):
        for kind in result.scores.get(data_set, {}):
            rows = of_kind(table, data_set, kind)
            if len(rows):
                found.setdefault(data_set, {})[kind] = over_videos(rows["iou"], rows["video_id"])
    record = {
        data_set: {kind: estimate.record() for kind, estimate in kinds.items()}
        for data_set, kinds in found.items()
    }
    write_json(folder.intervals, {"weights": weights, "intervals": record})
    return found


def expressions(folder: RunFolder, data_set: str) -> pd.DataFrame | None:
    """J, F and J&F of each expression of a data set's submission, as rows like those of `samples`.

    None where there is no such table, or one of another layout.
    """
    columns = {"video": "video_id", "exp_id": "instance_id", "J mean": "J", "F mean": "F"}
    try:
        table = pd.read_csv(folder.submission(data_set).with_suffix(".csv"), dtype=str, keep_default_na=False)
        table = table.rename(columns=columns).assign(data_set=data_set, frame="", kind="")
        return table[[*KEY, "kind", *VIDEO_MEASURES]].astype(dict.fromkeys(VIDEO_MEASURES, float))
    except (OSError, ValueError, KeyError):
        return None


def measured(table: pd.DataFrame, measure: str) -> pd.Series | None:
    """What each row adds to a measure: their mean is the score. None of a measure that is no such mean."""
    if measure in VIDEO_MEASURES:
        return table.get(measure)
    if measure == "mean_iou":
        return table["iou"]
    if measure.startswith("precision@"):
        return (table["iou"] > float(measure.removeprefix("precision@"))).astype(float)
    return None


def of_kind(table: pd.DataFrame, data_set: str, kind: str) -> pd.DataFrame:
    """The samples of one data set and kind; "all" takes every one, "temporal" also "temporal-set"."""
    chosen = table["data_set"] == data_set
    if kind != "all":
        chosen &= (table["kind"] == kind) | table["kind"].str.startswith(f"{kind}-")
    return table[chosen]


def paired(a: pd.DataFrame, b: pd.DataFrame, measure: str) -> Estimate | None:
    """What B scores more than A, on the samples that both have; None where there is no such sample."""
    ours, theirs = (
        table.assign(value=measured(table, measure), again=table.groupby(KEY).cumcount()) for table in (a, b)
    )
    both = ours.merge(theirs, on=[*KEY, "again"], suffixes=("_a", "_b"))
    return over_videos(both["value_b"] - both["value_a"], both["video_id"]) if len(both) else None
