"""Scores: of samples (precision@K, IoU, mAP, the right object), and of videos (J, F).

J and F load neither torch nor torchmetrics, so that the processes of `mmvs score` start at once, and masks
load no torchmetrics, so that `mmvs.segmenter` does: the names of `segmentation` are looked up when somebody
asks for them.
"""

from typing import TYPE_CHECKING, Any

from mmvs.metrics.masks import binarise, foreground_score
from mmvs.metrics.region_boundary import (
    FrameTruth,
    ScoresOfExpressions,
    boundary_accuracy,
    region_similarity,
    statistics,
)

if TYPE_CHECKING:
    from mmvs.metrics.segmentation import (
        SampleTable,
        ScoresByKind,
        SegmentationMetrics,
        SelectionAccuracy,
    )

__all__ = [
    "FrameTruth",
    "SampleTable",
    "ScoresByKind",
    "ScoresOfExpressions",
    "SegmentationMetrics",
    "SelectionAccuracy",
    "binarise",
    "boundary_accuracy",
    "foreground_score",
    "region_similarity",
    "statistics",
]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
    from mmvs.metrics import segmentation

    return getattr(segmentation, name)
