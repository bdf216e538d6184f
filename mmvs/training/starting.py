"""Fine-tuning: a training that starts from the weights of another run (`training.start_from`).

The new run reads sentences with the vocabulary of the old one. Parts that `training.start_anew` names begin
with weights of their own; of all others every weight must fit.
"""

from __future__ import annotations

from typing import Any

from torch import nn

from mmvs.checkpoints import CheckpointError
from mmvs.config import ConfigError, Experiment, resolve
from mmvs.run_folder import CheckpointFolder
from mmvs.trained import TrainedNetwork

LANGUAGE = "language"  # the part that the vocabulary belongs to
SHOWN = 3  # names of weights in an error


def refuse_itself(experiment: Experiment) -> None:
    """ConfigError where a run starts from itself: its own checkpoints are about to give way."""
    where = experiment.training.start_from
    if where and resolve(where) in (experiment.folder, *experiment.folder.glob("checkpoints/*.ckpt")):
        raise ConfigError(
            f"training.start_from: {where} is this very run: give the fine-tuning a `run` of its own"
        )


def source(experiment: Experiment, folder: CheckpointFolder) -> TrainedNetwork | None:
    """The network to start from; None where there is none, or the training has begun and goes on.

    Keeps its vocabulary in `folder`. ConfigError says what to do where there is no such run, or where its
    language is another; CheckpointError names a damaged file.
    """
    where, anew = experiment.training.start_from, experiment.training.start_anew
    if where is None or any(path.exists() for path in (folder.last, folder.previous, folder.best)):
        return None
    try:
        start = TrainedNetwork.from_run(where)
    except FileNotFoundError as error:
        raise ConfigError(f"training.start_from: {error}") from None
    except CheckpointError as error:
        raise CheckpointError(f"training.start_from: {error}") from None
    theirs, ours = start.experiment.model.language, experiment.model.language
    if LANGUAGE not in anew:
        if theirs.name != ours.name:
            raise ConfigError(
                f"training.start_from: {where} has the language '{theirs.name}', this run '{ours.name}': "
                f"set model.language as there, or training.start_anew: [{LANGUAGE}]"
            )
        if not (folder.vocabulary / "tokenizer.json").exists():
            start.tokenizer.save_pretrained(folder.vocabulary)
    return start


def load(network: nn.Module, start: TrainedNetwork, experiment: Experiment) -> dict[str, Any]:
    """Give a fresh network the weights to start from, less those of parts that start anew.

    Returns what provenance keeps of the start. ConfigError names parts that there are not, and weights that
    one of the two lacks or has in another shape.
    """
    where, anew = experiment.training.start_from, experiment.training.start_anew
    parts = [name for name, _ in network.named_children()]
    if unknown := [name for name in anew if name not in parts]:
        raise ConfigError(
            f"training.start_anew: the network has no part '{unknown[0]}', its parts are {', '.join(parts)}"
        )
    own = _without(network.state_dict(), anew)
    given = _without(start.network.state_dict(), anew)
    faults = [f"{name} is missing there" for name in own if name not in given]
    faults += [f"{name} is missing here" for name in given if name not in own]
    faults += [
        f"{name} is {tuple(given[name].shape)} there, {tuple(tensor.shape)} here"
        for name, tensor in own.items()
        if name in given and given[name].shape != tensor.shape
    ]
    if faults:
        shown = "; ".join(faults[:SHOWN]) + (f"; and {len(faults) - SHOWN} more" if faults[SHOWN:] else "")
        affected = sorted({fault.split(".")[0].split(" ")[0] for fault in faults})
        raise ConfigError(
            f"training.start_from: the network of {where} is another one ({shown}): set `model` as there, or "
            f"let these parts start anew, training.start_anew: [{', '.join(affected)}]"
        )
    network.load_state_dict(given, strict=False)
    record = {"from": str(where), "run": start.experiment.run, "weights": start.fingerprint()}
    return record | ({"anew": list(anew)} if anew else {})


def _without(weights: dict[str, Any], parts: list[str]) -> dict[str, Any]:
    return {name: tensor for name, tensor in weights.items() if name.split(".")[0] not in parts}
