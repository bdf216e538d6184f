"""One list of dependencies: environment.yml, the lock and the imports all agree with pyproject.toml."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
import zipfile
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
EXTRAS = {
    name: [Requirement(line) for line in lines] for name, lines in PROJECT["optional-dependencies"].items()
}
OPTIONAL = [requirement for name, lines in EXTRAS.items() if name != "all" for requirement in lines]
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


def test_pip_section_installs_this_package_with_all_extras_and_nothing_else():
    (section,) = [line["pip"] for line in CONDA if isinstance(line, dict)]
    assert section == ["-e .[all]"]


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
    for requirement in DECLARED + OPTIONAL:
        if requirement.marker is None or requirement.marker.evaluate(machine):
            name = canonicalize_name(requirement.name)
            assert name in pins, f"{name} is missing for Python {python}: run `make lock`"
            assert pins[name] in requirement.specifier, (
                f"{name}=={pins[name]} on Python {python}: run `make lock`"
            )


def test_every_package_that_is_imported_is_declared():
    declared = {canonicalize_name(requirement.name) for requirement in DECLARED + OPTIONAL}
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


def test_all_is_every_extra():
    (everything,) = EXTRAS["all"]
    assert everything.name == "mmvs" and everything.extras == EXTRAS.keys() - {"all"}


WITHOUT_EXTRAS = """
import sys
from importlib.machinery import PathFinder

find = PathFinder.find_spec
hidden = lambda name: name.partition(".")[0] in sys.argv[1:]
PathFinder.find_spec = lambda name, *where: None if hidden(name) else find(name, *where)
import mmvs.segmenter, mmvs.segmenter.folder, mmvs.verify.tree, mmvs.data.catalogue, mmvs.__main__
"""
HEAVY = """
    IPython jupyterlab papermill nbconvert nbformat snakemake lightning tensorboard ptlflow seaborn pandas
    pytest
""".split()  # less matplotlib: where its metadata are there, torchmetrics wants it to be there as well


def test_the_core_is_enough_to_segment_a_video_and_to_read_data():
    """As where no extra is installed."""
    declared = {requirement.name.lower() for requirement in OPTIONAL}
    assert {name.lower() for name in HEAVY} <= declared
    command = [sys.executable, "-c", WITHOUT_EXTRAS, *HEAVY]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_a_wheel_works_outside_the_repository(tmp_path):
    """Relative paths hang from the working directory there, not from where the package is installed."""
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(tmp_path), str(ROOT)]
    built = subprocess.run(build, capture_output=True, text=True)
    assert built.returncode == 0, built.stdout + built.stderr
    with zipfile.ZipFile(next(tmp_path.glob("*.whl"))) as wheel:
        wheel.extractall(tmp_path / "installed")
    assert (tmp_path / "installed" / "mmvs" / "py.typed").is_file()
    (tmp_path / "elsewhere").mkdir()
    code = (
        "from mmvs import config, __version__; print(config.resolve('reports'), __version__, config.__file__)"
    )
    ran = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path / "elsewhere",
        env=os.environ | {"PYTHONPATH": str(tmp_path / "installed")},
        capture_output=True,
        text=True,
    )
    where, version, file = ran.stdout.split()
    assert where == str(tmp_path / "elsewhere" / "reports") and version == PROJECT["version"]
    assert file.startswith(str(tmp_path / "installed"))
