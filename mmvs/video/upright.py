"""Frames as upright RGB pictures of one size, as their display matrices say."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import av
import numpy as np
from av.video.reformatter import VideoReformatter


class Turn(NamedTuple):
    """What brings a coded picture upright: first the mirror, then the turns."""

    mirrored: bool = False  # left and right change places
    quarters: int = 0  # of a turn, counterclockwise: 0 to 3

    def __call__(self, picture: np.ndarray) -> np.ndarray:
        """(H, W, ...) coded → upright."""
        return np.rot90(picture[:, ::-1] if self.mirrored else picture, self.quarters)

    @property
    def on_its_side(self) -> bool:
        """Do height and width change places?"""
        return self.quarters % 2 == 1


class Shape(NamedTuple):
    """The first frame, which decides on the size of all."""

    width: int  # pixels, as coded
    height: int
    turn: Turn

    @property
    def upright(self) -> tuple[int, int]:
        """(H, W) in pixels."""
        return (self.width, self.height) if self.turn.on_its_side else (self.height, self.width)


def turn_of(frame: av.VideoFrame) -> Turn | None:
    """What a frame's own display matrix asks for: 3 x 3, rows map x and y; None where it has none."""
    if not len(frame.side_data):  # asking for one by name is slow
        return None
    matrix = frame.side_data.get("DISPLAYMATRIX")
    if matrix is None:
        return None
    (a, b), (c, d) = np.frombuffer(matrix, np.int32).reshape(3, 3)[:2, :2].astype(float)
    mirrored = a * d < b * c
    if mirrored:
        a, b = -a, -b
    return Turn(mirrored, -round(math.degrees(math.atan2(b, a)) / 90) % 4)


def shape_of(frame: av.VideoFrame) -> Shape:
    """The shape of a video whose first frame this is."""
    return Shape(frame.width, frame.height, turn_of(frame) or Turn())


class Upright:
    """Makes pictures of frames, one after the other in display order.

    A frame without a display matrix has that of the frame before it. All pictures have the size of the first
    frame's, even where the video changes its size or its turn.
    """

    def __init__(self, shape: Shape | None = None, find: Callable[[], Shape] | None = None, threads: int = 0):
        """shape    of the video's first frame; None: the first frame that comes is that one
        find     tells the shape where the one given, from the header, turns out to be a guess
        threads  for converting colours; 0: as many as there are cores
        """
        self.shape, self._find, self._threads = shape, find, threads
        self._turn = shape.turn if shape else Turn()
        self._rgb = VideoReformatter()  # one for all: setting it up outweighs the conversion of a small frame

    def follow(self, frame: av.VideoFrame) -> None:
        """Take notice of a frame; every one must come by, whether or not a picture is made of it."""
        turn = turn_of(frame)
        if self.shape is None:
            self.shape = shape_of(frame)
        elif self._find and (turn is not None or (frame.width, frame.height) != self.shape[:2]):
            self.shape, self._find = self._find(), None
        self._turn = turn or self._turn

    def picture(self, frame: av.VideoFrame) -> np.ndarray:
        """(H, W, 3) uint8 RGB of the frame that was followed last."""
        width, height, turn = self.shape
        if turn.on_its_side != self._turn.on_its_side:
            width, height = height, width
        coded = self._rgb.reformat(frame, width, height, format="rgb24", threads=self._threads or None)
        return np.ascontiguousarray(self._turn(coded.to_ndarray()))
