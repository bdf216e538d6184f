"""What the documents promise has a test."""

import re

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
