"""J and F of expressions, by the rule of MeViS's published script: a video's frames, then all expressions.

What that script does with a fault is worked out beside our own number. Ours never lets an expression drop
out: a mask that is missing, damaged or of another size scores 0 in its frame.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import chain, groupby
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from mmvs.data.csv_files import DataError
from mmvs.metrics import FrameTruth, statistics
from mmvs.scoring.parallel import in_parallel
from mmvs.scoring.report import Fault, Report, shorten, size_text
from mmvs.scoring.request import Request
from mmvs.scoring.submission import ExpressionMasks, JoinedMasks, MaskError, Submission

if TYPE_CHECKING:
    from mmvs.data.expressions import Expressions

Masks: TypeAlias = ExpressionMasks | JoinedMasks

CONVENTION = "mean over the frames of an expression, then over all expressions; J&F is half the sum"
UNVERIFIED = {
    "mevis": "Whether the server of version 2 scores sentences about nothing apart is unverified: `overall` "
    "holds them, as in the published script.",
    "ref-youtube-vos": "The server's code is not published: this is averaged as MeViS's script does. How the "
    "server averages, and what it makes of absent objects and of faults, is unverified.",
}
PROCESSES = 64  # of MeViS's script: each ends at its first fault
DROPPED = "MeViS's script leaves the expression out of the average without a word"
NO_TRUTH = "no truth"
UNNOTICED = "MeViS's script does not notice, as no frame shows the object"
ZERO = "MeViS's script counts J = F = 0"
OFFICIAL = {  # where nobody knows what the official code does
    "ref-youtube-vos": "unknown, as the server's code is not published",
    "expressions": "there is no official code",
}


@dataclass
class ExpressionScore:
    """J and F of one expression."""

    video: str
    exp_id: str
    sentence: str
    no_target: bool  # the sentence is about nothing, and the right masks are empty
    frames: list[str]
    region: list[float] = field(default_factory=list)  # J of each frame; [] where the truth is damaged
    boundary: list[float] = field(default_factory=list)  # F
    without_truth: list[str] = field(default_factory=list)  # frames that are listed and cannot be scored
    with_mask: int = 0  # frames whose mask is not empty
    by_script: tuple[float, float] | None = None  # J, F of MeViS's script; None: it drops the expression
    faults: list[Fault] = field(default_factory=list)

    @property
    def name(self) -> str:
        """As MeViS's script has it."""
        return f"{self.video}_{self.exp_id}"

    @property
    def mean(self) -> tuple[float, float]:
        """Mean J and mean F over the frames."""
        return float(np.mean(self.region)), float(np.mean(self.boundary))

    def record(self) -> dict[str, Any]:
        """Of the JSON file."""
        record: dict[str, Any] = {"video": self.video, "exp_id": self.exp_id, "sentence": self.sentence}
        record |= {"no_target": self.no_target}
        if self.region:
            j, f = self.mean
            record |= {"J": j, "F": f, "J&F": (j + f) / 2, "frames": self.frames}
            record |= {"J_per_frame": self.region, "F_per_frame": self.boundary}
        return record

    def row(self) -> dict[str, Any]:
        """Of the table."""
        row: dict[str, Any] = {"video": self.video, "exp_id": self.exp_id, "sentence": self.sentence}
        row |= {"no_target": int(self.no_target), "frames": len(self.frames)}
        if self.region:
            row["J&F"] = sum(self.mean) / 2
            for name, values in (("J", self.region), ("F", self.boundary)):
                numbers = statistics(values)
                row |= {f"{name} {key}": number for key, number in numbers.items()}
        return row | {"faults": "; ".join(fault.text() for fault in self.faults)}


def score(request: Request, data: Expressions, masks: Masks, workers: int) -> list[ExpressionScore]:
    """The score of each expression, in the order of the data set."""
    results = in_parallel(score_group, (data, masks), groups(data), workers, "expression", request.progress)
    by_index = dict(chain.from_iterable(results))
    return [by_index[i] for i in range(len(data))]


def report(request: Request, data: Expressions, submission: Submission, workers: int) -> Report:
    """Score a submission to MeViS, or one that is averaged like it."""
    scores = score(request, data, ExpressionMasks(submission), workers)
    averages = over_expressions(scores, request.as_official)
    script = as_script(scores)
    data_set = request.data_set
    for fault in faults_of(scores):
        fault.official = OFFICIAL.get(data_set, fault.official)
    faults, notes = faults_of(scores), [UNVERIFIED[data_set]] if data_set in UNVERIFIED else []
    if unlabelled := sum(len(one.without_truth) for one in scores):
        notes.append(f"Frames without a truth are not scored: {unlabelled:,}, counted for each expression.")
    left_out = script["left_out_of_the_average"]
    reproduced = data_set == "mevis" and len(left_out) < PROCESSES
    if request.as_official and faults and not reproduced:
        notes.append(
            f"The official number is not known: with {len(left_out)} faults, each of which ends one of its "
            f"{PROCESSES} processes, MeViS's script loses what is left."
            if data_set == "mevis"
            else f"No official number is known ({OFFICIAL[data_set]}): these are as MeViS's script has them."
        )
    details = {name.replace(" ", "_"): numbers for name, numbers in averages.items()}
    details |= {"official" if data_set == "mevis" else "as_mevis_script": script}
    details |= {"per_expression": [one.record() for one in scores]}
    rows = [one.row() for one in scores]
    return Report(request, CONVENTION, averages, details, rows, faults, notes, reproduced)


def over_expressions(scores: Sequence[ExpressionScore], as_script: bool) -> dict[str, dict[str, Any]]:
    """Averages by name: of all expressions and, where some are about nothing, of the two kinds apart."""
    averages = {"overall": _average(scores, as_script)}
    about_nothing = [one for one in scores if one.no_target]
    if about_nothing:
        averages["with target"] = _average([one for one in scores if not one.no_target], as_script)
        averages["no target"] = _average(about_nothing, as_script)
        # The share of sentences about nothing that got no mask in any frame, as they should.
        right = [not one.with_mask and not one.faults for one in about_nothing]
        averages["no target"]["without any mask"] = float(np.mean(right))
    return averages


def as_script(scores: Sequence[ExpressionScore]) -> dict[str, Any]:
    """What MeViS's script prints, and what it does not say."""
    average = _average(scores, as_script=True)
    counted = [one for one in scores if one.region]
    missing = [one for one in counted if any(fault.fault == "missing video" for fault in one.faults)]
    return {
        "printed": {name: average[name] for name in ("J", "F", "J&F")},
        "expressions_averaged": average["expressions"],
        "left_out_of_the_average": [one.name for one in counted if one.by_script is None],
        "counted_as_zero": [one.name for one in missing],
    }


def faults_of(scores: Sequence[ExpressionScore]) -> list[Fault]:
    """All faults, in the order of the expressions."""
    return [fault for one in scores for fault in one.faults]


def groups(data: Expressions) -> list[list[int]]:
    """Positions of expressions that share their truth: it is read once, and its outlines drawn once."""
    keys = [(one.video_id, str(one.object_ids)) for one in data]
    order = sorted(range(len(data)), key=lambda i: (keys[i], i))
    return [list(group) for _, group in groupby(order, key=keys.__getitem__)]


def score_group(data: Expressions, masks: Masks, indices: Sequence[int]) -> list[tuple[int, ExpressionScore]]:
    """Score expressions that share their truth, frame by frame; each with its position."""
    scores = [_without_scores(data, i) for i in indices]
    try:
        positions = data.positions_with_truth(indices[0])
        truth = data.masks(indices[0], positions)
    except DataError as error:
        for one in scores:
            one.faults.append(Fault(NO_TRUTH, one.video, one.exp_id, detail=str(error)))
        return list(zip(indices, scores, strict=True))
    for one in scores:
        one.without_truth = sorted(set(one.frames) - {one.frames[i] for i in positions})
        one.frames = [one.frames[i] for i in positions]
        if not positions:
            one.faults.append(Fault(NO_TRUTH, one.video, one.exp_id, detail="no frame of it has a mask"))
    counts = [_Count(one, masks, truth) for one in scores if positions]
    for position, mask in enumerate(truth):
        prepared = FrameTruth(mask)
        for count in counts:
            count.add(position, prepared)
    for count in counts:
        count.finish()
    return list(zip(indices, scores, strict=True))


class _Count:
    """Fills in one expression's score, frame after frame.

    truth  (T, H, W) bool
    """

    def __init__(self, score: ExpressionScore, masks: Masks, truth: np.ndarray) -> None:
        self.score, self.masks = score, masks
        self.size, self.truth_is_empty = truth.shape[1:], not truth.any()
        self.absence = masks.absence(score.video, score.exp_id)
        self.faults: dict[tuple[str, str], list[str]] = {}  # fault and detail: frames
        self.of_other_size: dict[tuple[int, ...], list[tuple[float, float]]] = {}

    def add(self, position: int, truth: FrameTruth) -> None:
        """Score a frame."""
        j, f = 0.0, 0.0
        if self.absence is None:
            try:
                j, f = truth.scores(self._mask(self.score.frames[position]))
            except MaskError as error:
                key = error.fault, error.detail
                self.faults.setdefault(key, []).append(self.score.frames[position])
        self.score.region.append(j)
        self.score.boundary.append(f)

    def finish(self) -> None:
        """Name the faults, and say what MeViS's script makes of them."""
        score = self.score
        if self.absence is not None:
            score.faults.append(Fault(self.absence, score.video, score.exp_id))
            score.by_script = (0.0, 0.0) if self.absence == "missing video" else None
        else:
            for (fault, detail), frames in self.faults.items():
                score.faults.append(Fault(fault, score.video, score.exp_id, frames, detail))
            score.by_script = self._mean_by_script() if self.faults else score.mean
        for fault in score.faults:
            if self.absence == "missing video":
                fault.official = ZERO
            else:
                fault.official = DROPPED if score.by_script is None else UNNOTICED

    def _mask(self, frame: str) -> np.ndarray:
        mask = self.masks.mask(self.score.video, self.score.exp_id, frame)
        self.score.with_mask += bool(mask.any())
        if mask.shape != self.size:
            if self.truth_is_empty:
                nothing = FrameTruth(np.zeros_like(mask))
                self.of_other_size.setdefault(mask.shape, []).append(nothing.scores(mask))
            raise MaskError("wrong size", f"{size_text(mask.shape)}, expected {size_text(self.size)}")
        return mask

    def _mean_by_script(self) -> tuple[float, float] | None:
        """It takes the size from the masks: where no frame shows the object, another size is as good."""
        if len(self.of_other_size) != 1:
            return None
        (scores,) = self.of_other_size.values()
        if len(scores) < len(self.score.frames):
            return None
        j, f = np.mean(scores, axis=0).tolist()
        return j, f


def _without_scores(data: Expressions, i: int) -> ExpressionScore:
    one = data[i]
    return ExpressionScore(
        one.video_id, one.expression_id, one.sentence, one.object_ids == [], list(one.frames)
    )


def _average(scores: Sequence[ExpressionScore], as_script: bool) -> dict[str, Any]:
    """J, F, J&F and the number of expressions; NaN where there is none."""
    pairs = [one.by_script if as_script else one.mean for one in scores if one.region]
    pairs = [pair for pair in pairs if pair is not None]
    j, f = np.mean(pairs, axis=0).tolist() if pairs else (float("nan"),) * 2
    return {"J": j, "F": f, "J&F": (j + f) / 2, "expressions": len(pairs)}


def unknown_folders(submission: Submission, known: set[str]) -> list[str]:
    """A note about folders that nothing asks for; none where there are none."""
    unknown = sorted(submission.folders() - known)
    return [f"Not of this split, and not scored: {shorten(unknown, 5)}."] if unknown else []
