"""Scores in the layout of the field's tables: our own, and those that others published, never mixed.

Figures are per cent, as in those tables. Two measures are called mAP there: COCO's (MTTR and later work), and
the mean of precision over ten thresholds (Gavrilyuk et al. to Zhao et al.); each has its column here, see
mmvs.metrics. A figure stands here only if we read it at its source; the others stay empty.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pandas as pd

from mmvs.report.tables import without_control
from mmvs.run_folder import Result

MEASURES = {
    **{f"precision@{k / 10}": f"P@{k / 10}" for k in range(5, 10)},
    "overall_iou": "overall IoU",
    "mean_iou": "mean IoU",
    "map": "mAP (COCO)",
    "mean_precision": "mean precision",
}
NAMES = {"a2d-test": "A2D-Sentences", "jhmdb": "J-HMDB-Sentences"}

# Hui et al. print the mean of precision as AP, as all before MTTR; read at a list of results.
HUI = "https://vercel.hyper.ai/en/papers/2105.06818"
MTTR = "https://github.com/mttr2021/MTTR/blob/main/README.md"
MTTR_LIST = "https://paperswithcode.com/paper/end-to-end-referring-video-object"
REFERFORMER_A2D = "https://github.com/wjn922/ReferFormer/blob/main/docs/A2D-Sentences.md"
REFERFORMER_JHMDB = "https://github.com/wjn922/ReferFormer/blob/main/docs/JHMDB-Sentences.md"
# Its mAP only: the headings of its two columns of IoU seem to be exchanged.
SGMG = "https://github.com/bo-miao/SgMg/blob/main/README.md"


class Citation(NamedTuple):
    """One line of somebody's table."""

    data_set: str
    method: str
    source: str
    scores: dict[str, float]  # MEASURES' keys, per cent


def _cite(data_set: str, method: str, source: str, precisions: tuple[float, ...] = (), **scores: float):
    """precisions: at 0.5, 0.6, ...; scores: overall_iou, mean_iou and one of the two that are called mAP."""
    at = {f"precision@{(5 + k) / 10}": value for k, value in enumerate(precisions)}
    return Citation(data_set, method, source, at | scores)


SMALL, LARGE = "ReferFormer (Video-Swin-T, A2D alone)", "ReferFormer (Video-Swin-B)"
CITATIONS = [
    _cite("a2d-test", "Hui et al. 2021", HUI, (65.4, 58.9, 49.7, 33.3, 9.1),
          overall_iou=66.2, mean_iou=56.1, mean_precision=39.9),
    _cite("a2d-test", "MTTR (window 10)", MTTR_LIST, (75.4, 71.2, 63.8, 48.5, 16.9),
          overall_iou=72.0, mean_iou=64.0, map=46.1),
    _cite("a2d-test", SMALL, REFERFORMER_A2D, overall_iou=72.3, mean_iou=64.1, map=48.6),
    _cite("a2d-test", LARGE, REFERFORMER_A2D, overall_iou=78.6, mean_iou=70.3, map=55.0),
    _cite("a2d-test", "SgMg (Video-Swin-T)", SGMG, map=56.1),
    _cite("a2d-test", "SgMg (Video-Swin-B)", SGMG, map=58.5),
    _cite("jhmdb", "Hui et al. 2021", HUI, (78.3, 63.9),
          overall_iou=59.8, mean_iou=60.4, mean_precision=33.5),
    _cite("jhmdb", "MTTR (window 10)", MTTR, map=39.2),
    _cite("jhmdb", SMALL, REFERFORMER_JHMDB, overall_iou=70.0, mean_iou=69.3, map=39.1),
    _cite("jhmdb", LARGE, REFERFORMER_JHMDB, overall_iou=73.0, mean_iou=71.8, map=43.7),
    _cite("jhmdb", "SgMg (Video-Swin-T)", SGMG, map=44.4),
    _cite("jhmdb", "SgMg (Video-Swin-B)", SGMG, map=45.0),
]  # fmt: skip


def own_scores(result: Result) -> pd.DataFrame:
    """A result in the layout of the field's tables, per cent: a row a data set.

    Where a data set has several lists of samples, the last column names the one in use.
    """
    lists = result.provenance.samples_from
    rows = {
        NAMES.get(name, name): {
            **{label: 100 * kinds["all"].get(key, np.nan) for key, label in MEASURES.items()},
            "samples": str(kinds["all"].get("samples", "")),
            "list of samples": lists.get(without_control(name), ""),
        }
        for name, kinds in result.scores.items()
    }
    table = pd.DataFrame.from_dict(rows, orient="index").rename_axis("data set")
    return table if lists else table.drop(columns="list of samples")


def other_scores(result: Result) -> pd.DataFrame:
    """What others published on the data sets of a result, with the source; may be empty.

    Lists of sampled J-HMDB frames differ between papers: its scores are comparable only roughly.
    """
    rows = {
        (NAMES[line.data_set], line.method): {
            **{label: line.scores.get(key, np.nan) for key, label in MEASURES.items()},
            "source": line.source,
        }
        for line in CITATIONS
        if line.data_set in result.scores
    }
    table = pd.DataFrame(list(rows.values()), columns=[*MEASURES.values(), "source"])
    table.index = pd.MultiIndex.from_tuples(rows or [], names=["data set", "method"])
    return table


def blank_unknown(table: pd.DataFrame) -> pd.DataFrame:
    """A table for a notebook: one decimal, and an empty cell where a figure is unknown."""
    return table.round(1).astype(object).where(table.notna(), "")
