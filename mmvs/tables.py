"""Result files on disk as tables: scores, ladders, samples; the figures and notebooks draw from these."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from mmvs.config import LADDER

KINDS = ("appearance", "motion", "both", "temporal")  # of sentences, where a data set records them
MEASURES = {
    "mean_iou": "mean IoU",
    "overall_iou": "overall IoU",
    "precision@0.5": "P@0.5",
    "precision@0.7": "P@0.7",
    "precision@0.9": "P@0.9",
    "map": "mAP",
    "mean_precision": "mean precision",
    "selection_accuracy": "selection",
    "selection_chance": "chance",
    "samples": "samples",
}


class ReportError(ValueError):
    """A result file that cannot be read; the text names it and says what would do."""


def read_json(path: Path) -> dict[str, Any]:
    """A result file; ReportError names it when it is missing or no JSON object."""
    try:
        content = json.loads(Path(path).read_text())
    except FileNotFoundError:
        raise ReportError(f"no result file {path}: run 03_train of this experiment first") from None
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ReportError(f"{path} is not JSON ({error}): delete it and run its notebook again") from None
    if not isinstance(content, dict):
        raise ReportError(f"{path}: expected an object, found {type(content).__name__}")
    return content


def read_result(path: Path) -> dict[str, Any]:
    """A run's metrics.json; ReportError also when it has no scores."""
    result = read_json(path)
    scores = result.get("scores")
    if not (isinstance(scores, dict) and scores and all(_has_scores(kinds) for kinds in scores.values())):
        raise ReportError(f"{path}: expected 'scores' with an 'all' for every data set; run 03_train again")
    return result


def kinds_first(names: Any) -> list[str]:
    """Names of kinds in the order every table and figure shows: all, the known kinds, others."""
    names = set(names)
    known = [kind for kind in ("all", *KINDS) if kind in names]
    return known + sorted(names - set(known))


def scores(result: dict[str, Any]) -> pd.DataFrame:
    """A metrics.json as a table: one row per (data set, sentences), one column per measure it holds."""
    rows = {
        (data_set, kind): {MEASURES[key]: kinds[kind].get(key, np.nan) for key in MEASURES}
        for data_set, kinds in result["scores"].items()
        for kind in kinds_first(kinds)
    }
    table = pd.DataFrame.from_dict(rows, orient="index").dropna(axis="columns", how="all")
    table.index = pd.MultiIndex.from_tuples(table.index, names=["data set", "sentences"])
    return table.astype({"samples": int}) if "samples" in table else table


def compared(results: dict[str, dict[str, Any]], data_set: str, measure: str = "mean_iou") -> pd.DataFrame:
    """One measure of several runs: rows are kinds of sentences, columns the runs that know the data set."""
    columns = {
        run: {kind: values.get(measure, np.nan) for kind, values in result["scores"][data_set].items()}
        for run, result in results.items()
        if data_set in result["scores"]
    }
    table = pd.DataFrame(columns)
    return table.reindex(kinds_first(table.index)).rename_axis("sentences")


def finished(reports: Path, names: list[str]) -> dict[str, dict[str, Any]]:
    """The metrics.json of those of the named runs that have one."""
    paths = {name: Path(reports) / name / "metrics.json" for name in names}
    return {name: read_result(path) for name, path in paths.items() if path.exists()}


def provenance(result: dict[str, Any]) -> pd.DataFrame:
    """Where a result came from, in two columns; parameters are left out: they have a file of their own."""
    known = {k: v for k, v in result.get("provenance", {}).items() if k != "parameters"}
    flat = {
        k: ", ".join(f"{a} {b}" for a, b in v.items()) if isinstance(v, dict) else v for k, v in known.items()
    }
    return pd.DataFrame({"value": {k: str(v) for k, v in flat.items()}}, dtype=object).rename_axis("what")


def ladder_cells(ladder: dict[str, Any], data_set: str, measure: str = "mean_iou") -> pd.DataFrame:
    """A ladder.json as one row per (rung, seed, kind) that is finished; columns rung, seed, kind, value."""
    rows = [
        {"rung": rung, "seed": int(seed), "kind": kind, "value": values[measure]}
        for rung in LADDER
        for seed, cell in ladder.get(rung, {}).items()
        for kind, values in cell.get("scores", cell).get(data_set, {}).items()
        if measure in values
    ]
    return pd.DataFrame(rows, columns=["rung", "seed", "kind", "value"])


def half_width(values: pd.Series) -> float:
    """Half of the 95 % confidence interval of the mean (Student's t); NaN with fewer than two values."""
    n = len(values)
    return float(stats.t.ppf(0.975, n - 1) * values.std(ddof=1) / np.sqrt(n)) if n > 1 else float("nan")


def intervals(cells: pd.DataFrame) -> pd.DataFrame:
    """Over the seeds: rung, kind, mean, half (of the 95 % interval) and seeds (how many)."""
    groups = cells.groupby(["rung", "kind"], sort=False)["value"]
    return groups.agg(mean="mean", half=half_width, seeds="size").reset_index()


def increments(cells: pd.DataFrame, kind: str = "all") -> pd.DataFrame:
    """What every rung adds to the finished rung below it, by pairs of equal seeds; index: rung.

    Columns: mean, half, seeds of the rung itself; gain, gain half of the paired difference (first: NaN).
    """
    wide = cells[cells["kind"] == kind].pivot(index="seed", columns="rung", values="value")
    wide = wide[[rung for rung in LADDER if rung in wide]]
    steps = wide.diff(axis="columns")
    return pd.DataFrame(
        {
            "mean": wide.mean(),
            "half": wide.apply(lambda column: half_width(column.dropna())),
            "seeds": wide.count(),
            "gain": steps.mean(),
            "gain half": steps.apply(lambda column: half_width(column.dropna())),
        }
    ).rename_axis("rung")


def samples(data_set: Any, flow: Any = None, limit: int = 600) -> pd.DataFrame:
    """Up to `limit` evenly spread samples of a data set, measured; one row each.

    data_set  a sequence of schema.Sample with .mask(i) and .video_path(video_id)
    flow      its flow store, or None to leave `speed` out

    Columns: index, video_id, kind, sentence, words (count), size (share of the frame),
    speed (mean flow inside the mask, pixels per frame at the video's own width).
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
    return pd.DataFrame(rows)


def frequent_words(sentences: Any, count: int = 24) -> pd.Series:
    """The most frequent words of sentences and how often each occurs, most frequent first."""
    found = Counter(word for sentence in sentences for word in sentence.split())
    return pd.Series(dict(sorted(found.items(), key=lambda item: (-item[1], item[0]))[:count]), name="count")


def chosen(table: pd.DataFrame) -> pd.DataFrame:
    """The best, median and worst sample of every kind in a samples.csv of one data set; adds `case`."""
    picks = []
    for kind in kinds_first(table["kind"].fillna("all")):
        ranked = table[table["kind"].fillna("all") == kind].sort_values(["iou", "index"], ascending=False)
        places = {"best": 0, "median": len(ranked) // 2, "worst": len(ranked) - 1}
        picks.append(ranked.iloc[list(places.values())].assign(case=list(places), kind=kind))
    return pd.concat(picks, ignore_index=True)


def _has_scores(kinds: Any) -> bool:
    """Whether this is {kind: {measure: number}} with an "all" among its kinds."""
    if not isinstance(kinds, dict) or "all" not in kinds:
        return False
    numbers = (int, float, type(None))
    return all(
        isinstance(k, dict) and all(isinstance(v, numbers) for v in k.values()) for k in kinds.values()
    )


def _speed(flow: np.ndarray, mask: np.ndarray) -> float:
    """Mean length of flow (2, h, w) inside mask (H, W), in pixels of the mask; NaN for an empty mask."""
    rows = np.arange(flow.shape[1]) * mask.shape[0] // flow.shape[1]
    columns = np.arange(flow.shape[2]) * mask.shape[1] // flow.shape[2]
    inside = mask[rows[:, None], columns]
    length = np.hypot(flow[0], flow[1]) * mask.shape[1] / flow.shape[2]
    return float(length[inside].mean()) if inside.any() else float("nan")


def counts(data_sets: dict[str, Any]) -> pd.DataFrame:
    """Videos, annotated frames, sentences and samples (of each kind) of data sets by name."""
    rows = {}
    for name, data_set in data_sets.items():
        found = list(data_set)
        kinds = Counter(sample.kind for sample in found if sample.kind)
        rows[name] = {
            "videos": len({sample.video_id for sample in found}),
            "annotated frames": len({(sample.video_id, sample.frame) for sample in found}),
            "sentences": len({(sample.video_id, sample.instance_id, sample.sentence) for sample in found}),
            "samples": len(found),
            **{kind: kinds[kind] for kind in kinds_first(kinds)},
        }
    return pd.DataFrame.from_dict(rows, orient="index").fillna(0).astype(int)


def strips(
    data_set: Any, frames: int, per_kind: int = 1
) -> list[tuple[str, np.ndarray, dict[int, np.ndarray]]]:
    """For figures.film_strips: the frames around some samples of every kind, spread over the data set."""
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
    """For figures.flow_strips: frames and stored flow of some clips, spread over the data set."""
    rows = []
    for i in np.linspace(0, len(data_set) - 1, clips).astype(int).tolist():
        sample = data_set[i]
        indices, pictures = data_set.window(i, frames)
        field = flow.read(sample.video_id, data_set.video_path(sample.video_id), indices)
        rows.append((f"{sample.video_id}: “{sample.sentence}”", pictures, field))
    return rows


def for_animation(table: pd.DataFrame) -> list[int]:
    """Positions of two samples of a samples.csv: the best answers about two objects of one clip.

    It is the clip whose worse answer of the two is best. A single position where no clip has two objects.
    """
    best = table.sort_values(["iou", "index"], ascending=False).drop_duplicates(["video_id", "instance_id"])
    pairs = best.groupby("video_id").head(2)
    weaker = pairs[pairs["video_id"].duplicated()]  # sorted: the second of a clip is the worse one
    if weaker.empty:
        return best["index"].head(1).tolist()
    return pairs.loc[pairs["video_id"] == weaker.iloc[0]["video_id"], "index"].tolist()


def ladder_provenance(folder: Path, ladder: dict[str, Any]) -> pd.DataFrame:
    """Where the cells of a ladder came from, one row each; `folder` is the run's, a ladder.json its cells."""
    rows = {}
    for rung, seeds in ladder.items():
        for seed in seeds:
            cell = Path(folder) / "ladder" / rung / seed / "metrics.json"
            result = read_result(cell if cell.exists() else Path(folder) / "metrics.json")  # the run itself
            known = result.get("provenance", {})
            rows[rung, seed] = {
                "steps": result.get("steps"),
                "parameters": result.get("parameters"),
                "training, min": round(known.get("wall_seconds", {}).get("training", np.nan) / 60, 1),
                "device": known.get("device"),
                "commit": str(known.get("git_commit"))[:10] + ("+" if known.get("git_dirty") else ""),
                "date": str(known.get("date"))[:10],
            }
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis(["rung", "seed"] if rows else None)


def verdicts(cells: pd.DataFrame) -> pd.DataFrame:
    """In words, for every rung and kind of sentence: does the rung help, on these seeds?

    "helps" and "hurts" where the 95 % interval of the paired gains leaves zero out; "not shown" otherwise.
    """
    columns = {}
    for kind in kinds_first(cells["kind"]):
        steps = increments(cells, kind).iloc[1:]
        columns[kind] = [_verdict(row["gain"], row["gain half"]) for _, row in steps.iterrows()]
        index = steps.index
    return pd.DataFrame(columns, index=index) if columns else pd.DataFrame()


def _verdict(gain: float, half: float) -> str:
    if np.isnan(gain):
        return "no pair of seeds"
    shown = f"{gain:+.3f}" if np.isnan(half) else f"{gain:+.3f} ± {half:.3f}"
    if np.isnan(half):
        return f"{shown} (one seed)"
    return f"{'helps' if gain > half else 'hurts' if gain < -half else 'not shown'}: {shown}"
