"""The runs under a reports folder, and the two lists of them: a page and a README."""

from __future__ import annotations

import base64
import io
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

from jinja2 import Environment
from PIL import Image

from mmvs.config import LADDER, ROOT, SWITCHES
from mmvs.report import intervals
from mmvs.report.findings import Finding
from mmvs.report.intervals import Estimate
from mmvs.report.sweeps import SweepScores
from mmvs.report.tables import kinds_first
from mmvs.report.templates import template
from mmvs.run_folder import ReportError, Result, RunFolder, Scores

# A run shows the first of these figures that it has.
THUMBNAILS = (
    "cases-temporal-order",
    "cases-motion",
    "cases-all",
    "explicit_motion",
    "strips",
    "language",
    "score",
    "scores",
)
THUMBNAIL = (560, 300)  # pixels at most: twice what the page gives it, for screens of high density


LIST = """# Runs

Every experiment with results in this folder; the same list with pictures: [index.html](index.html).
Scores are mean IoU on the run's first data set, with 95 % intervals over videos.

| run | data set |{% for kind in kinds %} {{ kind }} |{% endfor %} parameters | date | commit | pages |
|---|---|{% for kind in kinds %}---:|{% endfor %}---|---|---|---|
{% for run in runs -%}
| {{ run.name }} | {{ run.data_set if run.scores else run.state }} |
{%- for kind in kinds %} {{ run.score(kind) }} |{% endfor %} {{ run.parameters }} |
{{- " " ~ run.date }} | {{ run.commit }} |
{%- for text, link in run.links.items() %} [{{ text }}]({{ link }}){% endfor %} |
{% endfor %}"""


@dataclass(frozen=True)
class Bar:
    """One line of a run's chart in the index."""

    name: str
    value: float
    text: str
    floor: bool = False  # a control, which is no result


@dataclass
class Run:
    """One folder under reports/, as the lists show it."""

    name: str
    result: Result | None = None
    problem: str = ""  # why its metrics.json is unreadable
    links: dict[str, str] = field(default_factory=dict)  # text -> relative link, quoted
    picture: str = ""  # a small JPEG, base64
    intervals: dict[str, dict[str, Estimate]] = field(default_factory=dict)
    sweep: SweepScores | None = None

    @property
    def scores(self) -> Scores:
        return self.result.scores if self.result else {}

    @property
    def data_set(self) -> str:
        return self.sweep.data_set if self.sweep else next(iter(self.scores), "")

    @property
    def headline(self) -> float | None:
        """The score that sorts runs."""
        return self.bars[0].value if self.bars else None

    @property
    def measure(self) -> str:
        """What the bars show."""
        if self.sweep:
            return f"{self.sweep.name} by point of the sweep, mean of its seeds"
        return "mean IoU by kind of sentence"

    @property
    def bars(self) -> list[Bar]:
        """The points of a sweep and its controls; else the kinds of sentences."""
        if self.sweep:
            points = [Bar(name, one.value, one.text()) for name, one in self.sweep.points.items()]
            return points + [Bar(n, value, f"{value:.3f}", True) for n, value in self.sweep.floors.items()]
        kinds = self.scores.get(self.data_set, {})
        named = {kind: kinds[kind].get("mean_iou") for kind in kinds_first(kinds)}
        return [Bar(kind, value, self.score(kind)) for kind, value in named.items() if value is not None]

    @property
    def state(self) -> str:
        """A text in place of scores."""
        if self.problem:
            return self.problem
        pages = {name.removesuffix(".ipynb") for name in self.links if name[:2].isdigit()}
        if pages and pages <= {"01_explore_data", "02_compute_flow"}:
            return "data only: nothing trained"
        if pages == {"06_your_video"}:
            return "a video, without a truth to score it"
        return "unfinished: no metrics.json yet"

    @property
    def seed(self) -> str:
        return str(self.result.provenance.seed) if self.result else ""

    @property
    def date(self) -> str:
        return self.result.provenance.day if self.result else ""

    @property
    def commit(self) -> str:
        return self.result.provenance.commit if self.result else ""

    @property
    def parameters(self) -> str:
        """The parameters that tell runs apart, in a line."""
        if self.result is None:
            return ""
        part = self.result.provenance.part
        data, model, training = part("data"), part("model"), part("training")
        switches = {name: model.get(name) for name in SWITCHES.values()}
        rung = next((rung for rung, values in LADDER.items() if values == switches), "")
        off = ", ".join(f"no {name}" for name, value in switches.items() if value is False)
        differences = {
            "model": "published" if model.get("name") == "published" else rung or off,
            "width": model.get("width"),
            "trained on": _joined(data.get("train_on")),
            "frames": data.get("frames"),
            "steps": training.get("steps"),
            "clips a step": training.get("batch"),
            "flow": part("flow").get("estimator"),
        }
        return ", ".join(f"{name} {value}" for name, value in differences.items() if value)

    def score(self, kind: str) -> str:
        value = self.scores.get(self.data_set, {}).get(kind, {}).get("mean_iou")
        estimate = self.intervals.get(self.data_set, {}).get(kind)
        return "" if value is None else f"{value:.3f}" if estimate is None else estimate.text()


def _joined(data_sets: Any) -> Any:
    """Several data sets in a line; with their weights, where they have some."""
    if isinstance(data_sets, dict):
        return " + ".join(f"{weight:g} {name}" for name, weight in data_sets.items())
    return " + ".join(map(str, data_sets)) if isinstance(data_sets, list) else data_sets


def runs(reports: Path) -> list[Run]:
    """Every run under a reports folder, by name; an unreadable metrics.json becomes its `problem`.

    Runs named `smoke...`, as the notebooks make by default, are left out: somebody tried them.
    """
    all_runs = []
    folders = (p for p in Path(reports).iterdir() if p.is_dir())
    for path in sorted(p for p in folders if not p.name.startswith("smoke")):
        folder = RunFolder(path)
        if not (folder.is_scored() or folder.notebooks or folder.sweep.exists()):
            continue
        run = Run(folder.name)
        try:
            run.result = folder.result() if folder.is_scored() else None
            run.intervals = intervals.of_run(folder) if folder.is_scored() else {}
            run.sweep = SweepScores.read(folder.sweep) if folder.sweep.exists() else None
        except ReportError as error:
            run.problem = str(error).replace(f"{reports}{os.sep}", "")
        pages = [p.with_suffix(".html") if p.with_suffix(".html").exists() else p for p in folder.notebooks]
        sweep = folder.sweep.with_suffix(".html")
        files = [*pages, sweep, folder.sweep, folder.metrics, folder.ladder, folder.flow_quality]
        run.links = {p.name.removesuffix(".html"): _link(p, reports) for p in files if p.exists()}
        params = ROOT / "params" / f"{folder.name}.yaml"
        if params.exists() and Path(reports).resolve() == ROOT / "reports":
            run.links["parameters"] = f"../params/{params.name}"
        pictures = (folder.figures / f"{name}.png" for name in THUMBNAILS)
        run.picture = next((_thumbnail(path) for path in pictures if path.exists()), "")
        all_runs.append(run)
    return all_runs


def _thumbnail(path: Path) -> str:
    """The upper part of a picture, as large as the index shows it; base64. Empty of what is no picture."""
    try:
        with Image.open(path) as picture:
            rgb = picture.convert("RGB")
    except OSError:
        return ""
    rgb = rgb.resize(
        (THUMBNAIL[0], max(1, round(rgb.height * THUMBNAIL[0] / rgb.width))), Image.Resampling.LANCZOS
    )
    rgb = rgb.crop((0, 0, rgb.width, min(rgb.height, THUMBNAIL[1])))
    packed = io.BytesIO()
    rgb.save(packed, "JPEG", quality=80, optimize=True)
    return base64.b64encode(packed.getvalue()).decode()


def _link(path: Path, reports: Path) -> str:
    """A relative link. Quoted, the name of a folder is no address of its own, such as `javascript:`."""
    return quote(path.relative_to(reports).as_posix())


def markdown(value: Any) -> Any:
    """A value as plain text inside Markdown: it opens no tag, link, emphasis or cell of a table."""
    if not isinstance(value, str):
        return value
    escaped = value.translate({ord(mark): f"&#{ord(mark)};" for mark in "\\`*[]|~$&"})
    return " ".join(escaped.replace("<", "&lt;").splitlines())


def as_page(runs: list[Run], finding: tuple[str, Finding] | None = None) -> str:
    """The body of reports/index.html; finding: of a page, by its path."""
    groups: dict[str, list[Run]] = {}
    for run in sorted(runs, key=lambda run: not run.data_set):  # those without scores come last
        groups.setdefault(run.data_set or "without scores", []).append(run)
    return template("index.html").render(groups=groups, finding=finding)


def as_readme(runs: list[Run]) -> str:
    """The text of reports/README.md."""
    template = Environment(autoescape=False, finalize=markdown).from_string(LIST)
    return template.render(runs=runs, kinds=_kinds(runs)).rstrip() + "\n"


def as_text(runs: list[Run]) -> list[str]:
    """A line a scored run, and one a point of a sweep: data set, score, interval."""
    lines = []
    for run in runs:
        for bar in run.bars if run.sweep else run.bars[:1]:
            if not bar.floor:
                measure = run.sweep.name if run.sweep else "mean IoU"
                lines.append(f"{run.name}: {measure} {bar.text} on {run.data_set}, {bar.name}")
    return lines


def _kinds(runs: list[Run]) -> list[str]:
    return kinds_first({kind for run in runs for kind in run.scores.get(run.data_set, {})})
