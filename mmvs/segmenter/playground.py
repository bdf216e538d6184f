"""Overlays that play inside a notebook, and a field to ask other sentences while looking at them."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Sequence
from importlib import import_module
from itertools import islice
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from IPython.display import Video, display

from mmvs.segmenter.overlay import Overlay, write_overlay
from mmvs.segmenter.segmenter import Answer, Segmenter
from mmvs.video.stream import open_video

WIDEST = 480  # pixels: the notebook and its page hold the video each
LONGEST = 300  # frames, from the first on
SHORTEST = 2.0  # seconds


def play(answers: list[Answer], sentences: list[str], pixel_aspect: float = 1.0) -> Video:
    """A video's overlay, from its answers; its `VideoSource.pixel_aspect`, where pixels are not square."""
    overlay = Overlay(answers[0].frame.shape[:2], sentences, pixel_aspect)
    return _embed((answer.time, overlay(answer.frame, answer.masks)) for answer in answers)


def play_file(path: Path) -> Video:
    """A small copy of an overlay that mmvs.segmenter.folder wrote."""
    return _embed(open_video(path))


def ask(segmenter: Segmenter, video: Any, sentences: str | Sequence[str]) -> Any:
    """A field for a sentence above the video's masks: change it, press Segment or Enter, and see them change.

    sentences  examples to choose from; the first is asked at once

    Returns a widget; without ipywidgets, a text that says how to get one.
    """
    try:
        ipywidgets = import_module("ipywidgets")  # no dependency: it comes with `make lab`
    except ImportError:
        return "To type sentences here, open this notebook with `make lab`."
    examples = [sentences] if isinstance(sentences, str) else list(sentences)
    wide = ipywidgets.Layout(width="40em")
    field = ipywidgets.Text(examples[0], continuous_update=False, layout=wide)
    tries = [ipywidgets.Button(description=one, tooltip=one, layout=wide) for one in examples]
    button = ipywidgets.Button(description="Segment", button_style="primary")
    output = ipywidgets.Output()

    def answer(_: Any = None) -> None:
        with output:
            output.clear_output(wait=True)
            try:
                if warning := segmenter.warning_of_words(field.value):
                    print(warning)
                source = open_video(video)
                answers = list(segmenter.segment(source, field.value))
                display(play(answers, [field.value], source.pixel_aspect))
            except ValueError as error:  # an empty sentence, or one too long
                print(error)

    def choose(chosen: Any) -> None:
        field.value = chosen.description

    for one in tries:
        one.on_click(choose)
    button.on_click(answer)
    field.observe(answer, "value")
    answer()
    return ipywidgets.VBox([ipywidgets.HBox([field, button]), *tries, output])


def _embed(pictures: Iterable[tuple[float, np.ndarray]]) -> Video:
    """(seconds, picture (H, W, 3) uint8) as a video inside the page; a very short one plays slower."""
    small = [(seconds, _shrink(picture)) for seconds, picture in islice(pictures, LONGEST)]
    slower = max(1.0, SHORTEST / max(small[-1][0], 0.04))
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "small.mp4"
        write_overlay(file, ((seconds * slower, picture) for seconds, picture in small))
        player = "controls loop autoplay muted playsinline"
        return Video(data=file.read_bytes(), embed=True, mimetype="video/mp4", html_attributes=player)


def _shrink(picture: np.ndarray) -> np.ndarray:
    height, width = picture.shape[:2]
    if width <= WIDEST:
        return picture
    size = (WIDEST, 2 * round(height * WIDEST / width / 2))
    return cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
