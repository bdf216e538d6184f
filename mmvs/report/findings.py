"""What a page says first: one sentence of result, and the figure that shows it; from the run's files."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from mmvs.config import LADDER
from mmvs.report import intervals, tables
from mmvs.run_folder import ReportError, Result, RunFolder


class Finding(NamedTuple):
    """The first lines of a page; either may be empty."""

    sentence: str
    figure: str  # name of a file in figures/, without .png


def of_page(folder: RunFolder, notebook: str) -> Finding:
    """What the page of a notebook begins with; empty where the run has no result of its kind."""
    sentence, *figures = PAGES.get(notebook, (lambda folder: "",))
    try:
        text = sentence(folder)
    except (ReportError, OSError, ValueError, KeyError):  # a file that is not there, or is damaged
        text = ""
    there = [path for name in figures for path in sorted(folder.figures.glob(f"{name}.png"))]
    return Finding(text, there[0].stem if there else "")


def of_scores(folder: RunFolder) -> str:
    """Score, interval and controls of the run's first data set."""
    result = folder.result()
    data_set = next(iter(result.scores))
    everything = result.scores[data_set]["all"]
    if "mean_iou" not in everything:
        return f"{everything['samples']:,} masks of {data_set}, whose truth is not published."
    measure = "J&F" if "J&F" in everything else "mean_iou"
    name = {"mean_iou": "Mean IoU"}.get(measure, measure)
    score = intervals.of_run(folder).get(data_set, {}).get("all") if measure == "mean_iou" else None
    text = f"{name} {score.text() if score else f'{everything[measure]:.3f}'} on {data_set}"
    if "selection_accuracy" in everything and everything.get("selection_chance", 1) < 1:
        chosen, chance = everything["selection_accuracy"], everything["selection_chance"]
        text += f", the right object selected in {chosen:.0%} (chance: {chance:.0%})"
    controls = [
        f"{result.scores[data_set + end]['all'][measure]:.3f} {what}"
        for end, what in (("-shuffled", "with sentences of other videos"), ("-copied", "by a copied mask"))
        if measure in result.scores.get(data_set + end, {}).get("all", {})
    ]
    return f"{text}; {', '.join(controls)}." if controls else f"{text}."


def of_kinds(folder: RunFolder) -> str:
    """The kinds of sentences that are best and worst understood."""
    result = folder.result()
    data_set, kinds = next(iter(result.scores.items()))
    means = {kind: scores["mean_iou"] for kind, scores in kinds.items() if kind != "all"}
    if len(means) < 2:
        return of_scores(folder)
    best, worst = max(means, key=means.get), min(means, key=means.get)
    return (
        f"Best understood are {best} sentences (mean IoU {means[best]:.3f}), worst {worst} sentences "
        f"({means[worst]:.3f}), on {data_set}."
    )


def of_sentences(folder: RunFolder) -> str:
    """How many sentences about how many videos."""
    content = json.loads(folder.sentences.read_text(encoding="utf-8"))
    counts = ((name, n["sentences"], n["videos"]) for name, n in content.items())
    parts = [
        f"{name} has {sentences:,} sentences about {videos:,} videos" for name, sentences, videos in counts
    ]
    return f"{'; '.join(parts)}." if parts else ""


def of_flow(folder: RunFolder) -> str:
    """How far estimated flow is from the exact one, inside the objects."""
    means = json.loads(folder.flow_quality.read_text(encoding="utf-8"))["pixels"]
    inside, speed = (float(means[name]) for name in ("inside", "speed"))
    return (
        f"Inside the objects, which move {speed:.2f} pixels a frame, the estimated flow is off by "
        f"{inside:.2f} pixels on average."
    )


def of_ladder(folder: RunFolder) -> str:
    """What the highest finished rung adds to the lowest."""
    result = folder.result()
    content = json.loads(folder.ladder.read_text(encoding="utf-8"))
    cells = tables.ladder_cells(content, next(iter(result.scores)))
    overall = cells[cells["kind"] == "all"]
    rungs = [rung for rung in LADDER if rung in set(overall["rung"])]
    if len(rungs) < 2:
        return f"{of_scores(folder)} No other rung of the ladder is trained yet: make ladder."
    scores = overall.pivot(index="seed", columns="rung", values="value")
    pairs = scores[[rungs[0], rungs[-1]]].dropna()
    if pairs.empty:
        return f"{of_scores(folder)} {rungs[0]} and {rungs[-1]} have no seed in common yet: make ladder."
    low, high = pairs.mean()
    gain = intervals.over_seeds(pairs[rungs[-1]] - pairs[rungs[0]])
    return (
        f"From {rungs[0]} to {rungs[-1]} the mean IoU goes from {low:.3f} to {high:.3f}: {gain.text('+')} by "
        "pairs of equal seeds."
    )


def of_explicit_motion(folder: RunFolder) -> str:
    """What flow beside the frames is worth."""
    content = json.loads(folder.explicit_motion.read_text(encoding="utf-8"))
    data_set = next(
        name
        for budgets in content.values()
        for seeds in budgets.values()
        for cell in seeds.values()
        for name in cell
    )
    return tables.finding_on_flow(tables.system_cells(content, data_set))


# Sentence, then figures by name, the first that is there; a name may be a pattern.
PAGES: dict[str, tuple[Callable[[RunFolder], str] | str, ...]] = {
    "00_quickstart": (of_scores, "quickstart"),
    "01_explore_data": (of_sentences, "strips", "language"),
    "02_compute_flow": (of_flow, "flow"),
    "03_train": (of_scores, "scores"),
    "04_ablations": (of_ladder, "compared", "ladder"),
    "05_qualitative": (of_kinds, "cases-temporal-order", "cases-*"),
    "06_your_video": (lambda folder: "", "score"),
    "07_your_data": (of_scores, "scores", "cases-*"),
    "08_explicit_motion": (of_explicit_motion, "explicit_motion"),
}


def newest(reports: Path, results: dict[str, Result]) -> tuple[str, Finding] | None:
    """The run of the newest result that compares trainings, else of the newest result, and what it found."""
    by_date = sorted(results, key=lambda name: results[name].provenance.date, reverse=True)
    for page in ("08_explicit_motion", "04_ablations", "03_train"):
        for name in by_date:
            folder = RunFolder(Path(reports) / name)
            if (folder.path / f"{page}.ipynb").exists() and (found := of_page(folder, page)).sentence:
                return f"{name}/{page}", found
    return None
