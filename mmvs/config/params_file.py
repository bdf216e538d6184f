"""Params files, and the parameters of notebooks: read, laid over each other, checked."""

from __future__ import annotations

import ast
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import yaml
from pydantic import Field, ValidationError

from mmvs.config.experiments import SYSTEMS, Experiment, experiment
from mmvs.config.part import ConfigError, Part, hint, refusal, resolve
from mmvs.files import regular


class NoDatesSafeLoader(yaml.SafeLoader):
    """YAML without dates, as papermill reads it: `run: 2024-01-01` is a name. A key stands there once."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [key.value for key, _ in node.value]
        if again := [key for key in keys if keys.count(key) > 1]:
            raise yaml.constructor.ConstructorError(None, None, f"'{again[0]}' stands twice", node.start_mark)
        return super().construct_mapping(node, deep)


NoDatesSafeLoader.yaml_implicit_resolvers = {
    start: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for start, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


class LadderPlan(Part):
    """What 04_ablations shows of the ladder, and 08_explicit_motion of the systems."""

    rungs: list[str] = ["B", "B+M+T+L+A"]
    seeds: list[int] = [0]
    train_missing: bool = True  # False: cells that are not trained yet are left out
    compare: list[str] = []  # runs that stand beside this one
    systems: list[str] = list(SYSTEMS)  # what they are given of time, each trained with all `seeds`
    steps: list[int] = []  # how long; on all videos
    shares: list[float] = []  # of the training videos; for the middle one of `steps`
    rates: dict[int, Annotated[float, Field(gt=0)]] = {}  # of systems by steps; else the experiment's

    @property
    def budgets(self) -> list[tuple[int, float]]:
        """Every (steps, share of the training videos) of the plan."""
        middle = sorted(self.steps)[len(self.steps) // 2] if self.steps else 0
        return [(steps, 1.0) for steps in self.steps] + [(middle, share) for share in self.shares if middle]

    def as_system(
        self, experiment: Experiment, system: str, steps: int, share: float, seed: int
    ) -> Experiment:
        """`Experiment.as_system`, at the rate that the plan has for so many steps."""
        return experiment.as_system(system, steps, share, seed, self.rates.get(steps))


class Question(Part):
    """What 06_your_video asks; what is empty comes from the run itself."""

    model: str = ""  # a run's folder, a checkpoint, a saved model or a hub id
    video: str = ""  # a file, an address or a folder of pictures
    sentences: list[str] = []
    note: str = ""  # of the page


@dataclass(frozen=True)
class Parameters:
    """The content of a params file: one experiment, and what two notebooks need beside it."""

    experiment: Experiment
    ladder: LadderPlan
    ask: Question


def load(path: str | Path) -> Experiment:
    """The experiment of a params file; ConfigError names the file and the key at fault."""
    return read(path).experiment


def read(path: str | Path) -> Parameters:
    """All of a params file; ConfigError names the file and the key at fault."""
    path = resolve(path)
    try:
        return _checked(_read(path))
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from None


def varied(path: str | Path, changes: dict[str, Any]) -> tuple[dict[str, Any], Experiment]:
    """The values of a params file with some replaced, and their experiment; ConfigError as `load`.

    changes  dotted key, such as training.rate → its value
    """
    path = resolve(path)
    values = _read(path)
    for key, value in changes.items():
        *parents, name = key.split(".")
        part = values
        for parent in parents:
            if not isinstance(part.get(parent), dict):
                part[parent] = {}
            part = part[parent]
        part[name] = value
    return values, _checked(values).experiment


def parameters(notebook: dict[str, Any]) -> Parameters:
    """The parameters of a notebook: what its cells set, laid over a params file, and checked.

    notebook  globals(); what the cell `parameters` leaves empty, or papermill does not inject, is not set

    The file is that of `run` where there is one, params/<run>.yaml; else params/smoke.yaml. So `-f
    params/<run>.yaml` is exactly that experiment, and `-p` and `-y` change just what they name, within a part
    as well. A record from elsewhere (it has both `run` and `data`) stands for itself; and where `model.name`
    says another network, nothing of the file's `model` and `loss` stays.

    Raises ConfigError on a name that does not exist, also on one that papermill has only warned about.
    """
    names = [*Experiment.model_fields, "ladder", "ask"]
    values = {name: notebook[name] for name in names if notebook.get(name) not in (None, "", {})}
    for name in _injected(notebook.get("In", [])):
        if name not in names:
            raise ConfigError(f"unknown parameter '{name}' of the notebook: {hint(name, names)}")
    file = resolve("params") / f"{values.get('run', 'smoke')}.yaml"
    if not file.is_file():
        file = resolve("params") / "smoke.yaml"
        if {"run", "data"} <= values.keys():
            return _checked(values)
    base = _read(file)
    if _network(values) and _network(values) != (_network(base) or "multimodal"):
        base = {name: value for name, value in base.items() if name not in ("model", "loss")}
    return _checked(_laid_over(base, values))


def _network(values: dict[str, Any]) -> str | None:
    model = values.get("model")
    return model.get("name") if isinstance(model, dict) else None


def _checked(values: dict[str, Any]) -> Parameters:
    """Parts and values of a params file, of the types that they should have."""
    beside = {}
    for name, kind in (("ladder", LadderPlan), ("ask", Question)):
        try:
            beside[name] = kind.model_validate(values.get(name, {}))
        except ValidationError as error:
            raise refusal(error, name) from None
    parts = {str(name): value for name, value in values.items() if name not in beside}
    return Parameters(experiment(**parts), **beside)


def _read(path: Path) -> dict[str, Any]:
    try:
        values = yaml.load(regular(path).read_text(encoding="utf-8"), NoDatesSafeLoader)
    except FileNotFoundError:
        known = ", ".join(sorted(p.name for p in path.parent.glob("*.yaml"))) or "none"
        raise ConfigError(f"no such params file; there are: {known}") from None
    except OSError as error:  # a folder, no permission
        raise ConfigError(f"cannot be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise ConfigError(f"not a text file in UTF-8: byte {error.start} is no part of one") from None
    except RecursionError:
        raise ConfigError("not a params file: it is nested too deeply") from None
    except (yaml.YAMLError, ValueError) as error:  # ValueError: of a number that is none
        raise ConfigError(f"not YAML: {error}") from None
    if not isinstance(values, dict):
        raise ConfigError(f"expected 'key: value' lines, found {type(values).__name__}")
    return values


def _injected(cells: list[str]) -> list[str]:
    """Names that papermill sets: it writes a cell of its own behind the cell `parameters`."""
    code = next((cell for cell in cells if cell.startswith("# Parameters\n")), "")
    assignments = (line for line in ast.parse(code).body if isinstance(line, ast.Assign))
    return [target.id for line in assignments for target in line.targets if isinstance(target, ast.Name)]


def _laid_over(base: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """The base with changes, which reach into dicts of dicts."""
    inner = {name for name in changes if isinstance(changes[name], dict) and isinstance(base.get(name), dict)}
    return base | changes | {name: _laid_over(base[name], changes[name]) for name in inner}
