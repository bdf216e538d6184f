"""Read any video frame by frame, in one pass: what PyAV opens, a folder of pictures, an array, a generator.

`mmvs.video.files` reads exact frames of a data set's clips, and refuses a damaged clip. This module reads
what decodes, upright and with its time, and `VideoSource.damage` says what does not.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from itertools import chain
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.error import EOFError as EndOfFile
from av.error import FFmpegError
from av.video.reformatter import VideoReformatter

from mmvs.video import folders
from mmvs.video.files import VideoError

FPS = 25.0  # of a video without times
WIDEST_PIXEL = 8  # times its height; those of real formats are 0.9 to 2.2
TEXTS = ("tty", "bin", "xbin", "adf", "idf")  # FFmpeg would draw these as a terminal's screen
Timed = tuple[float, np.ndarray]  # seconds since the first frame, (H, W, 3) uint8 RGB


class VideoSource:
    """The frames of a video, one pass after the other; all have the size of the first."""

    def __init__(self, name: str, frames: Callable[[VideoSource], Iterator[Timed]], count: int | None):
        """Read the first frame; VideoError where there is none.

        name    for messages
        frames  begins a pass, and sets the source's `damage` at its end
        count   of frames; None where nobody knows it before the end
        """
        self.name, self.count, self.damage = name, count, ""
        self.pixel_aspect = 1.0  # width of a pixel by its height, as a player shows it
        self._frames = frames
        try:
            self.size: tuple[int, int] = next(frames(self))[1].shape[:2]  # (H, W), upright
        except StopIteration:
            raise VideoError(f"{name}: holds no frame that decodes: {self.damage or 'it is empty'}") from None

    def __iter__(self) -> Iterator[Timed]:
        """Yield (seconds, (H, W, 3) uint8 RGB) in display order; times ascend, the first is 0."""
        self.damage, start, last = "", None, -1.0
        for seconds, frame in self._frames(self):
            start = seconds if start is None else start
            if seconds - start <= last:  # a broken or repeated time stamp
                seconds = start + last + 1 / FPS
            last = seconds - start
            yield last, frame


def open_video(video: Any, fps: float = FPS) -> VideoSource:
    """Open a video, whatever it is.

    video  a file or address that PyAV opens, a folder of pictures, (F, H, W, 3) uint8 RGB, or an iterable of
           (H, W, 3) uint8 RGB; a generator allows one pass only
    fps    frames per second of folders, arrays and iterables; a file has its own times

    VideoError says what is wrong with anything else.
    """
    if isinstance(video, VideoSource):
        return video
    if isinstance(video, (str, Path)):
        if "://" in str(video):
            return _file(str(video))
        path = Path(video).expanduser()
        if not path.exists():
            raise VideoError(f"{path}: no such file or folder")
        return _folder(path, fps) if path.is_dir() else _file(str(path))
    if hasattr(video, "__array__"):
        frames = np.asarray(video)
        _check(frames, 4, "an array")
        return VideoSource("array", lambda _: ((t / fps, x) for t, x in enumerate(frames)), len(frames))
    if isinstance(video, Iterable):
        return _iterable(iter(video), fps)
    raise VideoError(f"a video is a file, a folder, an array or an iterable of frames, not a {type(video)}")


def _file(name: str) -> VideoSource:
    try:
        with av.open(name) as container:
            stream = _video_stream(name, container)
            if container.format.name in TEXTS:
                raise VideoError(f"{name}: not a video, but a text")
            count = stream.frames or _count(container, stream, Path(name).is_file())
    except FFmpegError as error:
        raise VideoError(f"{name}: not a video, or damaged from the start ({error.strerror})") from None
    return VideoSource(name, lambda source: _decode(name, source), count or None)


def _video_stream(name: str, container: av.container.InputContainer) -> av.VideoStream:
    covers = av.stream.Disposition.attached_pic  # the picture of a piece of music is no video
    for stream in container.streams.video:
        if not stream.disposition & covers:
            stream.thread_type = "AUTO"
            # Otherwise the decoder paints over what it cannot decode, and says nothing.
            stream.codec_context.options = {"err_detect": "explode"}
            return stream
    kinds = ", ".join(sorted({stream.type for stream in container.streams})) or "nothing"
    raise VideoError(f"{name}: holds no video, only {kinds}")


def _count(container: av.container.InputContainer, stream: av.VideoStream, local: bool) -> int:
    """Frames of a video whose header does not say: packets of a file; a guess for an address (slow)."""
    if local:
        with suppress(FFmpegError):
            return sum(packet.size > 0 for packet in container.demux(stream))
    return round(_seconds(container, stream) * float(stream.average_rate or 0))


def _seconds(container: av.container.InputContainer, stream: av.VideoStream) -> float:
    """Announced duration of the video; 0 where it is unknown, or may be that of the sound."""
    if stream.duration and stream.time_base:
        return float(stream.duration * stream.time_base)
    clock = re.fullmatch(r"(\d+):(\d+):([\d.]+)", stream.metadata.get("DURATION", ""))  # Matroska, WebM
    if clock:
        return 3600 * int(clock[1]) + 60 * int(clock[2]) + float(clock[3])
    alone = len(container.streams) == 1
    return container.duration / av.time_base if alone and container.duration else 0.0


def _decode(name: str, source: VideoSource) -> Iterator[Timed]:
    """Yield the frames of a file that decode; `source.damage` says at the end what did not."""
    rgb, size = VideoReformatter(), {}
    packets, count, lost, first_lost = 0, 0, 0, ""
    begin, last, end = None, 0.0, 0.0  # seconds: first frame, last frame, and the end of the last one's time
    with av.open(name) as container:
        stream = _video_stream(name, container)
        rate = float(stream.average_rate or FPS)
        coming = container.demux(stream)
        while True:
            try:
                packet = next(coming)
                packets += packet.size > 0
                if packet.pts is not None:
                    end = max(end, float((packet.pts + (packet.duration or 0)) * packet.time_base))
                frames = packet.decode()
            except (StopIteration, EndOfFile):
                break
            except FFmpegError as error:
                where = f"after frame {count - 1}" if count else "at the start"
                lost, first_lost = lost + 1, first_lost or f"{where} ({error.strerror})"
                if lost > count + 100:  # not a single frame for a long time
                    break
                continue
            for frame in frames:
                last = count / rate if frame.time is None else frame.time
                begin = last if begin is None else begin
                if not size:
                    size = {"width": frame.width, "height": frame.height}
                    source.pixel_aspect = _pixel_aspect(stream, frame)
                picture = rgb.reformat(frame, **size, format="rgb24").to_ndarray()
                yield last, np.ascontiguousarray(_upright(picture, frame))
                count += 1
        damage = []
        if lost:
            damage.append(f"{lost} packets do not decode, the first {first_lost}")
        missing = _seconds(container, stream) - (end - (begin or 0.0))
        if packets < stream.frames or (not stream.frames and missing > max(0.25, 2.5 / rate)):
            whole = f"{stream.frames} frames" if stream.frames else f"{_seconds(container, stream):.2f} s"
            place = f"frame {count - 1}, at {last - (begin or 0.0):.2f} s"
            damage.append(f"cut short: of {whole} the last is {place}")
        source.damage = "; ".join(damage)


def _upright(picture: np.ndarray, frame: av.VideoFrame) -> np.ndarray:
    """Turn, and mirror, a picture as the frame's display matrix says: 3 x 3, rows map x and y."""
    matrix = frame.side_data.get("DISPLAYMATRIX")
    if matrix is None:
        return picture
    (a, b), (c, d) = np.frombuffer(matrix, np.int32).reshape(3, 3)[:2, :2].astype(float)
    if a * d < b * c:
        picture, a, b = picture[:, ::-1], -a, -b
    return np.rot90(picture, -round(math.degrees(math.atan2(b, a)) / 90))


def _pixel_aspect(stream: av.VideoStream, frame: av.VideoFrame) -> float:
    """Width of an upright pixel by its height; 1 where the stream does not say, or says what cannot be."""
    aspect = float(stream.sample_aspect_ratio or 1)
    on_its_side = _upright(np.empty((1, 2, 3), np.uint8), frame).shape[0] == 2
    aspect = 1 / aspect if on_its_side and aspect > 0 else aspect
    return aspect if 1 / WIDEST_PIXEL <= aspect <= WIDEST_PIXEL else 1.0


def _folder(path: Path, fps: float) -> VideoSource:
    """Pictures in the order of the numbers in their names, as `folders.in_order` has them."""
    files = folders.in_order(path)

    def frames(source: VideoSource) -> Iterator[Timed]:
        lost: list[str] = []
        for index, picture in folders.frames_in_order(files, lost):
            yield index / fps, picture
        left_out = f"{len(lost)} of {len(files)} pictures are left out"
        source.damage = f"{left_out}, the first: {lost[0]}" if lost else ""

    return VideoSource(str(path), frames, len(files))


def _iterable(frames: Iterator[np.ndarray], fps: float) -> VideoSource:
    first = next(frames, None)
    if first is None:
        raise VideoError("the iterable gives no frame")
    rest = iter([])

    def timed(source: VideoSource) -> Iterator[Timed]:
        for t, frame in enumerate(rest):
            frame = np.asarray(frame)
            _check(frame, 3, f"frame {t}")
            if t and frame.shape[:2] != source.size:
                raise VideoError(f"frame {t} is {frame.shape[:2]}, those before it {source.size}: one size")
            yield t / fps, frame

    rest = iter([first])  # the constructor reads the first frame, and must not use it up
    source = VideoSource("iterable", timed, None)
    rest = chain([first], frames)
    return source


def _check(frames: np.ndarray, dimensions: int, name: str) -> None:
    right = frames.ndim == dimensions and frames.shape[-1] == 3 and frames.dtype == np.uint8
    if not right or 0 in frames.shape[1:]:
        shape = "(F, H, W, 3)" if dimensions == 4 else "(H, W, 3)"
        raise VideoError(f"{name}: expected uint8 RGB {shape}, got {frames.dtype} {frames.shape}")
