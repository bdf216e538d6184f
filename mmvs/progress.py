"""Progress bars: one line that moves in a terminal and in a notebook, a line now and then in a log file."""

from __future__ import annotations

import sys
from typing import Any, TextIO

from tqdm.auto import tqdm

IN_LOG = 20  # seconds between two lines of a log file
IN_NOTEBOOK = 1  # seconds: each change is a message to the browser


def progress_bar(*things: Any, **options: Any) -> tqdm:
    """tqdm's bar, with tqdm's options, as often as standard error's place can bear.

    A terminal or a notebook shows it in one line. A file or a pipe gets a line every IN_LOG seconds, which
    ends with CR LF: whoever reads bars by their carriage returns (the Snakefile's `progress`) reads it too.
    """
    if sys.stderr.isatty():
        return tqdm(*things, **{"dynamic_ncols": True, **options})
    if type(sys.stderr).__module__.startswith("ipykernel"):
        return tqdm(*things, **{"mininterval": IN_NOTEBOOK, **options})
    in_log = {"file": _Lines(sys.stderr), "mininterval": IN_LOG, "maxinterval": IN_LOG, "leave": True}
    return tqdm(*things, **{**options, **in_log})


class _Lines:
    """A file for tqdm that gets lines in place of one line drawn over and over."""

    def __init__(self, file: TextIO):
        self.file, self.last = file, ""

    def write(self, text: str) -> None:
        if (line := text.strip()) and line != self.last:
            self.file.write(f"{line}\r\n")
            self.last = line

    def flush(self) -> None:
        self.file.flush()
