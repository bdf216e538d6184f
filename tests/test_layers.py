"""The import table: arrows point downstream, so that every part can be read, tested and replaced alone."""

from __future__ import annotations

import ast
import subprocess
import sys
from fnmatch import fnmatchcase
from pathlib import Path

import pytest

from mmvs.config import ROOT

START = ["schema", "config", "files", "processes"]
DATA = ["data.*", "flow", "flow_store"]
MODEL = ["model.*"]
JUDGEMENT = ["losses", "losses_published", "metrics"]

# What a file may import of ours; the first pattern that fits a file's name counts.
MAY_IMPORT = {
    "schema": [],
    "files": [],
    "config": [],
    "processes": [],
    # data: from a file's frames to a batch
    "data.frame_folder": [*START, "data.video"],
    "data.frames": [*START, "data.frame_folder", "data.video"],
    "data.annotated_videos": [*START, "data.csv_files", "data.frames", "data.video"],
    "data.a2d_files": [*START, "data.csv_files"],
    "data.a2d": [*START, "data.a2d_files", "data.annotated_videos", "data.csv_files"],
    "data.jhmdb_files": [*START, "data.csv_files", "data.frame_folder"],
    "data.jhmdb_samples": [*START, "data.csv_files", "data.jhmdb_files"],
    "data.jhmdb": [
        *START,
        "data.annotated_videos",
        "data.csv_files",
        "data.jhmdb_files",
        "data.jhmdb_samples",
    ],
    "data.verify*": [
        *START,
        "data.a2d*",
        "data.csv_files",
        "data.frame_folder",
        "data.jhmdb*",
        "data.video",
        "data.verification",
        "data.verify_*",
    ],
    "data.shapes_quality": [*START, "data.a2d", "data.moving_shapes", "data.video", "flow", "provenance"],
    "data.shapes_*": [*START, "data.shapes_*"],
    "data.moving_shapes": [*START, "data.shapes_*", "data.video"],
    "data.clips": [
        *START,
        "data.annotated_videos",
        "data.geometry",
        "data.video",
        "data.words",
        "flow_store",
    ],
    "data.catalogue": [*START, *DATA],
    "data.video_source": [*START, "data.video"],
    "data.*": START,
    "flow": START,
    "flow_store": [*START, "flow", "data.frames", "data.video"],
    # model: the parts never see each other
    "model.network": [*START, *MODEL],
    "model.build": [*START, "model.network", "model.published"],
    "model.published": [*START, *MODEL],
    "model.published_released": [],
    "model.published_*": [*START, "model.places", "model.pointwise"],
    "model.attention": START,
    "model.*": [*START, "model.attention"],
    # judgement: never the model, never the data
    "losses": [*START, "losses_published"],
    "losses_published": ["schema"],
    "metrics": START,
    # a run
    "provenance": START,
    "network_training": [*START, *MODEL, *JUDGEMENT],
    "training": [*START, *DATA, *MODEL, "network_training", "provenance"],
    "answers": [*START, *DATA, "metrics", "training"],
    "evaluation": [*START, *DATA, *JUDGEMENT, "answers", "provenance", "training"],
    # any video
    "background": [],
    "streaming": [*START, *MODEL, "data.video"],
    "intake": [*START, *DATA, "streaming"],
    "pretrained": [*START, *MODEL, "provenance", "training"],
    "segmenter": [
        *START,
        *DATA,
        *MODEL,
        *JUDGEMENT,
        "background",
        "intake",
        "pretrained",
        "streaming",
    ],
    "overlay": ["files"],
    "segment_job": ["files"],
    "segment": [*START, *DATA, "overlay", "pretrained", "segment_job", "segmenter"],
    "playground": [*DATA, "overlay", "segmenter"],
    # from files on disk alone
    "tables": START,
    "published_scores": [*START, "tables"],
    "motion_words": [],
    "survey_text": [*START, "data.words", "motion_words"],
    "figures_text": [*START, "figures", "motion_words", "survey_text"],
    "survey": [*START, "tables"],
    "figures": [*START, "survey", "tables"],
    "pictures": [*START, "figures"],
    "runs": [*START, "tables"],
    "report": [*START, "runs", "tables"],
}
FILES = sorted((ROOT / "mmvs").rglob("*.py"))


def fits(name: str, patterns: list[str]) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in patterns)


def dotted(file: Path) -> str:
    """mmvs/data/a2d.py is "data.a2d", mmvs/data/__init__.py is "data", mmvs/__init__.py is ""."""
    parts = file.relative_to(ROOT / "mmvs").with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


NAMES = {dotted(file) for file in FILES}


def imports_of(file: Path) -> set[str]:
    """Names of our own files that a file imports, anywhere in its text."""
    found = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file.name}:{node.lineno}: write imports in full, from mmvs"
            module = node.module
            names = [f"{module}.{alias.name}" for alias in node.names]
            names = [name if name.removeprefix("mmvs.") in NAMES else module for name in names]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        else:
            continue
        found |= {name.removeprefix("mmvs.") for name in names if name.startswith("mmvs.")}
    return found


@pytest.mark.parametrize("file", FILES, ids=dotted)
def test_imports_follow_the_table(file):
    if file.name == "__init__.py":
        assert not imports_of(file), "a package's __init__ imports nothing: no re-exports"
        return
    name = dotted(file)
    allowed = [MAY_IMPORT[pattern] for pattern in MAY_IMPORT if fnmatchcase(name, pattern)]
    assert allowed, f"{name} is a new file: give it a line in the table"
    forbidden = {other for other in imports_of(file) if not fits(other, allowed[0])}
    assert not forbidden, f"{name} may import {', '.join(allowed[0]) or 'nothing of ours'}, not {forbidden}"


def test_the_table_names_no_file_that_is_gone():
    for pattern in MAY_IMPORT:
        assert any(fnmatchcase(name, pattern) for name in NAMES), f"no file is called {pattern}"


@pytest.mark.parametrize("file", [*FILES, *sorted((ROOT / "tests").glob("*.py"))], ids=lambda file: file.name)
def test_every_file_says_what_it_is(file):
    assert ast.get_docstring(ast.parse(file.read_text())), f"{file.name} has no docstring"


def test_importing_the_package_loads_nothing_heavy():
    code = "import sys, mmvs; print(sorted({'torch', 'numpy', 'cv2', 'pandas'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("module", ["data.moving_shapes", "flow_store"])
def test_what_worker_processes_import_starts_without_torch(module):
    code = f"import sys, mmvs.{module}; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
