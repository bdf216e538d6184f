"""One list of dependencies: environment.yml, the lock and the imports all agree with pyproject.toml."""

from __future__ import annotations

import ast
import re
import sys
from importlib.metadata import packages_distributions

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

from mmvs.config import ROOT

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
DECLARED = [Requirement(line) for line in PROJECT["dependencies"]]
TEST = [Requirement(line) for line in PROJECT["optional-dependencies"]["test"]]
CONDA = yaml.safe_load((ROOT / "environment.yml").read_text())["dependencies"]


def locked() -> list[Requirement]:
    """Every requirement of the lock, comments left out."""
    lines = (line.split("#")[0].strip() for line in (ROOT / "requirements.lock").read_text().splitlines())
    return [Requirement(line) for line in lines if line]


def test_conda_brings_python_and_pip_and_nothing_that_pyproject_lists():
    names = {re.match(r"[\w-]+", line).group() for line in CONDA if isinstance(line, str)}
    assert names == {"python", "pip"}


def test_conda_has_the_python_range_of_pyproject():
    (python,) = [line for line in CONDA if isinstance(line, str) and line.startswith("python")]
    assert SpecifierSet(python.removeprefix("python").strip()) == SpecifierSet(PROJECT["requires-python"])


def test_pip_section_installs_this_package_with_its_tests_and_nothing_else():
    (section,) = [line["pip"] for line in CONDA if isinstance(line, dict)]
    assert section == ["-e .[test]"]


def test_lock_pins_one_version_everywhere_and_names_no_host():
    assert "://" not in (ROOT / "requirements.lock").read_text()
    for requirement in locked():
        assert re.fullmatch(r"==[\w.]+", str(requirement.specifier)), f"{requirement} is not pinned"


@pytest.mark.parametrize("python", ["3.10", "3.11", "3.12"])
def test_lock_satisfies_pyproject_on_every_python(python):
    machine = {"python_version": python, "python_full_version": f"{python}.9", "sys_platform": "linux"}
    pins = {}
    for requirement in locked():
        if requirement.marker is None or requirement.marker.evaluate(machine):
            name = canonicalize_name(requirement.name)
            assert name not in pins, f"{name} is pinned twice for Python {python}"
            pins[name] = str(requirement.specifier).removeprefix("==")
    pins["opencv-python"] = pins["opencv-python-headless"]  # the same cv2; pyproject.toml says why
    for requirement in DECLARED + TEST:
        if requirement.marker is None or requirement.marker.evaluate(machine):
            name = canonicalize_name(requirement.name)
            assert name in pins, f"{name} is missing for Python {python}: run `make lock`"
            assert pins[name] in requirement.specifier, (
                f"{name}=={pins[name]} on Python {python}: run `make lock`"
            )


def test_every_package_that_is_imported_is_declared():
    declared = {canonicalize_name(requirement.name) for requirement in DECLARED}
    declared |= {"opencv-python-headless"}
    provided = packages_distributions()
    for file in sorted((ROOT / "mmvs").rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and node.level == 0:
                names = [node.module]
            else:
                continue
            for name in {name.split(".")[0] for name in names} - sys.stdlib_module_names - {"mmvs"}:
                owners = {canonicalize_name(owner) for owner in provided.get(name, [])}
                assert owners & declared, f"{file.name} imports {name}: name its package in pyproject.toml"
