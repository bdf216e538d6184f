"""A2D-Sentences and J-HMDB-Sentences: a mask for every sample, a sentence in one annotated frame.

Nobody defined a layout for them. Here it is, frames numbered from 1 with five digits, as the data sets do:

    a2d      <video>/<instance>/<frame>.png      such as 0Hb8G2Bj9TQ/1/00015.png
    jhmdb    <video>/<frame>.png
    scores.csv (optional, beside the videos): file,score    confidence of each mask, which ranks them for mAP

The second sentence about an instance, if there is one, has its masks in <instance>-2, the third in -3.
"""

from __future__ import annotations

import csv
import io
import math
import warnings
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING, Any

from mmvs.data.csv_files import DataError
from mmvs.scoring.parallel import in_parallel
from mmvs.scoring.report import Fault, Report, size_text
from mmvs.scoring.request import Request
from mmvs.scoring.submission import MaskError, Submission

if TYPE_CHECKING:
    from mmvs.data.annotated_videos import AnnotatedVideos

CONFIDENCES = "scores.csv"
CONVENTION = "over all samples; a mask that is missing counts as an empty one"
OFFICIAL = "there is no official code"
NO_TRUTH = "no truth"


@dataclass
class SampleScore:
    """The areas that a sample's mask has in common with the truth."""

    index: int
    file: str
    intersection: int = 0
    predicted: int = 0
    true: int = 0
    fault: Fault | None = None

    @property
    def has_truth(self) -> bool:
        """Could its truth be read?"""
        return self.fault is None or self.fault.fault != NO_TRUTH

    @property
    def iou(self) -> float:
        """1 where both are empty."""
        union = self.predicted + self.true - self.intersection
        return self.intersection / union if union else 1.0


def files(samples: AnnotatedVideos, by_instance: bool) -> list[str]:
    """The name of each sample's mask below the top of a submission."""
    seen: Counter[tuple[str, int, int]] = Counter()
    names = []
    for sample in samples:
        key = sample.video_id, sample.instance_id, sample.frame
        seen[key] += 1
        again = f"-{seen[key]}" if seen[key] > 1 else ""
        folder = f"{sample.video_id}/{sample.instance_id}{again}" if by_instance else sample.video_id
        names.append(f"{folder}/{sample.frame + 1:05d}.png")
    return names


def score_samples(
    samples: AnnotatedVideos, submission: Submission, names: Sequence[str], indices: Sequence[int]
) -> list[SampleScore]:
    """Compare the masks of some samples with their truth."""
    return [_score_sample(samples, submission, i, names[i]) for i in indices]


def _score_sample(samples: AnnotatedVideos, submission: Submission, i: int, name: str) -> SampleScore:
    score, sample = SampleScore(i, name), samples[i]
    try:
        truth = samples.mask(i)
    except DataError as error:
        score.fault = Fault(NO_TRUTH, sample.video_id, detail=str(error), official=OFFICIAL)
        return score
    score.true = int(truth.sum())
    try:
        mask = submission.mask(name)
        if mask.shape != truth.shape:
            raise MaskError("wrong size", f"{size_text(mask.shape)}, expected {size_text(truth.shape)}")
    except MaskError as error:
        score.fault = Fault(error.fault, sample.video_id, "", [name], error.detail, OFFICIAL)
        return score
    score.intersection, score.predicted = int((mask & truth).sum()), int(mask.sum())
    return score


def read_confidences(submission: Submission, names: Sequence[str]) -> Mapping[str, float] | None:
    """File to confidence, from scores.csv; None where there is none; DataError where it is wrong."""
    try:
        text = submission.read(CONFIDENCES).decode("utf-8-sig")
    except MaskError:
        return None
    where = f"{submission.path}, {CONFIDENCES}"
    rows = csv.DictReader(io.StringIO(text))
    if not {"file", "score"} <= set(rows.fieldnames or ()):
        raise DataError(f"{where}: the first line should be file,score")
    confidences = {}
    for row in rows:
        try:
            confidences[row["file"]] = float(row["score"])
        except (TypeError, ValueError):
            raise DataError(f"{where}: '{row['score']}' of {row['file']} is no number") from None
        if not math.isfinite(confidences[row["file"]]):
            raise DataError(f"{where}: the score of {row['file']} is not finite")
    if lacking := [name for name in names if name not in confidences]:
        raise DataError(f"{where}: {len(lacking)} masks have no score, as {lacking[0]}: give all or none")
    return confidences


def report(request: Request, samples: AnnotatedVideos, submission: Submission, workers: int) -> Report:
    """Score a submission."""
    names = files(samples, by_instance=request.data_set == "a2d")
    confidences = read_confidences(submission, names)
    shared = samples, submission, names
    results = in_parallel(score_samples, shared, jobs(samples), workers, "sample", request.progress)
    scores = sorted(chain.from_iterable(results), key=lambda one: one.index)
    overall = _overall([one for one in scores if one.has_truth], confidences)
    rows = [_record(one, samples) for one in scores]
    details = {"overall": overall, "per_sample": rows, "samples_from": samples.samples_from}
    faults = [one.fault for one in scores if one.fault is not None]
    notes = [] if confidences else ["Without scores.csv all masks are equally sure in `map`."]
    return Report(request, CONVENTION, {"overall": overall}, details, rows, faults, notes)


def jobs(samples: AnnotatedVideos) -> list[list[int]]:
    """Positions of the samples of each video, whose truth often lies in one file."""
    by_video: dict[str, list[int]] = {}
    for i, sample in enumerate(samples):
        by_video.setdefault(sample.video_id, []).append(i)
    return list(by_video.values())


def _overall(scores: Sequence[SampleScore], confidences: Mapping[str, float] | None) -> dict[str, float]:
    """The scores of SegmentationMetrics; none where no sample has a truth."""
    from mmvs.metrics import SegmentationMetrics  # here: the processes start without torch

    metrics = SegmentationMetrics()
    for one in scores:
        confidence = 1.0 if confidences is None else confidences[one.file]
        metrics.append(one.index, one.intersection, one.predicted, one.true, confidence)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*called before the ``update`` method")  # rows are given
        return metrics.compute() if scores else {}


def _record(score: SampleScore, samples: AnnotatedVideos) -> dict[str, Any]:
    """Of the JSON file and the table."""
    sample = samples[score.index]
    record: dict[str, Any] = {"video": sample.video_id, "instance": sample.instance_id}
    record |= {"frame": sample.frame + 1, "sentence": sample.sentence, "file": score.file}
    iou = score.iou if score.has_truth else float("nan")
    return record | {"iou": iou, "faults": score.fault.text() if score.fault else ""}
