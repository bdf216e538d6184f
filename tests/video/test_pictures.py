"""One picture as a frame: scaled, never clipped; upright; refused where damaged, huge or without a scale."""

import os
import struct
import zlib

import cv2
import numpy as np
import pytest
from PIL import Image

from mmvs.video.files import VideoError
from mmvs.video.pictures import LARGEST, picture_size, read_picture

RAMP = np.arange(256, dtype=np.uint8).reshape(16, 16)


def grey(picture: np.ndarray) -> np.ndarray:
    assert (picture[..., :1] == picture).all(), "all three channels are equal"
    return picture[..., 0]


def test_sixteen_bits_keep_all_their_levels(tmp_path):
    Image.fromarray(RAMP.astype(np.uint16) * 256 + 77).save(tmp_path / "grey.png")
    assert (grey(read_picture(tmp_path / "grey.png")) == RAMP).all()
    for name in ("colour.png", "colour.tiff"):
        colours = np.stack([RAMP, RAMP.T, 255 - RAMP], -1)  # RGB
        cv2.imwrite(str(tmp_path / name), colours[..., ::-1].astype(np.uint16) * 257)
        read = read_picture(tmp_path / name).astype(int)
        assert abs(read - colours).max() <= 1, name


def test_floating_point_is_a_share_of_white(tmp_path):
    Image.fromarray(RAMP.astype(np.float32) / 255).save(tmp_path / "share.tiff")
    assert (grey(read_picture(tmp_path / "share.tiff")) == RAMP).all()
    for name, value in (("bright.tiff", 1.5), ("nan.tiff", np.nan), ("below.tiff", -0.5)):
        Image.fromarray(np.full((4, 4), value, np.float32)).save(tmp_path / name)
        with pytest.raises(VideoError, match=f"{name}: floating-point values .* expected"):
            read_picture(tmp_path / name)


@pytest.mark.parametrize("mode", ["1", "L", "P", "LA", "RGBA", "CMYK"])
def test_every_mode_becomes_rgb(tmp_path, mode):
    picture = Image.new("RGB", (6, 4), (255, 255, 255))
    file = tmp_path / ("picture.tiff" if mode == "CMYK" else "picture.png")
    picture.convert(mode).save(file)
    assert (read_picture(file) == 255).all() and read_picture(file).shape == (4, 6, 3)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_pictures_stand_upright(tmp_path, orientation):
    upright = np.zeros((2, 4, 3), np.uint8)
    upright[0, 0] = 255  # white at the top left
    stored = {  # what EXIF says of each orientation, undone
        1: upright, 2: upright[:, ::-1], 3: upright[::-1, ::-1], 4: upright[::-1],
        5: upright.transpose(1, 0, 2), 6: np.rot90(upright), 7: np.rot90(upright, 2).transpose(1, 0, 2),
        8: np.rot90(upright, -1),
    }[orientation]  # fmt: skip
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(np.ascontiguousarray(stored)).save(tmp_path / "turned.png", exif=exif)
    assert (read_picture(tmp_path / "turned.png") == upright).all()
    assert picture_size(tmp_path / "turned.png") == (2, 4)


def test_a_huge_picture_is_refused_before_it_is_read(tmp_path):
    """A PNG of a few bytes that says it is 60,000 pixels wide and high."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return (
            struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
        )

    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    chunks = chunk(b"IHDR", header), chunk(b"IDAT", zlib.compress(b"")), chunk(b"IEND", b"")
    (tmp_path / "huge.png").write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(chunks))
    assert 60_000**2 > LARGEST
    for ask in (read_picture, picture_size):
        with pytest.raises(VideoError, match=r"huge\.png: (60000 x 60000|too large).*shrink"):
            ask(tmp_path / "huge.png")


@pytest.mark.parametrize("kind", ["torn", "empty", "text", "missing", "folder", "pipe"])
def test_what_is_no_picture_is_named(tmp_path, kind):
    file = tmp_path / "no.png"
    if kind == "torn":
        noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
        Image.fromarray(noise).save(file)
        file.write_bytes(file.read_bytes()[:5000])
    elif kind in ("empty", "text"):
        file.write_text("" if kind == "empty" else "not a picture")
    elif kind == "folder":
        file.mkdir()
    elif kind == "pipe":
        os.mkfifo(file)
    with pytest.raises(VideoError, match=r"no\.png: "):
        read_picture(file)
