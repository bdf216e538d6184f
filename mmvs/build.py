"""One table of networks: a name → the network, and the objective that trains it.

The parameters of each, with their defaults: a class in mmvs/config/network.py, and its line in EXPERIMENTS
of mmvs/config/experiments.py.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from pkgutil import resolve_name
from typing import Any

from torch import nn
from transformers import PreTrainedConfig

from mmvs.config import ConfigError, Experiment, Model
from mmvs.files import write_text

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

    Raises ConfigError on a network that is not in the table, or a tokenizer of another model; ValueError or
    FileNotFoundError, naming them, on backbones or weights that there are not.
    """
    network, objective = _classes(experiment.model.name)
    built = Built(
        network(experiment.model, vocabulary), objective(experiment.loss, experiment.model.alignment)
    )
    if vocabulary > (known := built.network.language.bert.config.vocab_size):
        raise ConfigError(
            f"model.language.name: {experiment.model.language.name} knows {known:,} word pieces, its "
            f"tokenizer makes {vocabulary:,}: they belong to different models"
        )
    return built


# A part of a network that Hugging Face built: the file of its architecture, kept with the weights.
ARCHITECTURES = {
    "language": "config.json",
    "appearance_backbone": "appearance_backbone.json",
    "motion_backbone": "motion_backbone.json",
}


def build_empty(model: Model, vocabulary: int, architectures: Path) -> nn.Module:
    """A network for weights that are about to be loaded: no pretrained ones are fetched.

    architectures  the folder that `keep_architectures` wrote to; `small`, and backbones of other sources than
                   Hugging Face, need nothing of it

    ValueError where a file is missing: a name alone, of a folder or on the hub, may mean something else here.
    """
    parts: dict[str, Any] = {}
    for name, file in ARCHITECTURES.items():
        part, kept = getattr(model, name), (architectures / file).resolve()
        changes = {} if name == "language" else {"weights": None, "freeze": "none"}
        if part.name.startswith("hf:") or (name == "language" and part.name != "small"):
            if not kept.is_file():
                raise ValueError(f"{kept}, the architecture of its {name.replace('_', ' ')}, is missing")
            changes["name"] = str(kept) if name == "language" else f"hf:{kept}"
        parts[name] = part.model_copy(update=changes)
    network, _ = _classes(model.name)
    return network(model.model_copy(update=parts), vocabulary)


def keep_architectures(network: nn.Module, folder: Path) -> None:
    """Write the architectures of all parts that Hugging Face built: opening them then needs no download."""
    for name in ("appearance", "motion"):
        net = getattr(getattr(getattr(network, name), "body", None), "net", None)
        if isinstance(config := getattr(net, "config", None), PreTrainedConfig):
            write_text(folder / ARCHITECTURES[f"{name}_backbone"], config.to_json_string())
    network.language.bert.config.save_pretrained(folder)  # last: where it is, all is


def build_released(file: str | Path) -> tuple[Model, nn.Module]:
    """The authors' network with the weights of their checkpoint, and the parameters that it has.

    FileNotFoundError, or ValueError naming the file and the keys that do not fit.
    """
    network, _ = _classes("published")
    return network.released, network.from_released(file)


def is_released(file: str | Path) -> bool:
    """Whether a file has the authors' names of tensors; False where it cannot be read."""
    return _classes("published")[0].is_released(file)


def _classes(name: str) -> tuple[type[nn.Module], type[nn.Module]]:
    if name not in NETWORKS:
        raise ConfigError(f"model.name: no network '{name}', there are: {', '.join(NETWORKS)}")
    network, objective = (resolve_name(place) for place in NETWORKS[name])
    return network, objective
