"""What the documents promise has a test."""

import json
import re
from importlib.util import module_from_spec, spec_from_file_location

import pytest

from mmvs.config import ROOT

LINES = [line for line in (ROOT / "docs/reliability.md").read_text().splitlines() if line.startswith("| ")]
FAULTS = [line for line in LINES if not line.startswith("| fault ")]


@pytest.mark.parametrize("line", FAULTS, ids=lambda line: line[2:40])
def test_every_fault_has_a_test_that_exists(line):
    tests = re.findall(r"`([\w/]+\.py)(?:::(\w+))?`", line.rsplit(" | ", 1)[1])
    assert tests, "no test is named"
    for file, function in tests:
        text = (ROOT / "tests" / file).read_text()
        assert not function or f"def {function}(" in text


FOREIGN = ("ImportError: libGL", "No module named")  # messages of Python and of the system


def test_troubleshooting_lists_messages_that_the_code_has():
    """Each in back quotes in the first column, less what stands in it for a value: `...`, numbers, names."""
    files = [*(ROOT / "mmvs").rglob("*.py"), ROOT / "Makefile"]
    code = "\n".join(file.read_text() for file in files)
    code = re.sub(r'"\s*\n\s*f?"', "", code)  # a text of several lines is one
    rows = [line for line in (ROOT / "docs/troubleshooting.md").read_text().splitlines() if line[:3] == "| `"]
    messages = [message for row in rows for message in re.findall(r"`([^`]+)`", row.split(" | ")[0])]
    ours = [message for message in messages if not message.startswith(FOREIGN)]
    assert len(ours) > 25
    for message in ours:
        for part in re.split(r"\.\.\.|\b\d+\b|'[^']*'", message):
            assert part.strip(" .,;:()'") in code, message


def test_tables_are_those_of_the_runs():
    spec = spec_from_file_location("tables_of_pages", ROOT / "docs" / "tables.py")
    spec.loader.exec_module(made := module_from_spec(spec))
    content, steps = made.own_budget()
    for system, run in (("video+flow", "moving_shapes"), ("video", "moving_shapes_no_flow")):
        scores = json.loads((ROOT / "reports" / run / "metrics.json").read_text())["scores"]
        assert content[system][steps]["0"] == scores
    for page, table in made.PAGES.items():
        lines = (ROOT / page).read_text().splitlines()
        assert [line for line in table() if line not in lines] == []
