"""Precision@K, overall and mean IoU, mAP, and the share of samples that choose the right object.

All metrics stream: a sample leaves a few numbers in a table, and no mask. They build on torchmetrics.Metric,
so that `compute` gathers the tables of all processes of a distributed run. Masks and probabilities have the
original resolution of their frame, which may differ from sample to sample.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import torch
from faster_coco_eval import COCO, COCOeval_faster
from torchmetrics import Metric
from torchmetrics.utilities import dim_zero_cat

from mmvs.metrics.masks import Array, as_mask, foreground_score, same_shape
from mmvs.processes import gathered

SMOOTHING = 1e-6  # of a sample's IoU: an empty prediction on an empty ground truth counts 1


class SampleTable(Metric):
    """A metric whose state is one row of numbers per sample; `rows` says why a row has a position.

    The numbers are exact counts in float64, kept as the int64 of the same bits: Apple's GPUs have no float64.
    """

    full_state_update = False
    higher_is_better = True
    columns = 0  # of a row, the position not counted

    def __init__(self) -> None:
        super().__init__()
        self.set_dtype(torch.int64)  # also what a process without samples sends
        self.add_state("table", default=[], dist_reduce_fx="cat")

    def append(self, position: int | None, *values: float) -> None:
        """Add one sample's row, flat: torchmetrics can then gather a process without samples too."""
        row = np.array([-1 if position is None else position, *values], np.float64)
        self.table.append(torch.from_numpy(row.view(np.int64)).to(self.device))

    def rows(self) -> np.ndarray:
        """(samples, columns) float64; ValueError where there is no sample at all.

        Samples with a position stand in the order of the data set, and count once: distributed samplers deal
        samples out in turn, and repeat some to give each process as many.
        """
        table = dim_zero_cat(self.table).cpu().numpy().view(np.float64) if len(self.table) else np.empty(0)
        if not table.size:
            raise ValueError(f"{type(self).__name__}: no samples; call update for each sample before compute")
        table = table.reshape(-1, 1 + self.columns)
        table = table[table[:, 0].argsort(kind="stable")]
        position = table[:, 0]
        repeated = (np.diff(position, prepend=-1) == 0) & (position >= 0)
        return table[~repeated, 1:]


class SegmentationMetrics(SampleTable):
    """The field's scores of binary masks, each sample one predicted mask against one ground truth.

    `compute` returns, over all samples, with I = |P and G| and U = |P or G| of a sample:

    mean_iou        mean of (I + 1e-6) / (U + 1e-6)
    overall_iou     sum of I / sum of U; 1 where every U is 0
    precision@K     share with IoU > K, K = 0.5 ... 0.9: MTTR's and ReferFormer's convention
    map             COCO mAP 0.50:0.05:0.95, every sample an image of its own: the column of MTTR, SOC
    mean_precision  mean over K = 0.50:0.05:0.95 of the share with IoU >= K: what Zhao et al. and their
                    predecessors print as mAP; never to be put in one column with `map`
    samples         their number

    Ties with K are judged on I / U in whole numbers: 1e-6 would lift every exact tie above K and turn
    `>` into `>=`, and it decides nothing else, since a ratio that is no tie is at least 0.01 / U away.
    """

    columns = 4  # I, |P|, |G|, score

    def update(
        self, prediction: Array, target: Array, score: float | None = None, position: int | None = None
    ) -> None:
        """Add one sample.

        prediction  (H, W) bool
        target      (H, W) bool, ground truth
        score       ranks the predictions for `map`: `foreground_score`; None counts as 1. Equal scores
                    rank in the order of the samples, as in COCOeval
        position    of the sample in the data set, from 0; see `rows`. Give it in distributed runs

        TypeError: masks that are not bool. ValueError: shapes that differ, a score that is not finite.
        """
        prediction, target = as_mask("prediction", prediction), as_mask("target", target)
        same_shape("prediction", prediction, "target", target)
        score = 1.0 if score is None else float(score)
        if not math.isfinite(score):
            raise ValueError(f"score is {score}; expected a finite number, see foreground_score")
        areas = (np.count_nonzero(mask) for mask in (prediction & target, prediction, target))
        self.append(position, *areas, score)

    def compute(self) -> dict[str, float]:
        """The scores; ValueError without samples."""
        rows = self.rows()
        intersection, predicted, true, _ = rows.T
        union = predicted + true - intersection
        both_empty = union == 0
        numerator, denominator = np.where(both_empty, 1, intersection), np.where(both_empty, 1, union)
        scores = {
            "mean_iou": np.mean((intersection + SMOOTHING) / (union + SMOOTHING)),
            "overall_iou": 1.0 if both_empty.all() else intersection.sum() / union.sum(),
        }
        for percent in range(50, 100, 10):
            scores[f"precision@{percent / 100}"] = np.mean(100 * numerator > percent * denominator)
        reached = [np.mean(100 * numerator >= percent * denominator) for percent in range(50, 100, 5)]
        scores |= {"map": _coco_map(rows), "mean_precision": np.mean(reached)}
        return {name: float(value) for name, value in scores.items()} | {"samples": len(rows)}


class SelectionAccuracy(SampleTable):
    """The share of samples whose object has the highest mean probability of all objects in the frame.

    Objects that tie for the highest share the sample, so that a constant probability scores chance.
    """

    columns = 2  # credit, number of objects

    def update(
        self, probability: Array, masks: Mapping[int, Array], instance_id: int, position: int | None = None
    ) -> None:
        """Add one sample; one with a single object counts as well (its chance is 1).

        probability  (H, W) in [0, 1]
        masks        instance id → (H, W) bool, the objects to choose from; a hidden one scores 0. Without
                     any the sample does not count: its sentence is about nothing in the frame
        instance_id  the right one
        position     of the sample in the data set, from 0; see `rows`

        ValueError: instance_id not among masks, or what `foreground_score` refuses.
        """
        if not masks:
            self.append(position, 0, 0)
            return
        if instance_id not in masks:
            raise ValueError(f"instance {instance_id} has no mask; the frame's instances are {sorted(masks)}")
        means = {instance: foreground_score(probability, mask) for instance, mask in masks.items()}
        best = max(means.values())
        tied = [instance for instance, mean in means.items() if math.isclose(mean, best)]
        self.append(position, (instance_id in tied) / len(tied), len(masks))

    def compute(self) -> dict[str, float]:
        """`selection_accuracy`, and `selection_chance`: mean of 1 / objects; neither where no sample counts.

        ValueError without samples.
        """
        rows = self.rows()
        credit, objects = rows[rows[:, 1] > 0].T
        if not len(objects):
            return {}
        return {"selection_accuracy": float(credit.mean()), "selection_chance": float(np.mean(1 / objects))}


class ScoresByKind:
    """SegmentationMetrics and SelectionAccuracy over all samples, and over each kind of sentence."""

    def __init__(self) -> None:
        self._groups: dict[str, tuple[SegmentationMetrics, SelectionAccuracy]] = {}

    def update(
        self,
        kind: str | None,
        prediction: Array,
        target: Array,
        score: float | None,
        probability: Array,
        masks: Mapping[int, Array],
        instance_id: int,
        position: int | None = None,
    ) -> None:
        """Add one sample to "all" and to its kind (None: only to "all"); score None: `foreground_score`.

        A sample of kind "temporal-order" counts under "temporal" as well.

        The other arguments are those of SegmentationMetrics.update and SelectionAccuracy.update.
        """
        if kind == "all":
            raise ValueError("a kind of sentence cannot be called 'all': that is the name of their union")
        if score is None:
            score = foreground_score(probability, prediction)
        for name in dict.fromkeys(["all"] if kind is None else ["all", kind.partition("-")[0], kind]):
            segmentation, selection = self._group(name)
            segmentation.update(prediction, target, score, position)
            selection.update(probability, masks, instance_id, position)

    def compute(self) -> dict[str, dict[str, float]]:
        """{"all": scores, kind: scores, ...} with the kinds that occurred; ValueError without samples."""
        # All processes gather each metric below together: they must go through the same kinds.
        names = {"all", *gathered(list(self._groups))}
        groups = {name: self._group(name) for name in ("all", *sorted(names - {"all"}))}
        return {name: first.compute() | second.compute() for name, (first, second) in groups.items()}

    def _group(self, name: str) -> tuple[SegmentationMetrics, SelectionAccuracy]:
        if name not in self._groups:
            self._groups[name] = SegmentationMetrics(), SelectionAccuracy()
        return self._groups[name]


def _coco_map(rows: np.ndarray) -> float:
    """COCO mAP 0.50:0.05:0.95 (area 'all', 100 detections) of (samples, 4) rows: I, |P|, |G|, score.

    COCOeval uses nothing of a mask but its IoU. It gets boxes of height 1 that overlap as the masks do: G
    from 0 to |G|, P from |G| - I to |G| - I + |P|. Its IoU has no smoothing: nothing matches an empty mask,
    so that even an empty prediction on an empty ground truth counts as a miss.
    """
    images = range(1, len(rows) + 1)  # also annotation ids, and 0 would mean "unmatched"
    objects, detections = [], []
    for image, (intersection, predicted, true, score) in zip(images, rows.tolist(), strict=True):
        record = {"image_id": image, "category_id": 1}
        objects.append(record | {"id": image, "bbox": [0, 0, true, 1], "area": true, "iscrowd": 0})
        detections.append(record | {"bbox": [true - intersection, 0, predicted, 1], "score": score})
    truth = COCO()
    truth.dataset = {
        "images": [{"id": image} for image in images],
        "categories": [{"id": 1}],
        "annotations": objects,
    }
    truth.createIndex()
    evaluation = COCOeval_faster(truth, truth.loadRes(detections), iouType="bbox")
    evaluation.params.areaRng, evaluation.params.areaRngLbl = evaluation.params.areaRng[:1], ["all"]
    evaluation.params.maxDets = [100]
    evaluation.evaluate()
    evaluation.accumulate()
    return float(evaluation.eval["precision"].mean())
