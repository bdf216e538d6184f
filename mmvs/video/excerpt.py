"""Part of a video: from one time to another, and fewer frames a second."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import NamedTuple

import numpy as np

from mmvs.video.container import VideoError
from mmvs.video.stream import Timed, VideoSource

CLOCK = re.compile(r"(?:(?:(\d+):)?(\d+):)?(\d+(?:\.\d*)?|\.\d+)", re.ASCII)  # hours, minutes, seconds
ROUNDING = 1e-3  # seconds: Matroska keeps milliseconds


class Excerpt(NamedTuple):
    """Which frames of a video count; by default all do."""

    start: float = 0.0  # seconds since the first frame: none before it counts
    end: float | None = None  # seconds: none from here on counts; None: to the end of the video
    fps: float | None = None  # the first frame of each of that many parts of a second; None: every frame

    def of(self, source: VideoSource) -> VideoSource:
        """The excerpt as a video of its own, whose times begin at 0.

        Its `begin` and `numbers` lead back to the whole video. A video of fewer frames a second than `fps`
        gives all of them. Reads the source up to the first frame that counts: a generator, which allows one
        pass, has no excerpt. ValueError where start, end or fps cannot be; VideoError where the video ends
        before.
        """
        if self == WHOLE:
            return source
        if not 0 <= self.start < math.inf:
            raise ValueError(f"start {self.start:g}: a video begins at 0 seconds")
        if self.end is not None and not self.start < self.end:
            raise ValueError(f"start {self.start:g} s, end {self.end:g} s: an excerpt begins before it ends")
        if self.fps is not None and not 0 < self.fps < math.inf:
            raise ValueError(f"fps {self.fps:g}: frames per second are more than 0")
        count = None
        if source.times is not None:
            self._require(source.name, np.asarray(source.times))
            count = sum(map(self._choice(), source.times))
        excerpt = VideoSource(source.name, lambda it: self._frames(source, it), count)
        excerpt.pixel_aspect = source.pixel_aspect
        return excerpt

    def _require(self, name: str, times: np.ndarray) -> None:
        """VideoError where a video whose frames have these times ends before the excerpt begins or ends."""
        last = times[-1] + np.diff(times).max(initial=0)  # a frame is shown until the next one would be
        if self.start > times[-1] + ROUNDING:
            raise VideoError(f"{name}: start {self.start:g} s is beyond its last frame, at {times[-1]:.2f} s")
        if self.end is not None and len(times) > 1 and self.end > last + ROUNDING:
            raise VideoError(f"{name}: end {self.end:g} s is beyond the video's, at {last:.2f} s")

    def _choice(self) -> Callable[[float], bool]:
        """Decides on frames by their seconds, which ascend."""
        due = self.start

        def counts(seconds: float) -> bool:
            """Is the frame at `seconds` one of the excerpt? Asked once of every frame."""
            nonlocal due
            if seconds < due - ROUNDING or not self._before_end(seconds):
                return False
            if self.fps:
                part = math.floor((seconds + ROUNDING - self.start) * self.fps)
                due = self.start + (part + 1) / self.fps
            return True

        return counts

    def _before_end(self, seconds: float) -> bool:
        return self.end is None or seconds < self.end - ROUNDING

    def _frames(self, source: VideoSource, excerpt: VideoSource) -> Iterator[Timed]:
        counts, place, seconds = self._choice(), 0, 0.0
        with closing(iter(source)) as frames:
            for number, (seconds, frame) in enumerate(frames):
                if not self._before_end(seconds):
                    break
                if counts(seconds):
                    excerpt.begin = seconds if place == 0 else excerpt.begin
                    excerpt.numbers[place] = source.numbers.get(number, number)
                    place += 1
                    yield seconds, frame
        excerpt.damage = source.damage
        if not place:
            wanted = f"from {self.start:g} s" + (f" to {self.end:g} s" if self.end else " on")
            raise VideoError(f"{source.name}: no frame {wanted}; the last before that is at {seconds:.2f} s")


WHOLE = Excerpt()


def seconds(clock: str) -> float:
    """Seconds of "12.5", "1:05" (minutes) or "1:00:05" (hours); ValueError on anything else."""
    if not (match := CLOCK.fullmatch(clock.strip())):
        raise ValueError(f"'{clock}' is no time: seconds, such as 12.5, or minutes and seconds, such as 1:05")
    hours, minutes, rest = match.groups(default="0")
    if match[2] and float(rest) >= 60 or match[1] and int(minutes) >= 60:
        raise ValueError(f"'{clock}' is no time: 60 or more after a colon")
    return 3600 * int(hours) + 60 * int(minutes) + float(rest)
