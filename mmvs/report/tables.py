"""Result files on disk as tables: scores, ladders, samples; the figures and notebooks draw from these."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from mmvs.config import LADDER, SYSTEMS, Experiment
from mmvs.run_folder import ExplicitMotion, Ladder, Result, RunFolder
from mmvs.shapes.language import TEMPORAL

KINDS = ("appearance", "motion", "both", "temporal", *TEMPORAL)  # of sentences, where a data set records them
MEASURES = {
    "mean_iou": "mean IoU",
    "overall_iou": "overall IoU",
    "J": "J",  # of whole videos: see mmvs/metrics
    "F": "F",
    "J&F": "J&F",
    "precision@0.5": "P@0.5",
    "precision@0.7": "P@0.7",
    "precision@0.9": "P@0.9",
    "map": "mAP",
    "mean_precision": "mean precision",
    "selection_accuracy": "selection",
    "selection_chance": "chance",
    "samples": "samples",
}


# Ends of data sets' names: controls that evaluation scores beside them, and what each is.
CONTROLS = {
    "-shuffled": "sentences of other videos",
    "-backwards": "windows backwards",
    "-copied": "last labelled mask, copied",
}


def without_control(data_set: str) -> str:
    """The data set that a control is of; a data set's own name as it is."""
    return next((data_set.removesuffix(end) for end in CONTROLS if data_set.endswith(end)), data_set)


def kinds_first(names: Any) -> list[str]:
    """Names of kinds in the order of every table and figure: all, those of KINDS, others."""
    names = set(names)
    first = [kind for kind in ("all", *KINDS) if kind in names]
    return first + sorted(names - set(first))


def scores(result: Result, estimates: Mapping[str, Mapping[str, Any]] | None = None) -> pd.DataFrame:
    """A result as a table: one row per (data set, sentences), one column per measure it holds.

    estimates  of mean IoU, as intervals.of_run has them: `low` and `high` then hold the 95 % interval
    """
    rows = {
        (data_set, kind): {MEASURES[key]: kinds[kind].get(key, np.nan) for key in MEASURES}
        for data_set, kinds in result.scores.items()
        for kind in kinds_first(kinds)
    }
    table = pd.DataFrame.from_dict(rows, orient="index").dropna(axis="columns", how="all")
    table.index = pd.MultiIndex.from_tuples(table.index, names=["data set", "sentences"])
    ends = {place: (estimates or {}).get(place[0], {}).get(place[1]) for place in rows}
    if any(ends.values()) and "mean IoU" in table:
        for column in ("high", "low"):
            values = [getattr(one, column) if one else np.nan for one in ends.values()]
            table.insert(table.columns.get_loc("mean IoU") + 1, column, values)
    return table.astype({"samples": int}) if "samples" in table else table


def comparison(by_run: dict[str, Result], data_set: str, measure: str = "mean_iou") -> pd.DataFrame:
    """One measure of several runs: rows are kinds of sentences, columns the runs that know the data set."""
    columns = {
        run: {kind: values.get(measure, np.nan) for kind, values in result.scores[data_set].items()}
        for run, result in by_run.items()
        if data_set in result.scores
    }
    table = pd.DataFrame(columns)
    return table.reindex(kinds_first(table.index)).rename_axis("sentences")


def results(reports: Path, names: list[str]) -> dict[str, Result]:
    """The results of those of the named runs that have one."""
    folders = {name: RunFolder(Path(reports) / name) for name in names}
    return {name: folder.result() for name, folder in folders.items() if folder.is_scored()}


def provenance(result: Result) -> pd.DataFrame:
    """Where a result came from, in two columns; parameters are left out: they have a file of their own."""
    fields = result.provenance.model_dump(exclude_unset=True, exclude={"parameters"})
    flat = {
        name: ", ".join(f"{a} {b}" for a, b in value.items()) if isinstance(value, dict) else value
        for name, value in fields.items()
    }
    return pd.DataFrame(
        {"value": {name: str(value) for name, value in flat.items()}}, dtype=object
    ).rename_axis("what")


def ladder_cells(ladder: Ladder, data_set: str, measure: str = "mean_iou") -> pd.DataFrame:
    """A ladder.json as one row per (rung, seed, kind) that is finished; columns rung, seed, kind, value."""
    rows = [
        {"rung": rung, "seed": int(seed), "kind": kind, "value": values[measure]}
        for rung in LADDER
        for seed, cell in ladder.get(rung, {}).items()
        for kind, values in cell.get(data_set, {}).items()
        if measure in values
    ]
    return pd.DataFrame(rows, columns=["rung", "seed", "kind", "value"])


def system_cells(content: ExplicitMotion, data_set: str, measure: str = "mean_iou") -> pd.DataFrame:
    """An explicit_motion.json, a row per finished (system, steps, share, seed, kind), and its `value`."""
    rows = []
    for system in SYSTEMS:
        for budget, seeds in content.get(system, {}).items():
            steps, _, share = budget.partition("/")
            place = {"system": system, "steps": int(steps), "share": float(share or 1)}
            rows += [
                {**place, "seed": int(seed), "kind": kind, "value": values[measure]}
                for seed, cell in seeds.items()
                for kind, values in cell.get(data_set, {}).items()
                if measure in values
            ]
    return pd.DataFrame(rows, columns=["system", "steps", "share", "seed", "kind", "value"])


def worth_of_flow(cells: pd.DataFrame) -> pd.DataFrame:
    """What flow adds to the frames, by pairs of equal budgets and seeds; of system_cells.

    Returns rows (steps, share, kind): video, video+flow, the gain, half of its 95 % interval, and the seeds.
    """
    places = ["steps", "share", "kind"]
    wide = cells.pivot(index=[*places, "seed"], columns="system", values="value")
    if not {"video", "video+flow"} <= set(wide):
        return pd.DataFrame(columns=["video", "video+flow", "gain", "half", "seeds"])
    pairs = wide[["video", "video+flow"]].dropna()
    pairs["gain"] = pairs["video+flow"] - pairs["video"]
    grouped = pairs.groupby(places)
    table = grouped.mean()
    return table.assign(half=grouped["gain"].agg(half_width), seeds=grouped["gain"].count())


def finding_on_flow(cells: pd.DataFrame) -> str:
    """In a sentence: what explicit motion is worth in the longest training on all videos."""
    worth = worth_of_flow(cells[cells["share"] == 1])
    if worth.empty:
        return "No pair of trainings with and without flow is finished yet."
    steps = worth.index.get_level_values("steps").max()
    last = worth.xs((steps, 1.0), level=("steps", "share"))
    kinds = [kind for kind in kinds_first(last.index) if kind != "all"]

    def said(kind: str) -> str:
        row = last.loc[kind]
        interval = "" if np.isnan(row["half"]) else f" ± {row['half']:.2f}"
        return f"{row['gain']:+.2f}{interval}"

    seeds = int(last.loc["all", "seeds"])
    return (
        f"After {steps:,} steps, flow beside the frames adds {said('all')} to the mean IoU over all "
        f"sentences ({last.loc['all', 'video']:.2f} without, {last.loc['all', 'video+flow']:.2f} with; "
        f"{seeds} seed{'s' * (seeds > 1)}): " + ", ".join(f"{said(kind)} on {kind}" for kind in kinds) + "."
    )


def half_width(values: pd.Series) -> float:
    """Half of the 95 % confidence interval of the mean (Student's t); NaN with fewer than two values."""
    n = len(values)
    return float(stats.t.ppf(0.975, n - 1) * values.std(ddof=1) / np.sqrt(n)) if n > 1 else float("nan")


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


def best_median_worst(table: pd.DataFrame) -> pd.DataFrame:
    """The best, median and worst sample of every kind in a samples.csv of one data set; adds `case`."""
    picks = []
    for kind in kinds_first(table["kind"].fillna("all")):
        ranked = table[table["kind"].fillna("all") == kind].sort_values(["iou", "index"], ascending=False)
        places = {"best": 0, "median": len(ranked) // 2, "worst": len(ranked) - 1}
        picks.append(ranked.iloc[list(places.values())].assign(case=list(places), kind=kind))
    return pd.concat(picks, ignore_index=True)


def best_pair(table: pd.DataFrame) -> list[int]:
    """Positions of two samples of a samples.csv: the best answers about two objects of one clip.

    It is the clip whose worse answer of the two is best. A single position where no clip has two objects.
    """
    best = table.sort_values(["iou", "index"], ascending=False).drop_duplicates(["video_id", "instance_id"])
    pairs = best.groupby("video_id").head(2)
    weaker = pairs[pairs["video_id"].duplicated()]  # sorted: the second of a clip is the worse one
    if weaker.empty:
        return best["index"].head(1).tolist()
    return pairs.loc[pairs["video_id"] == weaker.iloc[0]["video_id"], "index"].tolist()


def ladder_provenance(experiment: Experiment, ladder: Ladder) -> pd.DataFrame:
    """Where the cells of a ladder came from, one row each.

    experiment  whose ladder this is
    """
    rows = {}
    for rung, seeds in ladder.items():
        for seed in seeds:
            result = RunFolder.of(experiment.on_rung(rung, int(seed))).result()
            origin = result.provenance
            rows[rung, seed] = {
                "steps": result.steps,
                "parameters": result.parameters,
                "training, min": round(origin.wall_seconds.get("training", np.nan) / 60, 1),
                "device": origin.device,
                "commit": origin.commit,
                "date": origin.day,
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
    text = f"{gain:+.3f}" if np.isnan(half) else f"{gain:+.3f} ± {half:.3f}"
    if np.isnan(half):
        return f"{text} (one seed)"
    return f"{'helps' if gain > half else 'hurts' if gain < -half else 'not shown'}: {text}"
