"""A2D-Sentences and J-HMDB-Sentences: masks of samples, with scores counted by hand."""

import csv

import cv2
import h5py
import numpy as np
import pytest
import scipy.io

from mmvs.data.csv_files import DataError
from mmvs.metrics import SegmentationMetrics
from mmvs.scoring import Request, score
from mmvs.video.files import write_video

SIZE = 24, 40


def box(left, right):
    mask = np.zeros(SIZE, bool)
    mask[:, left:right] = True
    return mask


ONE, OTHER = box(0, 10), box(20, 40)


@pytest.fixture
def a2d(tmp_path):
    """A video with two instances in frames 2 and 5; instance 3 has two sentences. Its submission is right."""
    root, masks = tmp_path / "a2d", tmp_path / "masks"
    texts = root / "text_annotations"
    frames = texts / "a2d_annotation_with_instances" / "v"
    frames.mkdir(parents=True)
    (root / "Release" / "clips320H").mkdir(parents=True)
    write_video(root / "Release" / "clips320H" / "v.mp4", np.zeros((6, *SIZE, 3), np.uint8))
    (root / "Release" / "videoset.csv").write_text("v,11,0:00,0:01,24,40,6,2,1\n")
    (texts / "a2d_missed_videos.txt").write_text("")
    (texts / "a2d_annotation.txt").write_text(
        "video_id,instance_id,query\nv,3,a dog\nv,7,a cat\nv,3,the dog\n"
    )
    for number in (2, 5):
        with h5py.File(frames / f"{number:05d}.h5", "w") as file:
            file["instance"] = np.array([3, 7])
            file["reMask"] = np.stack([ONE.T, OTHER.T]).astype(np.uint8)
            file["reBBox"] = np.zeros((4, 2))
        for folder, mask in (("3", ONE), ("7", OTHER), ("3-2", ONE)):
            write(masks / "v" / folder / f"{number:05d}.png", mask)
    return root, masks


def write(path, mask):
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), mask.astype(np.uint8) * 255)


def scored(a2d, **options):
    root, masks = a2d
    return score(Request(masks, root, "a2d", "test", progress=False, **options))


def test_right_masks_have_all_scores_of_1(a2d):
    report = scored(a2d)
    overall = report.record()["overall"]
    assert report.is_sound and overall.pop("samples") == 6 and set(overall.values()) == {1.0}
    assert [row["file"] for row in report.rows] == [
        f"v/{folder}/0000{frame}.png" for folder in ("3", "7", "3-2") for frame in (2, 5)
    ]


def test_scores_are_those_of_the_metrics_on_the_masks(a2d):
    """One half of the dog in one frame; the cat found one and a half times as large, in another."""
    write(a2d[1] / "v" / "3" / "00002.png", box(0, 5))
    write(a2d[1] / "v" / "7" / "00005.png", box(10, 40))
    confidences = {f"v/{name}.png": i / 10 for i, name in enumerate(
        ("3/00002", "3/00005", "7/00002", "7/00005", "3-2/00002", "3-2/00005")
    )}  # fmt: skip
    expected = SegmentationMetrics()
    pairs = [(box(0, 5), ONE), (ONE, ONE), (OTHER, OTHER), (box(10, 40), OTHER), (ONE, ONE), (ONE, ONE)]
    for pair, confidence in zip(pairs, confidences.values(), strict=True):
        expected.update(*pair, confidence)
    with (a2d[1] / "scores.csv").open("w", newline="") as file:
        csv.writer(file).writerows([["file", "score"], *confidences.items()])
    record = scored(a2d).record()
    assert record["overall"] == expected.compute()
    assert record["overall"]["mean_iou"] == pytest.approx((4 + 0.5 + 2 / 3) / 6)
    assert record["overall"]["precision@0.5"] == pytest.approx(5 / 6)  # strictly above
    assert [round(row["iou"], 3) for row in record["per_sample"]] == [0.5, 1, 1, 0.667, 1, 1]


def test_masks_that_are_missing_damaged_or_of_another_size_count_as_empty_and_are_named(a2d):
    folder = a2d[1] / "v"
    (folder / "3" / "00002.png").unlink()
    (folder / "3" / "00005.png").write_bytes(b"no picture")
    write(folder / "7" / "00002.png", np.ones((12, 20), bool))
    report = scored(a2d)
    assert not report.is_sound
    assert [fault.fault for fault in report.faults] == ["missing frame", "damaged file", "wrong size"]
    assert report.faults[0].frames == ["v/3/00002.png"] and "20x12, expected 40x24" in report.text()
    assert report.record()["overall"]["mean_iou"] == pytest.approx(0.5, abs=1e-6)
    assert not scored(a2d, as_official=True).is_sound


@pytest.mark.parametrize(
    "text, reason",
    [
        ("a,b\n", "first line should be file,score"),
        ("file,score\nv/3/00002.png,high\n", "'high' of v/3/00002.png is no number"),
        ("file,score\nv/3/00002.png,nan\n", "not finite"),
        ("file,score\nv/3/00002.png,1\n", "5 masks have no score, as v/3/00005.png"),
    ],
)
def test_confidences_that_cannot_be_used_are_refused(a2d, text, reason):
    (a2d[1] / "scores.csv").write_text(text)
    with pytest.raises(DataError, match=reason):
        scored(a2d)


def test_jhmdb_is_scored_on_the_frames_of_its_list(tmp_path):
    root, masks = tmp_path / "jhmdb", tmp_path / "masks"
    (root / "Rename_Images" / "walk" / "v").mkdir(parents=True)
    (root / "puppet_mask" / "walk" / "v").mkdir(parents=True)
    for number in range(1, 5):
        cv2.imwrite(
            str(root / "Rename_Images" / "walk" / "v" / f"{number:05d}.png"), np.zeros((*SIZE, 3), np.uint8)
        )
    part_mask = np.stack([box(t, t + 10) for t in range(4)], axis=-1).astype(np.uint8)
    scipy.io.savemat(root / "puppet_mask" / "walk" / "v" / "puppet_mask.mat", {"part_mask": part_mask})
    (root / "jhmdb_annotation.txt").write_text("video_id,query\nv,a man walks\n")
    frames = tmp_path / "frames.csv"
    frames.write_text("video_id,frame,query\nv,2,a man walks\nv,4,a man walks\n")
    write(masks / "v" / "00002.png", box(1, 11))
    write(masks / "v" / "00004.png", box(8, 13))
    report = score(Request(masks, root, "jhmdb", sample_list=frames, progress=False))
    assert report.is_sound and "frames.csv (2 samples" in report.record()["samples_from"]
    assert [row["iou"] for row in report.rows] == [1, 0.5]
