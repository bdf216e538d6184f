"""A sweep's scores for its page: points with intervals and seeds, controls, differences, what failed."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.figure import Figure

from mmvs.report.charts import COLOURS, finish, without_formulas
from mmvs.report.intervals import Estimate, over_seeds
from mmvs.report.tables import CONTROLS
from mmvs.run_folder import ReportError


@dataclass(frozen=True)
class SweepScores:
    """What a sweep.json says of its first data set, in the measure that matters there."""

    data_set: str
    measure: str  # "J&F" where videos are scored as wholes, else "mean_iou"
    points: dict[str, Estimate]
    gains: dict[str, Estimate]  # of each point over the first, by pairs of equal seeds
    seeds: dict[str, dict[int, float]]
    floors: dict[str, float]  # controls, the mean over all points
    failed: dict[str, str]
    command: str = ""  # what runs the sweep again

    @property
    def name(self) -> str:
        return {"mean_iou": "mean IoU"}.get(self.measure, self.measure)

    @classmethod
    def read(cls, path: Path) -> SweepScores:
        """Read what `mmvs sweep` wrote; ReportError where the file is damaged, or no cell has scores."""
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            cells = {name: point["scores"] for name, point in content["points"].items() if point["scores"]}
            first = next(iter(next(iter(cells.values())).values()))
            data_set = next(iter(first))
            measure = "J&F" if "J&F" in first[data_set]["all"] else "mean_iou"
            seeds = {
                name: {int(seed): scores[data_set]["all"][measure] for seed, scores in of_point.items()}
                for name, of_point in cells.items()
            }
            floors = {
                label: _mean(scores[data_set + end]["all"][measure] for scores in _all(cells))
                for end, label in CONTROLS.items()
                if all(data_set + end in scores for scores in _all(cells))
            }
            one_seed = _bootstrapped(content["table"], data_set, "score") if measure == "mean_iou" else {}
            one_pair = _bootstrapped(content["table"], data_set, "gain") if measure == "mean_iou" else {}
            failed, command = dict(content["failed"]), str(content.get("command", ""))
        except (OSError, ValueError, KeyError, TypeError, AttributeError, StopIteration) as error:
            raise ReportError(
                f"{path} is damaged, or of a sweep without scores ({error}): mmvs sweep writes it anew"
            ) from None
        start, gains = next(iter(seeds.values())), {}
        points = {name: one_seed.get(name) or over_seeds(list(own.values())) for name, own in seeds.items()}
        for name, own in list(seeds.items())[1:]:
            pairs = [own[seed] - start[seed] for seed in own if seed in start]
            if pairs:
                gains[name] = one_pair.get(name) or over_seeds(pairs)
        return cls(data_set, measure, points, gains, seeds, floors, failed, command)

    def finding(self) -> str:
        """The best point, what it adds to the first, and how far it is above the controls."""
        best = max(self.points, key=lambda name: self.points[name].value)
        text = f"Best on {self.data_set}: {best}, {self.name} {self.points[best].text()}"
        if best in self.gains:
            text += f", {self.gains[best].text('+')} more than {next(iter(self.points))}"
        if self.floors:
            text += "; " + ", ".join(f"{value:.3f} by {name}" for name, value in self.floors.items())
        return f"{text}."

    def table(self) -> pd.DataFrame:
        """A row a point: seeds, score and difference with their 95 % intervals."""
        first = next(iter(self.points))
        return pd.DataFrame(
            {
                "seeds": {name: len(own) for name, own in self.seeds.items()},
                f"{self.name} [95 % interval]": {name: one.text() for name, one in self.points.items()},
                f"less {first}": {n: self.gains[n].text("+") if n in self.gains else "" for n in self.points},
            }
        ).rename_axis("point")

    def chart(self) -> Figure:
        """A line a point: mean, interval and one dot a seed; controls are vertical lines."""
        figure, axis = plt.subplots(figsize=(9, 1.4 + 0.55 * len(self.points)))
        for place, (name, one) in enumerate(self.points.items()):
            own = list(self.seeds[name].values())
            axis.scatter(own, [place] * len(own), s=22, color=COLOURS["appearance"], alpha=0.5, zorder=3)
            ends = [[one.value - one.low], [one.high - one.value]] if not math.isnan(one.low) else None
            axis.errorbar(one.value, place, xerr=ends, fmt="D", color="black", capsize=4, ms=5, zorder=4)
        for style, (name, value) in zip((":", "--", "-."), self.floors.items(), strict=False):
            axis.axvline(value, ls=style, color=COLOURS["all"], label=f"{name}: {value:.3f}")
        axis.set_yticks(range(len(self.points)), list(self.points))
        axis.set(
            xlabel=f"{self.name} on {self.data_set}", xlim=(0, None), ylim=(len(self.points) - 0.5, -0.5)
        )
        axis.grid(axis="y", visible=False)
        if self.floors:
            axis.legend(fontsize=9, frameon=False, loc="lower left", bbox_to_anchor=(0, 1), ncols=3)
        return finish(without_formulas(figure))


def _all(cells: dict[str, dict[str, Any]]) -> list[dict[str, Any]]:
    return [scores for of_point in cells.values() for scores in of_point.values()]


def _mean(values: Any) -> float:
    return float(pd.Series(list(values), dtype=float).mean())


def _bootstrapped(rows: list[dict[str, Any]], data_set: str, column: str) -> dict[str, Estimate]:
    """Intervals over videos, which the sweep kept where a point has one seed."""
    chosen = (row for row in rows if row["data_set"] == data_set and row["kind"] == "all" and row[column])
    estimates = {row["point"]: Estimate.of(row[column]) for row in chosen}
    return {name: one for name, one in estimates.items() if one.unit == "video"}
