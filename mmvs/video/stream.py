"""Read any video frame by frame, in one pass: what PyAV opens, a folder of pictures, an array, a generator.

`mmvs.video.files` reads the same frames of a data set's clips by index, and refuses a damaged clip. This
module reads what decodes, with its time, and `VideoSource.damage` says what does not.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import av
import numpy as np

from mmvs.video import folders
from mmvs.video.container import ADDRESS, VideoError, opened
from mmvs.video.decoding import Lost, decode
from mmvs.video.packets import Packets, announced, packets
from mmvs.video.upright import Turn, Upright

FPS = 25.0  # of a video without times
WIDEST_PIXEL = 8  # times its height; those of real formats are 0.9 to 2.2
Timed = tuple[float, np.ndarray]  # seconds since the first frame, (H, W, 3) uint8 RGB


class VideoSource:
    """The frames of a video, one pass after the other; all have the size of the first."""

    def __init__(
        self,
        name: str,
        frames: Callable[[VideoSource], Iterator[Timed]],
        count: int | None,
        times: Sequence[float] | None = None,
    ):
        """Read the first frame; VideoError where there is none.

        name    for messages
        frames  begins a pass, and sets the source's `damage` at its end
        count   of frames; None where nobody knows it before the end
        times   of all frames, in seconds; None where nobody knows them before the end
        """
        self.name, self.count, self.times, self.damage = name, count, times, ""
        self.begin = 0.0  # of an excerpt: seconds of its first frame in the whole video
        self.numbers: dict[int, int] = {}  # place among the frames → in the whole video, where it is another
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
        path = Path(video).expanduser()
        if not path.exists():
            if ADDRESS.match(str(video)):
                return _file(str(video))
            raise VideoError(f"{path}: no such file or folder")
        return _folder(path, fps) if path.is_dir() else _file(str(path))
    if hasattr(video, "__array__"):
        frames = np.asarray(video)
        _check(frames, 4, "an array")
        times = np.arange(len(frames)) / fps
        return VideoSource("array", lambda _: zip(times.tolist(), frames, strict=True), len(frames), times)
    if isinstance(video, Iterable):
        return _iterable(iter(video), fps)
    raise VideoError(f"a video is a file, a folder, an array or an iterable of frames, not a {type(video)}")


def _file(name: str) -> VideoSource:
    times = None
    with opened(name, probe=False) as (container, stream):
        local = Path(name).is_file()
        if local:
            contents = packets(name, container, stream)
            count = None
            if contents.table is not None and not contents.damage:
                ticks = contents.table.times
                count, times = len(ticks), (ticks - ticks[0]) * float(stream.time_base)
        else:  # reading an address twice is slow
            contents = Packets()
            count = stream.frames or round(announced(container, stream) * float(stream.average_rate or 0))
        rate = float(stream.average_rate or FPS)
        aspect = float(stream.sample_aspect_ratio or 1)
    return VideoSource(
        name, lambda source: _decode(name, contents, rate, aspect, source), count or None, times
    )


def _decode(name: str, contents: Packets, rate: float, aspect: float, source: VideoSource) -> Iterator[Timed]:
    """Yield the frames of a file that decode; `source.damage` says at the end what did not."""
    upright, lost = Upright(), Lost()
    count, begin, last = 0, 0.0, 0.0  # seconds
    for frame in decode(name, contents.opening, lost, threads=True):
        last = contents.slots[count] if count < len(contents.slots) else _seconds(frame, count / rate)
        begin = begin if count else last
        upright.follow(frame)
        if not count:
            source.pixel_aspect = _upright_pixel(aspect, upright.shape.turn)
        yield last, upright.picture(frame)
        count += 1
    damage = [str(lost)] if lost.count else []
    if contents.torn:
        damage.append(contents.damage)
    if contents.cut:
        damage.append(f"cut short: of {contents.cut} the last is frame {count - 1}, at {last - begin:.2f} s")
    source.damage = "; ".join(damage)


def _seconds(frame: av.VideoFrame, otherwise: float) -> float:
    """When a frame is shown; some containers say only when it is decoded."""
    ticks = frame.dts if frame.pts is None else frame.pts
    return otherwise if ticks is None or not frame.time_base else float(ticks * frame.time_base)


def _upright_pixel(aspect: float, turn: Turn) -> float:
    """Width of a pixel by its height once it is upright; 1 where the video says what cannot be."""
    if not 1 / WIDEST_PIXEL <= aspect <= WIDEST_PIXEL:
        return 1.0
    return 1 / aspect if turn.on_its_side else aspect


def _folder(path: Path, fps: float) -> VideoSource:
    """Pictures in the order of the numbers in their names, as `folders.in_order` has them."""
    files = folders.in_order(path)

    def frames(source: VideoSource) -> Iterator[Timed]:
        """Every picture with its time; `source` learns their numbers, and which cannot be read."""
        lost: list[str] = []
        for place, (index, picture) in enumerate(folders.frames_in_order(files, lost)):
            source.numbers[place] = index
            yield index / fps, picture
        left_out = f"{len(lost)} of {len(files)} pictures are left out"
        source.damage = f"{left_out}, the first: {lost[0]}" if lost else ""

    return VideoSource(str(path), frames, len(files), np.arange(len(files)) / fps)


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
