"""Open a video file: the one door for data sets and for `segment` alike.

FFmpeg opens more than videos: lists that name other files and addresses, sequences of pictures, texts that it
typesets. Only the formats below are opened, all of which hold their frames themselves.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import av
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
LARGEST = 2**26  # pixels: 8192 x 8192, 200 MB as RGB. A file of a few bytes can claim any size
HEAD = 4096  # bytes that tell what a file is
BOXES = (b"ftyp", b"moov", b"mdat", b"moof", b"wide", b"free", b"skip", b"pnot")  # an MP4 begins with one


class VideoError(ValueError):
    """A video that is missing, damaged or too short; the text names the file."""


@contextmanager
def opened(
    name: str | Path, threads: bool = False, strict: bool = True, probe: bool = True
) -> Iterator[tuple[av.container.InputContainer, av.VideoStream]]:
    """Container and video stream; an error of FFmpeg's inside the block becomes a VideoError.

    name     a file, or an address that ADDRESS knows
    threads  decode with as many threads as there are cores: pays where frames are large or many
    strict   the decoder refuses what it cannot decode, or marks it as corrupt
    probe    let FFmpeg decode a frame first, to learn how many the decoder holds back: as slow as ten.
             Seeking in an MP4 does without; a frame that it then misses is decoded from the start
    """
    address = ADDRESS.match(str(name)) is not None and not Path(name).exists()
    head = b"" if address else _head(name)
    try:
        with _open(str(name), address, head, quick=not probe and head[4:8] in BOXES) as container:
            stream = _video_stream(name, container)
            context = stream.codec_context
            if context.width * context.height > LARGEST:
                size = f"{context.width} x {context.height} pixels, {LARGEST:,} are the limit"
                raise VideoError(f"{name}: frames of {size}: scale the video down")
            context.thread_count, context.thread_type = (0, "AUTO") if threads else (1, "NONE")
            context.options = {"max_pixels": str(LARGEST)}
            # H.264 marks what it paints over. Told to explode, it also refuses whole frames behind a cut.
            if strict and context.name != "h264":
                context.options |= {"err_detect": "explode"}
            yield container, stream
    except ArgumentError as error:
        raise VideoError(f"{name}: not a video{_kind(head)}: replace the file") from error
    except FFmpegError as error:
        raise VideoError(f"{name}: not a video, or damaged ({error.strerror}): replace the file") from error


def _head(name: str | Path) -> bytes:
    """The first bytes of a file."""
    if not Path(name).is_file():
        raise VideoError(f"{name}: no such video file: put it there, or leave it out of the annotations")
    try:
        with open(name, "rb") as file:
            return file.read(HEAD)
    except OSError as error:
        raise VideoError(f"{name}: cannot be read ({error.strerror}): look at its permissions") from error


def _open(name: str, address: bool, head: bytes, quick: bool) -> av.container.InputContainer:
    options = {"format_whitelist": ",".join(FORMATS + STREAMED * address), "pattern_type": "none"}
    how: dict[str, Any] = {"container_options": options, **LATIN}
    if address:
        return av.open(name, **how)
    options["protocol_whitelist"] = "file"
    name = f"file:{name}"  # "12:30.mp4" is no protocol "12"
    if quick:
        try:
            return av.open(name, stream_options=[{"skip_frame": "all"}], **how)
        except FFmpegError:
            raise
        except ValueError:  # its header names no stream
            pass
    return av.open(name, format=_broadcast(head), **how)


def _broadcast(head: bytes) -> str | None:
    """FFmpeg's name of the two formats that it takes for others where a file is short or oddly named."""
    if head.startswith(b"\0\0\1\xba"):
        return "mpeg"
    if head[4:8] not in BOXES:
        for length in (188, 192, 204):  # bytes a packet; each begins with 0x47, wherever the cut fell
            for start in range(min(length, len(head) - 3 * length)):
                if head[start] == 0x47 and set(head[start::length]) == {0x47}:
                    return "mpegts"
    return None


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
    raise VideoError(f"{name}: nothing here decodes its codec {_codec(name, container)}: convert it to H.264")


def _codec(name: str | Path, container: av.container.InputContainer) -> str:
    """FFmpeg's own words for the codecs of the video streams, such as "none (zzzz / 0x7A7A7A7A)".

    It has none for a codec of Matroska that it does not know, whose name stands in the file: "V_NEW".
    """
    if container.format.name.startswith("matroska") and Path(name).is_file():
        return ", ".join(name.decode() for name in re.findall(rb"\bV_[\w/]+", _head(name))) or "(unknown)"
    level = av.logging.get_level()
    av.logging.set_level(av.logging.INFO)
    try:
        return ", ".join(re.findall(r"Video: (\w+(?: \([^)]*\))*)", container.dumps_format())) or "(unknown)"
    finally:
        av.logging.set_level(level)


def _kind(head: bytes) -> str:
    """What a file of none of FORMATS seems to be, by its first bytes."""
    if not head:
        return ""
    return ", or of a format that is not read" if b"\0" in head else ", but a text or a list of other files"
