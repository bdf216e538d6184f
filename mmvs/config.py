"""One Experiment and its parts: every default stands here, once.

A params file (`params/<run>.yaml`) is an Experiment in YAML. Defaults are those of the method
on A2D-Sentences; what the embedded data set needs otherwise stands in its params file.
"""

from __future__ import annotations

import ast
import difflib
import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from mmvs.files import regular


def _root() -> Path:
    """The repository of this package, or the one around the working directory; else that directory."""
    here = Path.cwd()
    for folder in (Path(__file__).resolve().parent.parent, here, *here.parents):
        if (folder / "pyproject.toml").is_file() and (folder / "mmvs" / "config.py").is_file():
            return folder
    return here


ROOT = _root()  # relative paths hang from here, wherever a notebook's kernel runs
EMBEDDED = "models/moving_shapes"  # the saved model that comes with the repository: of `make report`

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

MOSAIC = "mosaic:"  # before a data set's name: each sample beside another video (mmvs/data/mosaics.py)


class NoDatesSafeLoader(yaml.SafeLoader):
    """YAML without dates, as papermill reads it: `run: 2024-01-01` is a name. A key stands there once."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [key.value for key, _ in node.value]
        if again := [key for key in keys if keys.count(key) > 1]:
            raise yaml.constructor.ConstructorError(None, None, f"'{again[0]}' stands twice", node.start_mark)
        return super().construct_mapping(node, deep)


NoDatesSafeLoader.yaml_implicit_resolvers = {
    start: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for start, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


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
                hint = _hint(str(key), cls.model_fields)
                raise ValueError(f"unknown parameter '{key}' of {cls.__name__}: {hint}")
        return values


class MovingShapes(Part):
    """How the embedded data set is made (mmvs/shapes/writing.py)."""

    train_clips: int = Field(3000, ge=1)
    test_clips: int = Field(240, ge=1)
    unseen_clips: int = Field(320, ge=1)  # (shape, colour, motion) combinations kept out of training
    height: int = Field(64, ge=32, multiple_of=2)  # pixels; H.264's 4:2:0 wants even sizes
    width: int = Field(64, ge=32, multiple_of=2)
    frames: int = Field(13, ge=9)  # per clip
    noise: float = Field(4.0, ge=0)  # standard deviation of the sensor noise, in grey levels of 255
    camera: float = Field(0.25, ge=0)  # largest drift of the camera, pixels per frame
    crf: int = Field(18, ge=0, le=51)  # H.264 constant rate factor: 0 lossless, 23 the usual, 51 worst
    seed: int = 0
    generator: Literal[5] = 5  # raised when the same settings give other clips: old ones are stale


class Data(Part):
    """Which samples, and how a clip is cut, scaled and augmented."""

    # A data set; several, whose clips are read equally often; or several with weights: {name: weight, ...}
    train_on: str | list[str] | dict[str, float] = "a2d-train"
    evaluate_on: list[str] = Field(["a2d-test"], min_length=1)
    roots: dict[str, str] = {
        "a2d": "data/a2d-sentences",
        "jhmdb": "data/jhmdb-sentences",
        "moving_shapes": "data/moving_shapes",
        "mevis": "data/mevis",
        "ref-youtube-vos": "data/ref-youtube-vos",
        "ref-davis17": "data/ref-davis17",
        "own": "data/own",
        "refcoco": "data/refer",  # as its owners' tools have it: the three, and images/, side by side
        "refcoco+": "data/refer",
        "refcocog": "data/refer",
    }
    jhmdb_samples: str | None = None  # list of J-HMDB frames to score; None: drawn once, kept in the root
    pictures: bool = True  # False: annotation files alone are there, enough for 01_explore_data
    size: int = Field(320, ge=16)  # pixels: clips are fitted into size x size, the rest padded
    frames: int = Field(3, ge=1)  # of a window (T)
    stride: int = Field(1, ge=1)  # video frames between neighbours of a window
    gap: int = Field(0, ge=0)  # training: neighbours are 1 to `gap` frames apart, drawn; 0: `stride`
    # Training: the annotated frame stands in the middle of its window, or at a position drawn for each step.
    targets: Literal["middle", "all"] = "middle"
    kinds: list[str] = []  # of sentences that train, such as appearance; []: all
    sentences_per_clip: int = Field(3, ge=1)  # at most, in training; they share the backbones' work
    flip: float = Field(0.5, ge=0, le=1)  # chance of a mirrored clip: words left/right swap, u changes sign
    mosaic: float = Field(0, ge=0, le=1)  # chance that a clip of another video stands in the same frame
    jitter: float = Field(0.1, ge=0)  # brightness and contrast; half of it saturation; hue stays
    cache: bool | Literal["disk"] = False  # keep fitted clips: true in memory, small data only; or on "disk"
    cache_root: str = "data/cache"  # of those on disk; may be deleted at any time
    workers: int = Field(4, ge=0)  # loader processes
    moving_shapes: MovingShapes = MovingShapes()

    @property
    def training_sets(self) -> list[str]:
        """Names of the data sets to train on."""
        return [self.train_on] if isinstance(self.train_on, str) else list(self.train_on)

    @field_validator("train_on", mode="before")
    @classmethod
    def _one_or_several_data_sets(cls, value: Any) -> Any:
        names = [value] if isinstance(value, str) else value
        weights = names.values() if isinstance(names, dict) else ()
        if (
            not isinstance(names, (list, dict))
            or not names
            or not all(isinstance(name, str) for name in names)
            or len(set(names)) < len(names)
            or not all(type(one) in (int, float) and 0 < one < float("inf") for one in weights)
        ):
            raise ValueError(
                "expected a data set, a list of different ones, or weights above 0, such as "
                f"{{mevis-train: 2, ref-youtube-vos-train: 1}}, not {value}"
            )
        return next(iter(names)) if len(names) == 1 else value

    @model_validator(mode="after")
    def _roots_of_known_data_sets(self) -> Data:
        names = [name.removeprefix(MOSAIC) for name in (*self.training_sets, *self.evaluate_on)]
        known = type(self).model_fields["roots"].default
        others = [one for one in names if not any(f"{one}-".startswith(f"{name}-") for name in known)]
        for name in self.roots:  # a name in use is <data set>-<split>: either may have hyphens
            if name not in known and not any(f"{one}-".startswith(f"{name}-") for one in others):
                raise ValueError(f"roots: unknown data set '{name}': {_hint(name, [*known, *others])}")
        return self


class Flow(Part):
    """Optical flow: which estimator, and where its results are kept."""

    estimator: str = "dis"  # "dis", "raft_small", "raft_large" (torchvision), "ptlflow:<model>"
    preset: Literal["ultrafast", "fast", "medium"] = "medium"  # of DIS
    finest_scale: int = Field(0, ge=0)  # of DIS: 0 estimates at full resolution
    weights: str | None = None  # of a network: a published name, a file, "random"; None: published ones
    height: int | None = Field(None, ge=16)  # stored resolution; None: the video's own
    root: str = "data/flow"
    workers: int = Field(2, ge=1)  # processes; of a network, at most one a GPU
    stills: Literal["zero", "shift"] = "zero"  # of single pictures in training: none, or a drawn shift's


Freeze = Literal["norm", "stem", "all", "none"]  # of a backbone, for the whole training


class Backbone(Part):
    """An image encoder by name: of torchvision, timm or Hugging Face, or a narrow ResNet by its widths.

    `freeze` holds weights and statistics as they are: `norm` those of batch normalisation, `stem` also all
    that the finest level needs (stem and first stage), `all` everything, `none` nothing.
    """

    # A ResNet of torchvision, "timm:<name>", "hf:<hub id, folder or config.json>", or "narrow".
    name: str = "resnet50"
    # DEFAULT: the pretrained weights of that name; or a published name of weights, a file, or None: random.
    # "narrow" has no published ones: None, or a file that `mmvs export --backbone` wrote.
    weights: str | None = "DEFAULT"
    # Of "narrow": stem (stride 2), then strides 2, 4, 8. At least 8: with fewer channels, torch 2.15 on a CPU
    # of AVX2 writes beyond its memory in the gradient of a strided 1 x 1 convolution with channels last.
    widths: list[Annotated[int, Field(ge=8)]] = [16, 32, 64, 96]
    input: Literal["uv", "wheel"] = "wheel"  # motion only: raw flow, or rendered as a colour wheel
    flow_scale: float = Field(2.0, gt=0)  # motion, "uv" only: pixels per frame that count as 1
    freeze: Freeze | None = None  # None: "norm" where weights are given, "none" where they are random
    # 2: it sees the picture at half its width and height, for a quarter of the work; flow stays in pixels per
    # frame of the whole canvas.
    shrink: Literal[1, 2] = 1

    @property
    def frozen(self) -> Freeze:
        """What stays as it is."""
        return self.freeze or ("norm" if self.weights else "none")


class Language(Part):
    """A text encoder of Hugging Face: a local folder or hub name; or a small BERT trained from scratch.

    BERT and its relatives (RoBERTa, MiniLM, XLM-R, ...) or the text part of CLIP, with a fast tokenizer. The
    path of a config.json gives its architecture with random weights, without a download.
    """

    name: str = "bert-base-uncased"  # or "small": WordPiece vocabulary from the training sentences
    width: int = 64  # of "small", as the next three
    layers: int = 2
    heads: int = 4
    vocabulary: int = 400
    max_words: int = Field(64, ge=4)  # tokens, [CLS] and [SEP] included; longer sentences are cut
    norm: Literal["layer", "batch"] = "batch"  # of the projected words and of their mean
    freeze: Literal["all", "none"] = "none"

    @property
    def frozen(self) -> str:
        """What stays as it is."""
        return self.freeze


class Quirks(Part):
    """Slips of the authors' code that their weights were trained with; off: as the method is described."""

    masked_keys: bool = False  # padding words keep the score 0 (1e-9) in the softmax
    gate: bool = False  # the gate of appearance reads appearance, not motion
    dilation: bool = False  # of the motion backbone's last level only the first convolution is dilated
    border: bool = False  # the wheel's picture is padded with black, not with the white of no motion


def _decisive(model: Multimodal | Published, exclude: set[str]) -> dict[str, Any]:
    """The values of a model that decide its weights; in the first fingerprints, nothing was frozen."""
    values = model.model_dump(mode="json", exclude=exclude)
    for name in ("appearance_backbone", "motion_backbone", "language"):
        values[name]["freeze"] = getattr(model, name).frozen
        if values[name]["freeze"] == "none":
            values[name].pop("freeze")
        if values[name].get("shrink") == 1:
            values[name].pop("shrink")
    return values


def _shared_by_heads(part: Any) -> Any:
    if part.width % part.heads:
        raise ValueError(f"width {part.width} must be a multiple of the number of heads, {part.heads}")
    return part


class Loss(Part):
    """Weights of the terms (mmvs/losses.py); 0 leaves a term out of the sum, and still logs it."""

    coarse: float = Field(0.5, ge=0)
    decoder: float = Field(0.5, ge=0)
    cross_modal: float = Field(0.1, ge=0)
    temporal: float = Field(0.1, ge=0)
    form: Literal["cosine", "contrastive"] = "contrastive"  # of the cross-modal term
    aligned: Literal["encoded", "temporal"] = "encoded"  # what it compares: Za and Zl, or Ta and the summary
    temperature: float = Field(0.1, gt=0)  # of the contrastive form

    def decisive(self) -> dict[str, Any]:
        """The values that decide the trained weights; `fingerprint` hashes them."""
        return self.model_dump(mode="json")


class PublishedLoss(Part):
    """The authors' loss: its terms have equal weights (mmvs/published/objective.py)."""

    limit: float = Field(0.95, gt=0, le=1)  # cosines are cut there: tan(x pi/2) has no bound

    def decisive(self) -> dict[str, Any]:
        """The values that decide the trained weights; `fingerprint` hashes them.

        The constants were in the first fingerprints, when all networks had the parameters of `Loss`.
        """
        weights = {"coarse": 0.5, "decoder": 0.5, "cross_modal": 0.1, "temporal": 0.1}
        form = {"form": "contrastive", "temperature": 0.1}
        return weights | form | ({} if self == PublishedLoss() else {"limit": self.limit})


class Fusion(Part):
    """Language-guided fusion: the dynamic filters of every cell."""

    kernel: Literal[1, 3, 5] = 3  # side of a filter; 1: a gate
    # What joins the filtered streams: a 3 x 3 convolution, or one of each channel and one of each cell.
    convolution: Literal["full", "separable"] = "full"


class Multimodal(Part):
    """The method's network; the four switches are its ablation."""

    name: Literal["multimodal"] = "multimodal"
    appearance: Literal["all", "target", "none"] = "all"  # whose is seen: all frames', the target frame's
    motion: bool = True
    transformer: bool = True
    language_guided: bool = True
    alignment: bool = True  # a switch of the loss
    width: int = Field(256, ge=8)  # D
    heads: int = Field(8, ge=1)
    layers: int = Field(4, ge=1)  # of each: multi-modal encoder, temporal encoder, decoder
    level_widths: list[int] = [64, 128, 256]  # of the fusion, fine to coarse
    # How a token knows its frame: see transformer.py.
    time: Literal["added", "multiplied", "modulated"] = "multiplied"
    fusion: Fusion = Fusion()
    mask_scale: int = Field(4, ge=1)  # how much finer than its cells the coarse mask is drawn
    dropout: float = Field(0.1, ge=0, lt=1)
    appearance_backbone: Backbone = Backbone()
    motion_backbone: Backbone = Backbone()
    language: Language = Language()

    @model_validator(mode="after")
    def _sees_something(self) -> Multimodal:
        if self.appearance == "none" and not self.motion:
            raise ValueError("appearance: none and motion: false leave nothing to see")
        return _shared_by_heads(self)

    def decisive(self) -> dict[str, Any]:
        """The values that decide the trained weights; `fingerprint` hashes them, and is older than `name`."""
        values = _decisive(self, exclude={"name"})
        if self.fusion.convolution == "full":
            values["fusion"].pop("convolution")
        return values


class AppearanceBackbone(Backbone):
    """As the authors' code has it, which freezes nothing."""

    name: str = "resnet101"
    freeze: Freeze | None = "none"


class MotionBackbone(Backbone):
    """As the authors' code has it, which freezes nothing."""

    name: str = "resnet34"
    freeze: Freeze | None = "none"


class ShortLanguage(Language):
    """As the authors' code has it: sentences are cut early."""

    max_words: int = Field(20, ge=4)


class Published(Part):
    """The network of the authors' public code (mmvs/published); of the four switches it has `alignment`."""

    name: Literal["published"] = "published"
    quirks: Quirks = Quirks()
    alignment: bool = True  # a switch of the loss
    width: int = Field(256, ge=8)  # D, at all levels
    heads: int = Field(4, ge=1)
    layers: int = Field(4, ge=1)
    dropout: float = Field(0.1, ge=0, lt=1)
    appearance_backbone: AppearanceBackbone = AppearanceBackbone()
    motion_backbone: MotionBackbone = MotionBackbone()
    language: ShortLanguage = ShortLanguage()

    @property
    def motion(self) -> bool:
        """As of Multimodal: this network always reads flow."""
        return True

    @model_validator(mode="after")
    def _backbones_are_resnets(self) -> Published:
        for backbone in (self.appearance_backbone, self.motion_backbone):
            if ":" in backbone.name:
                raise ValueError(
                    f"backbone '{backbone.name}': the published network dilates ResNets: give one of "
                    "torchvision's, or 'narrow'"
                )
            if backbone.shrink > 1:
                raise ValueError("shrink is of the multimodal network: leave it out of the published one")
        return self

    @model_validator(mode="after")
    def _heads_share_the_width(self) -> Published:
        return _shared_by_heads(self)

    def decisive(self) -> dict[str, Any]:
        """The values that decide the trained weights; `fingerprint` hashes them.

        The switches were in the first fingerprints, when all networks had them.
        """
        unchanged = {"quirks"} if self.quirks == Quirks() else set()
        switches = {"motion": True, "transformer": True, "language_guided": True}
        return switches | _decisive(self, exclude=unchanged)


Model = Multimodal | Published


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
    skip_nonfinite: int = Field(
        0, ge=0
    )  # so many batches may have a loss that is no number: they are left out
    precision: Literal["auto", "32-true", "bf16-mixed", "16-mixed"] = "auto"
    threads: int | None = Field(None, ge=1)  # of torch; None: torch's choice
    deterministic: bool = False  # on a GPU: the same weights at every run, more slowly (docs/reliability.md)
    validate_every: int = Field(1000, ge=1)  # steps; also how often a checkpoint is written
    loggers: list[Literal["wandb"]] = []  # beside CSV and TensorBoard; offline by default: docs/cluster.md
    validation_clips: int = Field(64, ge=1)  # drawn from the training videos and kept out of training
    hold_out: Literal["videos", "frames"] = "videos"  # validation: whole videos, or each video's last frames

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
    """How a probability becomes a mask."""

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
        switches = LADDER[rung]
        if seed == self.seed and all(getattr(self.model, name) == value for name, value in switches.items()):
            return self
        model = self.model.model_copy(update=switches)
        if model == self.model == self.model.model_copy(update=SYSTEMS[METHOD]):
            return self.as_system(METHOD, self.training.steps, self.training.share, seed)
        return self.model_copy(
            update={"run": f"{self.run}/ladder/{rung}/{seed}", "seed": seed, "model": model}
        )

    def as_system(self, system: str, steps: int, share: float, seed: int) -> Experiment:
        """The same experiment with a system's inputs, trained for `steps` on a share of the training videos.

        Warm-up and the steps between validations keep their share of the steps. Itself when it already is all
        that. ConfigError where there is no such system, or steps and share make no training.
        """
        if system not in SYSTEMS:
            raise ConfigError(f"unknown system '{system}': there are {', '.join(SYSTEMS)}")
        if not isinstance(self.model, Multimodal):
            raise ConfigError(f"systems are of the multimodal network, not of '{self.model.name}'")
        own = self.training
        model = self.model.model_copy(update=SYSTEMS[system])
        if (model, steps, share, seed) == (self.model, own.steps, own.share, self.seed):
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
            raise _refusal(error, "training") from None
        return self.model_copy(update=update)

    def fingerprint(self) -> str:
        """12 hex digits of everything that decides the trained weights; a changed digit means: train anew."""
        decisive = self.model_dump(mode="json", exclude={"run", "reports", "evaluation"})
        decisive["model"], decisive["loss"] = self.model.decisive(), self.loss.decisive()
        for free in ("roots", "evaluate_on", "jhmdb_samples", "pictures", "workers", "cache", "cache_root"):
            decisive["data"].pop(free)
        for free in ("root", "workers"):
            decisive["flow"].pop(free)
        if self.flow.stills == "zero":
            decisive["flow"].pop("stills")
        for free in ("loggers", "recompute"):
            decisive["training"].pop(free)
        if self.training.threads in (None, 1):  # as when threads were in no fingerprint
            decisive["training"].pop("threads")
        # These came after the first fingerprints: their defaults must not change them.
        if self.data.targets == "middle":
            decisive["data"].pop("targets")
        if not self.data.kinds:
            decisive["data"].pop("kinds")
        if self.data.gap == 0:
            decisive["data"].pop("gap")
        if self.data.mosaic == 0:
            decisive["data"].pop("mosaic")
        if self.training.skip_nonfinite == 0:
            decisive["training"].pop("skip_nonfinite")
        if self.training.layer_decay == 1:
            decisive["training"].pop("layer_decay")
        if self.training.share == 1:
            decisive["training"].pop("share")
        if self.training.accumulate == 1:
            decisive["training"].pop("accumulate")
        if not self.training.shared_norms:
            decisive["training"].pop("shared_norms")
        if self.training.scale_rate == "none":
            decisive["training"].pop("scale_rate")
        if self.training.hold_out == "videos":
            decisive["training"].pop("hold_out")
        for name in ("start_from", "start_anew"):
            if not decisive["training"][name]:
                decisive["training"].pop(name)
        if not self.training.deterministic:
            decisive["training"].pop("deterministic")
        if not self.model.alignment:
            for unused in ("cross_modal", "temporal", "form", "temperature"):
                decisive["loss"].pop(unused, None)
        return hashlib.sha256(json.dumps(decisive, sort_keys=True).encode()).hexdigest()[:12]


class PublishedExperiment(Experiment):
    """An Experiment with the network and the loss of the authors' code."""

    model: Published = Published()
    loss: PublishedLoss = PublishedLoss()


class LadderPlan(Part):
    """What 04_ablations shows of the ladder, and 08_explicit_motion of the systems."""

    rungs: list[str] = ["B", "B+M+T+L+A"]
    seeds: list[int] = [0]
    train_missing: bool = True  # False: cells that are not trained yet are left out
    compare: list[str] = []  # runs that stand beside this one
    systems: list[str] = list(SYSTEMS)  # what they are given of time, each trained with all `seeds`
    steps: list[int] = []  # how long; on all videos
    shares: list[float] = []  # of the training videos; for the middle one of `steps`

    @property
    def budgets(self) -> list[tuple[int, float]]:
        """Every (steps, share of the training videos) of the plan."""
        middle = sorted(self.steps)[len(self.steps) // 2] if self.steps else 0
        return [(steps, 1.0) for steps in self.steps] + [(middle, share) for share in self.shares if middle]


class Question(Part):
    """What 06_your_video asks; what is empty comes from the run itself."""

    model: str = ""  # a run's folder, a checkpoint, a saved model or a hub id
    video: str = ""  # a file, an address or a folder of pictures
    sentences: list[str] = []
    note: str = ""  # of the page


@dataclass(frozen=True)
class Parameters:
    """The content of a params file: one experiment, and what two notebooks need beside it."""

    experiment: Experiment
    ladder: LadderPlan
    ask: Question


EXPERIMENTS: dict[str, type[Experiment]] = {"multimodal": Experiment, "published": PublishedExperiment}


def budget(steps: int, share: float) -> str:
    """Name of a training's length and data: "1800", or "1800/0.25" on a quarter of the videos."""
    return str(steps) if share == 1 else f"{steps}/{share:g}"


def resolve(path: str | Path) -> Path:
    """An absolute path; a relative one hangs from ROOT."""
    path = Path(path).expanduser()
    return path if path.is_absolute() else ROOT / path


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
        raise _refusal(error) from None


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


def load(path: str | Path) -> Experiment:
    """The experiment of a params file; ConfigError names the file and the key at fault."""
    return read(path).experiment


def read(path: str | Path) -> Parameters:
    """All of a params file; ConfigError names the file and the key at fault."""
    path = resolve(path)
    try:
        return _checked(_read(path))
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from None


def varied(path: str | Path, changes: dict[str, Any]) -> tuple[dict[str, Any], Experiment]:
    """The values of a params file with some replaced, and their experiment; ConfigError as `load`.

    changes  dotted key, such as training.rate → its value
    """
    path = resolve(path)
    values = _read(path)
    for key, value in changes.items():
        *parents, name = key.split(".")
        part = values
        for parent in parents:
            if not isinstance(part.get(parent), dict):
                part[parent] = {}
            part = part[parent]
        part[name] = value
    return values, _checked(values).experiment


def parameters(notebook: dict[str, Any]) -> Parameters:
    """The parameters of a notebook: what its cells set, laid over a params file, and checked.

    notebook  globals(); what the cell `parameters` leaves empty, or papermill does not inject, is not set

    The file is that of `run` where there is one, params/<run>.yaml; else params/smoke.yaml. So `-f
    params/<run>.yaml` is exactly that experiment, and `-p` and `-y` change just what they name, within a part
    as well. A record from elsewhere (it has both `run` and `data`) stands for itself; and where `model.name`
    says another network, nothing of the file's `model` and `loss` stays.

    Raises ConfigError on a name that does not exist, also on one that papermill has only warned about.
    """
    names = [*Experiment.model_fields, "ladder", "ask"]
    values = {name: notebook[name] for name in names if notebook.get(name) not in (None, "", {})}
    for name in _injected(notebook.get("In", [])):
        if name not in names:
            raise ConfigError(f"unknown parameter '{name}' of the notebook: {_hint(name, names)}")
    file = resolve("params") / f"{values.get('run', 'smoke')}.yaml"
    if not file.is_file():
        file = resolve("params") / "smoke.yaml"
        if {"run", "data"} <= values.keys():
            return _checked(values)
    base = _read(file)
    if _network(values) and _network(values) != (_network(base) or "multimodal"):
        base = {name: value for name, value in base.items() if name not in ("model", "loss")}
    return _checked(_laid_over(base, values))


def _network(values: dict[str, Any]) -> str | None:
    model = values.get("model")
    return model.get("name") if isinstance(model, dict) else None


def _checked(values: dict[str, Any]) -> Parameters:
    """Parts and values of a params file, of the types that they should have."""
    beside = {}
    for name, kind in (("ladder", LadderPlan), ("ask", Question)):
        try:
            beside[name] = kind.model_validate(values.get(name, {}))
        except ValidationError as error:
            raise _refusal(error, name) from None
    parts = {str(name): value for name, value in values.items() if name not in beside}
    return Parameters(experiment(**parts), **beside)


def _read(path: Path) -> dict[str, Any]:
    try:
        values = yaml.load(regular(path).read_text(encoding="utf-8"), NoDatesSafeLoader)
    except FileNotFoundError:
        known = ", ".join(sorted(p.name for p in path.parent.glob("*.yaml"))) or "none"
        raise ConfigError(f"no such params file; there are: {known}") from None
    except OSError as error:  # a folder, no permission
        raise ConfigError(f"cannot be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise ConfigError(f"not a text file in UTF-8: byte {error.start} is no part of one") from None
    except RecursionError:
        raise ConfigError("not a params file: it is nested too deeply") from None
    except (yaml.YAMLError, ValueError) as error:  # ValueError: of a number that is none
        raise ConfigError(f"not YAML: {error}") from None
    if not isinstance(values, dict):
        raise ConfigError(f"expected 'key: value' lines, found {type(values).__name__}")
    return values


def _injected(cells: list[str]) -> list[str]:
    """Names that papermill sets: it writes a cell of its own behind the cell `parameters`."""
    code = next((cell for cell in cells if cell.startswith("# Parameters\n")), "")
    assignments = (line for line in ast.parse(code).body if isinstance(line, ast.Assign))
    return [target.id for line in assignments for target in line.targets if isinstance(target, ast.Name)]


def _laid_over(base: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """The base with changes, which reach into dicts of dicts."""
    inner = {name for name in changes if isinstance(changes[name], dict) and isinstance(base.get(name), dict)}
    return base | changes | {name: _laid_over(base[name], changes[name]) for name in inner}


def _refusal(error: ValidationError, *place: str) -> ConfigError:
    lines = [
        f"  {'.'.join(map(str, (*place, *e['loc']))) or 'experiment'}: {e['msg']}" for e in error.errors()
    ]
    return ConfigError("parameters that cannot be used:\n" + "\n".join(lines))


def _hint(name: str, names: Iterable[str]) -> str:
    """The nearest right name, or all."""
    near = difflib.get_close_matches(name, names := list(names), n=1, cutoff=0.5)
    return f"did you mean '{near[0]}'?" if near else f"known: {', '.join(names)}"
