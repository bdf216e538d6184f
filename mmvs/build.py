"""One table of networks: a name → the network, and the objective that trains it.

The parameters of each, with their defaults: a class in mmvs/config.py, and its line in EXPERIMENTS there.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from pkgutil import resolve_name
from typing import Any

from torch import nn

from mmvs.config import ConfigError, Experiment, Model

# Imported when they are asked for: a network whose folder was deleted is missed by nobody else.
NETWORKS = {
    "multimodal": ("mmvs.model.network:Network", "mmvs.losses:Objective"),
    "published": ("mmvs.published.network:PublishedNetwork", "mmvs.published.objective:PublishedObjective"),
}


@dataclass
class Built:
    """What an experiment trains."""

    network: nn.Module  # Batch → Prediction, in the steps observe, read and decide
    objective: nn.Module  # (Prediction, Batch) → scalars: `loss`, and its terms by name


def build(experiment: Experiment, vocabulary: int) -> Built:
    """A network with fresh weights (pretrained ones where the experiment says so), and its objective.

    vocabulary  number of word pieces of the run's tokenizer

    Raises ConfigError on a network that is not in the table; ValueError or FileNotFoundError, naming them, on
    backbones or weights that there are not.
    """
    network, objective = _classes(experiment.model.name)
    return Built(
        network(experiment.model, vocabulary), objective(experiment.loss, experiment.model.alignment)
    )


def build_empty(model: Model, vocabulary: int, language: Path) -> nn.Module:
    """A network for weights that are about to be loaded: no pretrained ones are fetched.

    language  the folder with BERT's config.json that was kept with the weights; `small` needs none

    ValueError where it is missing: a name alone, of a folder or on the hub, may mean something else here.
    """
    parts: dict[str, Any] = {
        name: getattr(model, name).model_copy(update={"weights": None})
        for name in ("appearance_backbone", "motion_backbone")
    }
    architecture = language / "config.json"
    if model.language.name != "small":
        if not architecture.is_file():
            raise ValueError(f"{architecture}, the architecture of its language model, is missing")
        parts["language"] = model.language.model_copy(update={"name": str(architecture.resolve())})
    network, _ = _classes(model.name)
    return network(model.model_copy(update=parts), vocabulary)


def build_released(file: str | Path) -> tuple[Model, nn.Module]:
    """The authors' network with the weights of their checkpoint, and the parameters that it has.

    FileNotFoundError, or ValueError naming the file and the keys that do not fit.
    """
    network, _ = _classes("published")
    return network.released, network.from_released(file)


def _classes(name: str) -> tuple[type[nn.Module], type[nn.Module]]:
    if name not in NETWORKS:
        raise ConfigError(f"model.name: no network '{name}', there are: {', '.join(NETWORKS)}")
    network, objective = (resolve_name(place) for place in NETWORKS[name])
    return network, objective
