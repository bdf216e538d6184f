"""`mmvs sweep`: an experiment over a grid of parameters and several seeds, run by Snakemake.

A cell is an experiment as any other, params/<run>.yaml → reports/<run>, whose run is named
<run of the sweep>/sweep/<point>/<seed>. A point is one combination of the grid's values.
"""

from __future__ import annotations

import hashlib
import importlib.util
import itertools
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from tqdm import tqdm

from mmvs import config
from mmvs.config import ROOT, ConfigError, Experiment, NoDatesSafeLoader
from mmvs.files import write_json, write_text
from mmvs.processes import one_at_a_time
from mmvs.report.comparison import Contender, aligned, difference, shown
from mmvs.report.pages import render_sweep
from mmvs.report.tables import kinds_first, without_control
from mmvs.run_folder import Result, RunFolder

ALONE = "as-it-is"  # name of the only cell of a sweep without a grid
RESERVED = ("run", "reports", "seed", "ladder", "ask")  # keys that a grid does not set
LONGEST_VALUE = 40  # characters of a value in a folder's name
POLL = 0.5  # seconds between two looks at the cells


@dataclass(frozen=True)
class Cell:
    """One training: a point of the grid, and a seed."""

    name: str  # of the point
    changes: dict[str, Any]  # dotted key → value
    values: dict[str, Any]  # of the params file
    experiment: Experiment
    params: Path

    @property
    def folder(self) -> RunFolder:
        return RunFolder.of(self.experiment)

    @property
    def log(self) -> Path:
        return self.folder.path / "sweep.log"

    def result(self) -> Result | None:
        """Its scores; None where it has to run."""
        return self.folder.result_of(self.experiment)

    def title(self) -> str:
        return f"{self.name}, seed {self.experiment.seed}"

    def write(self) -> None:
        """Write the params file, unless it is there as it should be."""
        settings = ", ".join(f"{key} {shown(value)}" for key, value in self.changes.items()) or "no change"
        path = self.params.relative_to(ROOT) if self.params.is_relative_to(ROOT) else self.params
        head = (
            f"# Written by `mmvs sweep`: {settings}, seed {self.experiment.seed}.\n# mmvs evaluate {path}\n"
        )
        text = head + yaml.safe_dump(self.values, sort_keys=False, allow_unicode=True)
        if not self.params.exists() or self.params.read_text(encoding="utf-8") != text:
            write_text(self.params, text)


def plan(params: str | Path, grid: list[str], seeds: int) -> list[Cell]:
    """All cells, each checked; nothing is written.

    params  of the experiment that the cells change
    grid    "dotted.key=value,value,...", values as in YAML; the cells are all combinations
    seeds   how many, from the experiment's own

    ConfigError: a key or value that the experiment refuses, a key or value that stands twice.
    """
    path = config.resolve(params)
    base = config.load(path)
    axes: dict[str, list[Any]] = {}
    for text in grid:
        key, values = _axis(text)
        if key in axes:
            raise ConfigError(f"--grid {text}: {key} stands twice: give its values in one --grid, by commas")
        axes[key] = values
    names = _short(list(axes))
    cells = []
    for point in itertools.product(*axes.values()):
        given = dict(zip(axes, point, strict=True))
        try:
            values, experiment = config.varied(path, given)
        except ConfigError as error:
            setting = ", ".join(f"{key}={shown(value)}" for key, value in given.items())
            raise ConfigError(f"--grid {setting}: {error}") from None
        changes = {key: _value(experiment, key, value) for key, value in given.items()}
        name = "+".join(f"{names[key]}_{_slug(value)}" for key, value in changes.items()) or ALONE
        if any(cell.name == name for cell in cells):
            raise ConfigError(f"--grid: two of its points are the same experiment, {name}: name a value once")
        for seed in range(base.seed, base.seed + seeds):
            run = f"{base.run}/sweep/{name}/{seed}"
            values, experiment = config.varied(path, changes | {"run": run, "seed": seed})
            cells.append(Cell(name, changes, values, experiment, path.parent / f"{run}.yaml"))
    return cells


def run(cells: list[Cell], cores: int = 1, progress: bool = True, profile: str | None = None) -> list[Cell]:
    """Run the cells that have no scores, `cores` at a time, each on one thread; returns those that failed.

    profile  of Snakemake, which says where the cells run: a folder, or the name of one below profiles/. It
             sets how many run at a time, in place of `cores`

    A cell that fails does not stop the others. ConfigError where Snakemake or the profile is missing;
    BlockingIOError where another process is at work on this sweep.
    """
    where = ["--cores", str(cores)] if profile is None else ["--profile", str(profile_folder(profile))]
    if importlib.util.find_spec("snakemake") is None:
        raise ConfigError("mmvs sweep runs its cells with Snakemake: pip install 'mmvs[notebooks]'")
    folder = sweep_folder(cells)
    with one_at_a_time(folder / "sweep.lock", wait=False):
        missing = [cell for cell in cells if cell.result() is None]
        for cell in missing:
            cell.write()
            for stamp in ("done", "failed"):
                (cell.folder.path / stamp).unlink(missing_ok=True)
            cell.folder.path.mkdir(parents=True, exist_ok=True)
        if missing:
            _run_snakemake(folder, missing, len(cells), where, progress)
        return [cell for cell in cells if cell.result() is None]


def sweep_folder(cells: list[Cell]) -> Path:
    """reports/<run>/sweep."""
    return cells[0].folder.path.parent.parent


def profile_folder(profile: str) -> Path:
    """The folder of a profile of Snakemake; ConfigError where there is none."""
    for folder in (Path(profile), ROOT / "profiles" / profile):
        if (folder / "config.yaml").is_file():
            return folder.resolve()
    names = ", ".join(sorted(path.parent.name for path in ROOT.glob("profiles/*/config.yaml")))
    raise ConfigError(
        f"--profile {profile}: no folder with a config.yaml; below profiles/ there are: {names}"
    )


def _run_snakemake(folder: Path, cells: list[Cell], count: int, where: list[str], progress: bool) -> None:
    settings = folder / "snakemake.json"
    listed = [
        {"name": cell.name, "seed": cell.experiment.seed}
        | {"params": str(cell.params), "folder": str(cell.folder.path)}
        for cell in cells
    ]
    write_json(settings, {"root": str(ROOT), "python": sys.executable, "cells": listed})
    command = [sys.executable, "-m", "snakemake", "--snakefile", Path(__file__).with_suffix(".smk")]
    command += ["--directory", folder, "--configfile", settings, *where]
    command += ["--keep-going", "--forceall", "--nolock", "--rerun-triggers", "mtime", "--quiet", "all"]
    environment = {"OMP_NUM_THREADS": "1", **os.environ}
    log = folder / "snakemake.log"
    with log.open("w") as out:
        # A group of its own: Ctrl-C comes here first, and goes to Snakemake and all trainings once.
        job = subprocess.Popen(
            command, stdout=out, stderr=out, env=environment, start_new_session=True, cwd=ROOT
        )
        handler = signal.signal(signal.SIGTERM, _end)
        try:
            _watch(job, cells, count, progress)
        except BaseException:
            os.killpg(job.pid, signal.SIGINT)  # trainings save their step
            job.wait()
            raise
        finally:
            signal.signal(signal.SIGTERM, handler)
    if job.returncode and not any((cell.folder.path / "failed").exists() for cell in cells):
        raise ConfigError(f"Snakemake ended with status {job.returncode} ({_last_line(log)}): see {log}")


def _end(number: int, _: Any) -> None:
    """End as after Ctrl-C: no training goes on without this process."""
    raise SystemExit(128 + number)


def _watch(job: subprocess.Popen, cells: list[Cell], count: int, progress: bool) -> None:
    """Tell of every cell that ends, until all have."""
    running, failed = list(cells), 0
    with tqdm(total=count, initial=count - len(cells), unit="cell", disable=not progress) as bar:
        while running:
            ended = job.poll() is not None  # before the cells are looked at: none is missed
            for cell in list(running):
                is_failed = (cell.folder.path / "failed").exists()
                if is_failed or (cell.folder.path / "done").exists():
                    running.remove(cell)
                    failed += is_failed
                    bar.set_postfix_str(f"{failed} failed" if failed else "")
                    bar.update()
                    if progress:
                        end = f"failed: {_last_line(cell.log)}" if is_failed else "finished"
                        bar.write(f"{cell.title()}: {end}", file=sys.stderr)
            if ended:
                break
            time.sleep(POLL)
    job.wait()


def _last_line(log: Path) -> str:
    """What a log ends with, which is the error; progress bars return without a new line."""
    lines = log.read_text(errors="replace").replace("\r", "\n").split("\n") if log.exists() else []
    return next((line.strip() for line in reversed(lines) if line.strip()), "nothing in its log")


@dataclass(frozen=True)
class Outcome:
    """What the cells of a sweep scored: by points of the grid, over seeds."""

    cells: list[Cell]
    failed: list[Cell]

    @property
    def points(self) -> dict[str, dict[str, Any]]:
        """Name of a point → what it changes; also where none of its cells is scored."""
        return {cell.name: cell.changes for cell in self.cells}

    def contenders(self) -> dict[str, Contender]:
        """The points that have scores."""
        done: dict[str, list[Path]] = {}
        for cell in self.cells:
            if cell not in self.failed:
                done.setdefault(cell.name, []).append(cell.folder.path)
        return {name: Contender.of(name, folders) for name, folders in done.items()}

    def rows(self) -> list[dict[str, Any]]:
        """A row a point, data set and kind: mean IoU, and what it is more than the first point's."""
        contenders = self.contenders()
        first = next(iter(contenders.values()), None)
        rows = []
        for name, one in contenders.items():
            for data_set, kinds in one.first.scores.items():
                for kind in kinds_first(kinds):
                    place = data_set, kind, "mean_iou"
                    gain = None if one is first else difference(first, one, *place)
                    if score := one.score(*place):
                        row = {"point": name, "data_set": data_set, "kind": kind}
                        rows.append(row | {"score": score, "gain": gain})
        return rows

    def text(self) -> str:
        """A table a data set: points, by kind of sentences; then the cells that failed."""
        rows, lines = self.rows(), []
        data_sets = dict.fromkeys(
            row["data_set"] for row in rows if row["data_set"] == without_control(row["data_set"])
        )
        for data_set in data_sets:
            here = [row for row in rows if row["data_set"] == data_set]
            kinds = kinds_first({row["kind"] for row in here})
            scores = {(row["point"], row["kind"]): row["score"].text() for row in here}
            gains = {row["point"]: row["gain"] for row in here if row["kind"] == "all"}
            points = [name for name in self.points if name in gains]
            seeds = [
                sum(cell.name == name and cell not in self.failed for cell in self.cells) for name in points
            ]
            table = [["", "seeds", *kinds, "all, less the first"]]
            for name, count in zip(points, seeds, strict=True):
                gain = gains[name].text("+") if gains[name] else ""
                table.append([name, str(count), *(scores.get((name, kind), "-") for kind in kinds), gain])
            lines += [f"{data_set}: mean IoU [95 % interval]", *aligned(table), ""]
        if rows:
            lines += [
                "Of several seeds: Student's t, differences by pairs of seeds. Of one seed: bootstrap over "
                "videos, which says nothing of another seed's training."
            ]
        lines += [f"failed: {cell.title()}: {_last_line(cell.log)} (log: {cell.log})" for cell in self.failed]
        return "\n".join(lines)

    def write_json(self) -> Path:
        """Write reports/<run>/sweep.json: points, scores of every seed, the table, and what failed."""
        points = {name: {"changes": changes, "scores": {}} for name, changes in self.points.items()}
        for cell in self.cells:
            if cell not in self.failed:
                points[cell.name]["scores"][str(cell.experiment.seed)] = cell.result().scores
        table = [
            row | {"score": row["score"].record(), "gain": row["gain"].record() if row["gain"] else None}
            for row in self.rows()
        ]
        failed = {f"{cell.name}/{cell.experiment.seed}": _last_line(cell.log) for cell in self.failed}
        path = sweep_folder(self.cells).with_suffix(".json")
        command = self._command()
        write_json(path, {"command": command, "points": points, "table": table, "failed": failed})
        return path

    def _command(self) -> str:
        """What runs this sweep again."""
        seeds = {cell.experiment.seed for cell in self.cells}
        grid: dict[str, list[str]] = {}
        for changes in self.points.values():
            for key, value in changes.items():
                values = grid.setdefault(key, [])
                if shown(value) not in values:
                    values.append(shown(value))
        axes = "".join(f" --grid {shlex.quote(f'{key}=' + ','.join(one))}" for key, one in grid.items())
        run = self.cells[0].experiment.run.split("/sweep/")[0]
        return f"mmvs sweep params/{run}.yaml --seeds {len(seeds)}{axes}"

    def write_page(self) -> Path | None:
        """Write reports/<run>/sweep.html, after sweep.json; None where no cell has scores."""
        if len(self.failed) == len(self.cells):
            return None
        return render_sweep(sweep_folder(self.cells).with_suffix(".json"))


def _axis(text: str) -> tuple[str, list[Any]]:
    """Key and values of "key=value,value"."""
    key, equals, values = text.partition("=")
    key = key.strip()
    if not (key and equals and values.strip()):
        raise ConfigError(f"--grid {text}: expected key=value,value,..., such as training.rate=1e-4,3e-4")
    if key.split(".")[0] in RESERVED:
        advice = "--seeds says how many" if key == "seed" else "a grid has parameters of the experiment alone"
        raise ConfigError(f"--grid {text}: {key} cannot be swept: {advice}")
    try:
        parsed = yaml.load(f"[{values}]", NoDatesSafeLoader)
    except yaml.YAMLError:
        raise ConfigError(
            f"--grid {text}: the values are not YAML: quote what has brackets or commas"
        ) from None
    return key, parsed


def _short(keys: list[str]) -> dict[str, str]:
    """The last part of each key, where it is of one key alone."""
    last = [key.split(".")[-1] for key in keys]
    return {key: one if last.count(one) == 1 else key for key, one in zip(keys, last, strict=True)}


def _value(experiment: Experiment, key: str, given: Any) -> Any:
    """The value as the experiment reads it: 1e-4 and 0.0001 are one."""
    value: Any = experiment.model_dump(mode="json")
    for part in key.split("."):
        if not isinstance(value, dict) or part not in value:
            return given
        value = value[part]
    return value


def _slug(value: Any) -> str:
    """A value as a part of a folder's name; digits of its hash where it could be mistaken for another."""
    text = shown(value)
    plain = re.sub(r"[^\w.+-]+", "-", text).strip("-")
    if plain == text and len(text) <= LONGEST_VALUE:
        return text
    return f"{plain[:LONGEST_VALUE]}-{hashlib.sha256(text.encode()).hexdigest()[:6]}"
