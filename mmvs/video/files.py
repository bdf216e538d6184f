"""Video files through PyAV: exact frames by index, and a deterministic writer.

A frame's index is its place in display order (see `mmvs.video.packets`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.error import FFmpegError

from mmvs.files import whole
from mmvs.video.container import VideoError as VideoError
from mmvs.video.container import opened
from mmvs.video.decoding import Lost, decode, first_frame
from mmvs.video.packets import Packets, Timetable, packets
from mmvs.video.upright import Shape, Turn, Upright, shape_of


def frame_count(path: str | Path) -> int:
    """Number of frames that can be decoded. Reads the packets, and decodes only where they leave it open.

    VideoError names the file that is missing or damaged.
    """
    with opened(path, probe=False) as (container, stream):
        contents = _contents(path, container, stream)
    table = contents.table
    return sum(1 for _ in _decode(path, contents)) if table is None else len(table.times)


def frame_size(path: str | Path) -> tuple[int, int]:
    """(H, W) in pixels, upright. Decodes the first frame; VideoError names the file."""
    return _shape(path).upright


def read_frames(path: str | Path, indices: Sequence[int]) -> np.ndarray:
    """Frames at n 0-based indices, in their order; indices may repeat and need not ascend.

    Decodes only from the key frame at or before each frame, up to that frame, where the file allows it.

    Returns (n, H, W, 3) uint8 RGB, upright. VideoError names the file that is missing, damaged or too short.
    """
    indices = [int(i) for i in indices]
    targets = set(indices)
    with opened(path, probe=False) as (container, stream):
        contents = _contents(path, container, stream)
        upright = _upright(path, stream, contents)
        table = contents.table
        if table is not None:
            _require(path, targets, len(table.times))
            frames = _decode_groups(container, stream, table, targets, upright)
            times = {int(table.times[i]): i for i in targets - frames.keys()}
    if table is None:  # nothing to seek by: count from the start
        frames = _pick(upright, enumerate(_decode(path, contents)), {i: i for i in targets})
        if targets - frames.keys():
            _require(path, targets, sum(1 for _ in _decode(path, contents)))
    elif times:  # the seek did not land where decoding can begin
        frames |= _pick(upright, ((frame.pts, frame) for frame in _decode(path, contents)), times)
    missing = sorted(targets - frames.keys())
    if missing:
        raise VideoError(f"{path}: frames {missing} cannot be decoded: replace the damaged file")
    return (
        np.stack([frames[i] for i in indices]) if indices else np.empty((0, *frame_size(path), 3), np.uint8)
    )


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
        with whole(path) as partial, av.open(f"file:{partial}", "w", format="mp4") as container:
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


def _upright(path: str | Path, stream: av.VideoStream, contents: Packets) -> Upright:
    """Decodes the first frame only where the header may be wrong about its shape."""
    header = Shape(stream.width, stream.height, Turn())
    shape = _shape(path) if contents.may_turn else header
    return Upright(shape, find=lambda: _shape(path), threads=1)


def _pick(
    upright: Upright, labelled: Iterable[tuple[int, av.VideoFrame]], index_of: dict[int, int]
) -> dict[int, np.ndarray]:
    """Index → (H, W, 3) uint8 RGB of frames whose labels `index_of` knows; stops once it has them all."""
    frames: dict[int, np.ndarray] = {}
    for label, frame in labelled if index_of else ():
        upright.follow(frame)
        if label in index_of and not frame.is_corrupt:
            frames[index_of[label]] = upright.picture(frame)
            if len(frames) == len(index_of):
                break
    return frames


def _contents(path: str | Path, container: av.container.InputContainer, stream: av.VideoStream) -> Packets:
    contents = packets(path, container, stream)
    if contents.damage:
        raise VideoError(f"{path}: {contents.damage}: replace the file")
    return contents


def _require(path: str | Path, targets: set[int], count: int) -> None:
    if targets and not 0 <= min(targets) <= max(targets) < count:
        raise VideoError(f"{path}: has {count} frames, but frames {sorted(targets)} were asked for")


def _shape(path: str | Path) -> Shape:
    frame = first_frame(path)
    if frame is None:
        raise VideoError(f"{path}: holds no frame that decodes: replace the file")
    return shape_of(frame)


def _decode(path: str | Path, contents: Packets) -> Iterator[av.VideoFrame]:
    """Yield all frames from the start; VideoError at the first that is damaged."""
    lost, count = Lost(), 0
    for frame in decode(path, contents.opening, lost):
        if lost.count:
            break
        yield frame
        count += 1
    if lost.count:
        raise VideoError(f"{path}: damaged, {lost}: replace the file")
    if not count:
        raise VideoError(f"{path}: holds no frame that decodes: replace the file")


def _decode_groups(
    container: av.container.InputContainer,
    stream: av.VideoStream,
    table: Timetable,
    targets: set[int],
    upright: Upright,
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
        with suppress(FFmpegError):
            decoded = _decode_from_here(container, stream, times)
            frames |= _pick(upright, ((frame.pts, frame) for frame in decoded), times)
    return frames


def _decode_from_here(
    container: av.container.InputContainer, stream: av.VideoStream, times: dict[int, int]
) -> Iterator[av.VideoFrame]:
    """Yield the frames from here on, less those that are not at `times` and on which no other frame leans."""
    for packet in container.demux(stream):
        stream.codec_context.skip_frame = "DEFAULT" if packet.pts in times else "NONREF"
        yield from packet.decode()
