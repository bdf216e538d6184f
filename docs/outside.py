"""What the site takes from outside docs/: pages link to ../reports/..., as on a code host, and find it here.

mkdocs calls the functions; `Docstrings` shows arguments one a line, and fields with the comment behind them.
"""

import re
from pathlib import Path
from typing import Any

from griffe import Docstring, Extension, Object
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parents[1]
PAGES = {"CHANGELOG.md": "changelog.md", "CONTRIBUTING.md": "contributing.md"}
# What reports are, and what they link to.
REPORTS = ("reports/**/*.html", "reports/**/*.json", "reports/**/figures/*", "params/*.yaml")
LINK = re.compile(r"\]\(\.\./([^)#\s]+)")
ARGUMENT = re.compile(r"^(?:\([^)]*\)|\w[\w.]*(?:, \w[\w.]*)*) {2,}\S")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages that lie in the root, and each file that a page links to; of reports all."""
    for source, target in PAGES.items():
        files.append(File.generated(config, target, content=(ROOT / source).read_text(encoding="utf-8")))
    linked = {link for page in Path(config.docs_dir).glob("*.md") for link in LINK.findall(page.read_text())}
    if any(link.startswith("reports/") for link in linked):
        linked |= {str(path.relative_to(ROOT)) for place in REPORTS for path in ROOT.glob(place)}
    for link in sorted(linked):
        if (ROOT / link).is_file():  # another one is a broken link: mkdocs names it
            files.append(File.generated(config, link, abs_src_path=str(ROOT / link)))
    return files


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Let links lead to the files that `on_files` added."""
    return LINK.sub(r"](\1", markdown)


class Docstrings(Extension):
    """Our docstrings as Markdown."""

    def on_object(self, *, obj: Object, **_: Any) -> None:
        """Lines such as `batch  number of frames` become a list, a field's comment its docstring."""
        if obj.docstring:
            obj.docstring.value = as_list(obj.docstring.value)
        elif obj.is_attribute and obj.lines and "  # " in obj.lines[-1]:
            obj.docstring = Docstring(obj.lines[-1].partition("  # ")[2], parent=obj)


def as_list(text: str) -> str:
    """A docstring with its aligned arguments as items of a list; lines that go on stay in their item."""
    lines, inside = [], False
    for line in text.splitlines():
        if ARGUMENT.match(line):
            name, _, rest = line.partition("  ")
            lines += [""] * (not inside) + [f"- `{name}`: {rest.strip()}"]
            inside = True
        elif inside and line.startswith("  "):
            lines.append(f"  {line.strip()}")
        else:
            inside = False
            lines.append(line)
    return "\n".join(lines)
