"""An Experiment: its parts, its variants on the ladder and of other inputs, and its fingerprint."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationError, model_validator

from mmvs.config.data import Data, Flow
from mmvs.config.network import Loss, Multimodal, Published, PublishedLoss
from mmvs.config.part import ConfigError, Part, refusal, resolve

# The method's ablation: a baseline, and what each letter adds to it, one after the other.
SWITCHES = {"M": "motion", "T": "transformer", "L": "language_guided", "A": "alignment"}
LADDER: dict[str, dict[str, bool]] = {
    "+".join(["B", *list(SWITCHES)[:count]]): {
        switch: position < count for position, switch in enumerate(SWITCHES.values())
    }
    for count in range(len(SWITCHES) + 1)
}

# What a network is given of time: the target frame alone; all frames, in which motion is implicit; the frames
# and their flow, as the method; flow alone. All else is the same.
SYSTEMS: dict[str, dict[str, Any]] = {
    "image": {"appearance": "target", "motion": False},
    "video": {"appearance": "all", "motion": False},
    "video+flow": {"appearance": "all", "motion": True},
    "flow": {"appearance": "none", "motion": True},
}

METHOD = "video+flow"  # the method's own system

# Parameters that change no weight.
INDIFFERENT: dict[str, list[str]] = {
    "data": ["roots", "evaluate_on", "jhmdb_samples", "pictures", "workers", "cache", "cache_root"],
    "flow": ["root", "workers"],
    "training": ["loggers", "recompute"],
}

# Parameters that came after the first fingerprints, which their defaults must not change.
LATER: dict[str, dict[str, Any]] = {
    "data": {"targets": "middle", "kinds": [], "gap": 0, "mosaic": 0},
    "flow": {"stills": "zero"},
    "training": {
        "start_from": None,
        "start_anew": [],
        "share": 1,
        "accumulate": 1,
        "scale_rate": "none",
        "shared_norms": False,
        "layer_decay": 1,
        "skip_nonfinite": 0,
        "deterministic": False,
        "hold_out": "videos",
    },
}


class Training(Part):
    """Optimisation, for Lightning."""

    start_from: str | None = None  # fine-tuning: weights of a run's folder, checkpoint, saved model, hub id
    start_anew: list[str] = []  # parts of the network that begin with weights of their own all the same
    steps: int = Field(30_000, ge=1)
    share: float = Field(1.0, gt=0, le=1)  # of the training videos, the same ones at every seed
    batch: int = Field(8, ge=1)  # clips that a process reads at once
    accumulate: int = Field(1, ge=1)  # so many batches make a step: memory of one, gradient of all
    recompute: bool = False  # maps inside the backbones are computed again, not kept: less memory, more time
    rate: float = Field(1e-4, gt=0)  # of everything that is not pretrained
    backbone_rate: float = Field(2e-5, gt=0)
    language_rate: float = Field(2e-5, gt=0)
    scale_rate: Literal["none", "linear", "sqrt"] = "none"  # rates by batches a step, of all processes
    shared_norms: bool = False  # batch normalisations count the batches of all processes, not each its own
    layer_decay: float = Field(1.0, gt=0, le=1)  # of both: a layer's rate is this share of the next one's
    weight_decay: float = Field(0.01, ge=0)
    warmup: int = Field(1000, ge=0)  # steps
    clip: float = Field(1.0, gt=0)  # gradient norm
    # So many batches may have a loss that is no number: they are left out.
    skip_nonfinite: int = Field(0, ge=0)
    precision: Literal["auto", "32-true", "bf16-mixed", "16-mixed"] = "auto"
    threads: int | None = Field(None, ge=1)  # of torch; None: torch's choice
    deterministic: bool = False  # on a GPU: the same weights at every run, more slowly (docs/reliability.md)
    validate_every: int = Field(1000, ge=1)  # steps; also how often a checkpoint is written
    loggers: list[Literal["wandb"]] = []  # beside CSV and TensorBoard; offline by default: docs/cluster.md
    validation_clips: int = Field(64, ge=1)  # drawn from the training videos and kept out of training
    hold_out: Literal["videos", "frames"] = "videos"  # validation: whole videos, or each video's last frames

    def at_rate(self, rate: float | None) -> Training:
        """The same, with one rate of all parts of the network; None: as it is."""
        names = ("rate", "backbone_rate", "language_rate") if rate is not None else ()
        return self.model_copy(update=dict.fromkeys(names, rate))

    @model_validator(mode="after")
    def _fits_together(self) -> Training:
        if self.share < 1 and self.hold_out == "frames":
            raise ValueError("share: a share of the videos needs hold_out: videos")
        if self.start_anew and self.start_from is None:
            raise ValueError("start_anew: without start_from every part starts anew: set start_from")
        if self.skip_nonfinite and self.accumulate > 1:
            raise ValueError("skip_nonfinite: a step of several batches cannot leave one out: set it to 0")
        return self


class Evaluation(Part):
    """How a probability becomes a mask. It also scores the held-out videos, which choose the checkpoint."""

    threshold: float = Field(0.5, gt=0, lt=1)
    relative: bool = False  # True: a share of the frame's maximum, as the published code does
    batch: int = Field(16, ge=1)  # clips
    # Of matrix products; halves are faster on a GPU, and change masks a little.
    precision: Literal["float32", "bfloat16", "float16"] = "float32"


class Experiment(Part):
    """Everything that decides a result; `folder` is where the result goes."""

    run: str = Field("a2d", pattern=r"^\w[\w.+-]*(/\w[\w.+-]*)*$")
    seed: int = Field(0, ge=0)
    reports: str = "reports"
    data: Data = Data()
    flow: Flow = Flow()
    model: Multimodal = Multimodal()
    loss: Loss = Loss()
    training: Training = Training()
    evaluation: Evaluation = Evaluation()

    @model_validator(mode="after")
    def _enough_to_normalise(self) -> Experiment:
        if self.training.batch == 1 and isinstance(self.model, Multimodal):
            raise ValueError(
                "training.batch: 1 is too few for the multimodal network, which normalises sentences over "
                "the batch: give 2 or more"
            )
        return self

    @property
    def folder(self) -> Path:
        """Where this run's results live: `reports/<run>`."""
        return resolve(self.reports) / self.run

    def on_rung(self, rung: str, seed: int) -> Experiment:
        """The same experiment on one rung of the ladder; itself when it already is that rung and seed.

        Where nothing but the seed differs, it is the one that `as_system` gives: nothing is trained twice.
        """
        if rung not in LADDER:
            raise ConfigError(f"unknown rung '{rung}': the ladder is {', '.join(LADDER)}")
        if not isinstance(self.model, Multimodal):
            raise ConfigError(
                f"rung '{rung}': the ladder is of the multimodal network, not of '{self.model.name}'"
            )
        model = self.model.model_copy(update=LADDER[rung])
        if (model, seed) == (self.model, self.seed):
            return self
        if model == self.model == self.model.model_copy(update=SYSTEMS[METHOD]):
            return self.as_system(METHOD, self.training.steps, self.training.share, seed)
        run = f"{self.run}/ladder/{rung}/{seed}"
        return self.model_copy(update={"run": run, "seed": seed, "model": model})

    def as_system(
        self, system: str, steps: int, share: float, seed: int, rate: float | None = None
    ) -> Experiment:
        """The same experiment with a system's inputs, trained for `steps` on a share of the training videos.

        rate  of all parts of the network; None: the experiment's own

        Warm-up and the steps between validations keep their share of the steps. Itself when it already is all
        that. ConfigError where there is no such system, or steps, share and rate make no training.
        """
        if system not in SYSTEMS:
            raise ConfigError(f"unknown system '{system}': there are {', '.join(SYSTEMS)}")
        if not isinstance(self.model, Multimodal):
            raise ConfigError(f"systems are of the multimodal network, not of '{self.model.name}'")
        own = self.training.at_rate(rate)
        model = self.model.model_copy(update=SYSTEMS[system])
        wanted = own.model_copy(update={"steps": steps, "share": share})
        if (model, wanted, seed) == (self.model, self.training, self.seed):
            return self
        warmup, validate_every = (
            round(count * steps / own.steps) for count in (own.warmup, own.validate_every)
        )
        schedule = {"steps": steps, "warmup": warmup, "validate_every": max(1, validate_every)}
        training = {**own.model_dump(), **schedule, "share": share}
        run = f"{self.run}/explicit_motion/{system}/{budget(steps, share).replace('/', '-')}/{seed}"
        try:
            update = {"run": run, "seed": seed, "model": model, "training": Training(**training)}
        except ValidationError as error:
            raise refusal(error, "training") from None
        return self.model_copy(update=update)

    def fingerprint(self) -> str:
        """12 hex digits of everything that decides the trained weights; a changed digit means: train anew."""
        decisive = self.model_dump(mode="json", exclude={"run", "reports", "evaluation"})
        decisive["model"], decisive["loss"] = self.model.decisive(), self.loss.decisive()
        for part, names in INDIFFERENT.items():
            for name in names:
                decisive[part].pop(name)
        for part, defaults in LATER.items():
            for name, default in defaults.items():
                if decisive[part][name] == default:
                    decisive[part].pop(name)
        if self.training.threads in (None, 1):  # as when threads were in no fingerprint
            decisive["training"].pop("threads")
        if not self.model.alignment:
            for unused in ("cross_modal", "temporal", "form", "temperature"):
                decisive["loss"].pop(unused, None)
        return hashlib.sha256(json.dumps(decisive, sort_keys=True).encode()).hexdigest()[:12]


class PublishedExperiment(Experiment):
    """An Experiment with the network and the loss of the authors' code."""

    model: Published = Published()
    loss: PublishedLoss = PublishedLoss()


EXPERIMENTS: dict[str, type[Experiment]] = {"multimodal": Experiment, "published": PublishedExperiment}


def budget(steps: int, share: float) -> str:
    """Name of a training's length and data: "1800", or "1800/0.25" on a quarter of the videos."""
    return str(steps) if share == 1 else f"{steps}/{share:g}"


def experiment(**parts: Any) -> Experiment:
    """Check parameters given as keywords, as the notebooks do; ConfigError names the one at fault.

    `model.name` says whose parameters `model` and `loss` are: of the multimodal network, or of the published.
    """
    model = parts.get("model")
    name = (
        model.get("name", "multimodal") if isinstance(model, dict) else getattr(model, "name", "multimodal")
    )
    if not isinstance(name, str) or name not in EXPERIMENTS:
        raise ConfigError(f"model.name: no network '{name}', there are: {', '.join(EXPERIMENTS)}")
    try:
        return EXPERIMENTS[name](**parts)
    except ValidationError as error:
        raise refusal(error) from None


# Parameters that experiments were once kept with, though their network never read them.
UNREAD = {
    "multimodal": {"model": ["quirks"], "loss": ["limit"]},
    "published": {
        "model": ["motion", "transformer", "language_guided", "level_widths", "mask_scale"],
        "loss": ["coarse", "decoder", "cross_modal", "temporal", "form", "temperature"],
    },
}


def kept(text: str) -> Experiment:
    """The experiment that a checkpoint or a saved model keeps as JSON, of any age; raises as `experiment`."""
    values = json.loads(text)
    if not isinstance(values, dict):
        raise ConfigError(f"expected the parameters of an experiment, found {type(values).__name__}")
    model = values.get("model")
    name = model.get("name", "multimodal") if isinstance(model, dict) else ""
    for part, unread in UNREAD.get(name, {}).items():
        if isinstance(values.get(part), dict):
            values[part] = {key: value for key, value in values[part].items() if key not in unread}
    return experiment(**values)
