"""The runs under a reports folder, and the two lists of them: a page and a README."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

from jinja2 import Environment

from mmvs.config import LADDER, ROOT, SWITCHES
from mmvs.report.tables import kinds_first
from mmvs.run_folder import ReportError, Result, RunFolder, Scores

# A run shows the first two of these figures that it has.
THUMBNAILS = ("scores", "ladder", "cases-motion", "curves", "strips", "language")


INDEX = """<h1>Runs</h1>
<p>Every experiment with results under <code>reports/</code>.
Scores are mean IoU on the run's first data set.</p>
<table><thead><tr><th>run</th><th class="text">data set</th>
{% for kind in kinds %}<th>{{ kind }}</th>{% endfor %}
<th>seed</th><th class="text">date</th><th class="text">commit</th></tr></thead><tbody>
{% for run in runs %}<tr><td><a href="#{{ run.name }}">{{ run.name }}</a></td>
{% if run.scores %}<td class="text">{{ run.data_set }}</td>
{% for kind in kinds %}<td>{{ run.score(kind) }}</td>{% endfor %}
<td>{{ run.seed }}</td><td class="text">{{ run.date }}</td><td class="text">{{ run.commit }}</td>
{% else %}<td class="text {{ 'bad' if run.problem }}" colspan="{{ kinds|length + 4 }}">
{{ run.state }}</td>{% endif %}</tr>
{% else %}<tr><td>no run yet: <code>make report</code></td></tr>{% endfor %}
</tbody></table>
{% for run in runs %}<h2 id="{{ run.name }}">{{ run.name }}</h2>
{% if run.problem %}<p class="bad">{{ run.problem }}</p>{% endif %}
<p class="pale">{{ run.parameters }}</p>
<p>{% for text, link in run.links.items() %}<a href="{{ link }}">{{ text }}</a>
{{- " · " if not loop.last }} {% endfor %}</p>
<p class="thumbnails">{% for link in run.thumbnails -%}
<a href="{{ link }}"><img src="{{ link }}" alt="{{ link }}"></a>
{% endfor %}</p>{% endfor %}"""


LIST = """# Runs

Every experiment with results in this folder; the same list with pictures: [index.html](index.html).
Scores are mean IoU on the run's first data set.

| run | data set |{% for kind in kinds %} {{ kind }} |{% endfor %} parameters | date | commit | pages |
|---|---|{% for kind in kinds %}---:|{% endfor %}---|---|---|---|
{% for run in runs -%}
| {{ run.name }} | {{ run.data_set if run.scores else run.state }} |
{%- for kind in kinds %} {{ run.score(kind) }} |{% endfor %} {{ run.parameters }} |
{{- " " ~ run.date }} | {{ run.commit }} |
{%- for text, link in run.links.items() %} [{{ text }}]({{ link }}){% endfor %} |
{% endfor %}"""


@dataclass
class Run:
    """One folder under reports/, as the lists show it."""

    name: str
    result: Result | None = None
    problem: str = ""  # why its metrics.json is unreadable
    links: dict[str, str] = field(default_factory=dict)  # text -> relative link, quoted
    thumbnails: list[str] = field(default_factory=list)  # relative links, quoted

    @property
    def scores(self) -> Scores:
        return self.result.scores if self.result else {}

    @property
    def data_set(self) -> str:
        return next(iter(self.scores), "")

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
        return "" if value is None else f"{value:.3f}"


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
        if not (folder.is_scored() or folder.notebooks):
            continue
        run = Run(folder.name)
        try:
            run.result = folder.result() if folder.is_scored() else None
        except ReportError as error:
            run.problem = str(error).replace(f"{reports}{os.sep}", "")
        pages = [p.with_suffix(".html") if p.with_suffix(".html").exists() else p for p in folder.notebooks]
        files = [*pages, folder.metrics, folder.ladder, folder.flow_quality]
        run.links = {p.name.removesuffix(".html"): _link(p, reports) for p in files if p.exists()}
        params = ROOT / "params" / f"{folder.name}.yaml"
        if params.exists() and Path(reports).resolve() == ROOT / "reports":
            run.links["parameters"] = f"../params/{params.name}"
        pictures = [folder.figures / f"{name}.png" for name in THUMBNAILS]
        run.thumbnails = [_link(p, reports) for p in pictures if p.exists()][:2]
        all_runs.append(run)
    return all_runs


def _link(path: Path, reports: Path) -> str:
    """A relative link. Quoted, the name of a folder is no address of its own, such as `javascript:`."""
    return quote(path.relative_to(reports).as_posix())


def markdown(value: Any) -> Any:
    """A value as plain text inside Markdown: it opens no tag, link, emphasis or cell of a table."""
    if not isinstance(value, str):
        return value
    escaped = value.translate({ord(mark): f"&#{ord(mark)};" for mark in "\\`*[]|~$&"})
    return " ".join(escaped.replace("<", "&lt;").splitlines())


def as_page(runs: list[Run]) -> str:
    """The body of reports/index.html."""
    return Environment(autoescape=True).from_string(INDEX).render(runs=runs, kinds=_kinds(runs))


def as_readme(runs: list[Run]) -> str:
    """The text of reports/README.md."""
    template = Environment(autoescape=False, finalize=markdown).from_string(LIST)
    return template.render(runs=runs, kinds=_kinds(runs)).rstrip() + "\n"


def _kinds(runs: list[Run]) -> list[str]:
    return kinds_first({kind for run in runs for kind in run.scores.get(run.data_set, {})})
