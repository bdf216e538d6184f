"""Where the curves of a training go: files beside the run, and the trackers that teams have."""

from __future__ import annotations

import os
from importlib.util import find_spec

from lightning.pytorch.loggers import CSVLogger, Logger, MLFlowLogger, TensorBoardLogger, WandbLogger

from mmvs.config import ConfigError, Experiment
from mmvs.run_folder import RunFolder

PACKAGES = {"wandb": "wandb", "mlflow": "mlflow-skinny"}  # of PyPI, by what is imported


def loggers(experiment: Experiment, folder: RunFolder, part: str) -> list[Logger]:
    """CSV and TensorBoard, which a run always has, and those of `training.loggers`.

    part  names this part of a run that stopped and went on

    Trackers write below the run's `logs` and send nothing, unless their own variables say where to:
    WANDB_MODE=online, MLFLOW_TRACKING_URI. ConfigError where a tracker is not installed.
    """
    ours: list[Logger] = [
        kind(folder.logs, name=None, version=part) for kind in (CSVLogger, TensorBoardLogger)
    ]
    return ours + [_tracker(name, experiment, folder) for name in experiment.training.loggers]


def _tracker(name: str, experiment: Experiment, folder: RunFolder) -> Logger:
    if find_spec(name) is None:
        raise ConfigError(f"training.loggers: {name} is not installed: pip install {PACKAGES[name]}")
    parameters = experiment.model_dump(mode="json")
    if name == "mlflow":
        where = os.environ.get("MLFLOW_TRACKING_URI") or (folder.logs / "mlflow").resolve().as_uri()
        logger: Logger = MLFlowLogger("mmvs", run_name=experiment.run, tracking_uri=where)
    else:
        offline = os.environ.get("WANDB_MODE", "offline") != "online"
        folder.logs.mkdir(parents=True, exist_ok=True)
        logger = WandbLogger(experiment.run, folder.logs, offline=offline, project="mmvs")
    logger.log_hyperparams(parameters)
    return logger
