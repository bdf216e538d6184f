"""Which samples and which flow: the parts `data` and `flow` of an Experiment."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from mmvs.config.part import Part, hint

MOSAIC = "mosaic:"  # before a data set's name: each sample beside another video (mmvs/data/mosaics.py)


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
                raise ValueError(f"roots: unknown data set '{name}': {hint(name, [*known, *others])}")
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
