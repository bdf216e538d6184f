"""One Experiment and its parts: every default stands here, once.

A params file (`params/<run>.yaml`) is an Experiment in YAML. Defaults are those of the method
on A2D-Sentences; what the embedded data set needs otherwise stands in its params file.
"""

from mmvs.config.data import MOSAIC, Data, Flow, MovingShapes
from mmvs.config.experiments import (
    LADDER,
    METHOD,
    SWITCHES,
    SYSTEMS,
    Evaluation,
    Experiment,
    Training,
    budget,
    experiment,
    kept,
)
from mmvs.config.network import (
    AppearanceBackbone,
    Backbone,
    Language,
    Loss,
    Model,
    MotionBackbone,
    Multimodal,
    Published,
    PublishedLoss,
    Quirks,
)
from mmvs.config.params_file import (
    LadderPlan,
    NoDatesSafeLoader,
    Parameters,
    Question,
    load,
    parameters,
    read,
    varied,
)
from mmvs.config.part import EMBEDDED, ROOT, ConfigError, resolve

__all__ = [
    "AppearanceBackbone",
    "Backbone",
    "ConfigError",
    "Data",
    "EMBEDDED",
    "Evaluation",
    "Experiment",
    "Flow",
    "LADDER",
    "LadderPlan",
    "Language",
    "Loss",
    "METHOD",
    "MOSAIC",
    "Model",
    "MotionBackbone",
    "MovingShapes",
    "Multimodal",
    "NoDatesSafeLoader",
    "Parameters",
    "Published",
    "PublishedLoss",
    "Question",
    "Quirks",
    "ROOT",
    "SWITCHES",
    "SYSTEMS",
    "Training",
    "budget",
    "experiment",
    "kept",
    "load",
    "parameters",
    "read",
    "resolve",
    "varied",
]
