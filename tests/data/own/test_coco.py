"""JSON of COCO, of YouTube-VIS, and lists of run lengths."""

import json

import numpy as np
import pytest
from faster_coco_eval.core import mask as coco_masks

from mmvs.data.csv_files import DataError
from mmvs.data.own import coco

SIZE = (20, 30)
MASK = np.zeros(SIZE, bool)
MASK[3:9, 2:8] = True
SQUARE = [2, 3, 8, 3, 8, 9, 2, 9]
RUNS = {"size": list(SIZE), "counts": [43, *[6, 14] * 5, 6, 600 - 43 - 6 * 6 - 14 * 5]}  # column by column
CODE = coco_masks.encode(np.asfortranarray(MASK.astype(np.uint8)))
COMPRESSED = {"size": list(SIZE), "counts": CODE["counts"].decode()}


def read(root):
    return coco.read(json.dumps(root).encode(), "a.json")


def of_coco(*annotations):
    image = {"id": 5, "file_name": "street/00007.jpg", "height": 20, "width": 30}
    categories = [{"id": 1, "name": "car"}, {"id": 2, "name": "dog"}]
    return {"images": [image], "categories": categories, "annotations": list(annotations)}


@pytest.mark.parametrize("segmentation", [[SQUARE], RUNS, COMPRESSED])
def test_every_kind_of_segmentation(segmentation):
    (frame,) = read(of_coco({"image_id": 5, "category_id": 1, "segmentation": segmentation})).frames
    assert (frame.frame, frame.size, frame.objects[0][0]) == ("street/00007.jpg", SIZE, "car")
    np.testing.assert_array_equal(frame.objects[0][1](SIZE), MASK)


def test_names_of_objects():
    one = {"image_id": 5, "category_id": 1, "segmentation": [SQUARE]}
    labels = read(of_coco(one, one | {"track_id": 7}, one | {"attributes": {"track_id": 0}}))
    assert [name for name, _ in labels.frames[0].objects] == ["car", "7", "0"] and not labels.notes
    assert "pictures with several of car: they are one object" in read(of_coco(one, one)).notes[0]


def test_boxes_and_images_that_are_not_there_are_faults():
    box = {"image_id": 5, "category_id": 1, "bbox": [1, 2, 3, 4], "segmentation": []}
    labels = read(of_coco(box, {"id": 9, "image_id": 6, "segmentation": [SQUARE]}))
    assert not labels.frames and "annotation 9: no image 6" in labels.faults[0]
    assert "1 annotations are boxes alone" in labels.faults[1]


def test_youtube_vis():
    video = {"id": 1, "file_names": ["street/0.jpg", "street/5.jpg"], "height": 20, "width": 30}
    own = {"video_id": 1, "category_id": 1}
    labels = read(
        {
            "videos": [video, {"id": 2, "name": "yard"}],
            "categories": [{"id": 1, "name": "car"}],
            "annotations": [
                own | {"segmentations": [None, RUNS]},
                own | {"segmentations": [COMPRESSED, None]},
                own | {"video_id": 2, "segmentations": [None, None, RUNS]},
            ],
        }
    )
    places = [(one.video, one.frame, one.objects[0][0]) for one in labels.frames]
    assert places == [("street", "5.jpg", "car"), ("street", "0.jpg", "car"), ("yard", 2, "car")]
    np.testing.assert_array_equal(labels.frames[0].objects[0][1](SIZE), MASK)


def test_a_list_of_run_lengths():
    records = [
        {"video": "street", "frame": 3, "object": 2, "segmentation": RUNS},
        {"frame": "00004", **COMPRESSED},
        {"video": "street", "frame": 3, "object": 1, "rle": RUNS},
    ]
    labels = read(records)
    assert [(one.video, one.frame, [name for name, _ in one.objects]) for one in labels.frames] == [
        ("street", 3, ["2", "1"]),
        (None, "00004", ["1"]),
    ]
    np.testing.assert_array_equal(labels.frames[1].objects[0][1](SIZE), MASK)


@pytest.mark.parametrize(
    "content, named",
    [
        (b"{", "damaged or not JSON"),
        (b"\xff\xff", "damaged or not JSON"),
        (b"[" * 100_000, "damaged or not JSON"),
        (b"{}", "not COCO"),
        (b'"x"', "not COCO"),
        (b'{"images": [], "annotations": 3}', "not COCO"),
        (b'{"images": [{}], "annotations": []}', "file_name"),
        (b'{"images": 3, "annotations": []}', "of another kind"),
        (b"[3]", "of another kind"),
        (b'[{"frame": 1.5, "rle": {}}]', "frame 1.5 is neither a number from 0 nor a name"),
        (
            b'{"images": [{"id": 1, "file_name": "a", "height": Infinity, "width": 2}], "annotations": []}',
            "kind",
        ),
        (b'[{"video": "a"}]', "frame"),
    ],
)
def test_what_is_in_no_known_form_is_refused(content, named):
    with pytest.raises(DataError, match=f"^a.json.*{named}"):
        coco.read(content, "a.json")


def test_more_masks_than_pictures_are_refused():
    annotation = {"video_id": 1, "segmentations": [RUNS, RUNS]}
    with pytest.raises(DataError, match="a.json: .*of another kind"):
        read({"videos": [{"id": 1, "file_names": ["a/0.jpg"]}], "annotations": [annotation]})


@pytest.mark.parametrize(
    "segmentation",
    [
        [[1, 2, 3, 4]],
        [[1, 2, 3, 4, 5, "x"]],
        [3],
        {"size": [4, 4], "counts": [16]},
        {"size": list(SIZE), "counts": [5]},
        {"size": list(SIZE), "counts": "~~~"},
        {"size": list(SIZE)},
        "x",
    ],
)
def test_a_segmentation_that_cannot_be_drawn_is_named(segmentation):
    labels = read(of_coco({"id": 3, "image_id": 5, "category_id": 1, "segmentation": segmentation}))
    with pytest.raises(DataError, match="annotation 3"):
        labels.frames[0].objects[0][1](SIZE)
