"""What is to be scored, and by whose rule."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from mmvs.data.csv_files import DataError

EXPRESSIONS = ("mevis", "ref-youtube-vos", "ref-davis17", "expressions")
SAMPLES = ("a2d", "jhmdb")
DATA_SETS = (*EXPRESSIONS, *SAMPLES)


@dataclass
class Request:
    """The arguments of `mmvs score`."""

    predictions: Path  # folder or zip in the layout of the data set's submissions
    truth: Path  # root of the data set
    data_set: str  # one of DATA_SETS
    split: str = ""  # "" where the data set has none
    as_official: bool = False  # average as the official code does, its handling of faults included
    workers: int | None = None  # processes; None: as many as pay, at most one a core
    sample_list: Path | None = None  # of J-HMDB-Sentences: CSV file; None: the list drawn for the root
    progress: bool = True

    def __post_init__(self) -> None:
        if self.data_set not in DATA_SETS:
            raise DataError(f"unknown data set '{self.data_set}': there are {', '.join(DATA_SETS)}")
        if not self.split and self.data_set != "jhmdb":
            raise DataError(f"{self.data_set} has splits: name that of the masks, as in --split valid")
