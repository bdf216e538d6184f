"""`mmvs compare`: scores of runs side by side with intervals, paired differences, and what differs.

What is compared is a run, reports/<run>; or a folder that holds a run a seed, such as a cell of a sweep or a
rung of the ladder, reports/<run>/ladder/<rung> (the top: reports/<run>/explicit_motion/video+flow/<steps>).
"""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from pathlib import Path
from typing import Any

import pandas as pd

from mmvs.config import MOSAIC, resolve
from mmvs.files import write_json
from mmvs.report import intervals
from mmvs.report.intervals import Estimate
from mmvs.report.tables import MEASURES, kinds_first, without_control
from mmvs.run_folder import ReportError, Result, RunFolder

ABSENT = "(none)"  # of a parameter that one of the runs does not know
CLOSE = 0.002  # a table of rounded scores may differ so much from metrics.json; more: it is of another time
LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
OF_THE_DATA = ("samples", "selection_chance")  # of the data, not of a run


@dataclass(frozen=True)
class Contender:
    """One run, or one experiment with several seeds."""

    name: str  # as the user gave it
    folders: dict[int, RunFolder]  # by seed
    results: dict[int, Result]
    samples: dict[int, pd.DataFrame | None]  # None: there is no samples.csv

    @classmethod
    def open(cls, name: str | Path) -> Contender:
        """By folder, or by name below reports/. ReportError says what there is instead, or what to run."""
        return cls.of(str(name), _runs_of(_folder(name)))

    @classmethod
    def of(cls, name: str, folders: list[Path]) -> Contender:
        """Of the folders of a run, or of a run a seed. ReportError: as of their files; two of one seed."""
        results = {path: RunFolder(path).result() for path in folders}
        by_seed = {result.provenance.seed: path for path, result in results.items()}
        if len(by_seed) < len(results):
            raise ReportError(f"{name}: two of its runs have the same seed: compare them one by one")
        ordered = {seed: RunFolder(by_seed[seed]) for seed in sorted(by_seed)}
        of_seed = {seed: results[folder.path] for seed, folder in ordered.items()}
        samples = {seed: intervals.samples(ordered[seed], result) for seed, result in of_seed.items()}
        return cls(name, ordered, of_seed, samples)

    @property
    def first(self) -> Result:
        """The result of the lowest seed: all seeds share what differs() tells."""
        return next(iter(self.results.values()))

    def value(self, seed: int, data_set: str, kind: str, measure: str) -> float | None:
        """A score of one seed; None where there is none."""
        return self.results[seed].scores.get(data_set, {}).get(kind, {}).get(measure)

    def score(self, data_set: str, kind: str, measure: str) -> Estimate | None:
        """A score with its interval: over seeds where there are several, else over videos."""
        values = {seed: self.value(seed, data_set, kind, measure) for seed in self.results}
        known = {seed: value for seed, value in values.items() if value is not None}
        if not known:
            return None
        if len(known) > 1:
            return intervals.over_seeds(list(known.values()))
        (seed, value) = next(iter(known.items()))
        estimate = self._over_videos(seed, data_set, kind, measure)
        return Estimate(value, estimate.low, estimate.high, estimate.count) if estimate else Estimate(value)

    def _over_videos(self, seed: int, data_set: str, kind: str, measure: str) -> Estimate | None:
        table = self.table(seed, data_set, kind, measure)
        if table is None:
            return None
        return intervals.over_videos(intervals.measured(table, measure), table["video_id"])

    def table(self, seed: int, data_set: str, kind: str, measure: str) -> pd.DataFrame | None:
        """The samples, or expressions, whose mean a score is; None where there are none on disk."""
        table = self.samples[seed]
        if measure in intervals.VIDEO_MEASURES:
            table = intervals.expressions(self.folders[seed], data_set)
        if table is None:
            return None
        chosen = intervals.of_kind(table, data_set, kind)
        values, score = intervals.measured(chosen, measure), self.value(seed, data_set, kind, measure)
        if values is None or score is None or not len(values):
            return None
        return chosen if abs(values.mean() - score) < CLOSE else None

    def line(self) -> str:
        """Where the scores are from, in a line."""
        origin = self.first.provenance
        seeds = ", ".join(map(str, self.results))
        return (
            f"{self.name}: {'seed' if len(self.results) == 1 else 'seeds'} {seeds}, "
            f"{self.first.steps:,} steps, {origin.day}, commit {origin.commit or 'unknown'}"
        )


def difference(a: Contender, b: Contender, data_set: str, kind: str, measure: str) -> Estimate | None:
    """B - A: by pairs of equal seeds where there are several, else by videos that both scored.

    None where the two have no seed, or no such score, in common.
    """
    if len(a.results) == len(b.results) == 1:  # two runs: of one seed or not, they are compared as they are
        pairs = [(next(iter(a.results)), next(iter(b.results)))]
    else:
        pairs = [(seed, seed) for seed in a.results if seed in b.results]
    values = [(a.value(i, data_set, kind, measure), b.value(j, data_set, kind, measure)) for i, j in pairs]
    known = [(one, other) for one, other in values if one is not None and other is not None]
    if not known:
        return None
    if len(pairs) > 1:
        return intervals.over_seeds([other - one for one, other in known])
    ((i, j),) = pairs
    ours, theirs = a.table(i, data_set, kind, measure), b.table(j, data_set, kind, measure)
    estimate = None if ours is None or theirs is None else intervals.paired(ours, theirs, measure)
    return estimate or Estimate(known[0][1] - known[0][0])


def other_data(a: Contender, b: Contender) -> dict[str, str]:
    """Data set that both scored → why its samples or its pictures are not the same; empty: they are."""
    reasons = {}
    for name in a.first.scores:
        if name not in b.first.scores:
            continue
        ours, theirs = (_data(one.first, name) for one in (a, b))
        changed = [
            f"{key} {ours[key]}, {theirs[key]}"
            for key in ours
            if key in theirs and ours[key] != theirs[key]  # a version may not know a setting of another one
        ]
        if changed:
            reasons[name] = "; ".join(changed)
    return reasons


def _data(result: Result, data_set: str) -> dict[str, Any]:
    """What decides the samples and the pictures of a data set."""
    origin = result.provenance
    base = without_control(data_set)
    known = {"fingerprint": origin.data_fingerprint.get(base, ABSENT)}
    if base.removeprefix(MOSAIC).startswith("moving_shapes"):  # drawn: their settings make their pictures
        settings = origin.part("data").get("moving_shapes") or {}
        known |= {name: value for name, value in settings.items() if not name.endswith("_clips")}
    return known


@dataclass(frozen=True)
class Row:
    """One score of all runs; None: a run has no such score, or is not to be compared with the first."""

    measure: str
    data_set: str
    kind: str  # of sentences
    scores: list[Estimate | None]
    differences: list[Estimate | None]  # of every run but the first: what it scores more than the first

    def cells(self) -> list[str]:
        """As columns of a text."""
        texts = [one.text() if one else "-" for one in self.scores]
        return [
            self.data_set,
            self.kind,
            *texts,
            *(one.text("+") if one else "-" for one in self.differences),
        ]

    def record(self) -> dict[str, Any]:
        """What a JSON file holds."""
        lists = {"scores": self.scores, "differences": self.differences}
        return {"measure": self.measure, "data_set": self.data_set, "kind": self.kind} | {
            name: [one.record() if one else None for one in values] for name, values in lists.items()
        }


@dataclass(frozen=True)
class Comparison:
    """Two contenders or more; the first is the one that the others are compared with."""

    contenders: list[Contender]
    measures: list[str]
    different_data: bool = False  # True: print scores on different data, with a warning

    @classmethod
    def of(
        cls, names: list[str | Path], measures: list[str] | None = None, different_data: bool = False
    ) -> Comparison:
        """Open runs by folder or name.

        measures  keys of metrics.json; None: mean IoU, and J&F where a run has it

        ReportError: a missing or unscored run, an unknown measure, no data set in common, or runs on
        different data without `different_data`.
        """
        if len(names) < 2:
            raise ReportError("a comparison needs two runs or more")
        if len(names) > len(LETTERS):
            raise ReportError(f"a comparison takes {len(LETTERS)} runs at most, not {len(names)}")
        contenders = [Contender.open(name) for name in names]
        known = {
            measure
            for one in contenders
            for kinds in one.first.scores.values()
            for scores in kinds.values()
            for measure in scores
        }
        for measure in measures or []:
            if measure not in known:
                near = difflib.get_close_matches(measure, known, n=1)
                hint = f"did you mean '{near[0]}'?" if near else f"known: {', '.join(sorted(known))}"
                raise ReportError(f"no run has the measure '{measure}': {hint}")
        chosen = measures or [name for name in ("mean_iou", "J&F") if name in known]
        if not chosen:
            raise ReportError(f"{names[0]}: no scores but the number of masks; their truth is not published")
        comparison = cls(contenders, chosen, different_data)
        comparison._require_common_data()
        return comparison

    def _require_common_data(self) -> None:
        first = self.contenders[0]
        for other in self.contenders[1:]:
            if not set(first.first.scores) & set(other.first.scores):
                raise ReportError(
                    f"{first.name} and {other.name} are not scored on a common data set: "
                    f"{', '.join(first.first.scores)} there, {', '.join(other.first.scores)} here"
                )
        if not self.different_data and (warnings := self.warnings()):
            raise ReportError("\n".join([*warnings, "--different-data prints them all the same"]))

    def warnings(self) -> list[str]:
        """A line for each pair of runs that are scored on different data."""
        first = self.contenders[0]
        return [
            f"scores on different data are not comparable: {name} of {first.name} and of {other.name} "
            f"({reason})"
            for other in self.contenders[1:]
            for name, reason in other_data(first, other).items()
        ]

    @cached_property
    def rows(self) -> list[Row]:
        """Every score that a run has."""
        first, *others = self.contenders
        data_sets = dict.fromkeys(name for one in self.contenders for name in one.first.scores)
        rows = []
        for measure, name in product(self.measures, data_sets):
            kinds = {kind for one in self.contenders for kind in one.first.scores.get(name, {})}
            for kind in kinds_first(kinds):
                scores = [one.score(name, kind, measure) for one in self.contenders]
                differences = [
                    None
                    if measure in OF_THE_DATA or name in other_data(first, other)
                    else difference(first, other, name, kind, measure)
                    for other in others
                ]
                if any(scores):
                    rows.append(Row(measure, name, kind, scores, differences))
        return rows

    def differing(self) -> dict[str, dict[str, list[Any]]]:
        """Part ("parameters", "code", ...) → name → the value of each run; only where they differ."""
        facts = [_facts(one.first) for one in self.contenders]
        parts = {}
        for part in facts[0]:
            of_part = [fact[part] for fact in facts]
            names = list(dict.fromkeys(name for values in of_part for name in values))
            values = {name: [one.get(name, ABSENT) for one in of_part] for name in names}
            parts[part] = {name: row for name, row in values.items() if any(one != row[0] for one in row)}
        return parts

    def text(self) -> str:
        """Warnings, scores with intervals and differences, and what differs."""
        letters = LETTERS[: len(self.contenders)]
        lines = [f"warning: {line}" for line in self.warnings()]
        lines += [f"{letter}  {one.line()}" for letter, one in zip(letters, self.contenders, strict=True)]
        for measure in self.measures:
            lines += ["", f"{MEASURES.get(measure, measure)} [95 % interval]"]
            lines += aligned(
                [["data set", "sentences", *letters, *(f"{letter} - A" for letter in letters[1:])]]
                + [row.cells() for row in self.rows if row.measure == measure]
            )
        lines += ["", *self._explanation(), "", "what differs"]
        for part, values in self.differing().items():
            lines.append(f"  {part}" if values else f"  {part}: nothing")
            cells = [["", *letters], *([name, *map(shown, row)] for name, row in values.items())]
            lines += [f"    {line}" for line in aligned(cells)] if values else []
        return "\n".join(lines)

    def _explanation(self) -> list[str]:
        """What the intervals are, and why some are missing."""
        several = any(len(one.results) > 1 for one in self.contenders)
        lines = ["Intervals of one seed: bootstrap over videos; they say nothing of another seed's training."]
        if several:
            lines.append("Of several seeds: Student's t over seeds; differences by pairs of equal seeds.")
        apart = [row.data_set for row in self.rows if row.data_set != without_control(row.data_set)]
        if apart:
            lines.append(f"Of {', '.join(dict.fromkeys(apart))} no samples are kept, and so no intervals.")
        missing = [
            folder.path
            for one in self.contenders
            for seed, folder in one.folders.items()
            if len(one.folders) == 1 and one.samples[seed] is None
        ]
        if missing:
            lines.append(
                f"No samples.csv in {', '.join(map(str, missing))}: it is not kept in git. Intervals over "
                "videos need `mmvs evaluate` with the run's params file."
            )
        return lines

    def record(self) -> dict[str, Any]:
        """What the JSON file holds."""
        runs = [
            {
                "name": one.name,
                "folders": {str(seed): str(folder.path) for seed, folder in one.folders.items()},
                "steps": one.first.steps,
            }
            for one in self.contenders
        ]
        return {
            "runs": runs,
            "warnings": self.warnings(),
            "rows": [row.record() for row in self.rows],
            "differing": self.differing(),
        }

    def write_json(self, path: str | Path) -> None:
        """Write all numbers, and what differs."""
        write_json(path, self.record())


def _folder(name: str | Path) -> Path:
    """The folder of a run by path or name; ReportError names the nearest run there is."""
    for place in (Path(name).expanduser(), resolve("reports") / name, resolve(name)):
        if place.name == "metrics.json" and place.is_file():
            return place.parent
        if place.is_dir():
            return place
    known = sorted(path.parent.name for path in resolve("reports").glob("*/metrics.json"))
    near = difflib.get_close_matches(str(name), known, n=1)
    hint = f"did you mean '{near[0]}'?" if near else f"there are: {', '.join(known) or 'none'}"
    raise ReportError(f"no run '{name}', neither a folder nor below {resolve('reports')}: {hint}")


def _runs_of(path: Path) -> list[Path]:
    """The folder itself if it is scored, else those of its seeds; ReportError where nothing is scored."""
    if RunFolder(path).is_scored():
        return [path]
    seeds = [one for one in path.iterdir() if one.name.isdigit() and RunFolder(one).is_scored()]
    if seeds:
        return seeds
    cells = sorted(one.parent.parent.relative_to(path).as_posix() for one in path.glob("*/*/metrics.json"))
    if cells:
        raise ReportError(f"{path} holds several experiments: name one, {', '.join(dict.fromkeys(cells))}")
    raise ReportError(
        f"{path} is not scored, it has no metrics.json: run `mmvs evaluate` with the run's params file first"
    )


def _facts(result: Result) -> dict[str, dict[str, Any]]:
    """All that may differ between two results, by part, in dotted names."""
    origin = result.provenance
    parameters = {name: value for name, value in origin.parameters.items() if name not in ("run", "reports")}
    network = {"steps": result.steps, "weights": result.parameters}
    if origin.started_from:
        network |= flat({"started_from": origin.started_from})
    if origin.training_processes > 1:
        network["processes"] = origin.training_processes
    if origin.skipped_batches:
        network["skipped_batches"] = origin.skipped_batches
    return {
        "parameters": flat(parameters),
        "training": network,
        "code": {"commit": origin.git_commit, "changed since": origin.git_dirty},
        "data": origin.data_fingerprint | {f"{name}, list": one for name, one in origin.samples_from.items()},
        "flow": flat(origin.flow_fingerprint),
        "environment": {"python": origin.python, "device": origin.device, "cpu": origin.cpu}
        | origin.versions,
    }


def flat(values: dict[str, Any], place: str = "") -> dict[str, Any]:
    """Nested values by dotted names; an empty dict and a list are values."""
    found: dict[str, Any] = {}
    for name, value in values.items():
        key = f"{place}{name}"
        found |= flat(value, f"{key}.") if isinstance(value, dict) and value else {key: value}
    return found


def shown(value: Any) -> str:
    """A value as a params file has it."""
    if isinstance(value, bool) or value is None:
        return {True: "true", False: "false", None: "null"}[value]
    return str(value)


def aligned(rows: list[list[str]]) -> list[str]:
    """Cells in columns, two spaces apart."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)).rstrip() for row in rows]
