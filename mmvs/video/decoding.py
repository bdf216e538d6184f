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
        self.frames = 0  # that did decode
        self.shown = 0  # packets that should have given a frame each

    def add(self, reason: str) -> None:
        where = f"after frame {self.frames - 1}" if self.frames else "at the start"
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
        if not faults.count and count >= faults.shown:  # of the last packets, threads hide the faults
            return
    alone = _decode(name, opening, lost)
    for index, frame in enumerate(alone):
        if not threads or index >= count:
            yield frame


def first_frame(name: str | Path) -> av.VideoFrame | None:
    """The first frame that decodes; None where there is none."""
    return next(_decode(name, -math.inf, Lost(), strict=False, probe=False), None)


def _decode(
    name: str | Path,
    opening: float,
    lost: Lost,
    strict: bool = True,
    threads: bool = False,
    probe: bool = True,
) -> Iterator[av.VideoFrame]:
    """Yield the frames from the time `opening` on; what is before it is decoded, and not judged."""
    hopeless = 0
    judged = opening == -math.inf
    with opened(name, threads, strict, probe) as (container, stream):
        for packet in _packets(container, stream, lost):
            if packet.is_keyframe and packet.pts is not None:
                judged = judged or packet.pts >= opening
            lost.shown += packet.size > 0 and not packet.is_discard
            try:
                frames = packet.decode()
            except EndOfFile:
                return
            except FFmpegError as error:
                if judged:
                    lost.add(error.strerror)
                hopeless += 1
                if hopeless > lost.frames + HOPELESS:
                    return
                continue
            for frame in frames:
                if frame.pts is not None and frame.pts < opening:
                    continue
                if not frame.is_corrupt:
                    yield frame
                    lost.frames += 1
                elif strict:
                    lost.add("corrupt")


def _packets(
    container: av.container.InputContainer, stream: av.VideoStream, lost: Lost
) -> Iterator[av.Packet]:
    """Yield the packets, and at last an empty one, upon which the decoder gives what it still holds."""
    try:
        for packet in container.demux(stream):
            if packet.size:
                yield packet
    except EndOfFile:
        pass
    except FFmpegError as error:
        lost.add(f"reading ends: {error.strerror}")
    last = av.Packet()
    last.stream, last.time_base = stream, stream.time_base
    yield last
