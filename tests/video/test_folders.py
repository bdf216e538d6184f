"""mmvs.video.folders: the pictures of a folder in the order of their numbers, and nothing else of it."""

import os
import random

import numpy as np
import pytest
from PIL import Image

from mmvs.video.container import VideoError
from mmvs.video.folders import frame_size, in_order, pictures, read_frames
from mmvs.video.stream import open_video

ORDERS = {
    "unpadded": "1 2 3 9 10 11 100",
    "padded": "0000 0001 0002 0010",
    "mixed padding": "008 9 010 11",
    "decimals": "0 0.25 0.5 0.75 1 1.25 10.5",
    "decimal commas": "0,5 0,75 1,0 10,5",
    "exponents": "1e-05 1e-1 0.5 2.5e+1 1.0e+2",
    "negative": "-10 -2.5 -1 0 +1 2",
    "negative behind a mark": "t=-1 t=-0.5 t=0 t=3",
    "hyphens are no signs": "frame-1 frame-2 frame-10",
    "dates": "2023-12-31 2024-01-05 2024-01-10 2024-02-01",
    "times": "2024-01-01T09:59:59.5 2024-01-01T10:00:00.25 2024-01-01T10:00:00.5",
    "versions": "v1.2.9 v1.2.10 v1.10.1",
    "several numbers": "cam1_2 cam1_10 cam2_1 cam10_1",
    "upper and lower case": "Frame1 frame2 FRAME3 frame10",
    "a copy's brackets": "frame frame(1) frame(2) frame(10)",
    "Arabic digits": "١ ٢ ١٠",
    "wide digits": "１ 2 １０",
    "superscripts": "x² x³ x¹⁰",
    "long": "9999999999999999999 10000000000000000000 10000000000000000001",
    "no numbers": "a B c",
    "seasons": "S01E02 S01E10 S02E01",
}


@pytest.mark.parametrize("kind", ORDERS)
def test_numbers_count_however_they_are_written(tmp_path, kind):
    names = ORDERS[kind].split()
    suffixes = [".png", ".PNG", ".jpg", ".Jpeg"]
    files = [f"{name}{suffixes[k % 4]}" for k, name in enumerate(names)]
    for file in random.Random(0).sample(files, len(files)):
        (tmp_path / file).touch()
    assert [path.name for path in in_order(tmp_path)] == files


@pytest.mark.parametrize(
    "two",
    [("a1.jpg", "a1.png"), ("frame_1.png", "frame_01.png"), ("0.5.png", "0.50.png"), ("A1.png", "a01.PNG"),
     ("1.png", "１.jpg"), ("cover.jpg", "cover.png")],
)  # fmt: skip
def test_two_pictures_of_one_number_are_named(tmp_path, two):
    for name in two:
        (tmp_path / name).touch()
    with pytest.raises(VideoError) as error:
        in_order(tmp_path)
    assert all(name in str(error.value) for name in (*two, "same number", "keep one of them"))


STRAY = (
    "notes.pdf masks.h5 clip.mpg Thumbs.db desktop.ini ._00001.png .DS_Store .hidden.png 00001.txt "
    "00001.png.part archive.zip icon.ico README noise.h264"
).split()


@pytest.fixture
def folder(tmp_path):
    """Three frames, of grey 0, 40 and 80, and much else."""
    for k in range(3):
        Image.new("RGB", (32, 24), (40 * k,) * 3).save(tmp_path / f"{k + 1:05d}.png")
    for name in STRAY:
        (tmp_path / name).write_bytes(os.urandom(99))
    for name in ("__MACOSX", "sub.png", "00009.png.d"):
        (tmp_path / name).mkdir()
    (tmp_path / "__MACOSX" / "._00001.png").touch()
    return tmp_path


def test_other_files_are_neither_frames_nor_damage(folder):
    source = open_video(folder)
    assert [frame.mean() for _, frame in source] == [0, 40, 80]
    assert source.count == 3 and source.damage == ""
    assert [path.name for path in pictures(folder)] == ["00001.png", "00002.png", "00003.png"]
    assert read_frames(folder, [2, 0, 2])[:, 0, 0, 0].tolist() == [80, 0, 80]


def test_damage_names_the_first_file_and_keeps_the_times_of_the_others(folder):
    torn = (folder / "00003.png").read_bytes()[:60]
    (folder / "00002.png").write_bytes(torn)
    (folder / "00004.png").symlink_to("gone.png")
    os.mkfifo(folder / "00005.png")
    Image.new("RGB", (24, 32), (200,) * 3).save(folder / "00006.png")
    Image.new("RGB", (32, 24), (240,) * 3).save(folder / "00007.png")
    source = open_video(folder, fps=10)
    times, frames = zip(*source, strict=True)
    assert np.allclose(times, [0, 0.2, 0.6]) and [frame.mean() for frame in frames] == [0, 80, 240]
    assert source.damage.startswith("4 of 7 pictures are left out") and "00002.png: damaged" in source.damage


def test_a_picture_of_another_size_is_named(folder):
    Image.new("RGB", (32, 25)).save(folder / "00003.png")
    source = open_video(folder)
    assert len(list(source)) == 2
    assert "00003.png: is (25, 32) (H, W), but 00001.png is (24, 32)" in source.damage
    with pytest.raises(VideoError, match=r"00003.png: frames are of different sizes, \(25, 32\) here"):
        read_frames(folder, range(3))


def test_without_a_picture_it_says_what_there_is(tmp_path):
    with pytest.raises(VideoError, match=r"holds no picture \(.png, .jpg, .tiff, ...\)$"):
        open_video(tmp_path)
    (tmp_path / "IMG_1.HEIC").touch()
    with pytest.raises(
        VideoError, match="holds no picture .*; what it holds, such as IMG_1.HEIC, is something"
    ):
        open_video(tmp_path)
    (tmp_path / "1.png").touch()
    with pytest.raises(VideoError, match=r"no frame that decodes: 1 of 1 pictures .*1.png: damaged"):
        open_video(tmp_path)


def test_16_bits_have_one_rule_for_all_frames(tmp_path):
    """A fade: every frame's brightest pixel is another one."""
    for k in range(4):
        values = np.linspace(0, 65535 >> k, 512).astype(np.uint16).reshape(16, 32)
        Image.fromarray(values).save(tmp_path / f"{k}.png")
    assert [frame.max() for _, frame in open_video(tmp_path)] == [255, 127, 63, 31]


def touched(folder, *names):
    for name in names:
        (folder / name).touch()
    return [path.name for path in pictures(folder)]


def test_frames_of_a_data_set_have_no_gap(tmp_path):
    assert touched(tmp_path, "1.png", "00002.PNG", "003.png", "cover.png", "._00004.png") == [
        "1.png",
        "00002.PNG",
        "003.png",
    ]
    with pytest.raises(VideoError, match=r"1 of 5 frames are missing \(00004.png\)"):
        touched(tmp_path, "00005.png")
    with pytest.raises(VideoError, match=r"9999999994 of 9999999999 .*\(00004.png, 00006.png, 00007.png\)"):
        touched(tmp_path, "9999999999.png")
    with pytest.raises(VideoError, match="00001.png and 1.png are of the same number"):
        touched(tmp_path, "00001.png")


def test_frames_of_a_data_set_begin_at_0_or_1_and_jpegs_may_have_gaps(tmp_path):
    (tmp_path / "a").mkdir(), (tmp_path / "b").mkdir()
    assert touched(tmp_path / "a", "00000.png", "00001.png") == ["00000.png", "00001.png"]
    assert touched(tmp_path / "b", "00010.jpg", "00005.JPG", "._00000.jpg", "x.png") == [
        "00005.JPG",
        "00010.jpg",
    ]


def test_a_data_set_reads_its_pictures_upright(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    values = np.arange(96, dtype=np.uint8).reshape(8, 12)
    Image.fromarray(values).save(tmp_path / "1.png", exif=exif)
    assert frame_size(tmp_path) == (12, 8)
    np.testing.assert_array_equal(read_frames(tmp_path, [0])[0, ..., 0], np.rot90(values, -1))
    np.testing.assert_array_equal(next(iter(open_video(tmp_path)))[1], read_frames(tmp_path, [0])[0])


def test_seconds_are_the_frames_of_a_data_set_too(tmp_path):
    names = ["0", "0.25", "0.5", "0.75", "1", "1.25"]
    for level, name in enumerate(names):
        Image.new("L", (8, 6), 40 * level).save(tmp_path / f"{name}.png")
    assert [path.stem for path in pictures(tmp_path)] == names
    assert read_frames(tmp_path, range(6)).mean((1, 2, 3)).tolist() == [0, 40, 80, 120, 160, 200]
