"""Architectures of Hugging Face: by hub id or folder, or by a config.json that was kept with weights."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AutoConfig, PreTrainedConfig
from transformers.utils import logging

from mmvs.config import resolve

# Settings of a config.json that say how a model runs, not what it is: some fetch code or other weights.
FOREIGN = ("auto_map", "attn_implementation", "experts_implementation", "quantization_config")


def kept_config(file: Path, known: Collection[str]) -> PreTrainedConfig:
    """The architecture of a config.json, which may have come with a downloaded model.

    known  types of models that will do

    Of a model of text and pictures (CLIP), that of its text. ValueError on other types.
    """
    settings = json.loads(file.read_text(encoding="utf-8"))
    if settings.get("model_type") not in known and isinstance(settings.get("text_config"), dict):
        settings = settings["text_config"]
    kind = settings.get("model_type")
    if kind not in known:
        raise ValueError(f"{file}: model_type '{kind}' is none that can be used here: {_listed(known)}")
    foreign = [name for name in settings if name.lstrip("_").startswith(FOREIGN)]
    return AutoConfig.for_model(**{name: settings[name] for name in settings if name not in foreign})


def hub_config(name: str, known: Collection[str]) -> PreTrainedConfig:
    """The architecture of a hub id or a local folder; otherwise as `kept_config`.

    OSError (of transformers) where there is none.
    """
    config = AutoConfig.from_pretrained(hub_place(name))
    if config.model_type not in known:
        config = getattr(config, "text_config", config)
    if config.model_type not in known:
        raise ValueError(
            f"{name}: model_type '{config.model_type}' is none that can be used here: {_listed(known)}"
        )
    return config


def pretrained(
    kind: type,
    config: PreTrainedConfig,
    place: str | None,
    weights: Mapping[str, Tensor] | None = None,
    unpublished: Iterable[str] = (),
    **options: Any,
) -> nn.Module:
    """A model of transformers with its weights, in float32, whatever precision they are stored in.

    kind         class of the model
    place        hub id or folder of the weights; or None, with `weights`
    unpublished  how names of parameters begin that published weights may lack: they start anew

    ValueError where something else of the model is not among the weights, or has another shape.
    """
    verbosity = logging.get_verbosity()
    logging.set_verbosity_error()  # its report of what is left over (classifiers) is long, and no news
    try:
        model, report = kind.from_pretrained(
            place,
            config=config,
            state_dict=weights,
            dtype=torch.float32,
            ignore_mismatched_sizes=True,  # they are named below
            output_loading_info=True,
            **options,
        )
    finally:
        logging.set_verbosity(verbosity)
    missing = [key for key in report["missing_keys"] if not key.startswith(tuple(unpublished))]
    if missing := [*missing, *(key for key, *_ in report["mismatched_keys"])]:
        raise ValueError(
            f"weights {place or ''} are not of this {kind.__name__}: nothing fits {len(missing)} of its "
            f"tensors, the first is {missing[0]}"
        )
    return model


def hub_place(name: str) -> str:
    """A local folder where there is one of that name, a hub id where there is none."""
    folder = resolve(name)
    return str(folder) if folder.is_dir() else name


def _listed(known: Collection[str]) -> str:
    return ", ".join(sorted(known))
