"""Text from data, parameters and downloaded models stays text: no page runs a script or links to one."""

from __future__ import annotations

import ast
import re
from html.parser import HTMLParser
from types import SimpleNamespace

import matplotlib
import nbformat
import numpy as np
import pandas as pd
import pytest
import tiny
from nbconvert.filters.markdown import markdown2html
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from mmvs.config import ROOT, experiment
from mmvs.report import (
    charts,
    cited_scores,
    pages,
    pictures,
    sentence_charts,
    sentence_survey,
    survey,
    tables,
    templates,
)
from mmvs.schema import Example, Sample
from mmvs.verify.findings import Finding, Verification

matplotlib.use("Agg")

HOSTILE = [
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    '"><svg onload=alert(1)>',
    "' onmouseover='alert(1)",
    "[click](javascript:alert(1))",
    "![x](javascript:alert(1))",
    "<javascript:alert(1)>",
    "[x]: javascript:alert(1)\n\n[x]",
    '<a href="data:text/html;base64,PHNjcmlwdD4=">x</a>',
    "<iframe srcdoc='<script>alert(1)</script>'>",
    "<style>@import 'https://x.y/z.css'</style>",
    "`</code><script>alert(1)</script>`",
    "| a | b\n---|---\n<math><mi xlink:href='javascript:alert(1)'>",
    r"$\frac{$ and $x_{$ </span><script>alert(1)</script>",
    "\x00\x1b]8;;javascript:alert(1)\x07text\x1b]8;;\x07",
    "</title></head><script>alert(1)</script>",
]
TAGS = set(pages.ATTRIBUTES) | {"html", "head", "meta", "title", "style", "body"}
TAGS |= {"section", "article", "select", "option", "input"}  # of the list of runs
SCRIPT = re.compile(r"(?s)<script>.*?</script>")
OWN = SCRIPT.search((templates.TEMPLATES / "index.html").read_text())[0]
URLS = {"href", "src", "action", "formaction", "poster", "srcset", "xlink:href", "background", "data"}


class Page(HTMLParser):
    """Every tag of a page, checked as it comes."""

    def __init__(self, text: str):
        super().__init__()
        self.count = 0
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attributes):
        self.count += 1
        assert tag in TAGS, (tag, attributes)
        for name, value in attributes:
            assert not name.startswith("on") and name not in ("srcdoc", "http-equiv"), (tag, name, value)
            if name in URLS:
                url = re.sub(r"[\x00-\x20]", "", value or "").lower()
                scheme = re.match(r"[a-z][a-z0-9+.-]*:", url)
                embedded = {"img": "data:image/", "source": "data:video/"}.get(tag)
                assert (
                    not scheme or scheme[0] in ("http:", "https:") or (embedded and url.startswith(embedded))
                ), (tag, name, value[:80])


def page_of(tmp_path, *outputs, cells=()) -> str:
    """The page of an executed notebook with these outputs."""
    notebook = new_notebook(cells=[*cells, new_code_cell("1", outputs=list(outputs))])
    nbformat.write(notebook, tmp_path / "page.ipynb")
    return pages.render(tmp_path / "page.ipynb").read_text()


def shown(value) -> dict:
    """An output as Jupyter makes it of a cell's value."""
    data = {"text/plain": repr(value)}
    if hasattr(value, "to_html"):
        data["text/html"] = value._repr_html_()
    if hasattr(value, "_repr_markdown_"):
        data["text/markdown"] = value.data
    return new_output("display_data", data=data)


@pytest.mark.parametrize("text", HOSTILE)
def test_the_lists_of_runs(tmp_path, text):
    """A result file, a torn one and folders whose names are hostile."""
    kinds = {"all": {"mean_iou": 0.5}, text: {"mean_iou": 0.5}}
    parts = {
        "data": {"train_on": text, "frames": text},
        "flow": {"estimator": text},
        "model": {"width": text},
    }
    fields = {"run": text, "date": text, "git_commit": text, "device": text, "parameters": parts}
    result = tiny.result({text: kinds}, **fields)
    name = text.replace("/", "").replace("\x00", "")
    for folder in (name, "javascript:alert(1)<!--", "plain"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "metrics.json").write_text(result.text())
        (tmp_path / folder / "figures").mkdir()
        (tmp_path / folder / "figures" / "scores.png").touch()
        nbformat.write(new_notebook(), tmp_path / folder / "03_train.ipynb")
    (tmp_path / f"torn{name}").mkdir()
    (tmp_path / f"torn{name}" / "metrics.json").write_text(text)
    html, readme = (path.read_text() for path in pages.write_index(tmp_path))
    assert html.count(OWN) == 1 and Page(html.replace(OWN, "")).count > 40
    assert Page(markdown2html(readme)).count > 20
    rows = [line for line in readme.splitlines() if line.startswith("|")]
    assert len(rows) == 2 + 4 and len({row.count("|") for row in rows}) == 1, "no cell and no row more"


@pytest.mark.parametrize("text", HOSTILE)
def test_tables_prose_and_prints_of_the_notebooks(tmp_path, text):
    kinds = {"all": {"mean_iou": 0.5, "samples": 3}, text: {"mean_iou": 0.5, "samples": 3}}
    result = tiny.result({text: kinds}, samples_from={text: text}, device=text, versions={text: text})
    texts = {text: [(text, text, f"a dog {text}"), ("v", "1", "a cat")]}
    samples = [Sample(text, 0, 1, text, text)]
    values = [
        tables.scores(result),
        tables.provenance(result),
        tables.comparison({text: result}, text),
        cited_scores.blank_unknown(cited_scores.own_scores(result)),
        Verification(text, [Finding(text, text, text, "missing", text)]).table(),
        sentence_survey.counts(texts),
        sentence_survey.tokens(texts, experiment(model=tiny.model().model_dump()).model.language),
        survey.counts({text: samples}),
        pd.DataFrame({"score": [0.5]}, index=pd.Index([text], name=text)),
        pages.prose("The model was trained on **{}**. {}", text, text),
        [text, {text: text}],
    ]
    prints = [*sentence_survey.examples(texts, 1), pages.closing(experiment(reports=text), "03_train")]
    stream = new_output("stream", name="stdout", text="\n".join(prints))
    assert Page(page_of(tmp_path, *map(shown, values), stream)).count > 40
    assert Page(markdown2html(pages.prose("**{}** {}", text, text).data)).count <= 3, "no cleaning is needed"


@pytest.mark.parametrize("text", HOSTILE)
def test_what_a_downloaded_model_says_of_itself(text):
    """The very cell of 06_your_video."""
    notebook = nbformat.read(ROOT / "notebooks" / "06_your_video.ipynb", as_version=4)
    (source,) = [cell.source for cell in notebook.cells if "data.training_sets" in cell.source]
    *lines, last = ast.parse(source).body
    names = {
        "segmenter": SimpleNamespace(experiment=experiment(data={"train_on": text})),
        "question": SimpleNamespace(note=text),
        "pages": pages,
    }
    exec(compile(ast.Module(lines, []), "06", "exec"), names)
    value = eval(compile(ast.Expression(last.value), "06", "eval"), names)
    assert Page(markdown2html(value.data)).count <= 3


@pytest.mark.parametrize("text", HOSTILE)
def test_whatever_a_notebook_shows_its_page_runs_nothing(tmp_path, text):
    """A notebook from elsewhere: every kind of output, and its texts."""
    kinds = (
        "text/html",
        "text/markdown",
        "text/latex",
        "text/plain",
        "image/svg+xml",
        "application/javascript",
    )
    outputs = [new_output("display_data", data={kind: text}) for kind in kinds]
    pixel = {"image/png": text, "image/gif": text, "image/jpeg": text}
    outputs += [
        new_output("display_data", data={kind: value}, metadata={kind: {"alt": text, "width": text}})
        for kind, value in pixel.items()
    ]
    outputs.append(new_output("error", ename=text, evalue=text, traceback=[text]))
    cells = [new_markdown_cell(f"# {text}"), new_markdown_cell(text), new_code_cell(text)]
    page = page_of(tmp_path, *outputs, cells=cells)
    assert Page(page).count > 10


@pytest.mark.filterwarnings("ignore:Glyph", "ignore:Tight layout")
@pytest.mark.parametrize("text", [r"$\frac{$ and $x_{$", "\x00\x1b../<b>", "_"])
def test_figures_draw_any_text(tmp_path, text):
    """A dollar is no formula, and a name from the data leads to no other folder."""
    frame = np.zeros((16, 24, 3), np.uint8)
    mask = np.zeros((16, 24), bool)
    mask[4:8, 6:12] = True
    one = np.ones((16, 24), np.float32)
    example = Example(
        text, 0, text, text, ["[CLS]", text, "[SEP]"], frame, np.zeros((2, 16, 24), np.float32),
        np.full((3, 4, 4), 0.3, np.float32), one, one, mask, mask, 0.5,
    )  # fmt: skip
    result = tiny.result({text: {"all": {"mean_iou": 0.5}, text: {"mean_iou": 0.5}}})
    words = {text: [("v", "1", text), ("v", "1", "a dog is running")]}
    table = pd.DataFrame(
        {"kind": [text], "sentence": [text], "words": [2], "size": [0.1], "speed": [1.0], "time": [0.0]}
        | {"score": [0.5], "area": [0.2]}
    )
    figures = [
        charts.overview(table),
        charts.score(table),
        charts.score_bars(tables.scores(result)),
        charts.comparison_bars(tables.comparison({text: result}, text)),
        charts.ladder_kinds(tables.ladder_cells({"B": {"0": result.scores}}, text)),
        sentence_charts.language(words),
        pictures.cases([example], [text]),
        pictures.attention(example),
    ]
    for number, figure in enumerate(figures):
        pages.save(figure, tmp_path / "run", f"{number}-{text}")
    folders = {path.parent for path in tmp_path.rglob("*") if path.is_file()}
    assert folders == {tmp_path / "run" / "figures"}


@pytest.mark.parametrize(
    "name", ["../up", "a/b", "/absolute", "..", "x" * 300, "cases-../../../../up", "\x00"]
)
def test_a_figure_stays_in_its_folder(tmp_path, name):
    figure = charts.comparison_bars(tables.comparison({"r": tiny.result()}, "shapes-test"))
    pages.save(figure, tmp_path / "run", name)
    (file,) = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert file.parent == tmp_path / "run" / "figures" and file.suffix == ".png"


def test_what_pages_show_is_still_there(tmp_path):
    """Cleaning leaves tables, code, pictures, videos and links as they are."""
    table = pd.DataFrame({"a<b": [1.5]}, index=pd.MultiIndex.from_tuples([("x", "y")], names=["one", "two"]))
    video = (
        '<video controls loop autoplay muted playsinline><source src="data:video/mp4;base64,AA=="></video>'
    )
    outputs = [
        shown(table),
        new_output("display_data", data={"text/html": video}),
        new_output(
            "display_data", data={"image/png": "AAAA"}, metadata={"image/png": {"alt": "cases & all"}}
        ),
    ]
    page = page_of(
        tmp_path, *outputs, cells=[new_markdown_cell("# Title\n\n[a link](https://a.b/c) and *that*")]
    )
    for part in (
        "<th>a&lt;b</th>", "<td>1.5</td>", '<video autoplay', 'src="data:video/mp4;base64,AA=="',
        'src="data:image/png;base64,AAAA"', 'alt="cases &amp; all"', 'href="https://a.b/c"', "<em>that</em>",
        '<span class="mi">1</span>',
    ):  # fmt: skip
        assert part in page, part
    assert "style scoped" not in page and page.count("<style") == 1
