"""Decode a video from its start: every frame that it shows, and what is lost."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

import av
from av.error import EOFError as EndOfFile
from av.error import FFmpegError

from mmvs.video.container import opened

HOPELESS = 100  # packets in a row that do not decode


class Lost:
    """Packets that do not decode: how many, and where the first is."""

    def __init__(self) -> None:
        self.count, self.first = 0, ""

    def add(self, frames: int, reason: str) -> None:
        where = f"after frame {frames - 1}" if frames else "at the start"
        self.count, self.first = self.count + 1, self.first or f"{where} ({reason})"

    def __str__(self) -> str:
        return f"{self.count} packets do not decode, the first {self.first}" if self.count else ""


def decode(name: str | Path, opening: float, lost: Lost, threads: bool = False) -> Iterator[av.VideoFrame]:
    """Yield every frame that decodes, in display order.

    opening  time, in ticks, before which frames lean on some that are not in the file: the decoder itself
             decides which of them can be shown
    lost     learns of the packets that do not decode
    threads  as for `opened`
    """
    count = 0
    if opening > -math.inf:
        for frame in _decode(name, -math.inf, Lost(), strict=False):
            if frame.pts is not None and frame.pts >= opening:
                break
            yield frame
            count += 1
        threads = False
    if opening == math.inf:
        return
    if threads:  # threads lose more to a fault than it costs, so at the first one, one goes on alone
        faults = Lost()
        for frame in _decode(name, opening, faults, threads=True):
            if faults.count:
                break
            yield frame
            count += 1
        if not faults.count:
            return
    alone = _decode(name, opening, lost)
    for index, frame in enumerate(alone):
        if not threads or index >= count:
            yield frame


def _decode(
    name: str | Path, opening: float, lost: Lost, strict: bool = True, threads: bool = False
) -> Iterator[av.VideoFrame]:
    """Yield the frames from the time `opening` on; what is before it is decoded, and not judged."""
    count = hopeless = 0
    judged = opening == -math.inf
    with opened(name, threads, strict) as (container, stream):
        coming = container.demux(stream)
        while True:
            try:
                packet = next(coming)
                judged = judged or (packet.is_keyframe and packet.pts is not None and packet.pts >= opening)
                frames = packet.decode()
            except (StopIteration, EndOfFile):
                return
            except FFmpegError as error:
                if judged:
                    lost.add(count, error.strerror)
                hopeless += 1
                if hopeless > count + HOPELESS:
                    return
                continue
            for frame in frames:
                if frame.pts is None or frame.pts >= opening:
                    yield frame
                    count += 1
