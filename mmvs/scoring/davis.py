"""Ref-DAVIS17, by both conventions in use. They give different numbers.

official        the DAVIS 2017 evaluation, task "unsupervised", for each of the four annotators; their mean.
                An annotator's masks of a video are one map of object numbers. All frames count, void pixels
                do not, and the best one-to-one assignment of predicted numbers to objects is taken: an
                exchange of objects costs nothing. Objects are the numbers of the first frame.
per_expression  as MeViS: over all expressions, no assignment, void pixels are background.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from scipy.optimize import linear_sum_assignment

from mmvs.data.csv_files import DataError
from mmvs.metrics import FrameTruth, statistics
from mmvs.scoring import expressions
from mmvs.scoring.expressions import ExpressionScore, Masks
from mmvs.scoring.parallel import in_parallel
from mmvs.scoring.report import Fault, Report, size_text
from mmvs.scoring.request import Request
from mmvs.scoring.submission import (
    ANNOTATORS,
    ExpressionMasks,
    JoinedMasks,
    MaskError,
    Submission,
    annotator_and_number,
)

if TYPE_CHECKING:
    from mmvs.data.expressions import Expressions

VOID = 255
MOST_OBJECTS = 20  # in a map: the DAVIS tool stops at more
STATISTICS = {"mean": "", "recall": " recall", "decay": " decay"}
CONVENTION = "two conventions are in use: say which one you report"
JOINED = (
    "From maps of object numbers: `per_expression` misses what overlaps took from an object; give masks for "
    "each expression to have its exact number."
)
STOPPED = "The DAVIS tool stops at these faults: there is no official number."

Unscored: TypeAlias = set[tuple[int, int]]  # (number, frame) that has no mask; (0, frame): for all numbers


@dataclass
class VideoScore:
    """An annotator's J and F of the objects of one video, in the order of the predicted numbers."""

    video: str
    region: list[dict[str, float]] = field(default_factory=list)  # `statistics` of each object's J
    boundary: list[dict[str, float]] = field(default_factory=list)  # of F
    matched: list[tuple[int, int]] = field(default_factory=list)  # predicted number, object
    faults: list[Fault] = field(default_factory=list)  # of a map


def report(request: Request, data: Expressions, submission: Submission, workers: int) -> Report:
    """Score a submission by both conventions."""
    is_joined = bool(submission.folders() & set(annotator_folders()))
    masks = JoinedMasks(submission) if is_joined else ExpressionMasks(submission)
    scores = expressions.score(request, data, masks, workers)
    jobs = videos_of(data)
    results = in_parallel(score_video, (data, masks), jobs, workers, "expression", request.progress)
    by_annotator = list(zip(*results, strict=True))
    faults = _faults(scores, list(chain.from_iterable(by_annotator)), is_joined)
    official = _official(by_annotator)
    if request.as_official and faults:
        official["overall"] = dict.fromkeys(official["overall"], float("nan"))
    per_expression = _per_expression(scores, request.as_official)
    averages = {
        "official: DAVIS 2017, unsupervised, mean of four annotators": official["overall"],
        "per_expression: as MeViS, no assignment": per_expression["overall"],
    }
    notes = [JOINED] * is_joined + [STOPPED] * bool(request.as_official and faults)
    details = {"official": official, "per_expression": per_expression}
    rows = [{"annotator": annotator_and_number(one.exp_id)[0]} | one.row() for one in scores]
    return Report(request, CONVENTION, averages, details, rows, faults, notes)


def annotator_folders() -> list[str]:
    """The folders of a method that joined the objects itself."""
    return [f"anno_{annotator}" for annotator in ANNOTATORS]


def check_numbers(data: Expressions) -> None:
    """DataError where expressions are not numbered object by object, four each."""
    for one in (data[i] for i in range(len(data))):
        if not one.expression_id.isdecimal():
            raise DataError(
                f"expression '{one.expression_id}' of '{one.video_id}' is no number: Ref-DAVIS17 numbers the "
                "expressions of a video, four for each object; score other data as --data-set expressions"
            )


def videos_of(data: Expressions) -> list[list[int]]:
    """Positions of the expressions of each video."""
    by_video: dict[str, list[int]] = {}
    for i in range(len(data)):
        by_video.setdefault(data[i].video_id, []).append(i)
    return list(by_video.values())


def score_video(data: Expressions, masks: Masks, indices: Sequence[int]) -> list[VideoScore]:
    """Score a video for each annotator, given the positions of its expressions."""
    video, frames = data[indices[0]].video_id, data[indices[0]].frames
    scores = [VideoScore(video) for _ in ANNOTATORS]
    try:
        truth = np.stack([data.labels(video, frame) for frame in frames])
    except DataError as error:
        scores[0].faults.append(Fault(expressions.NO_TRUTH, video, detail=str(error)))
        return scores
    for annotator, score in enumerate(scores):
        if isinstance(masks, JoinedMasks):
            predicted, unscored = _read_maps(masks, annotator, frames, truth.shape, score)
        else:
            ids = [data[i].expression_id for i in indices]
            ids = [exp_id for exp_id in ids if annotator_and_number(exp_id)[0] == annotator]
            predicted, unscored = _join(masks, video, ids, frames, truth.shape)
        _match(truth, predicted, unscored, score)
    return scores


def _match(truth: np.ndarray, predicted: np.ndarray, unscored: Unscored, score: VideoScore) -> None:
    """Compare every predicted number with every object, and assign one to the other.

    truth      (T, H, W), numbers and VOID
    predicted  (T, H, W), numbers
    """
    objects = int(np.where(truth[0] == VOID, 0, truth[0]).max())
    numbers = max(int(predicted.max()), objects)
    j, f = np.zeros((2, numbers, objects, len(truth)))
    for t, labels in enumerate(truth):
        void = labels == VOID
        for k in range(objects):
            prepared = FrameTruth(labels == k + 1, void if void.any() else None)
            for n in range(numbers):
                if not unscored & {(n + 1, t), (0, t)}:
                    j[n, k, t], f[n, k, t] = prepared.scores(predicted[t] == n + 1)
    rows, columns = linear_sum_assignment(-(j.mean(axis=2) + f.mean(axis=2)) / 2)
    for row, column in zip(rows.tolist(), columns.tolist(), strict=True):
        score.region.append(statistics(j[row, column]))
        score.boundary.append(statistics(f[row, column]))
        score.matched.append((row + 1, column + 1))


def _read_maps(
    masks: JoinedMasks, annotator: int, frames: Sequence[str], shape: tuple[int, ...], score: VideoScore
) -> tuple[np.ndarray, Unscored]:
    """(T, H, W) uint8 of a method that joined the objects itself; faults go into `score`."""
    predicted, unscored = np.zeros(shape, np.uint8), set()
    faults: dict[tuple[str, str], list[str]] = {}
    for t, frame in enumerate(frames):
        try:
            predicted[t] = _map(masks, annotator, score.video, frame, shape[1:])
        except MaskError as error:
            unscored.add((0, t))
            faults.setdefault((error.fault, error.detail), []).append(frame)
    place = f"{annotator_folders()[annotator]}/{score.video}"
    for (fault, detail), listed in faults.items():
        # The tool's own words for a missing file.
        words = f"'{score.video} frame {listed[0]} not found!'" if fault == "missing frame" else "an error"
        official = f"the DAVIS tool stops the whole run with {words}"
        if fault == "missing frame" and len(listed) == len(frames):
            fault, listed = "missing video", []
        score.faults.append(Fault(fault, place, "", listed, detail, official))
    return predicted, unscored


def _map(masks: JoinedMasks, annotator: int, video: str, frame: str, size: tuple[int, ...]) -> np.ndarray:
    """(H, W) of one frame; MaskError where the DAVIS tool cannot go on."""
    labels = masks.labels(annotator, video, frame)
    if labels.shape != size:
        raise MaskError("wrong size", f"{size_text(labels.shape)}, expected {size_text(size)}")
    if labels.max() > MOST_OBJECTS:
        raise MaskError("too many objects", f"number {labels.max()}, up to {MOST_OBJECTS} are allowed")
    return labels


def _join(
    masks: Masks, video: str, ids: Sequence[str], frames: Sequence[str], shape: tuple[int, ...]
) -> tuple[np.ndarray, Unscored]:
    """(T, H, W) uint8 of masks for each expression: where two objects overlap the lower number wins."""
    predicted, unscored = np.zeros(shape, np.uint8), set()
    for exp_id in sorted(ids, key=int):
        _, number = annotator_and_number(exp_id)
        absent = masks.absence(video, exp_id) is not None
        for t, frame in enumerate(frames):
            try:
                mask = None if absent else masks.mask(video, exp_id, frame)
            except MaskError:  # named with the expressions
                mask = None
            if mask is None or mask.shape != shape[1:]:
                unscored.add((number, t))
            else:
                predicted[t][mask & (predicted[t] == 0)] = number
    return predicted, unscored


def _official(by_annotator: Sequence[Sequence[VideoScore]]) -> dict[str, Any]:
    """Each annotator's numbers, and their mean."""
    annotators = []
    for annotator, videos in enumerate(by_annotator):
        objects = {"J": _of_objects(videos, "region"), "F": _of_objects(videos, "boundary")}
        overall = {
            f"{name}{label}": _mean(lists[key])
            for name, lists in objects.items()
            for key, label in STATISTICS.items()
        }
        record = {"annotator": annotator, "per_object_in_the_order_of_the_official_output": objects}
        record |= {"matched": {one.video: one.matched for one in videos}}
        record |= {"overall": overall | {"J&F": (overall["J"] + overall["F"]) / 2}}
        if stopped := [fault.official for one in videos for fault in one.faults]:
            record["stopped"] = stopped[0]
        annotators.append(record)
    names = annotators[0]["overall"]
    mean = {name: _mean([one["overall"][name] for one in annotators]) for name in names}
    return {"annotators": annotators, "overall": mean}


def _of_objects(videos: Sequence[VideoScore], measure: str) -> dict[str, Any]:
    """Mean, recall and decay of all objects of all videos, and the mean by the DAVIS tool's names."""
    numbers = {f"{one.video}_{n}": row for one in videos for n, row in enumerate(getattr(one, measure), 1)}
    lists: dict[str, Any] = {key: [row[key] for row in numbers.values()] for key in STATISTICS}
    return lists | {"mean_by_name": {name: row["mean"] for name, row in numbers.items()}}


def _per_expression(scores: Sequence[ExpressionScore], as_official: bool) -> dict[str, Any]:
    """The averages and rows of the other convention."""
    own = [[one for one in scores if annotator_and_number(one.exp_id)[0] == a] for a in ANNOTATORS]
    return {
        "overall": expressions.over_expressions(scores, as_official)["overall"],
        "overall_by_annotator": [expressions.over_expressions(some, as_official)["overall"] for some in own],
        "as_mevis_script": expressions.as_script(scores),
        "rows": [one.record() | {"annotator": annotator_and_number(one.exp_id)[0]} for one in scores],
    }


def _faults(scores: Sequence[ExpressionScore], videos: Sequence[VideoScore], is_joined: bool) -> list[Fault]:
    """Every fault once: those of maps stand for those of their objects."""
    of_videos = [fault for one in videos for fault in one.faults]
    of_expressions = expressions.faults_of(scores)
    if is_joined:
        return [fault for fault in of_expressions if fault.fault == expressions.NO_TRUTH] + of_videos
    for fault in of_expressions:
        if fault.official:
            fault.official = f"official: no map can be joined; per expression: {fault.official}"
    return of_videos + of_expressions


def _mean(values: Sequence[float]) -> float:
    return float(np.mean(values)) if values else float("nan")
