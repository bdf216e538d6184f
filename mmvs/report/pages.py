"""Reports: executed notebooks as pages that open offline, and the list of all runs.

`mmvs report` writes reports/index.html and reports/README.md, `mmvs report render FILE.ipynb` FILE.html.
"""

from __future__ import annotations

import io
import re
from pathlib import Path
from typing import Any

import nbformat
from IPython.display import Image as DisplayImage
from IPython.display import Markdown
from jinja2 import Environment
from markupsafe import Markup
from matplotlib.figure import Figure
from PIL import Image

from mmvs.config import ROOT, Experiment, resolve
from mmvs.files import whole
from mmvs.report.runs import as_page, as_readme, markdown, runs
from mmvs.run_folder import ReportError, RunFolder

STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; color: #222; max-width: 1080px; margin: 2em auto;
  padding: 0 1em; }
h1, h2, h3 { line-height: 1.2; font-weight: 600; } h2 { margin-top: 2em; } a { color: #0b62a4; }
table { border: 0; border-collapse: collapse; margin: 1em 0; font-size: 14px; display: block;
  overflow-x: auto; }
th, td { padding: .3em .8em; border: 0; border-bottom: 1px solid #e3e3e3; text-align: right;
  vertical-align: top; }
th:first-child, tbody th, td:first-child, td.text, th.text { text-align: left; }
thead th { border-bottom: 2px solid #999; }
tbody tr:hover { background: #f6f8fa; } img { max-width: 100%; height: auto; }
.pale { color: #777; font-size: 13px; }
.bad { color: #a40000; } .thumbnails img { height: 150px; margin: 0 1em 1em 0; border: 1px solid #e3e3e3; }
pre { background: #f6f8fa; padding: .6em .9em; overflow-x: auto; border-radius: 4px;
  font-size: 13px; line-height: 1.4; }
.output pre { background: none; padding: .2em .9em; margin: .2em 0; } .prompt, .anchor-link { display: none; }
"""

PAGE = """<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{{ title }}</title><style>{{ style }}</style></head><body>
{{ body }}
</body></html>
"""


# What the body of a page may hold, whatever the outputs of a notebook hold.
ATTRIBUTES = {
    **dict.fromkeys("b br code em i li ol p s strong sub sup tbody thead ul caption".split(), ()),
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
EMBEDDED = {"img": "data:image/", "source": "data:video/"}  # a page opens offline: what it shows lies in it


def write_index(reports: Path) -> list[Path]:
    """Write index.html and README.md of a reports folder; returns their paths."""
    reports = Path(reports)
    reports.mkdir(parents=True, exist_ok=True)
    all_runs = runs(reports)
    return [
        _write(reports / "index.html", _page("Runs", as_page(all_runs))),
        _write(reports / "README.md", as_readme(all_runs)),
    ]


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
    content.metadata.pop("widgets", None)
    _write(notebook, nbformat.writes(content) + "\n")
    for cell in content.cells:
        if cell.cell_type == "code":
            cell.outputs = [o for o in cell.outputs if _strip_scripts(o)]
    body, _ = HTMLExporter(template_name="basic", exclude_input_prompt=True).from_notebook_node(content)
    body = _sanitise(body)
    heading = next(
        (c.source.splitlines()[0] for c in content.cells if c.source.startswith("# ")), notebook.stem
    )
    page = _page(heading.lstrip("# "), body, HtmlFormatter().get_style_defs(".highlight"))
    return _write(notebook.with_suffix(".html"), page)


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
    environment = Environment(autoescape=True)
    return environment.from_string(PAGE).render(title=title, body=Markup(body), style=Markup(style + STYLE))


def _write(path: Path, content: str | bytes) -> Path:
    with whole(path) as partial:
        partial.write_bytes(content.encode() if isinstance(content, str) else content)
    return path
