"""Charts of sentences, from the tables of mmvs.report.sentence_survey."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator

from mmvs.report.charts import COLOURS, without_formulas
from mmvs.report.motion_words import MOTION_VERBS
from mmvs.report.sentence_survey import Row, frequent_verbs, frequent_words, measure

MOVING, STILL = COLOURS["motion"], COLOURS["all"]


def language(texts: Mapping[str, Sequence[Row]]) -> Figure:
    """A row a data set: words in a sentence, sentences a video, frequent words, frequent verbs."""
    figure, axes = plt.subplots(
        len(texts), 4, figsize=(13, 4.2 * len(texts)), squeeze=False, layout="constrained"
    )
    for row, (name, rows) in zip(axes, texts.items(), strict=True):
        table = measure(rows)
        _histogram(row[0], table["words"].to_numpy(), "words in a sentence", f"{name}: sentences")
        _histogram(row[1], table.groupby("video_id").size().to_numpy(), "sentences about a video", "videos")
        _bars(row[2], frequent_words(rows), "occurrences", "frequent words")
        verbs = frequent_verbs(rows)
        _bars(row[3], verbs, "sentences", "frequent verbs")
        for bar, verb in zip(row[3].patches, verbs.index, strict=True):
            bar.set_facecolor(MOVING if verb in MOTION_VERBS else STILL)
    swatches = [Patch(color=MOVING, label="of motion"), Patch(color=STILL, label="other")]
    axes[0, 3].legend(handles=swatches, loc="lower right", fontsize=8)
    plt.close(figure)
    return without_formulas(figure)


def _histogram(axis: Axes, values: np.ndarray, xlabel: str, ylabel: str) -> None:
    numbers, heights = np.unique(values, return_counts=True)
    axis.bar(numbers, heights, width=0.9, color=STILL)
    axis.xaxis.set_major_locator(MaxNLocator(integer=True))
    axis.set_xlim(0.4, max(5, values.max()) + 0.6)
    axis.set(xlabel=xlabel, ylabel=ylabel)
    axis.grid(axis="x", visible=False)


def _bars(axis: Axes, counts, xlabel: str, title: str) -> None:
    sns.barplot(x=counts.to_numpy(), y=counts.index, ax=axis, color=STILL)
    axis.tick_params(axis="y", labelsize=8)
    axis.set(xlabel=xlabel, ylabel="", title=title)
