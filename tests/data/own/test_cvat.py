"""CVAT's XML: pixels drawn by hand, and who is who."""

import numpy as np
import pytest

from mmvs.data.csv_files import DataError
from mmvs.data.own import cvat

SIZE = (20, 30)
META = (
    "<version>1.1</version><meta><task><id>3</id><source>street.mp4</source>"
    "<original_size><width>30</width><height>20</height></original_size></task></meta>"
)
SQUARE = "2.0,3.0;8.0,3.0;8.0,9.0;2.0,9.0"


def read(body, meta=META):
    return cvat.read(f"<annotations>{meta}{body}</annotations>".encode(), "a.xml")


def picture(shapes):
    return f'<image name="0.png" width="30" height="20">{shapes}</image>'


def track(number, label, *shapes):
    return f'<track id="{number}" label="{label}">{"".join(shapes)}</track>'


def polygon(frame, points=SQUARE, outside=0, key=1):
    return f'<polygon frame="{frame}" outside="{outside}" keyframe="{key}" points="{points}" z_order="0"/>'


def test_a_polygon_in_a_picture():
    body = (
        '<image id="0" name="street/00007.jpg" width="30" height="20">'
        f'<polygon label="car" points="{SQUARE}"/></image><image id="1" name="b.jpg" width="1" height="1"/>'
    )
    (frame,) = read(body).frames  # a picture without shapes is not labelled
    assert (frame.video, frame.frame, frame.size) == (None, "street/00007.jpg", SIZE)
    ((name, draw),) = frame.objects
    expected = np.zeros(SIZE, bool)
    expected[3:9, 2:8] = True
    assert name == "car"
    np.testing.assert_array_equal(draw(SIZE), expected)


def test_a_brush_mask_is_run_lengths_row_by_row_in_its_box():
    shape = '<mask label="x" rle="1, 3, 2" left="4" top="5" width="3" height="2"/>'
    ((_, draw),) = read(picture(shape)).frames[0].objects
    expected = np.zeros(SIZE, bool)
    expected[5, 5:7] = expected[6, 4] = True
    np.testing.assert_array_equal(draw(SIZE), expected)


def test_an_ellipse_has_its_area():
    ((_, draw),) = read(picture('<ellipse label="x" cx="15" cy="10" rx="8" ry="5"/>')).frames[0].objects
    assert abs(draw(SIZE).sum() - np.pi * 8 * 5) < 15


def test_the_upper_shape_comes_last():
    shapes = (
        f'<polygon label="{name}" points="{SQUARE}" z_order="{z}"/>' for name, z in (("up", 2), ("down", 1))
    )
    assert [name for name, _ in read(picture("".join(shapes))).frames[0].objects] == ["down", "up"]


def test_a_track_between_key_frames_and_outside():
    moved = "6.0,3.0;12.0,3.0;12.0,9.0;6.0,9.0"
    shapes = [polygon(0), polygon(4, moved), polygon(5, moved, outside=1), polygon(8)]
    labels = read(track(0, "car", *shapes))
    frames = {one.frame: one.objects for one in labels.frames}
    assert sorted(frames) == [0, 1, 2, 3, 4, 8]  # nothing is visible from 5 on
    assert labels.frames[0].video == "street.mp4" and labels.frames[0].size == SIZE
    expected = np.zeros(SIZE, bool)
    expected[3:9, 4:10] = True  # halfway
    np.testing.assert_array_equal(frames[2][0][1](SIZE), expected)


def test_between_shapes_of_other_points_nothing_is_guessed():
    labels = read(track(0, "car", polygon(0), polygon(3, "2.0,3.0;8.0,3.0;8.0,9.0")))
    assert [one.frame for one in labels.frames] == [0, 3]
    assert "2 frames between its shapes are not labelled" in labels.notes[0]


def test_names_of_objects():
    once = read(track(0, "car", polygon(0)) + track(1, "dog", polygon(0)))
    assert [name for name, _ in once.frames[0].objects] == ["car", "dog"] and not once.notes
    anew = read(track(0, "car", polygon(0), polygon(1, outside=1)) + track(1, "car", polygon(1)))
    assert [one.objects[0][0] for one in anew.frames] == ["car", "car"]  # drawn anew in each frame
    two = read(track(0, "car", polygon(0)) + track(1, "car", polygon(0)))
    assert [name for name, _ in two.frames[0].objects] == ["car-1", "car-2"] and "twice" in two.notes[0]
    own = polygon(0).replace("/>", '><attribute name="object">Max</attribute></polygon>')
    assert read(track(0, "car", own)).frames[0].objects[0][0] == "Max"


def test_tasks_of_a_project_have_their_own_videos():
    meta = "<meta><project><tasks>" + "".join(
        f"<task><id>{n}</id><source>{name}.mp4</source></task>" for n, name in enumerate(["a", "b"])
    )
    tracks = [track(n, "car", polygon(0)).replace("<track", f'<track task_id="{n}"') for n in (0, 1)]
    labels = read("".join(tracks), meta + "</tasks></project></meta>")
    assert [(one.video, one.objects[0][0]) for one in labels.frames] == [("a.mp4", "car"), ("b.mp4", "car")]


def test_boxes_have_no_pixels():
    labels = read(track(0, "car", '<box frame="0" outside="0" xtl="1" ytl="1" xbr="3" ybr="3"/>'))
    assert not labels.frames and "1 box: they have no pixels" in labels.faults[0]


@pytest.mark.parametrize(
    "content, named",
    [
        (b"<annotations><imag", "damaged or not XML"),
        (b"\xff\xfe\x00", "damaged or not XML"),
        (b"<svg/>", "not CVAT's XML, whose first tag is <annotations>, but <svg>"),
        (b'<annotations><image name="x"><polygon points="1,2"/></image></annotations>', "height"),
        (b"<!DOCTYPE a [<!ENTITY b 'c'>]><annotations/>", "defines entities"),
        (b'<annotations><track><polygon frame="x" points="1,2"/></track></annotations>', "no number"),
    ],
)
def test_what_is_none_of_cvats_is_refused(content, named):
    with pytest.raises(DataError, match=f"^a.xml.*{named}"):
        cvat.read(content, "a.xml")


@pytest.mark.parametrize(
    "shape",
    [
        '<mask rle="1, 3" left="4" top="5" width="3" height="2"/>',
        '<mask rle="-1, 7" left="4" top="5" width="3" height="2"/>',
        '<mask rle="0, 6" left="28" top="5" width="3" height="2"/>',
        '<mask rle="0, 6" left="-1" top="5" width="3" height="2"/>',
        '<polygon points="1,2;3,4"/>',
        '<polygon points="1,2;3,4;nan,2"/>',
        '<polygon points="1,2;3,4;1e9,2"/>',
    ],
)
def test_a_shape_that_cannot_be_drawn_is_named(shape):
    labels = read(picture(shape))
    with pytest.raises(DataError, match="image '0.png'"):
        labels.frames[0].objects[0][1](SIZE)
