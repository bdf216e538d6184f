"""The network that a Model names."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from torch import nn

from mmvs.config import Experiment, Model
from mmvs.losses import Objective
from mmvs.model.network import Network
from mmvs.published.network import RELEASED, PublishedNetwork
from mmvs.published.objective import PublishedObjective


def build_network(model: Model, vocabulary: int) -> nn.Module:
    """A network with fresh weights: a Batch in, a Prediction out, in the steps observe, read and decide.

    vocabulary  number of word pieces of the run's tokenizer
    """
    kind = {"multimodal": Network, "published": PublishedNetwork}[model.name]
    return kind(model, vocabulary)


def build_empty(model: Model, vocabulary: int, language: Path) -> nn.Module:
    """`build_network` for weights that are about to be loaded: no pretrained ones are fetched.

    language  the folder with BERT's config.json that was kept with the weights; `small` needs none
    """
    parts: dict[str, Any] = {
        name: getattr(model, name).model_copy(update={"weights": None})
        for name in ("appearance_backbone", "motion_backbone")
    }
    architecture = language / "config.json"
    if model.language.name != "small" and architecture.is_file():
        parts["language"] = model.language.model_copy(update={"name": str(architecture.resolve())})
    return build_network(model.model_copy(update=parts), vocabulary)


def build_objective(experiment: Experiment) -> Objective | PublishedObjective:
    """The training loss that belongs to the experiment's network; called with a Prediction and its Batch."""
    if experiment.model.name == "published":
        return PublishedObjective(experiment.model.alignment, experiment.loss.limit)
    return Objective(experiment.loss, experiment.model.alignment)


def build_released(file: str | Path) -> tuple[Model, nn.Module]:
    """The authors' network with the weights of their checkpoint, and the configuration that it has.

    FileNotFoundError, or ValueError naming the file and the keys that do not fit.
    """
    return RELEASED, PublishedNetwork.from_released(file)
