"""Figures from tables, log files and schema.Example records; none needs a model or a GPU.

Every function returns a matplotlib Figure, already closed for pyplot: a notebook shows it once, as the
last value of its cell. Pictures of clips are enlarged without smoothing, so that pixels stay visible.
Sentences are set with parse_math=False: a "$" in one is no formula.
"""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from PIL import Image, ImageDraw
from torchvision.utils import draw_segmentation_masks, flow_to_image

from mmvs.config import LADDER
from mmvs.schema import Example
from mmvs.tables import KINDS, frequent_words, half_width, kinds_first

DPI = 110
_bright = sns.color_palette("colorblind")
COLOURS = {
    "all": (0.35, 0.35, 0.35),
    **dict(zip(KINDS, (_bright[0], _bright[1], _bright[2], _bright[4]), strict=True)),
}
RUNGS = dict(zip(LADDER, sns.color_palette("crest", len(LADDER)), strict=True))
MASK, TRUTH = (255, 200, 0), (0, 230, 255)  # colours of a predicted mask and of the ground truth
sns.set_theme(style="whitegrid", rc={"figure.dpi": DPI, "axes.spines.top": False, "axes.spines.right": False})


def colour_wheel(flow: np.ndarray, largest: float | None = None) -> np.ndarray:
    """Flow (..., 2, H, W) as colour-wheel RGB (..., H, W, 3) uint8 (Baker et al. 2007).

    largest  length in pixels of the most saturated colour; None: the longest vector of all given
    """
    fields = torch.as_tensor(np.array(flow, np.float32)).reshape(-1, 2, *flow.shape[-2:])
    longest = fields.norm(dim=1).amax()
    scale = longest.clamp(min=1e-6) if largest is None else torch.tensor(float(largest))
    fields = fields * (scale / fields.norm(dim=1, keepdim=True).clamp(min=1e-6)).clamp(max=1)
    key = torch.zeros(1, 2, *flow.shape[-2:])
    key[0, 0, 0, 0] = scale  # flow_to_image divides by the longest vector of its batch
    pictures = flow_to_image(torch.cat([fields, key]))[:-1].permute(0, 2, 3, 1)
    return pictures.numpy().reshape(*flow.shape[:-3], *flow.shape[-2:], 3)


def painted(
    frame: np.ndarray, mask: np.ndarray, colour: tuple[int, int, int] = MASK, alpha: float = 0.55
) -> np.ndarray:
    """A frame (H, W, 3) uint8 with mask (H, W) bool painted over it."""
    picture = torch.as_tensor(np.ascontiguousarray(frame)).permute(2, 0, 1)
    return draw_segmentation_masks(picture, torch.as_tensor(mask), alpha, colour).permute(1, 2, 0).numpy()


def overview(samples: pd.DataFrame) -> Figure:
    """What tables.samples measured: lengths and words of sentences, sizes and speeds of objects."""
    figure, axes = plt.subplots(2, 2, figsize=(11, 8), width_ratios=[1.3, 1], layout="constrained")
    order = kinds_first(samples["kind"])
    by_kind = {"data": samples, "hue": "kind", "hue_order": order, "palette": COLOURS}
    sns.histplot(**by_kind, x="words", discrete=True, multiple="stack", ax=axes[0, 0], alpha=1)
    sns.move_legend(axes[0, 0], "lower left", bbox_to_anchor=(0, 1), ncols=5, title=None, frameon=False)
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
    plt.close(figure)
    return figure


def film_strips(strips: Sequence[tuple[str, np.ndarray, dict[int, np.ndarray]]]) -> Figure:
    """Rows of frames: (heading, frames (T, H, W, 3), {position in the strip: mask (H, W)})."""
    count = max(len(frames) for _, frames, _ in strips)
    figure, axes = _grid(len(strips), count, strips[0][1].shape[1:3], width=1.5, above=0.3)
    for row, (heading, frames, masks) in zip(axes, strips, strict=True):
        for position, (axis, frame) in enumerate(zip(row, frames, strict=False)):
            if position in masks:
                _picture(axis, painted(frame, masks[position], TRUTH, 0.25))
                _outline(axis, masks[position])
            else:
                _picture(axis, frame)
        row[0].set_title(heading, loc="left", fontsize=10, pad=4, parse_math=False)
    return figure


def flow_strips(strips: Sequence[tuple[str, np.ndarray, np.ndarray]]) -> Figure:
    """Pairs of rows, frames above their flow, and the key: (heading, (T, H, W, 3), (T, 2, H, W))."""
    count = max(len(frames) for _, frames, _ in strips)
    figure, axes = _grid(2 * len(strips), count + 1, strips[0][1].shape[1:3], width=1.5, above=0.3)
    for n, (heading, frames, flow) in enumerate(strips):
        above, below = axes[2 * n : 2 * n + 2]
        for axis in below:  # close to the frames that it belongs to
            x, y, width, height = axis.get_position().bounds
            axis.set_position((x, y + 0.24 / figure.get_figheight(), width, height))
        largest = float(np.quantile(np.hypot(flow[:, 0], flow[:, 1]), 0.995))
        wheels = colour_wheel(flow, largest)
        for position, (frame, wheel) in enumerate(zip(frames, wheels, strict=True)):
            _picture(above[position], frame)
            _picture(below[position], wheel)
        above[0].set_title(heading, loc="left", fontsize=10, pad=4, parse_math=False)
        _wheel_key(below[-1], largest)
    return figure


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
    return _done(figure)


def curves(log: pd.DataFrame) -> Figure:
    """Lightning's metrics.csv: the loss and its terms, IoU on held-out training clips, the learning rate."""
    figure, axes = plt.subplots(1, 3, figsize=(12, 3.6), gridspec_kw={"width_ratios": [1.3, 1.3, 1]})
    terms = [name for name in log if name.startswith("train/")]
    for name, colour in zip(terms, sns.color_palette("colorblind", len(terms)), strict=True):
        values = log[["step", name]].dropna()
        smooth = values[name].rolling(max(1, len(values) // 25), min_periods=1).mean()
        axes[0].plot(
            values["step"], smooth, color=colour, label=name.removeprefix("train/").replace("_", "-")
        )
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
        axes[2].plot(values["step"], values[name] * 1000, label=name.rsplit("/")[-1], alpha=0.8)
    axes[2].set(xlabel="step", ylabel="learning rate, 1/1000", title="Schedule")
    axes[2].legend(fontsize=8)
    return _done(figure)


def score_bars(scores: pd.DataFrame) -> Figure:
    """tables.scores as bars per data set and kind: mean IoU above; below, how often the right object was
    selected, with a dash where chance would be.
    """
    panels = {"mean IoU": "mean IoU", "selection": "right object selected"}
    panels = {column: label for column, label in panels.items() if column in scores}
    shape = (max(6.0, 0.62 * len(scores) + 1.5), 2.6 * len(panels) + 0.4)
    figure, axes = plt.subplots(len(panels), 1, figsize=shape, sharex=True, squeeze=False)
    names = list(dict.fromkeys(scores.index.get_level_values(0)))
    kinds = kinds_first(scores.index.get_level_values(1))
    starts = {name: n * (len(kinds) + 1) for n, name in enumerate(names)}
    places = np.array([starts[name] + kinds.index(kind) for name, kind in scores.index])
    colours = [COLOURS.get(kind, COLOURS["all"]) for _, kind in scores.index]
    for axis, (column, label) in zip(axes[:, 0], panels.items(), strict=True):
        bars = axis.bar(places, scores[column], width=0.85, color=colours)
        axis.bar_label(bars, fmt="%.2f", fontsize=8, padding=2)
        axis.set(ylabel=label, ylim=(0, 1.08), yticks=np.arange(0, 1.01, 0.25))
        axis.grid(axis="x", visible=False)
    if {"selection", "chance"} <= set(scores):
        axes[-1, 0].scatter(places, scores["chance"], marker="_", s=190, color="white", lw=2.5, zorder=3)
        axes[-1, 0].scatter(
            places, scores["chance"], marker="_", s=190, color="black", label="chance", zorder=3
        )
        axes[-1, 0].legend(fontsize=9, loc="upper left", bbox_to_anchor=(1, 1), frameon=False)
    middles = [start + (len(kinds) - 1) / 2 for start in starts.values()]
    axes[-1, 0].set_xticks(middles, [name.replace("-", "\n", 1) for name in names])
    swatches = [Patch(color=COLOURS.get(kind, COLOURS["all"]), label=kind) for kind in kinds]
    axes[0, 0].legend(handles=swatches, fontsize=9, loc="upper left", bbox_to_anchor=(1, 1), frameon=False)
    return _done(figure)


def compared_bars(table: pd.DataFrame, ylabel: str = "mean IoU") -> Figure:
    """tables.compared as groups of bars: one group a kind of sentences, one bar a run."""
    figure, axis = plt.subplots(figsize=(max(6.0, 1.6 * len(table)), 3.8))
    long = table.reset_index().melt("sentences", var_name="run", value_name="value")
    colours = sns.color_palette("crest_r", table.shape[1])
    sns.barplot(long, x="sentences", y="value", hue="run", palette=list(colours), ax=axis)
    for bars in axis.containers:
        axis.bar_label(bars, fmt="%.2f", fontsize=8, padding=2)
    axis.set(xlabel="sentences", ylabel=ylabel, ylim=(0, 1.05))
    axis.legend(fontsize=9, frameon=False, loc="upper left", bbox_to_anchor=(1, 1))
    return _done(figure)


def ladder(cells: pd.DataFrame) -> Figure:
    """tables.ladder_cells of all sentences: a bar per rung, its 95 % interval, a dot per seed."""
    overall = cells[cells["kind"] == "all"]
    rungs = [rung for rung in LADDER if rung in set(overall["rung"])]
    figure, axis = plt.subplots(figsize=(1.5 * len(rungs) + 2, 4))
    _rung_bars(axis, overall, rungs, [RUNGS[rung] for rung in rungs])
    axis.set_xticks(range(len(rungs)), rungs)
    axis.set(ylabel="mean IoU, all sentences", xlabel="rung of the ladder", ylim=(0, 1))
    return _done(figure)


def ladder_kinds(cells: pd.DataFrame) -> Figure:
    """tables.ladder_cells by kind of sentences: one panel a kind, bars as in `ladder`."""
    kinds = [kind for kind in kinds_first(cells["kind"]) if kind != "all"] or ["all"]  # some data have none
    rungs = [rung for rung in LADDER if rung in set(cells["rung"])]
    figure, axes = plt.subplots(1, len(kinds), figsize=(2.9 * len(kinds), 3.8), sharey=True, squeeze=False)
    for axis, kind in zip(axes[0], kinds, strict=True):
        _rung_bars(axis, cells[cells["kind"] == kind], rungs, [RUNGS[rung] for rung in rungs])
        axis.set_xticks(range(len(rungs)), rungs, rotation=60, ha="right", fontsize=9)
        axis.set(title=kind, ylim=(0, 1))
    axes[0, 0].set_ylabel("mean IoU")
    return _done(figure)


def cases(examples: Sequence[Example], labels: Sequence[str]) -> Figure:
    """One row an example: frame with ground truth, flow, words' attention, coarse mask, mask."""
    titles = ["frame, ground truth", "flow", "most attended word", "coarse mask", "mask, ground truth"]
    figure, axes = _grid(len(examples), 5, examples[0].frame.shape[:2], width=1.85, above=0.55)
    for row, example, label in zip(axes, examples, labels, strict=True):
        _picture(row[0], example.frame)
        _picture(row[1], colour_wheel(example.flow))
        _picture(row[2], example.frame)
        for word in content_words(example)[:1]:
            _heat(row[2], example, word)
            row[2].set_title(f"“{example.words[word]}”", fontsize=9, pad=3, parse_math=False)
        row[3].imshow(example.coarse, cmap="magma", vmin=0, vmax=1, interpolation="nearest")
        _picture(row[4], painted(example.frame, example.mask))
        for place, width in ((0, 1.6), (2, 0.8), (3, 1.0), (4, 1.6)):
            _outline(row[place], example.truth, width)
        heading = f"{label}, IoU {example.iou:.2f}\n{_wrapped(example.sentence, 34)}"
        row[0].set_title(heading, loc="left", fontsize=9, pad=4, parse_math=False)
    for axis, title in zip(axes[-1], titles, strict=True):
        axis.text(0.5, -0.06, title, transform=axis.transAxes, ha="center", va="top", fontsize=9)
    return figure


def attention(example: Example, words: int = 4) -> Figure:
    """Where the most attended content words of a sentence are looked at, and every word's share as a bar."""
    best = content_words(example)[:words]
    shape, shares = (2 * words + 3.6, 2.6), [1] * words + [1.3]
    figure, axes = plt.subplots(1, words + 1, figsize=shape, width_ratios=shares)
    for axis in axes[:-1]:
        axis.set_axis_off()
    for axis, word in zip(axes, best, strict=False):
        _picture(axis, example.frame)
        _heat(axis, example, word)
        _outline(axis, example.truth, width=1.0)
        axis.set_title(example.words[word], fontsize=10, parse_math=False)
    inside = _word_shares(example)
    colours = [COLOURS["motion"] if word in best else "lightgrey" for word in range(len(example.words))]
    axes[-1].barh(range(len(inside)), inside * 100, color=colours)
    axes[-1].set_yticks(range(len(inside)), example.words, fontsize=8, parse_math=False)
    axes[-1].invert_yaxis()
    axes[-1].tick_params(axis="x", labelsize=8)
    axes[-1].grid(axis="y", visible=False)
    axes[-1].set_xlabel("attention inside the object, %", fontsize=9)
    figure.suptitle(example.sentence, fontsize=11, x=0.01, ha="left", parse_math=False)
    return _done(figure, w_pad=0.3)


def content_words(example: Example) -> list[int]:
    """Positions of the words that say something, most attended inside the object first."""
    empty = {"the", "a", "an", "that", "which", "is", "of", "and", "then", "one", "to", ".", ",", "it", "in"}
    shares = _word_shares(example)
    words = [
        i for i, word in enumerate(example.words) if word not in empty and not word.startswith(("[", "##"))
    ]
    return sorted(words, key=lambda i: -shares[i])


def animation(tracks: Sequence[tuple[str, np.ndarray, np.ndarray]], path: Path, scale: int = 3) -> Path:
    """A GIF of masks that follow their objects, one panel a sentence, played for ever.

    tracks  (sentence, frames (F, H, W, 3) uint8, probability (F, H, W)); it ends with the shortest of them
    """
    pictures = []
    for t in range(min(len(frames) for _, frames, _ in tracks)):
        panels = [
            _panel(text, frames[t], probability[t] > 0.5, scale) for text, frames, probability in tracks
        ]
        pictures.append(Image.fromarray(np.concatenate(panels, axis=1)))
    palette = pictures[0].quantize(40)  # one for all frames: colours must not flicker; few: a small file
    pictures = [picture.quantize(palette=palette, dither=Image.Dither.NONE) for picture in pictures]
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    pictures[0].save(path, save_all=True, append_images=pictures[1:], duration=160, loop=0, optimize=True)
    return path


def _panel(sentence: str, frame: np.ndarray, mask: np.ndarray, scale: int) -> np.ndarray:
    height, width = (side * scale for side in mask.shape)
    picture = Image.fromarray(painted(frame, mask)).resize((width, height), Image.Resampling.NEAREST)
    panel = Image.new("RGB", (width + 8, height + 34), "white")
    panel.paste(picture, (4, 34))
    words, lines = sentence.split(), [""]
    for word in words:
        fits = ImageDraw.Draw(panel).textlength(f"{lines[-1]} {word}") <= width
        lines[-1:] = [f"{lines[-1]} {word}".strip()] if fits else [lines[-1], word]
    ImageDraw.Draw(panel).multiline_text((4, 2), "\n".join(lines[:2]), fill="black", spacing=2)
    return np.asarray(panel)


def _picture(axis: Axes, picture: np.ndarray) -> None:
    axis.imshow(picture, interpolation="nearest")


def _wrapped(text: str, width: int) -> str:
    """At most two lines of `width` characters; an ellipsis where more is left out."""
    return textwrap.fill(text, width, max_lines=2, placeholder=" …")


def _outline(axis: Axes, mask: np.ndarray, width: float = 1.6) -> None:
    if mask.any() and not mask.all():
        axis.contour(mask, levels=[0.5], colors=[np.divide(TRUTH, 255)], linewidths=width)


def _heat(axis: Axes, example: Example, word: int) -> None:
    height, width = example.frame.shape[:2]
    axis.imshow(np.full((height, width), 0.0), cmap="gray", alpha=0.35, interpolation="nearest")
    axis.imshow(
        example.attention[word], cmap="inferno", alpha=0.65, extent=(-0.5, width - 0.5, height - 0.5, -0.5),
        interpolation="nearest",
    )  # fmt: skip


def _word_shares(example: Example) -> np.ndarray:
    """(L,) mean attention of the cells inside the object; of all cells where no cell is."""
    _, h, w = example.attention.shape
    height, width = example.truth.shape
    rows, columns = (np.arange(h) + 0.5) * height / h, (np.arange(w) + 0.5) * width / w
    inside = example.truth[rows.astype(int)[:, None], columns.astype(int)]
    return example.attention[:, inside if inside.any() else np.ones_like(inside)].mean(axis=1)


def _rung_bars(axis: Axes, cells: pd.DataFrame, rungs: list[str], colours: list[Any]) -> None:
    for place, (rung, colour) in enumerate(zip(rungs, colours, strict=True)):
        values = cells.loc[cells["rung"] == rung, "value"]
        if values.empty:
            continue
        half = half_width(values)
        axis.bar(place, values.mean(), color=colour, width=0.75)
        axis.scatter([place] * len(values), values, s=10, color="black", zorder=3, alpha=0.6)
        axis.errorbar(place, values.mean(), 0 if np.isnan(half) else half, color="black", capsize=4, lw=1.2)
        top = max(values.max(), values.mean() + (0 if np.isnan(half) else half))
        axis.text(place, top + 0.015, f"{values.mean():.2f}", ha="center", fontsize=8.5)
    axis.grid(axis="x", visible=False)


def _wheel_key(axis: Axes, largest: float) -> None:
    """The colour of every direction; the rim is `largest` pixels per frame."""
    side = 65
    v, u = np.mgrid[-1 : 1 : side * 1j, -1 : 1 : side * 1j]
    key = colour_wheel(np.stack([u, v]) * largest, largest)
    key[np.hypot(u, v) > 1] = 255
    _picture(axis, key)
    axis.set_title(f"rim: {largest:.1f} px/frame", fontsize=8)


def _grid(
    rows: int, columns: int, size: tuple[int, int], width: float, above: float
) -> tuple[Figure, np.ndarray]:
    """A figure of equal pictures without axes, for pictures of `size` (H, W) pixels.

    width, above  of a picture, and free for a heading above it, inches
    """
    height, gap = width * size[0] / size[1], 0.06
    total = (columns * (width + gap), rows * (height + above))
    figure, axes = plt.subplots(rows, columns, figsize=total, squeeze=False)
    for axis, place in zip(axes.flat, np.ndindex(rows, columns), strict=True):
        bottom, left = (rows - 1 - place[0]) * (height + above), place[1] * (width + gap)
        axis.set_position((left / total[0], bottom / total[1], width / total[0], height / total[1]))
        axis.set_axis_off()
    plt.close(figure)
    return figure, axes


def _done(figure: Figure, **pads: float) -> Figure:
    figure.tight_layout(**pads)
    plt.close(figure)
    return figure
