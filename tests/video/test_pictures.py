"""mmvs.video.pictures: every kind of picture becomes the frame that a viewer shows, or is refused by name."""

import os
import resource
import struct
import zlib

import cv2
import numpy as np
import pytest
from PIL import Image

from mmvs.video.container import VideoError
from mmvs.video.pictures import LARGEST, picture_size, read_picture

RAMP = np.arange(256, dtype=np.uint8).reshape(8, 32)
COLOURS = np.stack([RAMP, RAMP[::-1], RAMP.T.reshape(8, 32)], -1)  # red, green, blue
GREY = np.repeat(RAMP[..., None], 3, axis=2)


def saved(path, values, **options):
    """Write RGB or grey values of any type by OpenCV, which keeps them."""
    assert cv2.imwrite(str(path), values[..., ::-1] if values.ndim == 3 else values, **options)
    return path


def large(values):
    """Every pixel eight times as wide and high: JPEG 2000 wants more than a few."""
    return values.repeat(8, axis=0).repeat(8, axis=1)


@pytest.mark.parametrize("suffix", [".png", ".tiff", ".pgm", ".ppm", ".jp2"])
@pytest.mark.parametrize(("values", "expected"), [(RAMP, GREY), (COLOURS, COLOURS)], ids=["grey", "colours"])
def test_16_bits_are_scaled_by_one_rule(tmp_path, suffix, values, expected):
    """v * 256 + noise >> 8 is v, whatever else is in the picture: a dark frame stays dark."""
    if suffix == (".ppm" if values.ndim == 2 else ".pgm"):
        pytest.skip("PGM is grey, PPM has colours")
    noise = np.random.default_rng(0).integers(0, 256, large(values).shape, dtype=np.uint16)
    bright = large(values).astype(np.uint16) << 8 | noise
    options = {"params": [cv2.IMWRITE_JPEG2000_COMPRESSION_X1000, 1000]} if suffix == ".jp2" else {}
    read = read_picture(saved(tmp_path / f"a{suffix}", bright, **options))
    nearest = suffix == ".ppm"  # as Pillow has it
    assert np.abs(read.astype(int) - large(expected)).max() <= nearest
    dark = read_picture(saved(tmp_path / f"b{suffix}", bright >> 4, **options))
    assert dark.max() == 15 + nearest and dark.dtype == np.uint8


def tiff(byteorder, bits, content):
    """A grey TIFF file of 4 x 1 pixels."""
    tags = {256: 4, 257: 1, 258: bits, 259: 1, 262: 1, 273: 8, 277: 1, 278: 1, 279: len(content)}
    directory = b"".join(struct.pack(f"{byteorder}HHIHH", tag, 3, 1, value, 0) for tag, value in tags.items())
    header = b"II*\0" if byteorder == "<" else b"MM\0*"
    begin = struct.pack(f"{byteorder}IH", 8 + len(content), len(tags))
    return header + begin[:4] + content + begin[4:] + directory + bytes(4)


@pytest.mark.parametrize(
    ("byteorder", "bits", "content"),
    [
        ("<", 12, b"\x00\x0f\xff\x80\x01\x0f"),
        ("<", 16, b"\0\0\xff\xff\0\x80\xff\x10"),
        (">", 16, b"\0\0\xff\xff\x80\0\x10\xff"),
    ],
)
def test_tiff_of_both_byte_orders_and_twelve_bits(tmp_path, byteorder, bits, content):
    (tmp_path / "a.tif").write_bytes(tiff(byteorder, bits, content))
    assert read_picture(tmp_path / "a.tif")[0, :, 0].tolist() == [0, 255, 128, 16]


@pytest.mark.parametrize("suffix", [".tiff", ".hdr", ".pfm"])
def test_floating_point_from_0_to_1(tmp_path, suffix):
    colours = COLOURS.astype(np.float32) / 255
    read = read_picture(saved(tmp_path / f"a{suffix}", colours))
    assert np.abs(read.astype(int) - COLOURS).max() <= (
        2 if suffix == ".hdr" else 0
    )  # HDR: 8 bits and a scale
    if suffix != ".hdr":
        for kind in (np.float32, np.float64) if suffix == ".tiff" else (np.float32,):
            np.testing.assert_array_equal(
                read_picture(saved(tmp_path / f"b{suffix}", RAMP.astype(kind) / 255)), GREY
            )


def exr(path, values):
    """Write OpenEXR, uncompressed, by hand: OpenCV does so only where the environment allows it."""

    def attribute(name, kind, value):
        return f"{name}\0{kind}\0".encode() + struct.pack("<i", len(value)) + value

    height, width = values.shape[:2]
    kind = {"e": 1, "f": 2}[values.dtype.char]
    names = "BGR" if values.ndim == 3 else "Y"
    channels = b"".join(struct.pack("<2siBxxxii", name.encode(), kind, 0, 1, 1) for name in names)
    window, one = struct.pack("<4i", 0, 0, width - 1, height - 1), struct.pack("<f", 1)
    header = b"\x76\x2f\x31\x01\2\0\0\0" + b"".join(
        [
            attribute("channels", "chlist", channels + b"\0"),
            attribute("compression", "compression", b"\0"),
            attribute("dataWindow", "box2i", window),
            attribute("displayWindow", "box2i", window),
            attribute("lineOrder", "lineOrder", b"\0"),
            attribute("pixelAspectRatio", "float", one),
            attribute("screenWindowCenter", "v2f", bytes(8)),
            attribute("screenWindowWidth", "float", one),
            b"\0",
        ]
    )
    rows = [(row.T[::-1] if values.ndim == 3 else row).tobytes() for row in values]
    begin, step = len(header) + 8 * height, 8 + len(rows[0])
    offsets = struct.pack(f"<{height}q", *range(begin, begin + step * height, step))
    lines = b"".join(struct.pack("<ii", y, len(row)) + row for y, row in enumerate(rows))
    path.write_bytes(header + offsets + lines)
    return path


@pytest.mark.parametrize("kind", [np.float16, np.float32])
@pytest.mark.parametrize(("values", "expected"), [(RAMP, GREY), (COLOURS, COLOURS)], ids=["grey", "colours"])
def test_open_exr_of_whole_and_half_precision(tmp_path, kind, values, expected):
    path = exr(tmp_path / "a.exr", (values.astype(np.float32) / 255).astype(kind))
    np.testing.assert_array_equal(read_picture(path), expected)
    assert picture_size(path) == RAMP.shape


@pytest.mark.parametrize("beyond", [255.0, 1.01, -0.5, np.nan, np.inf])
@pytest.mark.parametrize("colours", [False, True])
def test_floating_point_of_another_scale_is_refused_with_the_scale(tmp_path, beyond, colours):
    values = np.full((4, 6, 3) if colours else (4, 6), 0.5, np.float32)
    values[1, 1] = beyond
    with pytest.raises(VideoError, match=r"a.tiff: floating-point values from .* from 0 \(black\) to 1"):
        read_picture(saved(tmp_path / "a.tiff", values))


@pytest.mark.parametrize("kind", [np.int16, np.int32])
def test_integers_without_a_scale_are_refused(tmp_path, kind):
    with pytest.raises(VideoError, match="a.tiff: integers with a sign, but expected 8 or 16 bits"):
        read_picture(saved(tmp_path / "a.tiff", RAMP.astype(kind)))


def test_palettes_one_bit_cmyk_and_alpha(tmp_path):
    picture = Image.fromarray(COLOURS)
    palette = picture.quantize(16)
    palette.save(tmp_path / "palette.png")
    picture.convert("CMYK").save(tmp_path / "cmyk.tiff")
    Image.fromarray(RAMP > 127).save(tmp_path / "bit.png")
    Image.fromarray(RAMP).convert("LA").save(tmp_path / "grey-alpha.png")
    picture.putalpha(Image.fromarray(255 - RAMP))
    picture.save(tmp_path / "alpha.png")
    picture.save(tmp_path / "alpha.tga")
    for name, expected in {
        "palette.png": np.asarray(palette.convert("RGB")),
        "cmyk.tiff": COLOURS,
        "bit.png": (GREY > 127) * 255,
        "grey-alpha.png": GREY,
        "alpha.png": COLOURS,
        "alpha.tga": COLOURS,
    }.items():
        np.testing.assert_array_equal(read_picture(tmp_path / name), expected, err_msg=name)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("name", ["a.png", "a.tiff", "a.webp"])
@pytest.mark.parametrize(
    "values", [RAMP, COLOURS, RAMP.astype(np.uint16) << 8], ids=["grey", "colours", "16 bits"]
)
def test_exif_says_which_side_is_up(tmp_path, name, values, orientation):
    if name == "a.webp" and values.dtype != np.uint8:
        pytest.skip("WebP has 8 bits")
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(values).save(tmp_path / name, exif=exif, **{"lossless": True} if name == "a.webp" else {})
    upright = {  # EXIF 2.3, table 6: where row 0 and column 0 are
        1: lambda x: x, 2: lambda x: x[:, ::-1], 3: lambda x: x[::-1, ::-1], 4: lambda x: x[::-1],
        5: lambda x: x.swapaxes(0, 1), 6: lambda x: np.rot90(x, -1),
        7: lambda x: x[::-1, ::-1].swapaxes(0, 1), 8: lambda x: np.rot90(x),
    }[orientation](COLOURS if values.ndim == 3 else GREY)  # fmt: skip
    np.testing.assert_array_equal(read_picture(tmp_path / name), upright)
    assert picture_size(tmp_path / name) == upright.shape[:2]


def png(width, height):
    """The header of a PNG file, and no pixels."""

    def chunk(name, content):
        return (
            struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))
        )

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(b""))
        + chunk(b"IEND", b"")
    )


def huge_tiff(path):
    content = bytearray(saved(path, np.zeros((7, 5, 3), np.float32)).read_bytes())
    for tag, value in ((256, 60000), (257, 60000)):
        place = content.index(struct.pack("<HHI", tag, 3, 1))
        content[place + 8 : place + 10] = struct.pack("<H", value)
    return bytes(content)


def huge_exr(path):
    content = exr(path, np.zeros((7, 5, 3), np.float32)).read_bytes()
    return content.replace(struct.pack("<4i", 0, 0, 4, 6), struct.pack("<4i", 0, 0, 59_999, 59_999))


SIDES = struct.pack("<HH", 60_000, 60_000)
HUGE = {
    "a.png": lambda _: png(60_000, 60_000),
    "b.png": lambda _: png(9_000, 9_000),
    "a.bmp": lambda _: b"BM" + struct.pack("<4I2i2H6I", 54, 0, 54, 40, 60_000, 60_000, 1, 24, *[0] * 6),
    "a.gif": lambda _: b"GIF89a" + SIDES + bytes(3) + b"," + bytes(4) + SIDES + b"\0",
    "a.pgm": lambda _: b"P5 60000 60000 255\n",
    "a.tiff": huge_tiff,
    "a.hdr": lambda _: b"#?RADIANCE\nFORMAT=32-bit_rle_rgbe\n\n-Y 60000 +X 60000\n" + bytes(99),
    "a.pfm": lambda _: b"PF\n60000 60000\n-1\n" + bytes(99),
    "a.exr": huge_exr,
}


@pytest.mark.parametrize("name", HUGE)
@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_huge_sizes_are_refused_before_they_take_memory(tmp_path, name):
    (tmp_path / name).write_bytes(HUGE[name](tmp_path / name))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for ask in (read_picture, picture_size):
        with pytest.raises(VideoError, match=f"{name}: .*: (shrink|replace)"):
            ask(tmp_path / name)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000  # kB
    assert LARGEST >= 7680 * 4320


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".tiff", ".bmp", ".webp", ".gif", ".tga"])
def test_torn_pictures_are_damage(tmp_path, suffix):
    path = tmp_path / f"a{suffix}"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (32, 32, 3), np.uint8)).save(path)
    whole = path.read_bytes()
    for content in (whole[: len(whole) // 2], whole[:20], b"", b"no picture", os.urandom(999)):
        path.write_bytes(content)
        with pytest.raises(VideoError, match=f"a{suffix}: damaged"):
            read_picture(path)


def test_a_changed_bit_of_a_png_is_damage(tmp_path):
    path, random = tmp_path / "a.png", np.random.default_rng(0)
    Image.fromarray(COLOURS).save(path)
    whole = path.read_bytes()
    for place in random.integers(whole.index(b"IDAT"), len(whole) - 12, 100):  # 12: the end's own chunk
        content = bytearray(whole)
        content[place] ^= 1 << random.integers(8)
        path.write_bytes(content)
        with pytest.raises(VideoError, match=r"a.png: damaged"):
            read_picture(path)


@pytest.mark.parametrize(
    "name", ["a.png", "a.jpg", "a.tiff", "a.webp", "a.gif", "a.pgm", "a.exr", "a.hdr", "f.tiff"]
)
def test_damaged_bytes_give_one_kind_of_error(tmp_path, name):
    path = tmp_path / name
    if name == "a.exr":
        exr(path, COLOURS.astype(np.float16) / 255)
    elif name in ("a.hdr", "f.tiff"):
        saved(path, COLOURS.astype(np.float32) / 255)
    else:
        Image.fromarray(RAMP if name == "a.pgm" else COLOURS).save(path)
    whole, random = path.read_bytes(), np.random.default_rng(0)
    for _ in range(60):
        content = bytearray(whole)
        for place in random.integers(0, len(whole), random.integers(1, 9)):
            content[place] = random.integers(256)
        path.write_bytes(content)
        try:
            read_picture(path)
        except VideoError as error:
            assert str(path) in str(error)


def test_what_is_no_file_is_refused_and_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe.png")
    (tmp_path / "folder.png").mkdir()
    (tmp_path / "loop.png").symlink_to(tmp_path / "loop.png")
    for name, reason in (("pipe", "not a regular"), ("folder", "not a regular"), ("loop", "cannot be opened"),
                         ("gone", "cannot be opened")):  # fmt: skip
        with pytest.raises(VideoError, match=f"{name}.png: {reason}"):
            read_picture(tmp_path / f"{name}.png")


def test_a_list_of_other_files_is_no_picture(tmp_path):
    Image.fromarray(COLOURS).save(tmp_path / "secret.png")
    for name in ("a.png", "a.exr", "a.hdr", "a.tiff"):
        (tmp_path / name).write_text(f"ffconcat version 1.0\nfile {tmp_path / 'secret.png'}\n")
        with pytest.raises(VideoError, match=f"{name}: damaged"):
            read_picture(tmp_path / name)
