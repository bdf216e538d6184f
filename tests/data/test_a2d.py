"""mmvs.data.a2d: each convention of A2D-Sentences on a small tree written by hand."""

import csv
import warnings
from pathlib import Path

import h5py
import numpy as np
import pytest

from mmvs import files
from mmvs.data import a2d_files
from mmvs.data.a2d import A2DSentences, DataError, normalise
from mmvs.video.files import VideoError, write_video

HEIGHT, WIDTH, FRAMES = 24, 40, 7  # not square: a transposition shows


def box(left, top, right, bottom):
    """(H, W) bool: a rectangle; in none of the tests is it symmetric about the diagonal."""
    mask = np.zeros((HEIGHT, WIDTH), bool)
    mask[top:bottom, left:right] = True
    return mask


A, B, C = box(30, 2, 38, 6), box(1, 3, 5, 20), box(10, 10, 30, 12)


class Tree:
    """A folder in the published layout; tests add what they need, then open it."""

    def __init__(self, root: Path, clips="clips320H"):
        self.root, self.clips = root, root / "Release" / clips
        self.texts = root / "text_annotations"
        self.clips.mkdir(parents=True)
        self.texts.mkdir()
        self.videoset, self.rows = [], []
        self.text(missed=[])

    def video(self, vid, subset=0, frames=FRAMES, claimed=None, clip=True):
        """claimed: the frame number in videoset.csv, where it is not the true one."""
        row = [vid, 11, "0:00", "0:01", HEIGHT, WIDTH, claimed or frames, 3, subset]
        self.videoset.append(row)
        if clip:
            grey = np.arange(frames, dtype=np.uint8) * 30 + 20
            pictures = np.broadcast_to(grey[:, None, None, None], (frames, HEIGHT, WIDTH, 3))
            write_video(self.clips / f"{vid}.mp4", pictures)
        return self

    def frame(self, vid, number, **instances):
        """i3=mask: instance 3. One instance is stored as MATLAB does, without the leading axis."""
        path = self.texts / "a2d_annotation_with_instances" / vid / f"{number:05d}.h5"
        path.parent.mkdir(parents=True, exist_ok=True)
        masks = np.stack([mask.T.astype(np.uint8) for mask in instances.values()])
        boxes = np.zeros((4, len(masks)))
        with h5py.File(path, "w") as file:
            file["instance"] = np.array([int(name[1:]) for name in instances])
            file["reMask"] = masks[0] if len(masks) == 1 else masks
            file["reBBox"] = boxes[:, 0] if len(masks) == 1 else boxes
        return path

    def say(self, vid, instance, query):
        self.rows.append([vid, instance, query])
        return self

    def text(self, missed):
        (self.texts / "a2d_missed_videos.txt").write_text("".join(f"{vid}\n" for vid in missed))

    def open(self, split="train"):
        with (self.root / "Release" / "videoset.csv").open("w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows(self.videoset)
        with (self.texts / "a2d_annotation.txt").open("w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows([["video_id", "instance_id", "query"], *self.rows])
        return A2DSentences(self.root, split)


@pytest.fixture
def tree(tmp_path):
    return Tree(tmp_path / "a2d")


@pytest.fixture
def one(tree):
    """One video, one annotated frame, one sentence."""
    tree.video("vid").say("vid", 0, "a dog").frame("vid", 4, i0=A)
    return tree


def samples_of(dataset):
    return [(s.video_id, s.frame, s.instance_id, s.sentence) for s in dataset]


# The conventions, in the order of the published description


def test_1_videos_of_the_wanted_subset(tree):
    for vid, subset in (("learn", 0), ("check", 1)):
        tree.video(vid, subset).say(vid, 0, f"in {vid}").frame(vid, 1, i0=A)
    tree.say("unlisted", 0, "of no subset")
    assert samples_of(tree.open("train")) == [("learn", 0, 0, "in learn")]
    assert samples_of(tree.open("test")) == [("check", 0, 0, "in check")]


def test_1_missed_videos_are_left_out(one):
    one.video("missed").say("missed", 0, "nobody").frame("missed", 1, i0=A)
    one.text(missed=["missed", "other"])
    assert {s.video_id for s in one.open()} == {"vid"}


def test_2_the_mistaken_row_is_dropped(one):
    one.say("vid", "1 (copy)", "bird standing in the beach")
    assert samples_of(one.open()) == [("vid", 3, 0, "a dog")]


def test_3_only_frames_that_show_the_instance_give_samples_rows_first_then_frames(tree):
    tree.video("vid", frames=40).video("also")
    for number, present in ((30, {"i7": A, "i2": B}), (4, {"i2": B}), (10, {"i7": A})):
        tree.frame("vid", number, **present)
    tree.frame("also", 1, i2=A)
    tree.say("vid", 7, "seven").say("also", 2, "other").say("vid", 2, "two")
    expected = [("vid", 9, 7, "seven"), ("vid", 29, 7, "seven"), ("also", 0, 2, "other")]
    dataset = tree.open()
    assert samples_of(dataset) == [*expected, ("vid", 3, 2, "two"), ("vid", 29, 2, "two")]
    assert dataset.videos == ["vid", "also"]


def test_4_sentences_are_lower_case_with_single_spaces(one):
    one.say("vid", 0, "  A  Man\tIN Öl ")
    assert one.open()[1].sentence == "a man in öl" == normalise("A Man in\nöl")


def test_5_frame_numbers_count_from_one(one):
    dataset = one.open()
    indices, frames = dataset.window(0, 1)
    assert (dataset[0].frame, indices) == (3, [3])
    assert abs(frames.mean() - (3 * 30 + 20)) < 5  # 00004.h5 speaks of the fourth picture


def test_6_neighbours_outside_are_clamped(tree):
    tree.video("vid").say("vid", 0, "x")
    for number in (1, FRAMES):
        tree.frame("vid", number, i0=A)
    dataset = tree.open()
    assert dataset.window(0, 4)[0] == [0, 0, 0, 1]  # range(-2, 2)
    assert dataset.window(1, 5)[0] == [4, 5, 6, 6, 6]
    indices, frames = dataset.window(1, 3, stride=4)
    assert indices == [2, 6, 6] and frames.shape == (3, HEIGHT, WIDTH, 3) and frames.dtype == np.uint8
    assert np.abs(frames.mean(axis=(1, 2, 3)) - [80, 200, 200]).max() < 5


def test_6_the_clip_decides_how_many_frames_there_are(tree):
    tree.video("vid", frames=5, claimed=50).say("vid", 0, "x").frame("vid", 5, i0=A)
    dataset = tree.open()
    assert dataset.frame_count("vid") == 5 and dataset.window(0, 3)[0] == [3, 4, 4]


# How the files are written


def test_masks_are_stored_transposed_under_unsorted_ids(tree):
    tree.video("vid").frame("vid", 4, i9=A, i0=B, i5=C)
    for instance in (0, 5, 9):
        tree.say("vid", instance, "x")
    dataset = tree.open()
    for position, mask in enumerate((B, C, A)):
        assert dataset.mask(position).dtype == bool
        np.testing.assert_array_equal(dataset.mask(position), mask)
    masks = dataset.masks_in_frame(0)
    assert masks.keys() == {0, 5, 9}
    np.testing.assert_array_equal(masks[9], A)


def test_a_single_instance_has_no_leading_axis(one):
    dataset = one.open()
    np.testing.assert_array_equal(dataset.mask(0), A)
    assert dataset.masks_in_frame(0).keys() == {0}


def test_ids_with_dashes_and_underscores_commas_and_other_alphabets(tree):
    for vid in ("--h5fAKYurM", "_4xA", "-1"):
        tree.video(vid).say(vid, 0, f'a "red", {vid.lower()} ключ').frame(vid, 2, i0=A)
    dataset = tree.open()
    assert [s.sentence for s in dataset] == [f'a "red", {v} ключ' for v in ("--h5fakyurm", "_4xa", "-1")]
    assert [s.video_id for s in dataset] == ["--h5fAKYurM", "_4xA", "-1"]
    assert dataset.window(1, 2)[0] == [0, 1]


def test_clips_of_older_copies_are_found(tmp_path):
    tree = Tree(tmp_path / "old", clips="CLIPS320")
    tree.video("vid").say("vid", 0, "x").frame("vid", 4, i0=A)
    dataset = tree.open()
    assert dataset.video_path("vid") == tree.clips / "vid.mp4"
    assert dataset.size("vid") == (HEIGHT, WIDTH)


def test_kinds_are_read_where_they_are_recorded(one):
    one.say("vid", 0, "The  Dog, left")
    assert one.open()[0].kind is None
    table = 'video_id,instance_id,query,kind\nvid,0,"the dog, left",motion\n'
    (one.root / "sentence_kinds.csv").write_text(table)
    assert [s.kind for s in one.open()] == [None, "motion"]


def test_names_of_frames_need_no_zeros_and_hidden_files_are_none(one):
    folder = one.frame("vid", 6, i0=B).parent
    (folder / "00006.h5").rename(folder / "6.h5")
    for name in ("._00004.h5", "._6.h5", ".DS_Store"):
        (folder / name).write_bytes(b"\0\5\x16\7")
    dataset = one.open()
    assert [sample.frame for sample in dataset] == [3, 5]
    assert dataset.annotation_path(1) == folder / "6.h5"
    np.testing.assert_array_equal(dataset.mask(1), B)
    one.frame("vid", 6, i0=B)
    with pytest.raises(DataError, match="6.h5: 00006.h5 is of the same frame: keep one"):
        one.open()


# The index


def test_the_index_is_kept_and_follows_changes(one, monkeypatch):
    monkeypatch.setattr(a2d_files, "WORTH_KEEPING", 1)
    assert len(one.open()) == 1
    read = []
    monkeypatch.setattr(a2d_files, "read_h5", lambda *a, f=a2d_files.read_h5: read.append(a[0].name) or f(*a))
    assert len(one.open()) == 1 and not read
    one.frame("vid", 6, i0=A, i1=B)
    assert [s.frame for s in one.open()] == [3, 5] and read == ["00006.h5"]
    one.frame("vid", 4, i1=A, i8=B)
    assert [s.frame for s in one.open()] == [5]
    (one.root / ".mmvs_index.json").write_text("{half")
    assert [s.frame for s in one.open()] == [5]


def test_a_folder_that_may_not_be_written_is_read_all_the_same(one, monkeypatch):
    monkeypatch.setattr(a2d_files, "WORTH_KEEPING", 1)

    def refuse(*_):
        raise PermissionError

    monkeypatch.setattr(files.os, "replace", refuse)
    before = set(one.root.rglob("*"))
    assert len(one.open()) == 1
    assert {p.suffix for p in set(one.root.rglob("*")) - before} == {".csv", ".txt"}


# Bad input: the message names it


def test_a_sentence_about_an_instance_in_no_frame_warns_once(one):
    one.say("vid", 5, "ghost").say("vid", 6, "phantom")
    expected = r"2 of 3 sentences .* line 3 \(video 'vid', instance 5\), line 4"
    with pytest.warns(UserWarning, match=expected) as record:
        assert len(one.open()) == 1
    assert len(record) == 1 and record[0].filename == __file__


def test_a_complete_tree_gives_no_warning(one):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        one.open()


def test_an_empty_sentence_is_named_by_its_line(one):
    with pytest.raises(DataError, match=r"a2d_annotation.txt, line 3: the sentence of video 'vid' is empty"):
        one.say("vid", 0, "  ").open()


@pytest.mark.parametrize("vid", ["../x", "/x", "..", "a/b", "a\\b"])
def test_an_id_that_leads_out_of_the_tree_is_refused(one, vid):
    one.say(vid, 0, "x")
    with pytest.raises(DataError, match="line 3.*not a video id"):
        one.open()
    one.rows.pop()
    one.videoset.append([vid, 1, "", "", 1, 1, 1, 1, 0])
    with pytest.raises(DataError, match="videoset.csv, line 2.*not a video id"):
        one.open()


def test_unknown_split_and_missing_files(one):
    one.open()
    with pytest.raises(DataError, match="unknown split 'val'.*'train' or 'test'"):
        A2DSentences(one.root, "val")
    for name in ("a2d_annotation.txt", "a2d_missed_videos.txt", "videoset.csv"):
        next(one.root.rglob(name)).unlink()
        with pytest.raises(DataError, match=f"{name}: no such file"):
            A2DSentences(one.root, "train")


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ("video_id,query\nvid,x\n", "no column instance_id"),
        ("", "no column video_id"),
        ("video_id,instance_id,query\nvid,0,a, b\n", "line 2: 4 columns, not 3"),
        ("video_id,instance_id,query\nvid,zero,a\n", "line 2: expected a whole number, got 'zero'"),
        ('video_id,instance_id,query\nvid,0,"a\n', "line 2: not CSV"),
        ("video_id,instance_id,query\nvid,0,\xff\n", "not UTF-8"),
    ],
)
def test_a_damaged_text_file(one, content, complaint):
    one.open()
    (one.texts / "a2d_annotation.txt").write_bytes(content.encode("latin-1"))
    with pytest.raises(DataError, match=f"a2d_annotation.txt.*{complaint}"):
        A2DSentences(one.root, "train")


@pytest.mark.parametrize("row", [["vid", 0], ["vid", "label", 0, 0, 0, 0, 0, 0, "subset"]])
def test_a_damaged_videoset(one, row):
    one.videoset.append(row)
    with pytest.raises(DataError, match="videoset.csv, line 2: expected 9 columns"):
        one.open()


def test_damaged_or_missing_annotations(one):
    path = one.frame("vid", 5, i0=A)
    dataset, whole = one.open(), path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    for use in (one.open, lambda: dataset.mask(1)):
        with pytest.raises(DataError, match="00005.h5: damaged"):
            use()
    path.unlink()
    with pytest.raises(DataError, match="00005.h5: no such annotation file"):
        dataset.mask(1)
    with h5py.File(path, "w") as file:
        file["instance"] = [0]
    with pytest.raises(DataError, match="00005.h5: lacks"):
        dataset.mask(1)
    one.frame("vid", 5, i3=A)
    with pytest.raises(DataError, match="00005.h5: instance 0 was here and is gone"):
        dataset.mask(1)


@pytest.mark.parametrize("masks", [A.T, np.stack([A.T] * 3)], ids=["one", "three"])
def test_masks_that_do_not_match_their_instances(one, masks):
    path = one.frame("vid", 4, i0=A, i1=B)
    dataset = one.open()
    with h5py.File(path, "a") as file:
        del file["reMask"]
        file["reMask"] = masks.astype(np.uint8)
    with pytest.raises(DataError, match="00004.h5: 2 instances"):
        dataset.mask(0)


def test_masks_of_another_size_than_the_video(one):
    one.frame("vid", 4, i0=A.T)
    with pytest.raises(DataError, match=r"00004.h5: masks are \(40, 24\).*vid.mp4 is \(24, 40\)"):
        one.open().mask(0)


def test_annotation_files_with_impossible_names(one):
    path = one.frame("vid", 0, i0=A)
    with pytest.raises(DataError, match="00000.h5: frames are numbered from 1"):
        one.open()
    path.rename(path.with_name("first.h5"))
    with pytest.raises(DataError, match="first.h5: expected a whole number"):
        one.open()


def test_a_video_with_sentences_needs_annotations_and_a_clip(one):
    one.video("bare").say("bare", 0, "x")
    with pytest.raises(DataError, match="bare: no .h5 files"):
        one.open()
    one.frame("bare", 1, i0=A)
    dataset = one.open()
    (one.clips / "bare.mp4").write_bytes(b"not a clip")
    with pytest.raises(VideoError, match="bare.mp4: .*damaged"):
        dataset.window(1, 3)
    (one.clips / "bare.mp4").unlink()
    with pytest.raises(VideoError, match="bare.mp4: no such video"):
        dataset.window(1, 3)
