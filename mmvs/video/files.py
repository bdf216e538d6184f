"""Video files through PyAV: exact frames by index, and a deterministic writer.

A frame's index is its place in display order. It comes from the packets' own time stamps, which need no
decoding, rather than from frame rate x time: B-frames, a start time other than zero and a varying frame rate
then need no special case.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple

import av
import numpy as np
from av.error import FFmpegError, InvalidDataError
from av.video.reformatter import VideoReformatter

from mmvs.files import whole


class VideoError(ValueError):
    """A video that is missing, damaged or too short; the text names the file."""


class Timetable(NamedTuple):
    """Display times of a video's frames, in ticks of its stream."""

    times: np.ndarray  # (frames,) int64, ascending
    keys: np.ndarray  # (K,) int64 of the key frames, ascending


def frame_count(path: str | Path) -> int:
    """Number of frames that can be decoded. Reads the packets, decodes none; VideoError names the file."""
    with _open(path) as (container, stream):
        table = _timetable(path, container, stream)
    return sum(1 for _ in _decode(path)) if table is None else len(table.times)


def frame_size(path: str | Path) -> tuple[int, int]:
    """(H, W) in pixels. Reads the header only; VideoError names the file."""
    with _open(path) as (_, stream):
        return stream.height, stream.width


def read_frames(path: str | Path, indices: Sequence[int]) -> np.ndarray:
    """Frames at n 0-based indices, in their order; indices may repeat and need not ascend.

    Decodes only from the key frame at or before each of the frames, up to that frame.

    Returns (n, H, W, 3) uint8 RGB. VideoError names the file that is missing, damaged or too short.
    """
    indices = [int(i) for i in indices]
    targets = set(indices)
    with _open(path) as (container, stream):
        size = stream.height, stream.width
        table = _timetable(path, container, stream)
        if table is not None:
            count = len(table.times)
            if targets and not 0 <= min(targets) <= max(targets) < count:
                raise VideoError(f"{path}: has {count} frames, but frames {sorted(targets)} were asked for")
            frames = _decode_groups(container, stream, table, targets)
            times = {int(table.times[i]): i for i in targets - frames.keys()}
    if table is None:  # no time stamps, so no way to seek: count from the start
        frames = _pick(enumerate(_decode(path)), {i: i for i in targets})
    elif times:  # the seek did not land where decoding can begin
        frames |= _pick(((frame.pts, frame) for frame in _decode(path)), times)
    missing = sorted(targets - frames.keys())
    if missing:
        raise VideoError(f"{path}: frames {missing} cannot be decoded: replace the damaged file")
    return np.stack([frames[i] for i in indices]) if indices else np.empty((0, *size, 3), np.uint8)


def window(frame: int, size: int, stride: int, count: int) -> list[int]:
    """Indices of `size` frames, `stride` apart, around `frame`, which stands at position size // 2.

    Published convention: the first or the last frame stands in for frames outside a video of `count` frames.
    ValueError where size, stride or count is below 1.
    """
    if min(size, stride, count) < 1:
        raise ValueError(f"a window needs size, stride and frames >= 1, got {size}, {stride} and {count}")
    return [min(max(frame + stride * (k - size // 2), 0), count - 1) for k in range(size)]


def write_video(path: str | Path, frames: np.ndarray, fps: float = 25, crf: int = 18) -> None:
    """Write H.264 (yuv420p, MP4); the file appears whole or not at all, and its bytes are reproducible.

    frames  (T, H, W, 3) uint8 RGB; H and W even, as 4:2:0 wants
    fps     frames per second
    crf     x264's constant rate factor: 0 lossless, 18 visually lossless, 51 worst

    VideoError where the frames are of another kind or the file cannot be written.
    """
    path, frames = Path(path), np.asarray(frames)
    if frames.ndim != 4 or frames.shape[-1] != 3 or frames.dtype != np.uint8 or not len(frames):
        raise VideoError(f"{path}: expected uint8 (T, H, W, 3), T >= 1, got {frames.dtype} {frames.shape}")
    if frames.shape[1] % 2 or frames.shape[2] % 2:
        raise VideoError(f"{path}: H.264 4:2:0 wants an even height and width, got {frames.shape[1:3]}")
    try:
        with whole(path) as partial, av.open(str(partial), "w", format="mp4") as container:
            # x264 divides rate control among threads, and its fastest code gives other bytes at every call.
            options = {"crf": str(crf), "threads": "1", "x264-params": "cpu-independent=1"}
            stream = container.add_stream("libx264", Fraction(fps).limit_denominator(1001), options)
            stream.height, stream.width = frames.shape[1:3]
            stream.pix_fmt = "yuv420p"
            for frame in frames:
                container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
            container.mux(stream.encode(None))
    except (FFmpegError, OSError) as error:
        raise VideoError(f"{path}: cannot be written ({error}): disk full or folder locked?") from error


@contextmanager
def _open(
    path: str | Path, probe: bool = False
) -> Iterator[tuple[av.container.InputContainer, av.VideoStream]]:
    """Container and first video stream; an error of FFmpeg's inside the block becomes a VideoError.

    probe  let FFmpeg decode a frame first, to learn how many the decoder holds back: as slow as reading ten.
           Seeking in an MP4 does without; a frame that it then misses is decoded from the start
    """
    path = Path(path)
    if not path.is_file():
        raise VideoError(f"{path}: no such video file: put it there, or leave it out of the annotations")
    try:
        quick = not probe and path.suffix.lower() in (".mp4", ".m4v", ".mov")
        with av.open(str(path), stream_options=[{"skip_frame": "all"}] if quick else []) as container:
            if not container.streams.video:
                raise VideoError(f"{path}: holds no video stream: replace the file")
            stream = container.streams.video[0]
            # Clips are small and loader workers many: starting decoder threads would cost more than it saves.
            stream.codec_context.thread_count = 1
            # Otherwise the decoder paints over what it cannot decode, and says nothing.
            stream.codec_context.options = {"err_detect": "explode"}
            yield container, stream
    except FFmpegError as error:
        raise VideoError(f"{path}: damaged or not a video ({error}): replace the file") from error


def _timetable(
    path: str | Path, container: av.container.InputContainer, stream: av.VideoStream
) -> Timetable | None:
    """Read all packets, decode none; None where they carry no usable time stamps."""
    packets = [p for p in container.demux(stream) if p.size]
    if len(packets) < stream.frames or any(p.is_corrupt for p in packets):
        raise VideoError(f"{path}: cut short, {len(packets)} of {stream.frames} frames left: replace it")
    if not packets or any(p.pts is None for p in packets):
        return None
    times = sorted(p.pts for p in packets if not p.is_discard)  # the container's edit list discards
    keys = sorted(p.pts for p in packets if p.is_keyframe)
    if not times or not keys or len(set(times)) < len(times) or keys[0] > times[0]:
        return None
    return Timetable(np.array(times), np.array(keys))


def _decode_groups(
    container: av.container.InputContainer, stream: av.VideoStream, table: Timetable, targets: set[int]
) -> dict[int, np.ndarray]:
    """Index → picture, with one seek per group of pictures; leaves out what seeking cannot reach."""
    groups: dict[int, dict[int, int]] = {}
    for index in sorted(targets):
        time = int(table.times[index])
        # A key frame serves only frames displayed after it. Those stored after it but displayed before it
        # lean on the group before as well.
        key = int(table.keys[np.searchsorted(table.keys, time, side="right") - 1])
        groups.setdefault(key, {})[time] = index
    frames: dict[int, np.ndarray] = {}
    for key, times in groups.items():
        container.seek(key, stream=stream)
        # Entering an open group of pictures can look like damage; the caller then decodes from the start.
        with suppress(InvalidDataError):
            decoded = _decode_from_here(container, stream, times)
            frames |= _pick(((frame.pts, frame) for frame in decoded), times)
    return frames


def _decode_from_here(
    container: av.container.InputContainer, stream: av.VideoStream, times: dict[int, int]
) -> Iterator[av.VideoFrame]:
    """Yield the frames from here on, less those that are not at `times` and on which no other frame leans."""
    for packet in container.demux(stream):
        stream.codec_context.skip_frame = "DEFAULT" if packet.pts in times else "NONREF"
        yield from packet.decode()


def _decode(path: str | Path) -> Iterator[av.VideoFrame]:
    """Yield all frames from the start."""
    with _open(path, probe=True) as (container, stream):
        yield from container.decode(stream)


def _pick(labelled: Iterable[tuple[int, av.VideoFrame]], index_of: dict[int, int]) -> dict[int, np.ndarray]:
    """Index → (H, W, 3) uint8 RGB of the frames whose labels `index_of` knows; stops once it has them all."""
    rgb = VideoReformatter()  # one for all frames: setting it up outweighs the conversion of a small frame
    frames: dict[int, np.ndarray] = {}
    for label, frame in labelled:
        if label in index_of:
            frames[index_of[label]] = rgb.reformat(frame, format="rgb24", threads=1).to_ndarray()
            if len(frames) == len(index_of):
                break
    return frames
