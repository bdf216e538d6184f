"""One picture file as a frame: (H, W, 3) uint8 RGB, upright as its EXIF data say.

The file's type alone decides how its values become 8 bits, never its content: one rule holds for all pictures
of a video, and its brightness does not flicker.

    up to 8 bits      as they are; palettes, CMYK and the like become RGB, alpha is left out
    9 to 16 bits      the upper 8, of 16 bits value >> 8 (colours of PPM: the nearest of 256)
    floating point    0 is black and 1 is white: value * 255, rounded; a picture with other values is refused
    anything else     refused, as nobody knows its scale
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

import av
import cv2
import numpy as np
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError
from PIL.TiffImagePlugin import ImageFileDirectory_v2

from mmvs.video.container import VideoError

T = TypeVar("T")

LARGEST = 2**26  # pixels: 8192 x 8192, 200 MB as RGB. A file of a few bytes can claim any size
FORMATS = ("AVIF", "BMP", "GIF", "JPEG", "JPEG2000", "PNG", "PPM", "QOI", "SGI", "TIFF", "WEBP")  # Pillow's
CODECS = {".exr": "exr", ".hdr": "hdr", ".pfm": "pfm"}  # FFmpeg's, for what Pillow does not know
TIFFS = (".tif", ".tiff")
TIFF_WIDTH, TIFF_HEIGHT, TIFF_BITS, TIFF_FORMAT = 256, 257, 258, 339  # tags of a TIFF file
ON_ITS_SIDE = (5, 6, 7, 8)  # values of EXIF's orientation
SUFFIXES = (
    *(".png", ".apng", ".jpg", ".jpeg", ".jpe", ".jfif", ".mpo", ".bmp", ".dib", ".gif", ".webp", ".avif"),
    *(".ppm", ".pgm", ".pbm", ".pnm", ".jp2", ".j2k", ".j2c", ".jpx", ".qoi", ".sgi", ".tga"),
    *TIFFS,
    *CODECS,
)


def read_picture(file: str | Path) -> np.ndarray:
    """(H, W, 3) uint8 RGB, upright; VideoError names a file that is damaged, too large or without a scale."""
    return _ask(Path(file), _from_pillow, _from_others)


def picture_size(file: str | Path) -> tuple[int, int]:
    """(H, W) in pixels, upright. Decodes only what does not tell before; VideoError names the file."""
    return _ask(Path(file), _size_from_pillow, lambda path: _from_others(path).shape[:2])


def _ask(file: Path, pillow: Callable[[Path, Image.Image], T], others: Callable[[Path], T]) -> T:
    """What `pillow` makes of an open picture, or `others` where Pillow does not know its kind."""
    _require_file(file)
    # Nothing tells a TGA file but its name: Pillow would take noise for one.
    formats = ["TGA"] if file.suffix.lower() == ".tga" else FORMATS
    try:
        try:
            # Pillow would map a file that it opens by name, and mixes up the rows of a TIFF file on its side.
            with file.open("rb") as content, Image.open(content, formats=formats) as picture:
                _require_size(file, *picture.size)
                return pillow(file, picture)
        except UnidentifiedImageError:
            return others(file)
    except VideoError:
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise VideoError(f"{file}: too large ({error}): shrink the pictures") from None
    except Exception as error:  # Pillow raises a dozen kinds on damaged pictures, its plugins their own
        raise VideoError(f"{file}: damaged ({error}): replace the file") from error


def _require_file(file: Path) -> None:
    """VideoError where the path is no regular file: to open a pipe would wait for ever."""
    try:
        mode = os.stat(file).st_mode
    except (OSError, ValueError) as error:
        raise VideoError(f"{file}: cannot be opened ({error}): restore the file") from None
    if not stat.S_ISREG(mode):
        raise VideoError(f"{file}: not a regular file: replace it by a picture")


def _require_size(file: Path, width: int, height: int) -> None:
    if width * height > LARGEST:
        raise VideoError(f"{file}: {width} x {height} pixels, {LARGEST:,} are the limit: shrink the pictures")


def _from_pillow(file: Path, picture: Image.Image) -> np.ndarray:
    if picture.format == "PNG":
        with Image.open(file, formats=["PNG"]) as again:
            again.verify()  # compares the checksums, which decoding passes over
    picture.load()
    with suppress(Exception):  # EXIF data that cannot be read do not cost the picture
        ImageOps.exif_transpose(picture, in_place=True)
    if picture.format == "JPEG2000" and picture.mode in ("RGB", "RGBA"):
        return _from_ffmpeg(file, "jpeg2000")  # Pillow makes black of the white of 16 bits
    if picture.mode[0] in "IF":  # one channel of more than 8 bits
        return _eight_bits(file, np.asarray(picture), _unsigned_bits(picture))
    try:
        return np.asarray(picture.convert("RGB"))
    except ValueError:
        raise _without_scale(file, f"the colour mode {picture.mode}") from None


def _size_from_pillow(_: Path, picture: Image.Image) -> tuple[int, int]:
    width, height = picture.size
    orientation = 1
    if picture.format != "TIFF":  # Pillow turns those by itself
        with suppress(Exception):
            orientation = picture.getexif().get(ExifTags.Base.Orientation, 1)
    return (width, height) if orientation in ON_ITS_SIDE else (height, width)


def _unsigned_bits(picture: Image.Image) -> int:
    """Bits of a file's integers, which may be fewer than Pillow keeps them in; 0 where they have a sign."""
    if picture.format != "TIFF":
        return 16
    signed = picture.tag_v2.get(TIFF_FORMAT, (1,))[0] != 1
    return 0 if signed else picture.tag_v2[TIFF_BITS][0]


def _from_others(file: Path) -> np.ndarray:
    """What Pillow does not know: floating point with colours or 64 bits."""
    suffix = file.suffix.lower()
    if suffix in TIFFS:
        _require_size(file, *_size_of_tiff(file))
        values = cv2.imdecode(np.fromfile(file, np.uint8), cv2.IMREAD_UNCHANGED)
        if values is not None:
            colours = values[..., 2::-1] if values.ndim == 3 and values.shape[2] >= 3 else values
            return _eight_bits(file, colours, 8 * values.itemsize if values.dtype.kind == "u" else 0)
    elif suffix in CODECS:
        return _from_ffmpeg(file, CODECS[suffix])
    raise VideoError(f"{file}: damaged or not a picture: replace the file")


def _from_ffmpeg(file: Path, codec: str) -> np.ndarray:
    decoder = av.CodecContext.create(codec, "r")
    decoder.options, decoder.thread_count = {"max_pixels": str(LARGEST)}, 1
    for frame in [*decoder.decode(av.Packet(file.read_bytes())), *decoder.decode(None)]:
        values = _values(frame)
        return _eight_bits(file, values, 8 * values.itemsize)
    raise VideoError(f"{file}: damaged or not a picture: replace the file")


def _size_of_tiff(file: Path) -> tuple[int, int]:
    """(W, H) as the first directory of a TIFF file has it."""
    with file.open("rb") as tiff:
        header = tiff.read(8)
        header += tiff.read(8) if header[2:3] == b"+" or header[3:4] == b"+" else b""  # BigTIFF
        directory = ImageFileDirectory_v2(header)
        tiff.seek(directory.next)
        directory.load(tiff)
    return directory[TIFF_WIDTH], directory[TIFF_HEIGHT]


def _values(frame: av.VideoFrame) -> np.ndarray:
    """(H, W) or (H, W, 3) RGB of a decoded picture, in the type that it has."""
    if "f16" not in frame.format.name:
        kept = frame.format.name.startswith(("gray", "rgb", "gbr"))
        values = frame.to_ndarray(format=None if kept else "rgb24")
        return values[..., :3] if values.ndim == 3 else values
    planes = [  # half precision, which PyAV does not convert
        np.frombuffer(plane, "<f2").reshape(frame.height, -1)[:, : frame.width] for plane in frame.planes[:3]
    ]
    return planes[0] if len(planes) == 1 else np.stack([planes[2], *planes[:2]], -1)  # from GBR


def _eight_bits(file: Path, values: np.ndarray, bits: int = 0) -> np.ndarray:
    """(H, W) or (H, W, 3) → (H, W, 3) uint8; `bits` of unsigned integers."""
    if values.dtype.kind == "f":
        with np.errstate(all="ignore"):
            levels = np.rint(np.float32(255) * values)
        if not ((levels >= 0) & (levels <= 255)).all():  # NaN is neither
            raise _without_scale(file, f"floating-point values from {values.min():g} to {values.max():g}")
    elif 8 <= bits <= 16:
        levels = values >> (bits - 8)
    else:
        raise _without_scale(file, f"{bits} bits" if bits else "integers with a sign")
    levels = levels.astype(np.uint8)
    return np.ascontiguousarray(levels if levels.ndim == 3 else np.repeat(levels[..., None], 3, axis=2))


def _without_scale(file: Path, what: str) -> VideoError:
    return VideoError(
        f"{file}: {what}, but expected 8 or 16 bits, or floating point from 0 (black) to 1 (white): convert "
        "all pictures of the folder alike"
    )
