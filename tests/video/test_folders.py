"""Folders of pictures: in the order of the numbers in their names, other files passed over."""

import numpy as np
import pytest
from PIL import Image

from mmvs.video import frames
from mmvs.video.files import VideoError
from mmvs.video.folders import in_order
from mmvs.video.stream import open_video


def picture(file, level: int = 0, size=(8, 6)) -> None:
    file.parent.mkdir(exist_ok=True)
    Image.new("L", size, level).save(file)


@pytest.mark.parametrize(
    "names",
    [
        ["0.png", "0.25.png", "0.5.png", "0.75.png", "1.png", "1.25.png", "10.png"],  # seconds
        ["frame9.jpg", "Frame10.JPG", "frame11.jpg", "FRAME100.jpg"],
        ["1.png", "02.png", "0003.png", "10.png"],
        ["shot1_frame2.png", "shot1_frame10.png", "shot2_frame1.png", "shot10_frame1.png"],
        ["2024-01-05.png", "2024-02-01.png", "2024-10-01.png"],
        ["a.png", "B.png", "c.png"],
        ["1e-05.png", "0.001.png", "1.5.png"],
        ["v1.2.9.png", "v1.2.10.png", "v1.10.1.png"],
    ],
)
def test_numbers_in_names_decide_the_order(tmp_path, names):
    for level, name in enumerate(names):
        picture(tmp_path / name, 20 * level)
    assert [file.name for file in in_order(tmp_path)] == names
    source = open_video(tmp_path)
    assert [round(frame.mean() / 20) for _, frame in source] == list(range(len(names)))
    assert not source.damage and source.count == len(names)


def test_seconds_are_the_frames_of_a_data_set_too(tmp_path):
    for level, name in enumerate(["0", "0.25", "0.5", "0.75", "1", "1.25"]):
        picture(tmp_path / f"{name}.png", 40 * level)
    assert frames.frame_count(tmp_path) == 6
    levels = frames.read_frames(tmp_path, range(6)).mean((1, 2, 3))
    assert levels.tolist() == [0, 40, 80, 120, 160, 200]


def test_other_files_are_no_damage(tmp_path):
    for number in range(3):
        picture(tmp_path / f"{number:05d}.jpg")
    for name in ("notes.pdf", "masks.h5", "clip.mpg", "Thumbs.db", "desktop.ini", ".DS_Store", "._00000.jpg"):
        (tmp_path / name).write_bytes(b"\0\5\26\7 something else")
    (tmp_path / "__MACOSX").mkdir()
    (tmp_path / "more.png").mkdir()
    source = open_video(tmp_path)
    assert len(list(source)) == source.count == frames.frame_count(tmp_path) == 3 and not source.damage


def test_a_picture_that_cannot_be_shown_is_named_and_the_others_stay(tmp_path):
    for number in range(4):
        picture(tmp_path / f"{number}.png", size=(8, 6) if number != 2 else (9, 6))
    (tmp_path / "1.png").write_bytes(b"torn")
    source = open_video(tmp_path)
    assert [round(25 * seconds) for seconds, _ in source] == [0, 3], "they keep their times"
    assert "2 of 4 pictures are left out" in source.damage and "1.png" in source.damage


def test_folders_without_an_order_are_refused(tmp_path):
    (tmp_path / "notes.pdf").touch()
    with pytest.raises(VideoError, match=r"holds no picture.*notes\.pdf"):
        open_video(tmp_path)
    picture(tmp_path / "1.png")
    picture(tmp_path / "01.png")
    with pytest.raises(VideoError, match=r"01\.png and 1\.png are of the same number"):
        open_video(tmp_path)


def test_the_shape_is_that_of_the_pictures(tmp_path):
    picture(tmp_path / "1.png")
    assert np.shape(next(iter(open_video(tmp_path)))[1]) == (6, 8, 3) == (*frames.frame_size(tmp_path), 3)
