"""The scores of a submission, and what is wrong with it: as text, JSON and a table."""

from __future__ import annotations

import csv
import io
import math
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any

from mmvs.files import write_json, write_text
from mmvs.scoring.request import Request

FRAMES_SHOWN = 5  # of a fault, in text and table
FAULTS_SHOWN = 40  # in the text; the JSON file has them all


@dataclass
class Fault:
    """What is wrong with a mask, an expression, a video."""

    fault: str  # "missing video", "missing expression", "missing frame", "wrong size", "damaged file", ...
    video: str
    exp_id: str = ""
    frames: list[str] = field(default_factory=list)  # [] where it is not a matter of single frames
    detail: str = ""
    official: str = ""  # what the official code does about it

    def text(self) -> str:
        """What is wrong."""
        frames = shorten(self.frames, FRAMES_SHOWN)
        return self.fault + (f" {frames}" if frames else "") + (f" ({self.detail})" if self.detail else "")

    def line(self) -> str:
        """What is wrong, where, and what the official code does."""
        place = f"{self.video}, expression {self.exp_id}" if self.exp_id else self.video
        return f"{place}: {self.text()}" + (f" [{self.official}]" if self.official else "")


@dataclass
class Report:
    """Scores by one convention, or by several."""

    request: Request
    convention: str  # how the averages are made
    averages: dict[str, dict[str, Any]]  # by name: what is printed
    details: dict[str, Any]  # what the JSON file holds besides
    rows: list[dict[str, Any]]  # of the table
    faults: list[Fault]
    notes: list[str]
    reproduced: bool = False  # is the official number known in spite of the faults?

    @property
    def is_sound(self) -> bool:
        """Is nothing wrong, or was the official number asked for and is known all the same?"""
        return not self.faults or (self.request.as_official and self.reproduced)

    def record(self) -> dict[str, Any]:
        """What the JSON file holds; a number that is not known is null."""
        request = self.request
        record: dict[str, Any] = {"data_set": request.data_set, "split": request.split}
        record |= {"convention": self.convention, "as_official": request.as_official}
        record |= self.details | {"faults": [vars(fault) for fault in self.faults], "notes": self.notes}
        return _with_null(record)

    def write_json(self, path: str | Path) -> None:
        """Write all numbers and faults."""
        write_json(path, self.record())

    def write_table(self, path: str | Path) -> None:
        """Write a CSV file with a row for each expression, or sample."""
        columns = list(dict.fromkeys(chain.from_iterable(self.rows)))
        text = io.StringIO()
        table = csv.DictWriter(text, columns, restval="", lineterminator="\n")
        table.writeheader()
        table.writerows(self.rows)
        write_text(path, text.getvalue())

    def text(self) -> str:
        """Averages, notes, and the faults by name."""
        name = ", ".join(filter(None, (self.request.data_set, self.request.split)))
        lines = [f"{name}: {self.convention}"]
        width = max(map(len, self.averages), default=0)
        for label, numbers in self.averages.items():
            lines.append(f"  {label.ljust(width)}  " + "  ".join(_number(*one) for one in numbers.items()))
        lines += self.notes
        if self.faults:
            lines.append("1 fault:" if len(self.faults) == 1 else f"{len(self.faults):,} faults:")
            lines += [f"  {fault.line()}" for fault in self.faults[:FAULTS_SHOWN]]
        if (more := len(self.faults) - FAULTS_SHOWN) > 0:
            lines.append(f"  and {more:,} more: --json FILE lists them all")
        return "\n".join(lines)


def shorten(names: list[str], most: int) -> str:
    """The first names of a list, and how many more there are."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def size_text(size: tuple[int, ...]) -> str:
    """(H, W) as people write it: width x height."""
    return f"{size[1]}x{size[0]}"


def _number(name: str, value: Any) -> str:
    return f"{name} {value:.4f}" if isinstance(value, float) else f"{name} {value}"


def _with_null(value: Any) -> Any:
    """The same with None in place of NaN, which JSON does not have."""
    if isinstance(value, dict):
        return {key: _with_null(one) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [_with_null(one) for one in value]
    return None if isinstance(value, float) and math.isnan(value) else value
