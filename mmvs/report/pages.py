"""Reports: executed notebooks as pages that open offline, and the list of all runs.

`mmvs report` writes reports/index.html and reports/README.md, `mmvs report render FILE.ipynb` FILE.html.
"""

from __future__ import annotations

import base64
import io
import re
from contextlib import suppress
from pathlib import Path
from typing import Any

import nbformat
from IPython.display import Image as DisplayImage
from IPython.display import Markdown
from markupsafe import Markup
from matplotlib.figure import Figure
from nbformat import NotebookNode
from PIL import Image

from mmvs.config import ROOT, Experiment, resolve
from mmvs.files import whole
from mmvs.report import findings
from mmvs.report.runs import as_page, as_readme, markdown, runs
from mmvs.report.sweeps import SweepScores
from mmvs.report.templates import TEMPLATES, template
from mmvs.run_folder import ReportError, RunFolder

# What the body of a page may hold, whatever the outputs of a notebook hold.
ATTRIBUTES = {
    **dict.fromkeys(
        "b br code em i li ol s strong sub sup tbody thead ul caption details summary".split(), ()
    ),
    "p": ("class",),
    **dict.fromkeys("blockquote del dd div dl dt h1 h2 h3 h4 h5 h6 hr pre span".split(), ("class", "id")),
    "a": ("class", "href"),
    "img": ("alt", "src"),
    "table": ("border", "class"),
    "td": ("class", "colspan", "rowspan"),
    "th": ("class", "colspan", "rowspan", "valign"),
    "tr": (),
    "video": ("autoplay", "controls", "loop", "muted", "playsinline"),
    "source": ("src", "type"),
}
SET_UP = {"parameters", "injected-parameters"}  # tags of cells that papermill reads and writes
MARKERS = re.compile(
    r"(?m)^[ \t]*# (?:NBVAL_\w+|fmt: \w+)[ \t]*\n?|[ \t]*# fmt: \w+[ \t]*$"
)  # for tests and tools
EMPTY = re.compile(r"<td>\s*(?:NaN|nan|None|NaT)\s*</td>")
# Of pandas: labels of the columns in one row, names of the index in a row below, which is empty otherwise.
TWO_ROWS = re.compile(
    r"<thead>\s*<tr>\s*((?:<th>\s*</th>\s*)+)((?:<th[^>]*>[^<]+</th>\s*)+)</tr>\s*"
    r"<tr>\s*((?:<th>[^<]+</th>\s*)+)((?:<th>\s*</th>\s*)+)</tr>\s*</thead>"
)
TIMES = ("duration", "start_time", "end_time")  # of papermill: two runs with equal results are equal files
EMBEDDED = {"img": "data:image/", "source": "data:video/"}  # a page opens offline: what it shows lies in it


def write_index(reports: Path) -> list[Path]:
    """Write index.html and README.md of a reports folder; returns their paths."""
    reports = Path(reports)
    reports.mkdir(parents=True, exist_ok=True)
    for path in sorted(reports.glob("*/sweep.json")):
        with suppress(ReportError):  # the index names it
            render_sweep(path)
    for path in sorted(reports.glob("*/[0-9][0-9]_*.ipynb")):  # of plain papermill
        with suppress(ReportError):
            if not path.with_suffix(".html").exists():
                render(path)
    all_runs = runs(reports)
    newest = findings.newest(reports, {run.name: run.result for run in all_runs if run.result})
    return [
        _write(reports / "index.html", _page("mmvs: reports", as_page(all_runs, newest))),
        _write(reports / "README.md", as_readme(all_runs)),
    ]


def render_sweep(record: Path) -> Path:
    """The sweep.json of a run as a page beside it, which opens offline; ReportError where it is damaged."""
    record = resolve(record)
    sweep = SweepScores.read(record)
    picture = base64.b64encode(save(sweep.chart(), record.parent, "sweep").data).decode()
    body = template("sweep.html").render(
        sweep=sweep,
        run=record.parent.name,
        picture=picture,
        table=Markup(_sanitise(sweep.table().to_html(border=0, index_names=False))),
    )
    return _write(record.with_suffix(".html"), _page(f"Sweep of {record.parent.name}", body))


def render(notebook: Path) -> Path:
    """An executed notebook as one HTML file beside it: pictures inside, no script, no network.

    Progress bars and warnings help whoever waits, not whoever reads: both files lose them.
    """
    from nbconvert import HTMLExporter  # slow to import, and of no use to the index
    from pygments.formatters import HtmlFormatter

    notebook = resolve(notebook)
    try:
        content = nbformat.read(notebook, as_version=4)
    except FileNotFoundError:
        raise ReportError(f"no notebook {notebook}: papermill writes it when it runs one") from None
    except Exception as error:  # nbformat raises many kinds
        raise ReportError(f"{notebook} is not a notebook ({error}): run papermill again") from None
    for cell in content.cells:
        if cell.cell_type == "code":
            cell.outputs = [o for o in cell.outputs if o.get("name") != "stderr" and not _is_widget(o)]
            cell.outputs = [o for o in cell.outputs if _strip_bars(o)]
        _strip_times(cell.metadata)
    _strip_times(content.metadata)
    content.metadata.pop("widgets", None)
    _write(notebook, nbformat.writes(content) + "\n")
    for cell in content.cells:
        if cell.cell_type == "code":
            cell.source = MARKERS.sub("", cell.source).strip("\n")
            cell.outputs = [o for o in cell.outputs if _strip_scripts(o) and not _is_raw(o)]
    finding = findings.of_page(RunFolder(notebook.parent), notebook.stem)
    pieces = _arranged(content.cells, finding, RunFolder(notebook.parent))
    exporter = HTMLExporter(template_name="basic", exclude_input_prompt=True)
    body = "".join(
        piece
        if isinstance(piece, str)
        else exporter.from_notebook_node(NotebookNode(content | {"cells": piece}))[0]
        for piece in pieces
    )
    body = TWO_ROWS.sub(_one_row, EMPTY.sub("<td></td>", _sanitise(body)))
    heading = next(
        (c.source.splitlines()[0] for c in content.cells if c.source.startswith("# ")), notebook.stem
    )
    page = _page(heading.lstrip("# "), body, HtmlFormatter().get_style_defs(".highlight"))
    return _write(notebook.with_suffix(".html"), page)


def _arranged(cells: list[Any], finding: findings.Finding, folder: RunFolder) -> list[str | list[Any]]:
    """The cells in the order of a page: title, finding and its figure, the rest; set-up folded at the end."""
    first_code = next((i for i, cell in enumerate(cells) if cell.cell_type == "code"), len(cells))
    title, rest = cells[:first_code], cells[first_code:]
    folded = [cell for cell in rest if SET_UP & set(cell.metadata.get("tags", ())) or _imports(cell)]
    rest = [cell for cell in rest if cell not in folded]
    pieces: list[str | list[Any]] = [title]
    if finding.sentence:
        pieces.append(f'<p class="finding">{Markup.escape(finding.sentence)}</p>')
    if finding.figure and (picture := _take(rest, folder.figures / f"{finding.figure}.png")):
        alt = Markup.escape(finding.figure.replace("_", " "))
        pieces.append(f'<p><img alt="{alt}" src="data:image/png;base64,{picture}"></p>')
    pieces.append(rest)
    if folded:
        pieces += ["<details><summary>Parameters and imports</summary>", folded, "</details>"]
    return pieces


def _imports(cell: Any) -> bool:
    lines = [line for line in cell.source.splitlines() if line.strip()]
    return (
        cell.cell_type == "code" and bool(lines) and all(re.match(r"(import|from) ", line) for line in lines)
    )


def _take(cells: list[Any], path: Path) -> str | None:
    """A figure as base64, taken out of the output that shows it; None where no cell shows it."""
    drawn = base64.b64encode(path.read_bytes()).decode()
    for cell in cells:
        for output in cell.get("outputs", []):
            if output.get("data", {}).get("image/png", "").replace("\n", "") == drawn:
                cell.outputs.remove(output)
                return drawn
    return None


def _is_raw(output: Any) -> bool:
    """Is it the bare value of a cell, which nothing but its type made readable?"""
    data = output.get("data")
    return data is not None and set(data) == {"text/plain"} and data["text/plain"].lstrip()[:1] in "{[(<'"


def save(figure: Figure, folder: Path, name: str, colours: int | None = 256) -> DisplayImage:
    """Write a figure to <folder>/figures/<name>.png; returns it as what a notebook shows as a cell's value.

    colours  at most; None: full depth. Notebook, page and file each hold the picture, and full depth makes
             one of noisy frames three times as large
    """
    plain = re.sub(r"[^\w.+-]", "_", name)[:100]  # it may hold a word of the data, such as a kind of sentence
    path = RunFolder(Path(folder)).figures / f"{plain}.png"
    path.parent.mkdir(parents=True, exist_ok=True)
    drawn = io.BytesIO()
    figure.savefig(drawn, format="png", dpi=figure.dpi, bbox_inches="tight")
    picture = Image.open(drawn).convert("RGB")
    if colours:
        picture = picture.quantize(colours, kmeans=4, dither=Image.Dither.NONE)
    packed = io.BytesIO()
    picture.save(packed, format="png", optimize=True)
    _write(path, packed.getvalue())
    return DisplayImage(packed.getvalue(), format="png", alt=name.replace("_", " "))


def prose(text: str, *values: str) -> Markdown:
    """Markdown with values from data or parameters, which stay plain text: they open no tag and no link.

    text  with a {} for each of the values
    """
    return Markdown(text.format(*map(markdown, values)))


def closing(experiment: Experiment, notebook: str) -> str:
    """The last words of a notebook: where its files are, and the command that makes them again."""
    folder, name = experiment.folder, f"{notebook}.ipynb"
    place = folder.relative_to(ROOT).as_posix() if folder.is_relative_to(ROOT) else str(folder)
    params = f" -f params/{experiment.run}.yaml" if (ROOT / f"params/{experiment.run}.yaml").exists() else ""
    return (
        f"Files: {place}/ (figures in {place}/figures/)\n"
        f"Again: mkdir -p {place} && papermill notebooks/{name} {place}/{name}{params}"
    )


def _strip_times(metadata: Any) -> None:
    metadata.pop("execution", None)
    for name in TIMES:
        metadata.get("papermill", {}).pop(name, None)


def _one_row(head: re.Match[str]) -> str:
    """Names of the index and of the columns in one row, where they are as many as pandas left room for."""
    blank, columns, names, rest = head.groups()
    if blank.count("<th>") != names.count("<th>") or columns.count("<th") != rest.count("<th>"):
        return head[0]
    return f"<thead><tr>{names}{columns}</tr></thead>"


def _is_widget(output: Any) -> bool:
    return any("widget" in kind for kind in output.get("data", {}))


def _strip_scripts(output: Any) -> bool:
    """Take scripts out of an output, show its GIF, which nbconvert cannot; False if nothing is left."""
    data = output.get("data")
    if data is None:
        return True
    data.pop("application/javascript", None)
    if "<script" in data.get("text/html", "").lower():
        del data["text/html"]
    if "image/gif" in data:
        data["text/html"] = f'<img alt="animation" src="data:image/gif;base64,{data["image/gif"].strip()}">'
    return bool(data)


def _sanitise(body: str) -> str:
    """Leave of HTML what ATTRIBUTES lists: no script, no event handler, nothing from elsewhere."""
    import bleach

    def allow(tag: str, name: str, value: str) -> bool:
        if name == "href":
            return not value.strip().lower().startswith("data:")
        if name == "src":
            return value.startswith(EMBEDDED[tag])
        return name in ATTRIBUTES[tag]

    body = re.sub(r"(?is)<style\b.*?</style>", "", body)  # of pandas: the page has its own
    protocols = bleach.ALLOWED_PROTOCOLS | {"data"}
    return bleach.clean(body, tags=set(ATTRIBUTES), attributes=allow, protocols=protocols, strip=True)


def _strip_bars(output: Any) -> bool:
    """Take the lines of progress bars out of an output; False if nothing is left."""
    if output.output_type != "stream":
        return True
    text = output.text.replace("\x1b[A", "")  # by which a bar's second line goes back to its first
    kept = [line for line in text.splitlines() if not re.search(r"\d+/[\d?]+ \[\d\d:\d\d", line)]
    output.text = "\n".join(kept).strip("\n")
    return bool(output.text.strip())


def _page(title: str, body: str, style: str = "") -> str:
    own = (TEMPLATES / "page.css").read_text(encoding="utf-8")
    return template("page.html").render(title=title, body=Markup(body), style=Markup(style + own))


def _write(path: Path, content: str | bytes) -> Path:
    with whole(path) as partial:
        partial.write_bytes(content.encode() if isinstance(content, str) else content)
    return path
