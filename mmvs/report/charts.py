"""Charts from tables and log files; none needs a model or a GPU.

Every function returns a matplotlib Figure, already closed for pyplot: a notebook shows it once, as the
last value of its cell. Pictures of clips are drawn in mmvs.report.pictures.
"""

from __future__ import annotations

from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.text import Text

from mmvs.config import LADDER, SYSTEMS
from mmvs.report.survey import frequent_words
from mmvs.report.tables import KINDS, half_width, kinds_first
from mmvs.video.colours import of_sentences

DPI = 110
_bright = sns.color_palette("colorblind")
COLOURS = {
    "all": (0.35, 0.35, 0.35),
    **dict(zip(KINDS, (_bright[i] for i in (0, 1, 2, 4, 5, 6, 8)), strict=True)),
}
RUNGS = dict(zip(LADDER, sns.color_palette("crest", len(LADDER)), strict=True))
INPUTS = dict(zip(SYSTEMS, (_bright[7], _bright[0], _bright[3], _bright[2]), strict=True))
sns.set_theme(style="whitegrid", rc={"figure.dpi": DPI, "axes.spines.top": False, "axes.spines.right": False})


def overview(samples: pd.DataFrame) -> Figure:
    """survey.samples as charts: lengths and words of sentences, sizes and speeds of objects."""
    figure, axes = plt.subplots(2, 2, figsize=(11, 8), width_ratios=[1.3, 1], layout="constrained")
    order = kinds_first(samples["kind"])
    palette = {kind: COLOURS.get(kind, COLOURS["all"]) for kind in order}
    by_kind = {"data": samples, "hue": "kind", "hue_order": order, "palette": palette}
    sns.histplot(**by_kind, x="words", discrete=True, multiple="stack", ax=axes[0, 0], alpha=1)
    _legend_above(axes[0, 0], 5)
    axes[0, 0].set(xlabel="words in a sentence", ylabel="samples")
    words = frequent_words(samples["sentence"], 22)
    sns.barplot(x=words.to_numpy(), y=words.index, ax=axes[0, 1], color=COLOURS["all"])
    axes[0, 1].tick_params(axis="y", labelsize=8)
    axes[0, 1].set(xlabel="occurrences", ylabel="", title="most frequent words")
    sns.histplot(100 * samples["size"], ax=axes[1, 0], color=COLOURS["all"], alpha=1, bins=30)
    axes[1, 0].set(xlabel="size of the object, % of the frame", ylabel="samples")
    if "speed" in samples:
        sns.boxplot(**by_kind, x="speed", y="kind", order=order, ax=axes[1, 1], fliersize=2, legend=False)
    axes[1, 1].set(
        xlabel="mean flow inside the mask, pixels per frame", ylabel="", title="motion of the objects"
    )
    whole = samples.attrs.get("of", len(samples))
    counted = f"{len(samples):,} of {whole:,}, evenly spread" if len(samples) < whole else f"all {whole:,}"
    figure.suptitle(f"samples counted here: {counted}", fontsize=10, x=0.01, ha="left")
    plt.close(figure)
    return without_formulas(figure)


def score(table: pd.DataFrame) -> Figure:
    """Score and size of every sentence's mask over time, as `mmvs segment` writes them, in its colour."""
    names = list(dict.fromkeys(table["sentence"]))
    palette = {
        name: tuple(c / 255 for c in rgb) for name, rgb in zip(names, of_sentences(len(names)), strict=True)
    }
    figure, axes = plt.subplots(2, 1, figsize=(9, 4.2), sharex=True, layout="constrained")
    for axis, column, label in zip(axes, ("score", "area"), ("score", "area, %"), strict=True):
        of_mask = table.assign(area=100 * table["area"])
        sns.lineplot(
            of_mask, x="time", y=column, hue="sentence", palette=palette, ax=axis, legend=axis is axes[0]
        )
        axis.set(xlabel="seconds", ylabel=label, ylim=(0, 1.02) if column == "score" else (0, None))
    _legend_above(axes[0], 1)
    plt.close(figure)
    return without_formulas(figure)


def flow_errors(quality: pd.DataFrame) -> Figure:
    """End-point errors (columns inside, outside; one row a clip) as distributions, in pixels."""
    figure, axis = plt.subplots(figsize=(7, 2.6))
    long = quality.melt(value_vars=["inside", "outside"], var_name="where", value_name="error")
    sns.boxplot(
        long, x="error", y="where", hue="where", palette=[COLOURS["motion"], COLOURS["all"]], fliersize=2
    )
    axis.set(xlabel="mean end-point error of a clip, pixels", ylabel="", title="Estimated against exact flow")
    axis.set_yticks([0, 1], ["inside objects", "background"])
    axis.set_xlim(left=0)
    return finish(figure)


def curves(log: pd.DataFrame) -> Figure:
    """Lightning's metrics.csv: the loss and its terms, IoU on held-out training clips, the learning rate."""
    figure, axes = plt.subplots(1, 3, figsize=(12, 3.6), gridspec_kw={"width_ratios": [1.3, 1.3, 1]})
    terms = [name for name in log if name.startswith("train/")]
    for name, colour in zip(terms, sns.color_palette("colorblind", len(terms)), strict=True):
        values = log[["step", name]].dropna()
        smooth = values[name].rolling(max(1, len(values) // 25), min_periods=1).mean()
        label = name.removeprefix("train/").replace("_", "-")
        axes[0].plot(values["step"], smooth, ".-", ms=3, color=colour, label=label)
    axes[0].set(xlabel="step", ylabel="loss, running mean", yscale="log", title="Training")
    axes[0].legend(fontsize=8, ncols=2, loc="upper right")
    for name, colour in (("val/mean_iou", COLOURS["appearance"]), ("val/overall_iou", COLOURS["motion"])):
        if name in log:
            values = log[["step", name]].dropna()
            label = name.removeprefix("val/").replace("_iou", " IoU")
            axes[1].plot(values["step"], values[name], marker="o", ms=3, color=colour, label=label)
    axes[1].set(xlabel="step", ylabel="IoU", ylim=(0, 1), title="Held-out training videos")
    axes[1].legend(fontsize=8)
    for name in (name for name in log if name.startswith("lr") and "no decay" not in name):
        values = log[["step", name]].dropna()
        axes[2].plot(values["step"], values[name] * 1000, ".-", ms=3, label=name.rsplit("/")[-1], alpha=0.8)
    axes[2].set(xlabel="step", ylabel="learning rate, 1/1000", title="Schedule")
    axes[2].legend(fontsize=8)
    return finish(figure)


def score_bars(scores: pd.DataFrame) -> Figure:
    """tables.scores as bars: a row of panels a data set, a bar a kind of sentences.

    Mean IoU on the left, with its interval where the table has one; on the right how often the network
    selected the right object, with a dash for chance.
    """
    panels = {"mean IoU": "mean IoU", "selection": "right object selected"}
    panels = {column: label for column, label in panels.items() if column in scores}
    names = list(dict.fromkeys(scores.index.get_level_values(0)))
    kinds = kinds_first(scores.index.get_level_values(1))
    figure, axes = plt.subplots(
        len(names),
        len(panels),
        figsize=(5.2 * len(panels) + 1.2, (0.27 * len(kinds) + 0.75) * len(names)),
        sharex=True,
        sharey=True,
        squeeze=False,
        layout="constrained",
    )
    for name, row in zip(names, axes, strict=True):
        own = scores.loc[name]
        places = [kinds.index(kind) for kind in own.index]
        colours = [COLOURS.get(kind, COLOURS["all"]) for kind in own.index]
        for axis, column in zip(row, panels, strict=True):
            axis.barh(places, own[column], height=0.8, color=colours)
            ends = own[column].to_numpy()
            if column == "mean IoU" and {"low", "high"} <= set(own):
                whiskers = [own[column] - own["low"], own["high"] - own[column]]
                axis.errorbar(own[column], places, xerr=whiskers, fmt="none", color="black", capsize=2, lw=1)
                ends = np.fmax(ends, own["high"])
            for place, end, value in zip(places, ends, own[column], strict=True):
                axis.text(end + 0.012, place, f"{value:.2f}", va="center", fontsize=9)
            axis.set(xlim=(0, 1.1), xticks=np.arange(0, 1.01, 0.25))
            axis.grid(axis="y", visible=False)
            axis.set_title(name, fontsize=10, loc="left")
        if {"selection", "chance"} <= set(scores):
            row[-1].scatter(own["chance"], places, marker="|", s=120, color="white", lw=3, zorder=3)
            row[-1].scatter(own["chance"], places, marker="|", s=120, color="black", label="chance", zorder=4)
    axes[0, 0].set_yticks(range(len(kinds)), kinds)
    axes[0, 0].set_ylim(len(kinds) - 0.4, -0.6)
    for axis, label in zip(axes[-1], panels.values(), strict=True):
        axis.set_xlabel(label)
    if axes[0, -1].get_legend_handles_labels()[0]:
        axes[0, -1].legend(fontsize=9, loc="lower right", bbox_to_anchor=(1, 1), frameon=False, borderpad=0)
    plt.close(figure)
    return without_formulas(figure)


def comparison_bars(table: pd.DataFrame, ylabel: str = "mean IoU") -> Figure:
    """tables.comparison as groups of bars: one group a kind of sentences, one bar a run."""
    figure, axis = plt.subplots(figsize=(max(6.0, 1.6 * len(table)), 3.8))
    long = table.reset_index().melt("sentences", var_name="run", value_name="value")
    colours = sns.color_palette("crest_r", table.shape[1])
    sns.barplot(long, x="sentences", y="value", hue="run", palette=list(colours), ax=axis)
    for bars in axis.containers:
        axis.bar_label(bars, fmt="%.2f", fontsize=8, padding=2)
    axis.set(xlabel="sentences", ylabel=ylabel, ylim=(0, 1.05))
    axis.set_xticks(range(len(table)), [kind.replace("-", "-\n") for kind in table.index])
    axis.legend(fontsize=9, frameon=False, loc="upper left", bbox_to_anchor=(1, 1))
    return finish(without_formulas(figure))


def ladder(cells: pd.DataFrame) -> Figure:
    """tables.ladder_cells of all sentences: a bar per rung, its 95 % interval, a dot per seed."""
    overall = cells[cells["kind"] == "all"]
    rungs = [rung for rung in LADDER if rung in set(overall["rung"])]
    figure, axis = plt.subplots(figsize=(1.5 * len(rungs) + 2, 4))
    _rung_bars(axis, overall, rungs, [RUNGS[rung] for rung in rungs])
    axis.set_xticks(range(len(rungs)), rungs)
    axis.set(ylabel="mean IoU, all sentences", xlabel="rung of the ladder")
    return finish(figure)


def ladder_kinds(cells: pd.DataFrame) -> Figure:
    """tables.ladder_cells by kind of sentences: a panel a kind, bars as in `ladder`, rungs by colour."""
    kinds = [kind for kind in kinds_first(cells["kind"]) if kind != "all"] or ["all"]  # some data have none
    rungs = [rung for rung in LADDER if rung in set(cells["rung"])]
    columns = min(4, len(kinds))
    lines = -(-len(kinds) // columns)
    figure, axes = plt.subplots(
        lines, columns, figsize=(2.6 * columns + 1.4, 2.8 * lines), sharey=True, squeeze=False
    )
    for axis, kind in zip(axes.flat, kinds, strict=False):
        _rung_bars(axis, cells[cells["kind"] == kind], rungs, [RUNGS[rung] for rung in rungs])
        axis.set(title=kind, xticks=[])
    for axis in axes.flat[len(kinds) :]:
        axis.set_axis_off()
    for axis in axes[:, 0]:
        axis.set_ylabel("mean IoU")
    swatches = [Patch(color=RUNGS[rung], label=rung) for rung in rungs]
    figure.legend(handles=swatches, fontsize=9, frameon=False, loc="center left", bbox_to_anchor=(1, 0.5))
    return finish(without_formulas(figure))


def system_curves(cells: pd.DataFrame, by: str, ylabel: str, floors: pd.DataFrame | None = None) -> Figure:
    """tables.system_cells over `steps` or `share`: a panel a kind, a line a system, a dot a seed.

    floors  what cheaper knowledge reaches (mmvs.shapes.oracles.selection), as dashed lines
    """
    kinds = kinds_first(cells["kind"])
    columns = min(4, len(kinds))
    lines = -(-len(kinds) // columns)
    figure, axes = plt.subplots(
        lines, columns, figsize=(2.9 * columns + 1.6, 2.7 * lines), sharey=True, sharex=True, squeeze=False
    )
    ticks = sorted(cells[by].unique())
    systems = [system for system in INPUTS if system in set(cells["system"])]
    for axis, kind in zip(axes.flat, kinds, strict=False):
        for system in systems:
            own, colour = cells[(cells["kind"] == kind) & (cells["system"] == system)], INPUTS[system]
            means = own.groupby(by)["value"].mean()
            axis.plot(means.index, means, "o-", ms=4, color=colour, label=system)
            axis.scatter(own[by], own["value"], s=9, color=colour, alpha=0.6)
        if floors is not None and kind in floors.index:
            for style, name in zip((":", "--", "-."), floors, strict=False):
                axis.axhline(floors.loc[kind, name], ls=style, lw=1.2, color="black", label=name)
        axis.set(title=kind, ylim=(0, 1.03), xscale="log", xlim=(ticks[0] / 1.3, ticks[-1] * 1.3))
        axis.set_xticks(ticks, [f"{tick:,g}" for tick in ticks])
        axis.minorticks_off()
    for axis in axes.flat[len(kinds) :]:
        axis.set_axis_off()
    labels = {"steps": "steps of training", "share": "share of the training videos"}
    figure.supxlabel(labels[by], fontsize=11)
    figure.supylabel(ylabel, fontsize=11)
    handles, names = axes.flat[0].get_legend_handles_labels()
    figure.legend(handles, names, fontsize=9, frameon=False, loc="center left", bbox_to_anchor=(1, 0.5))
    return finish(without_formulas(figure))


def _rung_bars(axis: Axes, cells: pd.DataFrame, rungs: list[str], colours: list[Any]) -> None:
    for place, (rung, colour) in enumerate(zip(rungs, colours, strict=True)):
        values = cells.loc[cells["rung"] == rung, "value"]
        if values.empty:
            continue
        mean, top = values.mean(), values.max()
        axis.bar(place, mean, color=colour, width=0.75)
        axis.scatter([place] * len(values), values, s=10, color="black", zorder=3, alpha=0.6)
        if len(values) > 1:  # of one seed there is no interval, not one of no width
            half = half_width(values)
            low, top = max(0, mean - half), min(1, mean + half)  # no score lies beyond
            axis.errorbar(place, mean, [[mean - low], [top - mean]], color="black", capsize=4, lw=1.2)
        axis.text(place, max(top, values.max()) + 0.015, f"{mean:.2f}", ha="center", fontsize=8.5)
    axis.set(ylim=(0, 1.1), yticks=np.linspace(0, 1, 6))
    axis.grid(axis="x", visible=False)


def _legend_above(axis: Axes, columns: int) -> None:
    """Move a legend above its chart; matplotlib draws none where all names begin with an underscore."""
    if axis.get_legend():
        sns.move_legend(axis, "lower left", bbox_to_anchor=(0, 1), ncols=columns, title=None, frameon=False)


def without_formulas(figure: Figure) -> Figure:
    """Let every text of a figure stand as it is: a "$" of the data's is no formula."""
    for text in figure.findobj(Text):
        text.set_parse_math(False)
    return figure


def finish(figure: Figure, **pads: float) -> Figure:
    """Lay a figure out and close it for pyplot; pads as of tight_layout."""
    figure.tight_layout(**pads)
    plt.close(figure)
    return figure
