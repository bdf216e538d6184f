"""Masks as pictures: palette, grey, bits and colours, each by one rule for a video, which is said aloud."""

import numpy as np
import pytest
from own_videos import SIZE, masks, square
from PIL import Image

from mmvs.data.csv_files import DataError
from mmvs.data.own import mask_pictures

NAMES = ["00000.png", "00001.png"]


def objects(labels, t=1):
    return {name: draw(SIZE) for name, draw in labels.frames[t].objects}


def test_a_palettes_indices_are_numbers(tmp_path):
    masks(tmp_path / "m" / "street", NAMES)
    labels = mask_pictures.read(tmp_path / "m")
    assert not labels.notes and (labels.frames[1].video, labels.frames[1].frame) == ("street", "00001")
    found = objects(labels)
    assert list(found) == ["1", "2"]
    np.testing.assert_array_equal(found["1"], square(1))
    np.testing.assert_array_equal(found["2"], square(1, 20))


@pytest.mark.parametrize("mode", ["L", "1", "LA", "P"])
def test_0_and_255_are_one_object(tmp_path, mode):
    masks(tmp_path, NAMES, "L")
    for name in NAMES:
        with Image.open(tmp_path / name) as picture:
            values = picture.copy() if mode != "P" else Image.fromarray(np.asarray(picture)).convert("P")
        values.convert(mode).save(tmp_path / name)
    labels = mask_pictures.read(tmp_path)
    assert labels.frames[0].video is None and "one object, number 1" in labels.notes[0]
    np.testing.assert_array_equal(objects(labels)["1"], square(1))


def test_255_beside_numbers_is_void(tmp_path):
    values = square(0) * 1 + square(0, 20) * 255
    Image.fromarray(values.astype(np.uint8)).save(tmp_path / "0.png")
    assert list(objects(mask_pictures.read(tmp_path), 0)) == ["1", "void"]


def test_colours_are_objects_and_those_of_davis_have_its_numbers(tmp_path):
    masks(tmp_path, NAMES, "RGB")
    labels = mask_pictures.read(tmp_path)
    assert "objects #fafa00, 1" in labels.notes[0]
    np.testing.assert_array_equal(objects(labels)["#fafa00"], square(1))
    np.testing.assert_array_equal(objects(labels)["1"], square(1, 20))


def test_the_palette_is_davis():
    colours = mask_pictures.palette()
    assert colours[:4].tolist() == [[0, 0, 0], [128, 0, 0], [0, 128, 0], [128, 128, 0]]
    assert colours[255].tolist() == [224, 224, 192]


@pytest.mark.parametrize("mode, named", [("L", "grey values: were the edges"), ("RGB", "colours: were the")])
def test_smoothed_edges_are_refused(tmp_path, mode, named):
    values = np.arange(32 * 48, dtype=np.uint16).reshape(SIZE).astype(np.uint8)
    Image.fromarray(values).convert(mode).save(tmp_path / "0.png")
    labels = mask_pictures.read(tmp_path)
    assert not labels.frames and named in labels.faults[0]


def test_what_is_damaged_lossy_or_too_large_is_named(tmp_path):
    masks(tmp_path, NAMES)
    (tmp_path / "00002.png").write_bytes((tmp_path / NAMES[0]).read_bytes()[:40])
    Image.fromarray(np.zeros(SIZE, np.uint8)).save(tmp_path / "00003.jpg")
    labels = mask_pictures.read(tmp_path)
    assert len(labels.frames) == 2
    assert "1 masks as JPEG or WebP, such as 00003.jpg" in labels.faults[0]
    assert "00002.png: damaged" in labels.faults[1]
    Image.fromarray(np.full(SIZE, 300, np.uint16)).save(tmp_path / "00004.png")
    assert "the value 300: numbers of objects are 1 to 254" in mask_pictures.read(tmp_path).faults[2]


def test_a_folder_without_masks_is_refused(tmp_path):
    with pytest.raises(DataError, match="holds no masks"):
        mask_pictures.read(tmp_path)
