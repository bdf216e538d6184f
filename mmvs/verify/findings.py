"""Findings of a check: one line each, with what to do."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, TypeVar

import numpy as np
from tqdm.auto import tqdm

if TYPE_CHECKING:
    import pandas as pd

T = TypeVar("T")

HARMLESS = ("ok", "explained", "extra")  # verdicts; all others need something done
COLUMNS = ["what", "expected", "found", "verdict", "what to do"]
SHOWN = 3  # names of a finding that are printed
FAST = 40  # videos that the fast mode opens


class Finding(NamedTuple):
    """One line of the table."""

    what: str
    expected: str
    found: str
    verdict: str  # "ok", "explained", "extra", "missing", "corrupt", "wrong size", "wrong count"
    remedy: str = ""  # what to do, or why there is nothing to do


class Scope(NamedTuple):
    """How many files are opened, and whether a bar shows it."""

    fast: bool = False  # open a sample of the videos only; that files are there is checked of all
    progress: bool = True

    def over(self, things: Sequence[T], name: str) -> Iterable[T]:
        """All of them, or in the fast mode some that are spread evenly, behind a progress bar."""
        if self.fast and len(things) > FAST:
            things = [things[i] for i in np.linspace(0, len(things) - 1, FAST).astype(int)]
        return tqdm(things, name, unit="video", disable=None if self.progress else True)


@dataclass
class Verification:
    """All findings about one root."""

    data_set: str
    findings: list[Finding]

    @property
    def healthy(self) -> bool:
        """Is nothing missing, corrupt or wrong?"""
        return all(finding.verdict in HARMLESS for finding in self.findings)

    def table(self) -> pd.DataFrame:
        """A row a finding, what needs doing first."""
        import pandas as pd

        return pd.DataFrame(self._rows(), columns=COLUMNS).set_index("what")

    def text(self) -> str:
        """The table in plain text, its columns aligned."""
        rows = [tuple(COLUMNS), *self._rows()]
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        pairs = (zip(row, widths, strict=True) for row in rows)
        return "\n".join("  ".join(cell.ljust(width) for cell, width in row).rstrip() for row in pairs)

    def _rows(self) -> list[Finding]:
        return sorted(self.findings, key=lambda finding: finding.verdict in HARMLESS)


def compare(what: str, expected: int | None, count: int, why: str = "") -> Finding:
    """Compare a count with the published one, if there is one; `why` explains a difference."""
    if expected is None or count == expected:
        return Finding(what, "" if expected is None else f"{expected:,}", f"{count:,}", "ok")
    verdict = "explained" if why else "wrong count"
    return Finding(
        what, f"{expected:,}", f"{count:,}", verdict, why or "another release, or cut short: get it anew"
    )


def mention(what: str, verdict: str, names: Sequence[str], of: int | None, remedy: str) -> list[Finding]:
    """Mention some of `of` things, the first by name; nothing where there are no names."""
    if not names:
        return []
    first = ", ".join(names[:SHOWN]) + (", ..." if len(names) > SHOWN else "")
    count = f"{len(names):,}" + ("" if of is None else f" of {of:,}")
    return [Finding(what, "none", count, verdict, f"{remedy}: {first}")]


def require(what: str, expected: Iterable[str], present: Iterable[str], remedy: str) -> list[Finding]:
    """Require that everything expected is present, and mention what else is."""
    expected, present = set(expected), set(present)
    missing, more = sorted(expected - present), sorted(present - expected)
    if missing:
        findings = mention(f"{what} missing", "missing", missing, len(expected), remedy)
    else:
        findings = [compare(what, len(expected), len(expected))]
    return findings + mention(f"other {what}", "extra", more, None, "nothing reads them")


def without_advice(error: Exception, root: object) -> str:
    """A complaint for the table: its file below the root, and what is wrong, not what to do."""
    text = str(error).replace(f"{root}/", "").split(": replace")[0].split(": restore")[0]
    return re.sub(r"(damaged[^(]*) \(.*", r"\1", text)  # a library's own words name the file again
