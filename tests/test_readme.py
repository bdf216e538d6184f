"""README and docs: what they print runs as printed; numbers, links and options are those of the code.

A command of README or of the start page is run, or `NOT_RUN` says why not. The command lines of all pages are
parsed by the command itself, which starts nothing.
"""

import ast
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import typer.main
from PIL import Image

from mmvs.__main__ import UsageError, app
from mmvs.config import ROOT

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
RUN_AS_PRINTED = [ROOT / "README.md", ROOT / "docs/index.md"]
NOT_RUN = {  # the first words of a command: why the test does not run it
    "git clone": "there is no public address yet",
    "cd mmvs": "the test is there",
    "make install": "downloads and installs 7 GB: the test has an environment",
    "make report": "trains for a third of an hour",
    "make test": "is what runs this test",
    ". .venv/bin/activate": "the test has an environment",
}
COMMAND = typer.main.get_command(app)
TARGETS = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.M))


def blocks(page: Path, language: str) -> list[str]:
    """Fenced blocks of a page in one language, in order."""
    return re.findall(rf"^```{language}\n(.*?)^```", page.read_text(encoding="utf-8"), re.M | re.S)


def commands(block: str) -> list[list[str]]:
    """The commands of a shell block, as words; comments left out."""
    lines = block.replace("\\\n", " ").splitlines()
    words = [shlex.split(line, comments=True) for line in lines]
    parts = [" ".join(map(shlex.quote, line)).split(" '&&' ") for line in words if line]
    return [shlex.split(part) for line in parts for part in line]


def inline(page: Path) -> list[list[str]]:
    """Commands in single back quotes, outside blocks."""
    text = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.M | re.S)
    found = re.findall(r"`((?:mmvs|make|python|papermill|torchrun)\s[^`]+)`", text)
    return [command for line in found for command in commands(" ".join(line.split()))]


def own_words(command: list[str]) -> list[str] | None:
    """What stands behind `mmvs`, `python -m mmvs` or torchrun's `-m mmvs`; None of another command."""
    if command[:1] == ["mmvs"]:
        return command[1:]
    if "-m" in command and command[(place := command.index("-m") + 1) :][:1] == ["mmvs"]:
        return command[place + 1 :]
    return None


def parse(words: list[str]) -> None:
    """Let the command read a command line without running it; its own error where it is wrong."""
    command, context = COMMAND, None
    while hasattr(command, "commands") and words:
        context = command.make_context("mmvs", list(words), parent=context)
        rest = [*context._protected_args, *context.args]
        if not rest:
            return
        _, command, words = command.resolve_command(context, rest)
    command.make_context("mmvs", list(words), parent=context)


def check_options(words: list[str]) -> None:
    """Of a command that a text mentions in part: its word and its options exist."""
    if not re.fullmatch(r"[a-z][a-z-]*", words[0]):  # `mmvs --help`, `mmvs WORD`
        return
    command = COMMAND.commands[words[0]]
    known = {name for parameter in command.params for name in (*parameter.opts, *parameter.secondary_opts)}
    wrong = {word for word in words[1:] if word.startswith("--")} - known - {"--help"}
    assert not wrong, f"mmvs {words[0]} has no {wrong}"


def check_others(command: list[str]) -> None:
    """Targets of make, notebooks and modules exist."""
    if command[0] == "make":
        targets = [word for word in command[1:] if "=" not in word]
        assert {t for t in targets if not t.startswith(".venv")} <= TARGETS, command
    if command[0] == "papermill":
        assert (ROOT / command[1]).is_file(), command
    if command[:2] == ["python", "-m"]:
        assert (ROOT / (command[2].replace(".", "/") + ".py")).is_file(), command
    elif command[0] == "python" and command[1].endswith(".py"):
        assert (ROOT / command[1]).is_file(), command


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_are_those_of_the_code(page):
    for command in [c for block in blocks(page, "sh") for c in commands(block)]:
        if (words := own_words(command)) is not None:
            try:
                parse(words)
            except UsageError as error:
                pytest.fail(f"{shlex.join(command)}: {error.format_message()}")
        else:
            check_others(command)
    for command in inline(page):
        words = own_words(command)
        check_others(command) if words is None else check_options(words)


def test_a_misspelt_option_is_noticed():
    with pytest.raises(UsageError, match="--uot"):
        parse(["segment", "a.mp4", "a circle", "--uot", "results"])
    with pytest.raises(AssertionError, match="--uot"):
        check_options(["segment", "--uot"])
    with pytest.raises(UsageError):
        parse(["report", "rendr", "a.ipynb"])


@pytest.fixture(scope="module")
def clone(tmp_path_factory) -> Path:
    """A folder with all that the repository has, where results may be written."""
    folder = tmp_path_factory.mktemp("clone")
    for entry in ("docs", "models", "params", "notebooks", "mmvs"):
        (folder / entry).symlink_to(ROOT / entry)
    return folder


def run(command: list[str], folder: Path) -> str:
    """Standard output of a command; `mmvs` is this interpreter's, of these sources."""
    if command[0] == "mmvs":
        command = [sys.executable, "-m", *command]
    places = {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, cwd=folder, env=os.environ | places, capture_output=True, text=True)
    assert done.returncode == 0, f"{shlex.join(command)}\n{done.stdout}{done.stderr}"
    return done.stdout


def test_shell_blocks_run_as_printed(clone):
    ran = []
    for page in RUN_AS_PRINTED:
        for command in [c for block in blocks(page, "sh") for c in commands(block)]:
            left_out = any(shlex.join(command).startswith(words) for words in NOT_RUN)
            if left_out or command in ran:
                continue
            run(command, clone)
            ran.append(command)
    assert [command[:2] for command in ran] == [["mmvs", "segment"]]
    assert (clone / "results/overlay.mp4").is_file() and (clone / "results/score.csv").is_file()
    falling, leftwards = (centres(clone / "results/masks", number) for number in (1, 2))
    assert falling[-1, 0] - falling[0, 0] > 12 and np.abs(np.ptp(falling[:, 1])) < 8
    assert leftwards[0, 1] - leftwards[-1, 1] > 12 and np.abs(np.ptp(leftwards[:, 0])) < 8


def centres(masks: Path, number: int) -> np.ndarray:
    """(frames, 2): row and column of the middle of a sentence's mask."""
    (folder,) = [folder for folder in masks.iterdir() if folder.name.lstrip("0") == str(number)]
    pictures = [np.asarray(Image.open(file)) > 0 for file in sorted(folder.glob("*.png"))]
    return np.array([np.argwhere(picture).mean(0) for picture in pictures])


def test_python_blocks_run_as_printed(clone):
    (block,) = [block for page in RUN_AS_PRINTED for block in blocks(page, "python")]
    lines = run([sys.executable, "-c", block], clone).splitlines()
    assert len(lines) == 13 and all(re.fullmatch(r"0\.\d\d s: [1-9]\d+ pixels", line) for line in lines)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_python_blocks_import_what_there_is(page):
    for block in blocks(page, "python"):
        for node in ast.walk(ast.parse(block)):
            if isinstance(node, ast.ImportFrom) and node.module.startswith("mmvs"):
                place = ROOT / node.module.replace(".", "/")
                file = place / "__init__.py" if place.is_dir() else place.with_suffix(".py")
                for name in (alias.name for alias in node.names):
                    own = (place / f"{name}.py").is_file() or (place / name).is_dir()
                    assert own or re.search(rf"\b{name}\b", file.read_text()), f"{node.module} has no {name}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page):
    text = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.M | re.S)
    for link in re.findall(r"\]\(([^)\s]+)\)", text):
        if "://" not in link and link.split("#")[0] not in ("", "contributing.md", "changelog.md"):
            assert (page.parent / link.split("#")[0]).exists(), f"{page.name}: {link}"


def test_every_page_is_in_the_site():
    listed = (ROOT / "mkdocs.yml").read_text()
    assert not [page.name for page in PAGES[1:] if f": {page.name}\n" not in listed]


def test_readme_is_short_and_its_picture_light():
    assert len((ROOT / "README.md").read_text().splitlines()) <= 130
    assert (ROOT / "docs/media/shapes.gif").stat().st_size < 800_000
