"""Paint masks over their video, one colour a sentence, with a legend above the picture."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np

from mmvs.files import remove_partial, whole
from mmvs.segmenter.legend import draw_legend
from mmvs.video.colours import of_sentences

ALPHA = 0.5
LARGEST, SMALLEST = 1920, 320  # pixels: 8k shrinks, 64 x 64 grows, and the legend stays readable
CLOCK = Fraction(1, 90_000)  # seconds a tick: of MPEG, fine enough for any frame rate


class Overlay:
    """Draws the frames of one video; every picture has the same even size."""

    def __init__(
        self,
        size: tuple[int, int],
        sentences: Sequence[str],
        pixel_aspect: float = 1.0,
        listed_in: str = "",
    ):
        """Prepare the legend.

        size          (H, W) of the video, in its own pixels, as its masks are
        sentences     N of them
        pixel_aspect  width of such a pixel by its height, as `VideoSource.pixel_aspect`; those of the overlay
                      are square
        listed_in     the file that has the sentences, for those that no font can show
        """
        height, width = size[0] * max(1.0, 1 / pixel_aspect), size[1] * max(1.0, pixel_aspect)
        longest = max(height, width)
        if longest > LARGEST:
            scale = LARGEST / longest
        else:
            scale = max(1, min(math.ceil(SMALLEST / width), int(LARGEST / longest)))
        self.size = max(1, round(height * scale)), max(1, round(width * scale))
        self.colours = of_sentences(len(sentences))
        full_width = _even(max(self.size[1], SMALLEST))
        self.legend = draw_legend(sentences, self.colours, full_width, listed_in)

    def __call__(self, frame: np.ndarray, masks: np.ndarray) -> np.ndarray:
        """A frame (H, W, 3) uint8 and its masks (N, H, W) bool → a picture (H', W', 3) uint8."""
        height, width = self.size
        whole_steps = height % frame.shape[0] == width % frame.shape[1] == 0
        larger = cv2.INTER_NEAREST if whole_steps else cv2.INTER_LINEAR
        interpolation = cv2.INTER_AREA if height < frame.shape[0] else larger
        picture = cv2.resize(frame, (width, height), interpolation=interpolation)
        for mask, colour in zip(masks, self.colours, strict=True):  # one by one: overlaps mix their colours
            flat = cv2.resize(mask.view(np.uint8), (width, height), interpolation=cv2.INTER_NEAREST)
            _paint(picture, flat, colour)
        top, full_width = self.legend.shape[:2]  # above: a player's controls cover what is at the bottom
        canvas = np.zeros((top + _even(height), full_width, 3), np.uint8)
        canvas[:top] = self.legend
        left = (full_width - width) // 2
        canvas[top : top + height, left : left + width] = picture
        return canvas


def write_overlay(path: Path, pictures: Iterable[tuple[float, np.ndarray]]) -> None:
    """Write an H.264 video of (seconds, picture), as overlay_file does."""
    with overlay_file(path) as add:
        for seconds, picture in pictures:
            add(seconds, picture)


@contextmanager
def overlay_file(path: Path) -> Iterator[Callable[[float, np.ndarray], None]]:
    """Write an H.264 video (MP4); it appears whole at the end of the block, or not at all.

    Gives a function that adds a picture: its seconds, and (H, W, 3) uint8 RGB, H and W even. Every picture
    keeps its own time, so that a video of varying frame rate gives one.
    """
    remove_partial(path.parent, path.name)  # of a job that was killed
    start = {"movflags": "faststart"}  # a browser plays it while it loads
    with (
        whole(path) as file,
        # The protocol, as FFmpeg would take what stands before a colon in a name for one.
        av.open(f"file:{file}", "w", format="mp4", container_options=start) as container,
    ):
        # Without the last, x264's fastest code gives other bytes from call to call.
        options = {"crf": "20", "preset": "veryfast", "x264-params": "cpu-independent=1"}
        stream = container.add_stream("libx264", options=options)
        stream.pix_fmt, stream.codec_context.time_base = "yuv420p", CLOCK

        def add(seconds: float, picture: np.ndarray) -> None:
            """Append a picture (H, W, 3) uint8 RGB, shown from `seconds` on; the first decides the size."""
            if not stream.codec_context.is_open:
                stream.height, stream.width = picture.shape[:2]
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame.pts, frame.time_base = round(seconds / CLOCK), CLOCK
            container.mux(stream.encode(frame))

        yield add
        container.mux(stream.encode(None))


def _paint(picture: np.ndarray, mask: np.ndarray, colour: tuple[int, int, int]) -> None:
    """Blend a colour into a picture (H, W, 3) where a mask (H, W) uint8 is, and draw its edge; in place."""
    left, top, width, height = cv2.boundingRect(mask)  # all the work is inside: most masks are small
    if not width:
        return
    box = slice(top, top + height), slice(left, left + width)
    blend = cv2.addWeighted(picture[box], 1 - ALPHA, np.full((height, width, 3), colour, np.uint8), ALPHA, 0)
    cv2.copyTo(blend, mask[box], picture[box])
    edges, _ = cv2.findContours(mask[box], cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE, offset=(left, top))
    cv2.drawContours(picture, edges, -1, colour, max(1, picture.shape[1] // 600))


def _even(pixels: int) -> int:
    """H.264's 4:2:0 wants even sides."""
    return pixels + pixels % 2
