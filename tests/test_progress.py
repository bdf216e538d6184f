"""Progress bars: a line that moves in a terminal; in a log file lines, which the Snakefile reads too."""

import io
import re
import subprocess
import sys

import pytest

from mmvs.config import ROOT
from mmvs.progress import progress_bar


class Screen(io.StringIO):
    encoding = "utf-8"

    def isatty(self):
        return True


def test_a_terminal_has_one_line(monkeypatch):
    monkeypatch.setattr(sys, "stderr", place := Screen())
    list(progress_bar(range(3), desc="counting", mininterval=0))
    assert place.getvalue().count("\n") == 1 and place.getvalue().count("\r") > 2


def test_a_log_file_has_lines_and_few_of_them(monkeypatch):
    monkeypatch.setattr(sys, "stderr", place := io.StringIO())
    list(progress_bar(range(1000), desc="counting", leave=False))
    begin, end = place.getvalue().splitlines()
    assert " 0/1000 " in begin and " 1000/1000 " in end
    assert not re.search(r"\r(?!\n)|\x1b", place.getvalue())


@pytest.mark.parametrize("kind", [io.StringIO, Screen])
def test_the_snakefile_reads_both(monkeypatch, kind):
    monkeypatch.setattr(sys, "stderr", place := kind())
    bar = progress_bar(desc="counting", total=2)
    bar.update()
    bar.refresh()
    bar.close()
    function = re.search(r"^progress\(\).*?^}}", (ROOT / "Snakefile").read_text(), re.M | re.S)[0]
    script = function.replace("{{", "{").replace("}}", "}") + "\nprogress run"
    told = subprocess.run(["bash", "-c", script], input=place.getvalue(), text=True, capture_output=True)
    assert re.fullmatch(r"run \| counting: .*0/2.*\n", told.stdout), "one line; the next is 20 s later"
