"""Open a video file: the one door for data sets and for `segment` alike.

FFmpeg opens more than videos: lists that name other files and addresses, sequences of pictures, texts that it
typesets. Only the formats below are opened, all of which hold their frames themselves.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import av
import numpy as np
from av.error import ArgumentError, FFmpegError

FORMATS = (
    "mov matroska webm avi mpegts mpeg mpegvideo m4v h264 hevc vvc obu av1 ivf flv live_flv asf ogg rm mxf "
    "gxf dv nut nuv wtv ty h261 h263 cavsvideo dirac vc1 vc1test mjpeg mjpeg_2000 amv swf yuv4mpegpipe roq "
    "bink smk flic gif apng avif ea nsv pva ffm filmstrip cine dhav ser "
    # one picture
    "image2 bmp_pipe gif_pipe j2k_pipe jpeg_pipe jpegls_pipe jpegxl_pipe jpegxl_anim pam_pipe pbm_pipe "
    "pcx_pipe pgm_pipe png_pipe ppm_pipe qoi_pipe sgi_pipe sunrast_pipe tiff_pipe webp webp_pipe xbm_pipe "
    "xpm_pipe "
    # sound alone: opened, to say that it holds no video
    "aac ac3 eac3 adts aiff amr ape au caf dts flac mp3 truehd tta voc w64 wav wv"
).split()
ADDRESS = re.compile(r"(https?|ftps?|sftp|rtsps?|rtmpt?s?|srt|udp|tcp|file)://", re.IGNORECASE)
STREAMED = ["rtsp", "rtp"]  # of an address, never of a file's content
LATIN = {"metadata_errors": "replace"}  # titles in whatever encoding say nothing about the frames


class VideoError(ValueError):
    """A video that is missing, damaged or too short; the text names the file."""


@contextmanager
def opened(
    name: str | Path, threads: bool = False, strict: bool = True, probe: bool = True
) -> Iterator[tuple[av.container.InputContainer, av.VideoStream]]:
    """Container and video stream; an error of FFmpeg's inside the block becomes a VideoError.

    name     a file, or an address that ADDRESS knows
    threads  decode with as many threads as there are cores: pays where frames are large or many
    strict   the decoder refuses what it cannot decode, rather than to paint over it and say nothing
    probe    let FFmpeg decode a frame first, to learn how many the decoder holds back: as slow as ten.
             Seeking in an MP4 does without; a frame that it then misses is decoded from the start
    """
    address = ADDRESS.match(str(name)) and not Path(name).exists()
    if not address and not Path(name).is_file():
        raise VideoError(f"{name}: no such video file: put it there, or leave it out of the annotations")
    quick = not probe and Path(name).suffix.lower() in (".mp4", ".m4v", ".mov")
    options = {"format_whitelist": ",".join(FORMATS + STREAMED * bool(address)), "pattern_type": "none"}
    try:
        # "12:30.mp4" is no protocol "12".
        with _container(str(name) if address else f"file:{name}", options, quick) as container:
            stream = _video_stream(name, container)
            stream.codec_context.thread_count, stream.codec_context.thread_type = (
                (0, "AUTO") if threads else (1, "NONE")
            )
            stream.codec_context.options = {"err_detect": "explode"} if strict else {}
            yield container, stream
    except ArgumentError as error:
        raise VideoError(f"{name}: not a video{_kind(name)}: replace the file") from error
    except FFmpegError as error:
        raise VideoError(f"{name}: not a video, or damaged ({error.strerror}): replace the file") from error


def _container(address: str, options: dict[str, str], quick: bool) -> av.container.InputContainer:
    if quick:
        try:
            return av.open(
                address, container_options=options, stream_options=[{"skip_frame": "all"}], **LATIN
            )
        except FFmpegError:
            raise
        except ValueError:  # of PyAV: no MP4, whatever its name says, and its streams show later
            pass
    return av.open(address, container_options=options, **LATIN)


def _video_stream(name: str | Path, container: av.container.InputContainer) -> av.VideoStream:
    """The first video; the picture on the cover of a piece of music is none."""
    covers = av.stream.Disposition.attached_pic
    streams = [stream for stream in container.streams.video if not stream.disposition & covers]
    if not streams:
        kinds = ", ".join(sorted({stream.type for stream in container.streams})) or "nothing"
        raise VideoError(f"{name}: holds no video, only {kinds}: replace the file")
    for stream in streams:
        if stream.codec_context is not None:
            return stream
    raise VideoError(f"{name}: nothing here decodes its codec {_codec(container)}: convert it to H.264")


def _codec(container: av.container.InputContainer) -> str:
    """FFmpeg's own words for the codecs of the video streams, such as "none (zzzz / 0x7A7A7A7A)"."""
    level = av.logging.get_level()
    av.logging.set_level(av.logging.INFO)
    try:
        return ", ".join(re.findall(r"Video: (\w+(?: \([^)]*\))*)", container.dumps_format())) or "(unknown)"
    finally:
        av.logging.set_level(level)


def _kind(name: str | Path) -> str:
    """What a file of none of FORMATS seems to be."""
    try:
        with open(name, "rb") as file:
            text = b"\0" not in file.read(4096)
    except OSError:
        return ""
    return ", but a text or a list of other files" if text else ", or of a format that is not read"


def upright(picture: np.ndarray, frame: av.VideoFrame) -> np.ndarray:
    """Turn, and mirror, a picture as the frame's display matrix says: 3 x 3, rows map x and y."""
    matrix = frame.side_data.get("DISPLAYMATRIX")
    if matrix is None:
        return picture
    (a, b), (c, d) = np.frombuffer(matrix, np.int32).reshape(3, 3)[:2, :2].astype(float)
    if a * d < b * c:
        picture, a, b = picture[:, ::-1], -a, -b
    return np.ascontiguousarray(np.rot90(picture, -round(math.degrees(math.atan2(b, a)) / 90)))
