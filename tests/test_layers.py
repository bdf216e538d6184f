"""Arrows point downstream, so that every part can be read, tested and replaced alone."""

from __future__ import annotations

import ast
import subprocess
import sys

import pytest

from mmvs.config import ROOT

FOLDERS = ("mmvs", "tests", "benchmarks")
FILES = sorted(file for folder in FOLDERS for file in (ROOT / folder).rglob("*.py"))


def python(code: str) -> subprocess.CompletedProcess:
    return subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)


def test_arrows_point_down():
    """The layers stand in pyproject.toml; `lint-imports` tells which import breaks them."""
    done = python("from importlinter.cli import lint_imports_command; lint_imports_command()")
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(ROOT)))
def test_every_file_says_what_it_is(file):
    assert ast.get_docstring(ast.parse(file.read_text())), f"{file.name} has no docstring"


def test_importing_the_package_loads_nothing_heavy():
    done = python("import sys, mmvs; print(sorted({'torch', 'numpy', 'cv2', 'pandas'} & set(sys.modules)))")
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("module", ["shapes.writing", "flow.store"])
def test_what_worker_processes_import_starts_without_torch(module):
    done = python(f"import sys, mmvs.{module}; print('torch' in sys.modules)")
    assert done.stdout.strip() == "False", done.stderr
