"""Pictures of clips: frames, flow, masks and attention, from arrays and schema.Example records.

They are enlarged without smoothing, so that pixels stay visible. As in `charts`, what comes back is a
closed matplotlib Figure. Sentences are set with parse_math=False: a "$" in one is no formula.
"""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke
from PIL import Image, ImageDraw, ImageFont
from torchvision.utils import draw_segmentation_masks, flow_to_image

from mmvs.data.words import EMPTY_WORDS
from mmvs.report.charts import COLOURS, finish
from mmvs.schema import Example

MASK = (255, 20, 147)  # of a predicted mask: no object of moving shapes is pink


def colour_wheel(flow: np.ndarray, largest: float | None = None) -> np.ndarray:
    """Flow (..., 2, H, W) as colour-wheel RGB (..., H, W, 3) uint8 (Baker et al. 2007).

    largest  length in pixels of the most saturated colour; None: that of the longest vector
    """
    fields = torch.as_tensor(np.array(flow, np.float32)).reshape(-1, 2, *flow.shape[-2:])
    longest = fields.norm(dim=1).amax()
    scale = longest.clamp(min=1e-6) if largest is None else torch.tensor(float(largest))
    fields = fields * (scale / fields.norm(dim=1, keepdim=True).clamp(min=1e-6)).clamp(max=1)
    key = torch.zeros(1, 2, *flow.shape[-2:])
    key[0, 0, 0, 0] = scale  # flow_to_image divides by the longest vector of its batch
    pictures = flow_to_image(torch.cat([fields, key]))[:-1].permute(0, 2, 3, 1)
    return pictures.numpy().reshape(*flow.shape[:-3], *flow.shape[-2:], 3)


def paint(
    frame: np.ndarray, mask: np.ndarray, colour: tuple[int, int, int] = MASK, alpha: float = 0.55
) -> np.ndarray:
    """A frame (H, W, 3) uint8 with mask (H, W) bool painted over it."""
    picture = torch.as_tensor(np.ascontiguousarray(frame)).permute(2, 0, 1)
    return draw_segmentation_masks(picture, torch.as_tensor(mask), alpha, colour).permute(1, 2, 0).numpy()


def film_strips(strips: Sequence[tuple[str, np.ndarray, dict[int, np.ndarray]]]) -> Figure:
    """Rows of frames: (heading, frames (T, H, W, 3), {position in the strip: mask (H, W)})."""
    count = max(len(frames) for _, frames, _ in strips)
    figure, axes = _grid(len(strips), count, strips[0][1].shape[1:3], width=1.5, above=0.3)
    for row, (heading, frames, masks) in zip(axes, strips, strict=True):
        for position, (axis, frame) in enumerate(zip(row, frames, strict=False)):
            if position in masks:
                _picture(axis, paint(frame, masks[position], (255, 255, 255), 0.2))
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
        _picture(row[4], paint(example.frame, example.mask))
        for place, width in ((0, 1.6), (2, 0.8), (3, 1.0), (4, 1.6)):
            _outline(row[place], example.truth, width)
        heading = f"{label}, IoU {example.iou:.2f}\n{_wrap(example.sentence, 34)}"
        row[0].set_title(heading, loc="left", fontsize=9, pad=4, parse_math=False)
    for axis, title in zip(axes[-1], titles, strict=True):
        axis.text(0.5, -0.06, title, transform=axis.transAxes, ha="center", va="top", fontsize=9)
    return figure


def attention(example: Example, words: int = 4) -> Figure:
    """Attention maps of a sentence's most attended content words, and every word's share as a bar."""
    best = content_words(example)[:words]
    shape = (2 * words + 3.6, max(2.6, 0.6 + 0.17 * len(example.words)))
    shares = [1] * words + [1.3]
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
    return finish(figure, w_pad=0.3)


def content_words(example: Example) -> list[int]:
    """Positions of content words, the most attended inside the object first."""
    shares = _word_shares(example)
    words = [
        i
        for i, word in enumerate(example.words)
        if word not in EMPTY_WORDS and not word.startswith(("[", "##", "<"))
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
    picture = Image.fromarray(paint(frame, mask)).resize((width, height), Image.Resampling.NEAREST)
    panel = Image.new("RGB", (width + 8, height + 34), "white")
    panel.paste(picture, (4, 34))
    pen, font, lines = ImageDraw.Draw(panel), ImageFont.load_default(12), [""]
    for word in sentence.split():
        fits = pen.textlength(f"{lines[-1]} {word}", font) <= width
        lines[-1:] = [f"{lines[-1]} {word}".strip()] if fits else [lines[-1], word]
    pen.multiline_text((4, 0), "\n".join(lines[:2]), fill="black", font=font, spacing=2)
    return np.asarray(panel)


def _wrap(text: str, width: int) -> str:
    """At most two lines of `width` characters; an ellipsis where more is left out."""
    return textwrap.fill(text, width, max_lines=2, placeholder=" …")


def _picture(axis: Axes, picture: np.ndarray) -> None:
    axis.imshow(picture, interpolation="nearest")


def _outline(axis: Axes, mask: np.ndarray, width: float = 1.6) -> None:
    if mask.any() and not mask.all():
        line = axis.contour(mask, levels=[0.5], colors="white", linewidths=width)
        line.set(path_effects=[withStroke(linewidth=width + 1.6, foreground="black")])  # on any ground


def _heat(axis: Axes, example: Example, word: int) -> None:
    height, width = example.frame.shape[:2]
    axis.imshow(np.full((height, width), 0.0), cmap="gray", alpha=0.35, interpolation="nearest")
    extent = (-0.5, width - 0.5, height - 0.5, -0.5)
    axis.imshow(example.attention[word], cmap="inferno", alpha=0.65, extent=extent, interpolation="nearest")


def _word_shares(example: Example) -> np.ndarray:
    """(L,) mean attention of the cells inside the object; of all cells where no cell is."""
    _, h, w = example.attention.shape
    height, width = example.truth.shape
    rows, columns = (np.arange(h) + 0.5) * height / h, (np.arange(w) + 0.5) * width / w
    inside = example.truth[rows.astype(int)[:, None], columns.astype(int)]
    return example.attention[:, inside if inside.any() else np.ones_like(inside)].mean(axis=1)


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
