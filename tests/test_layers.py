"""Arrows point downstream, so that every part can be read, tested and replaced alone."""

from __future__ import annotations

import ast
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from mmvs.config import ROOT

FOLDERS = ("mmvs", "tests", "benchmarks")
FILES = sorted(file for folder in FOLDERS for file in (ROOT / folder).rglob("*.py"))


def python(code: str, folder: Path = ROOT) -> subprocess.CompletedProcess:
    return subprocess.run([sys.executable, "-c", code], cwd=folder, capture_output=True, text=True)


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


def test_segmenting_a_video_loads_neither_training_nor_scores_nor_charts():
    """Each of these takes seconds to import."""
    heavy = "lightning torchmetrics ptlflow pandas matplotlib seaborn timm scipy.signal".split()
    done = python(f"import sys, mmvs.segmenter; print([m for m in {heavy} if m in sys.modules])")
    assert done.stdout.strip() == "[]", done.stderr


def test_without_the_authors_network_the_rest_stands(tmp_path):
    """Delete the folder and its line in the table of networks: nothing else misses it."""
    shutil.copytree(
        ROOT / "mmvs", tmp_path / "mmvs", ignore=shutil.ignore_patterns("published", "__pycache__")
    )
    table = tmp_path / "mmvs" / "build.py"
    lines = table.read_text().splitlines(keepends=True)
    rest = [line for line in lines if "mmvs.published" not in line]
    assert len(rest) == len(lines) - 1
    table.write_text("".join(rest))
    code = """
    import pkgutil, importlib, mmvs, pytest
    from mmvs import config
    for module in pkgutil.walk_packages(mmvs.__path__, "mmvs."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    from mmvs.build import build
    small = {"name": "narrow", "weights": None}
    model = {"width": 8, "heads": 2, "language": {"name": "small"}}
    model |= {"appearance_backbone": small, "motion_backbone": small}
    print(mmvs.__file__, type(build(config.experiment(model=model), 40).network).__name__)
    with pytest.raises(config.ConfigError, match="no network 'published', there are: multimodal"):
        build(config.experiment(model={"name": "published"}), 40)
    """
    done = python(textwrap.dedent(code), folder=tmp_path)
    assert done.stdout.split() == [str(tmp_path / "mmvs" / "__init__.py"), "Network"], done.stderr
