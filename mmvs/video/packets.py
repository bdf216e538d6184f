"""What a video's packets say without being decoded: frames and times, where it begins, whether it is whole.

A frame's index is its place in display order. It comes from the packets' own time stamps rather than from
frame rate x time: B-frames, a start time other than zero and a varying frame rate then need no special case.
"""

from __future__ import annotations

import math
import os
import re
from pathlib import Path
from typing import BinaryIO, NamedTuple

import av
import numpy as np

# Codecs of which a packet is a frame. Others hide frames, or leave out repeated ones.
ONE_FRAME = (
    "h264",
    "hevc",
    "vp9",
    "av1",
    "mjpeg",
    "mpeg4",
    "png",
    "ffv1",
    "prores",
    "dnxhd",
    "huffyuv",
    "ffvhuff",
)
NOT_CODED = 16  # bytes; an MPEG-4 packet below may be a frame that was left out
PROGRESSIVE = (0, 1)  # field orders: unknown, progressive
MESSAGES = (6, 39)  # kinds of units in H.264 and HEVC that hold messages
ORIENTATION = re.compile(rb"\x2f[\x03-\x07]")  # the type of such a message, and its length
HEADERS = 4096  # bytes that messages before the first picture may take


class Timetable(NamedTuple):
    """Display times of a video's frames, in ticks of its stream."""

    times: np.ndarray  # (frames,) int64, ascending
    keys: np.ndarray  # (K,) int64 of the key frames, ascending


class Packets(NamedTuple):
    """A video as its packets describe it."""

    table: Timetable | None = None  # None where only decoding tells the frames
    opening: float = -math.inf  # ticks; before it frames lean on some that are not in the file; -inf: none do
    cut: str = ""  # what says that the end is missing; "" where nothing does
    torn: int = 0  # packets in the middle that a broadcast lost a part of
    slots: tuple[float, ...] = ()  # seconds of the frames in their order; () where the frames know their own
    may_turn: bool = False  # may the first frame have a display matrix of its own?

    @property
    def damage(self) -> str:
        """What the packets say is not there; "" for nothing."""
        parts = [f"cut short, the end of {self.cut} is missing"] if self.cut else []
        return "; ".join(parts + [f"{self.torn} packets are incomplete"] * bool(self.torn))


def packets(path: str | Path, container: av.container.InputContainer, stream: av.VideoStream) -> Packets:
    """Read all packets, decode none."""
    every = [p for p in container.demux(stream) if p.dts is not None or p.size]
    shown = [p for p in every if p.size]
    opening = _opening(shown)
    slots = _slots(stream, shown)
    table = _timetable(stream, shown) if opening == -math.inf and not slots else None
    cut = _cut(path, container, stream, every)
    begin = next((i for i, p in enumerate(shown) if p.is_keyframe), 0)
    torn = 0 if cut else sum(p.is_corrupt for p in shown[begin:])
    return Packets(table, opening, cut, torn, slots, bool(shown) and _may_turn(stream, shown[0]))


def _may_turn(stream: av.VideoStream, packet: av.Packet) -> bool:
    """Does a message before the first picture look as if it said how to turn the video?"""
    content, place = bytes(packet)[:HEADERS], 0
    while place + 4 < len(content):  # units, each behind its length
        end = place + 4 + int.from_bytes(content[place : place + 4])
        first = content[place + 4]
        kind = {"h264": first & 31, "hevc": first >> 1 & 63}.get(stream.codec_context.name)
        if kind in MESSAGES and ORIENTATION.search(content, place, end):
            return True
        place = end
    return False


def _slots(stream: av.VideoStream, shown: list[av.Packet]) -> tuple[float, ...]:
    """An AVI has times of decoding only; of codecs that reorder, FFmpeg takes them for those of display."""
    if stream.container.format.name != "avi" or stream.codec_context.name not in ("h264", "hevc"):
        return ()
    return tuple(sorted(float(p.dts * p.time_base) for p in shown if p.dts is not None))


def _opening(shown: list[av.Packet]) -> float:
    """Time of the second key frame where the first group of pictures lacks frames that it leans on.

    So begins what was cut from a longer video without coding it anew, and every recording of a broadcast.
    """
    keys = [i for i, p in enumerate(shown) if p.is_keyframe]
    if not keys:
        return math.inf if shown else -math.inf
    first = shown[keys[0]]
    known = [p.pts for p in shown if p.pts is not None]
    leading = first.pts is not None and min(known) < first.pts
    if keys[0] == 0 and not leading:
        return -math.inf
    after = [shown[i].pts for i in keys[1:] if shown[i].pts is not None]
    return after[0] if after else math.inf


def _timetable(stream: av.VideoStream, shown: list[av.Packet]) -> Timetable | None:
    codec = stream.codec_context
    if codec.name not in ONE_FRAME or codec.field_order not in PROGRESSIVE:
        return None
    if not shown or any(p.pts is None for p in shown):
        return None
    if codec.name == "mpeg4" and min(p.size for p in shown) < NOT_CODED:
        return None
    times = sorted(p.pts for p in shown if not p.is_discard)  # the container's edit list discards
    keys = sorted(p.pts for p in shown if p.is_keyframe)
    if not times or not keys or len(set(times)) < len(times) or keys[0] > times[0]:
        return None
    return Timetable(np.array(times), np.array(keys))


def announced(container: av.container.InputContainer, stream: av.VideoStream) -> float:
    """Announced duration of the video in seconds; 0 where it is unknown, or may be that of the sound."""
    if stream.duration and stream.time_base:
        return float(stream.duration * stream.time_base)
    clock = re.fullmatch(r"(\d+):(\d+):([\d.]+)", stream.metadata.get("DURATION", ""))  # Matroska, WebM
    if clock:
        return 3600 * int(clock[1]) + 60 * int(clock[2]) + float(clock[3])
    alone = len(container.streams) == 1
    return container.duration / av.time_base if alone and container.duration else 0.0


def _cut(
    path: str | Path, container: av.container.InputContainer, stream: av.VideoStream, every: list[av.Packet]
) -> str:
    """What says that a file has lost its end: its own structure first, as the number of frames in a header
    also counts those that an edit list hides or a camera dropped."""
    kind, size = container.format.name.split(",")[0], os.path.getsize(path)
    torn = bool(every) and every[-1].is_corrupt
    whole = f"{stream.frames} frames" if stream.frames else f"{announced(container, stream):.2f} s"
    if kind == "mov":
        beyond = any(entry.pos + entry.size > size for entry in stream.index_entries)
        fragmented = len(stream.index_entries) > 0 and not stream.frames
        return whole if torn or beyond or (fragmented and _boxes_overrun(path, size)) else ""
    if kind == "mpegts":
        return "" if _ends_with_packet(path, size) else f"{size / 188:.1f} packets"
    ends = [float((p.pts + (p.duration or 0)) * p.time_base) for p in every if p.pts is not None]
    starts = [float(p.pts * p.time_base) for p in every if p.pts is not None]
    missing = announced(container, stream) - (max(ends) - min(starts)) if ends else 0.0
    frame = 1 / float(stream.average_rate or 25)
    if kind == "avi":
        ticks = [p.dts + 1 for p in every if p.dts is not None]
        short = torn or max(ticks, default=0) < stream.frames
        return whole if short and _riff_overruns(path, size) else ""
    if kind == "matroska":
        return whole if _segment_overruns(path, size) and missing > 1.5 * frame else ""
    late = announced(container, stream) - max(ends) if ends else 0.0
    short = min(missing, late) > max(0.25, 2.5 * frame)
    return whole if torn or (short if not stream.frames else len(every) < stream.frames and late > 0) else ""


def _boxes_overrun(path: str | Path, size: int) -> bool:
    """Does a fragment of an MP4 go on beyond the file's end?"""
    fragments = False
    with open(path, "rb") as file:
        place = 0
        while place + 8 <= size:
            file.seek(place)
            head = file.read(16)
            length, name = int.from_bytes(head[:4]), head[4:8]
            length = int.from_bytes(head[8:16]) if length == 1 else length or size - place
            fragments = fragments or name == b"moof"
            if length < 8:
                return False
            place += length
    return fragments and place > size


def _riff_overruns(path: str | Path, size: int) -> bool:
    """Does one of an AVI's parts, of up to 1 GB each, go on beyond the file's end?"""
    place = 0
    with open(path, "rb") as file:
        while place + 8 <= size:
            file.seek(place)
            head = file.read(8)
            if head[:4] != b"RIFF":
                return False
            place += 8 + int.from_bytes(head[4:], "little")
    return place > size + 1  # a byte may pad


def _segment_overruns(path: str | Path, size: int) -> bool:
    """Does a Matroska's segment, which holds all the rest, go on beyond the file's end?"""
    with open(path, "rb") as file:
        while file.tell() < size:
            name, _ = _number(file, marked=True)
            length, unknown = _number(file)
            if name == 0x18538067:
                return not unknown and file.tell() + length > size
            if unknown or not name:
                return False
            file.seek(length, os.SEEK_CUR)
    return False


def _number(file: BinaryIO, marked: bool = False) -> tuple[int, bool]:
    """An EBML number, and whether all its bits are set: "unknown"; marked: keep its length's bit."""
    first = (file.read(1) or b"\0")[0]
    more = 8 - first.bit_length()
    rest = file.read(more) if more < 8 else b""
    bits = 7 * (len(rest) + 1)
    value = int.from_bytes(bytes([first]) + rest)
    bare = value & ((1 << bits) - 1)
    return (value if marked else bare), bare == (1 << bits) - 1


def _ends_with_packet(path: str | Path, size: int) -> bool:
    """Does an MPEG-TS end where one of its packets does? They have 188 bytes, 4 before or 16 after them."""
    with open(path, "rb") as file:
        file.seek(max(0, size - 2 * 208))
        tail = file.read()
    return any(
        all(tail[-k * length + before : -k * length + before + 1] == b"\x47" for k in (1, 2))
        for length, before in ((188, 0), (192, 4), (204, 0))
    )
