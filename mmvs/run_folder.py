"""What lies in reports/<run>: where every file is, how far the run is, and metrics.json as a typed Result."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, StrictFloat, StrictInt, ValidationError, field_validator

from mmvs.config import Experiment
from mmvs.files import as_json, regular, write_text

Number = StrictInt | StrictFloat  # neither becomes the other: a file that is written again stays as it was
Scores = dict[str, dict[str, dict[str, Number | None]]]  # data set → kind of sentence, or "all" → measure
Ladder = dict[str, dict[str, Scores]]  # rung → seed → Scores: the content of a ladder.json
ExplicitMotion = dict[str, dict[str, dict[str, Scores]]]  # system → budget → seed → Scores


class ReportError(ValueError):
    """A file of a report that cannot be read; the text names it and says what would do."""


class Record(BaseModel):
    """Fields in the order of the file. A field of a later version is kept as it stands."""

    model_config = ConfigDict(extra="allow", frozen=True)


class Provenance(Record):
    """Where a result came from: all that is needed to repeat it."""

    command: str  # of the shell, to repeat the result
    run: str
    seed: int
    fingerprint: str  # Experiment.fingerprint()
    data_fingerprint: dict[str, str]  # data set → digits of what is asked of which frame of which video
    weights: str | None = None  # TrainedNetwork.fingerprint(); None: of a version that kept none
    cpu: str | None = None  # instruction set: another one rounds otherwise, and trains other weights
    started_from: dict[str, Any] | None = None  # of a fine-tuned run: source, and its weights' fingerprint
    training_processes: int = 1  # each reads its batch in every step; only where there were several
    skipped_batches: int = 0  # of the training, as their loss was no number; only where there were some
    samples_from: dict[str, str] = {}  # data set → list of its samples; only of data sets with several lists
    flow_fingerprint: dict[str, Any]  # the estimator: name, settings, version
    parameters: dict[str, Any]  # the Experiment, as the version of that time wrote it
    git_commit: str | None  # None: outside git
    git_dirty: bool | None
    python: str
    versions: dict[str, str]  # package → version
    device: str
    wall_seconds: dict[str, Number]  # stage ("training", "evaluation") → seconds
    peak_memory_mb: int
    date: str  # ISO 8601, UTC

    def part(self, name: str) -> dict[str, Any]:
        """One part of the parameters, such as "data"; empty where that version had none."""
        values = self.parameters.get(name)
        return values if isinstance(values, dict) else {}

    @property
    def commit(self) -> str:
        """Ten digits of the commit, and "+" where tracked code differed from it; "" outside git."""
        return (self.git_commit or "")[:10] + ("+" if self.git_dirty else "")

    @property
    def day(self) -> str:
        """YYYY-MM-DD."""
        return self.date[:10]


class Result(Record):
    """The content of a metrics.json."""

    run: str
    scores: Scores
    steps: int  # of the training
    parameters: int  # how many weights the network has
    provenance: Provenance

    @field_validator("scores")
    @classmethod
    def _all_of_every_data_set(cls, scores: Scores) -> Scores:
        if not scores or any("all" not in kinds for kinds in scores.values()):
            raise ValueError("every data set needs scores of 'all' sentences")
        return scores

    @classmethod
    def read(cls, path: str | Path) -> Result:
        """A metrics.json; ReportError names it where it is missing, torn or of another kind."""
        try:
            content = json.loads(regular(path).read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise ReportError(
                f"no result file {path}: run `python -m mmvs evaluate params/<run>.yaml` first"
            ) from None
        except OSError as error:  # a folder, a pipe, no permission
            raise ReportError(f"{path} cannot be read ({error.strerror}): move it away") from None
        except (ValueError, RecursionError) as error:  # also bytes that are no text, and numbers without end
            raise ReportError(f"{path} is not JSON ({error}): move it away and run 03_train again") from None
        try:
            return cls.model_validate(content)
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            place = ".".join(map(str, first["loc"])) or "its content"
            reason = f"{place}: {first['msg']}"
            raise ReportError(
                f"{path} is no result ({reason}): move it away and run 03_train again"
            ) from None

    def text(self) -> str:
        """The file's text. A field that was not given is not written."""
        return as_json(self.model_dump(exclude_unset=True))

    def write(self, path: str | Path) -> None:
        """Write a metrics.json, whole or not at all."""
        write_text(path, self.text())


class TrainingEnd(Record):
    """The content of checkpoints/finished.json, which says that a training is complete."""

    fingerprint: str
    steps: int
    seconds: Number
    skipped: int = 0  # batches whose loss was no number
    processes: int = 1  # that read a batch each in every step


@dataclass(frozen=True)
class CheckpointFolder:
    """Checkpoints of one training, and what they need to be opened.

    A class of its own, as such a folder also lies elsewhere: set aside, or copied without its run.
    """

    path: Path

    @property
    def best(self) -> Path:
        return self.path / "best.ckpt"

    @property
    def last(self) -> Path:
        return self.path / "last.ckpt"

    @property
    def previous(self) -> Path:
        """The last but one, for the case that the last is damaged."""
        return self.path / "previous.ckpt"

    @property
    def vocabulary(self) -> Path:
        """Folder of the tokenizer, and of BERT's configuration."""
        return self.path / "vocabulary"

    @property
    def fingerprint(self) -> Path:
        """File with the fingerprint of the experiment that the checkpoints are of."""
        return self.path / "fingerprint"

    @property
    def finished(self) -> Path:
        return self.path / "finished.json"

    def training_end(self) -> TrainingEnd | None:
        """How the training ended; None while it is unfinished, or where the file is damaged.

        A damaged one costs nothing: training goes on from its last checkpoint, and writes it anew.
        """
        try:
            return TrainingEnd.model_validate_json(regular(self.finished).read_bytes())
        except (OSError, ValidationError):
            return None


@dataclass(frozen=True)
class RunFolder:
    """`reports/<run>`. Asking for a path makes nothing."""

    path: Path

    @classmethod
    def of(cls, experiment: Experiment) -> RunFolder:
        """Of an experiment, also of a rung of its ladder."""
        return cls(experiment.folder)

    @property
    def name(self) -> str:
        return self.path.name

    @property
    def checkpoints(self) -> CheckpointFolder:
        return CheckpointFolder(self.path / "checkpoints")

    @property
    def lock(self) -> Path:
        """Lock file of the checkpoints: one process prepares them, the others wait."""
        return self.path / "checkpoints.lock"

    @property
    def training_lock(self) -> Path:
        """Lock file of the training: a second one waits until the first has ended."""
        return self.path / "training.lock"

    @property
    def logs(self) -> Path:
        """Folder of the training's logs: part-000, part-001, ... of a run that was resumed."""
        return self.path / "logs"

    @property
    def curves(self) -> Path:
        """All parts' curves in one table."""
        return self.logs / "metrics.csv"

    @property
    def metrics(self) -> Path:
        return self.path / "metrics.json"

    @property
    def samples(self) -> Path:
        """Table of every sample's scores."""
        return self.path / "samples.csv"

    def submission(self, data_set: str) -> Path:
        """Zip of the masks of a data set of expressions; its scores stand beside it, as .json and .csv."""
        return self.path / "submissions" / f"{data_set}.zip"

    @property
    def ladder(self) -> Path:
        """Scores of the ablation ladder, a Ladder."""
        return self.path / "ladder.json"

    @property
    def explicit_motion(self) -> Path:
        """Scores of the systems by what they are given of time, an ExplicitMotion."""
        return self.path / "explicit_motion.json"

    @property
    def intervals(self) -> Path:
        """Intervals of mean IoU over videos: what reports keep of samples.csv."""
        return self.path / "intervals.json"

    @property
    def sentences(self) -> Path:
        """How many sentences about how many videos the data have."""
        return self.path / "sentences.json"

    @property
    def sweep(self) -> Path:
        """Points and scores of a sweep of this experiment."""
        return self.path / "sweep.json"

    @property
    def flow_quality(self) -> Path:
        return self.path / "flow_quality.json"

    @property
    def figures(self) -> Path:
        return self.path / "figures"

    @property
    def notebooks(self) -> list[Path]:
        """Executed notebooks, by name."""
        return sorted(self.path.glob("*.ipynb"))

    def is_trained(self) -> bool:
        """Whether the training is complete."""
        return self.checkpoints.training_end() is not None

    def is_scored(self) -> bool:
        """Whether there is a metrics.json, whatever it holds."""
        return self.metrics.exists()

    def result(self) -> Result:
        """The content of metrics.json; ReportError where it is missing, torn or of another kind."""
        return Result.read(self.metrics)

    def result_of(self, experiment: Experiment, weights: str | None = None) -> Result | None:
        """The result if it is of this very training, scored in this very way; None if it has to be made.

        A torn or foreign metrics.json counts as none.
        """
        try:
            result = self.result()
        except ReportError:
            return None
        origin = result.provenance
        as_it_was = {"precision": "float32"}  # before there was a choice
        same = (
            origin.fingerprint == experiment.fingerprint()
            and as_it_was | origin.part("evaluation") == experiment.evaluation.model_dump(mode="json")
            and origin.part("data").get("jhmdb_samples") == experiment.data.jhmdb_samples
            and (weights is None or origin.weights in (None, weights))
        )
        return result if same else None
