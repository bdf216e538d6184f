"""What a check of a data set finds: one line a finding, with what to do."""

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
    """How closely to look."""

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


def counted(what: str, expected: int | None, found: int, why: str = "") -> Finding:
    """A count against the published one, if there is one; `why` explains a difference."""
    if expected is None or found == expected:
        return Finding(what, "" if expected is None else f"{expected:,}", f"{found:,}", "ok")
    verdict = "explained" if why else "wrong count"
    return Finding(
        what, f"{expected:,}", f"{found:,}", verdict, why or "another release, or cut short: get it anew"
    )


def listed(what: str, verdict: str, names: Sequence[str], of: int | None, remedy: str) -> list[Finding]:
    """A finding about some of `of` things, naming the first; none where there are no names."""
    if not names:
        return []
    shown = ", ".join(names[:SHOWN]) + (", ..." if len(names) > SHOWN else "")
    found = f"{len(names):,}" + ("" if of is None else f" of {of:,}")
    return [Finding(what, "none", found, verdict, f"{remedy}: {shown}")]


def complete(what: str, wanted: Sequence[str], there: Iterable[str], remedy: str) -> list[Finding]:
    """Is everything that is wanted there, and is there more?"""
    wanted, there = list(dict.fromkeys(wanted)), set(there)
    lacking, more = sorted(set(wanted) - there), sorted(there - set(wanted))
    if lacking:
        first = listed(f"{what} missing", "missing", lacking, len(wanted), remedy)
    else:
        first = [counted(what, len(wanted), len(wanted))]
    return first + listed(f"other {what}", "extra", more, None, "nothing reads them")


def without_advice(error: Exception, root: object) -> str:
    """A complaint for the table: its file below the root, and what is wrong, not what to do."""
    text = str(error).replace(f"{root}/", "").split(": replace")[0].split(": restore")[0]
    return re.sub(r"(damaged[^(]*) \(.*", r"\1", text)  # a library's own words name the file again
