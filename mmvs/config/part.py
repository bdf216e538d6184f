"""What all parts of an Experiment have in common, and where relative paths hang from."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError, model_validator


def _root() -> Path:
    """The repository of this package, or the one around the working directory; else that directory."""
    here = Path.cwd()
    for folder in (Path(__file__).resolve().parents[2], here, *here.parents):
        if (folder / "pyproject.toml").is_file() and (folder / "mmvs" / "config").is_dir():
            return folder
    return here


ROOT = _root()  # relative paths hang from here, wherever a notebook's kernel runs
EMBEDDED = "models/moving_shapes"  # the saved model that comes with the repository: of `make report`


class ConfigError(ValueError):
    """A params file or a parameter that cannot be understood; the text says which, and what would do."""


class Part(BaseModel):
    """A part of an Experiment: unknown keys are refused, with the nearest right name."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _name_unknown_keys(cls, values: Any) -> Any:
        if not isinstance(values, dict):
            return values
        for key in values:
            if key not in cls.model_fields:
                near = hint(str(key), cls.model_fields)
                raise ValueError(f"unknown parameter '{key}' of {cls.__name__}: {near}")
        return values


def resolve(path: str | Path) -> Path:
    """An absolute path; a relative one hangs from ROOT."""
    path = Path(path).expanduser()
    return path if path.is_absolute() else ROOT / path


def refusal(error: ValidationError, *place: str) -> ConfigError:
    """Pydantic's error as one of ours; `place` leads to the part that was checked."""
    lines = [
        f"  {'.'.join(map(str, (*place, *e['loc']))) or 'experiment'}: {e['msg']}" for e in error.errors()
    ]
    return ConfigError("parameters that cannot be used:\n" + "\n".join(lines))


def hint(name: str, names: Iterable[str]) -> str:
    """The nearest right name, or all."""
    near = difflib.get_close_matches(name, names := list(names), n=1, cutoff=0.5)
    return f"did you mean '{near[0]}'?" if near else f"known: {', '.join(names)}"
