"""Where the curves of a training go: files beside the run, and the tracker that a team has."""

from __future__ import annotations

import os
from importlib.util import find_spec

from lightning.pytorch.loggers import CSVLogger, Logger, TensorBoardLogger, WandbLogger

from mmvs.config import ConfigError, Experiment
from mmvs.run_folder import RunFolder


def loggers(experiment: Experiment, folder: RunFolder, part: str) -> list[Logger]:
    """CSV and TensorBoard, which a run always has, and those of `training.loggers`.

    part  names this part of a run that stopped and went on

    W&B writes below the run's `logs` and sends nothing, unless the user sets WANDB_MODE=online. ConfigError
    where it is not installed.
    """
    kinds = CSVLogger, TensorBoardLogger
    found: list[Logger] = [kind(folder.logs, name=None, version=part) for kind in kinds]
    if "wandb" in experiment.training.loggers:
        if find_spec("wandb") is None:
            raise ConfigError("training.loggers: wandb is not installed: pip install wandb")
        folder.logs.mkdir(parents=True, exist_ok=True)
        offline = os.environ.get("WANDB_MODE", "offline") != "online"
        tracker = WandbLogger(experiment.run, folder.logs, offline=offline, project="mmvs")
        tracker.log_hyperparams(experiment.model_dump(mode="json"))
        found.append(tracker)
    return found
