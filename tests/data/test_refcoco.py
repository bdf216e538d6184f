"""RefCOCO and its sisters: a sample is a sentence about an object of a picture, and reading runs no code."""

import json
import os
import pickle
import shutil
from dataclasses import replace

import numpy as np
import pytest
import refcoco_trees as trees
import tiny
import torch

from mmvs import config
from mmvs.data import catalogue
from mmvs.data.clips import Clips
from mmvs.data.csv_files import DataError
from mmvs.data.refcoco import RefCOCO, RefCOCOg
from mmvs.data.refcoco_files import REFS, draw, is_of, read_refs
from mmvs.data.training_clips import TrainingClips
from mmvs.evaluation import evaluate
from mmvs.flow.still import StillFlow
from mmvs.training import fit
from mmvs.video.files import VideoError


@pytest.fixture
def root(tmp_path):
    return trees.write(tmp_path / "refer", "refcoco")


def test_every_sentence_of_every_ref_is_a_sample(root):
    for number, split in enumerate(RefCOCO.splits):
        samples = RefCOCO(root, split)
        pictures = [2 * number + 1, 2 * number + 2]
        expected = [
            (f"{picture:012d}", 0, 100 * picture + k, f"thing {k} {where}")
            for picture in pictures
            for k in (1, 2)
            for where in ("on the left", "in red")
        ]
        assert [(s.video_id, s.frame, s.instance_id, s.sentence) for s in samples] == expected


def test_masks_are_the_outlines_whether_polygons_or_run_lengths(root):
    samples = RefCOCO(root, "train")
    masks = samples.masks_in_frame(0)
    for k, (top, left, bottom, right) in trees.BOXES.items():
        expected = np.zeros(trees.SIZE, bool)
        expected[top:bottom, left:right] = True
        np.testing.assert_array_equal(masks[100 + k], expected)
    np.testing.assert_array_equal(samples.mask(2), masks[102])
    red = samples.frames(0, [0])[0][..., 0] > 150
    assert (red == (masks[101] | masks[102])).mean() > 0.95, "the outlines are those of the picture"


def test_a_window_repeats_the_picture_and_nothing_moves(root):
    run = config.experiment(data={"train_on": "refcoco-train", "roots": {"refcoco": str(root)}, "size": 64})
    source = catalogue.open("refcoco-train", run)
    assert isinstance(source.flow, StillFlow)
    indices, frames = source.samples.window(0, 3, 5)
    assert indices == [0, 0, 0] and frames.shape == (3, *trees.SIZE, 3) and (frames[0] == frames[2]).all()
    with pytest.raises(VideoError, match="has frame 0 alone"):
        source.samples.frames(0, [1])
    for gap in (0, 2):
        clips = Clips(source.samples, source.flow, run.data.model_copy(update={"gap": gap}))
        assert not clips[0].flow.any()
        plain = TrainingClips(clips, 0)
        moved = TrainingClips(clips, 0, shift=True)
        assert not any(plain[n].flow.any() for n in range(8)) and any(moved[n].flow.any() for n in range(8))
        assert all(torch.equal(moved[n].flow, moved[n].flow) for n in range(8))
        assert moved[0].flow.abs().max() <= max(1, 64 // 40)


def test_the_folder_of_one_alone_is_enough_and_pictures_may_lie_nearer(root):
    whole = list(RefCOCO(root, "val"))
    shutil.move(root / "images" / "mscoco" / "images" / "train2014", root / "train2014")
    assert list(RefCOCO(root / "refcoco", "val")) == whole and RefCOCO(root, "val").masks_in_frame(0)
    assert RefCOCO(root / "refcoco", "val").frames(0, [0]).shape[0] == 1


def test_splits_of_the_test_pictures():
    assert is_of("testA", "testA") and is_of("testA", "testAB") and is_of("testB", "testAB")
    assert not is_of("testA", "testB") and not is_of("test", "testA") and is_of("test", "test")
    assert not is_of("val", "train") and not is_of("testA", "trainA")


class Evil:
    def __reduce__(self):
        return os.mkdir, ("evil-was-here",)


@pytest.mark.parametrize("value", [Evil(), [Evil()], {"a": Evil()}, os.getcwd, np.float64(1)])
def test_a_pickle_that_could_run_code_is_refused_unread(root, monkeypatch, tmp_path, value):
    monkeypatch.chdir(tmp_path)
    path = root / "refcoco" / REFS["refcoco"]
    for protocol in (0, 2, 4):
        path.write_bytes(pickle.dumps([value], protocol=protocol))
        with pytest.raises(DataError, match=r"refs\(unc\).p: .*more than plain values .*could run code"):
            read_refs(path)
    assert not (tmp_path / "evil-was-here").exists()


def test_strings_of_python_2_are_read(tmp_path):
    """Its str is bytes in a pickle: opcode S."""
    text = b"(lp0\n(dp1\nS'ann_id'\nI5\nsS'image_id'\nI7\nsS'split'\nS'train'\nsS'sentences'\n(lp2\n"
    (tmp_path / "refs.p").write_bytes(text + b"(dp3\nS'sent'\nS'The  dog'\nsasa.")
    (ref,) = read_refs(tmp_path / "refs.p")
    assert (ref.object_id, ref.image_id, ref.split, ref.sentences) == (5, 7, "train", ["the dog"])


@pytest.mark.parametrize(
    "content",
    [b"", b"x", b"\x80\x02", pickle.dumps({}), pickle.dumps([1]), pickle.dumps([{"ann_id": 1}]), b"I1\n."],
)
def test_what_is_no_list_of_refs_is_named(tmp_path, content):
    (tmp_path / "refs.p").write_bytes(content)
    with pytest.raises(DataError, match="refs.p.*get it anew"):
        read_refs(tmp_path / "refs.p")


def damage(root, change):
    path = root / "refcoco" / "instances.json"
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def test_what_is_missing_or_wrong_is_named(root, tmp_path):
    with pytest.raises(DataError, match=r"no ref of split 'test': expected one of train, val, testA, testB"):
        RefCOCO(root, "test")
    with pytest.raises(DataError, match=r"looked for refcocog/refs\(umd\).p and .*: put refcocog there"):
        RefCOCOg(root, "train")
    (root / "refcocog").mkdir()
    (root / "refcocog" / "refs(google).p").touch()
    with pytest.raises(DataError, match=r"refs\(google\).p is another division"):
        RefCOCOg(root, "train")
    samples = RefCOCO(root, "train")
    samples.video_path(samples[0].video_id).unlink()
    with pytest.raises(VideoError, match="COCO_train2014_000000000001.jpg"):
        samples.frames(0, [0])
    damage(root, lambda it: it["images"][1].update(height=41))
    with pytest.raises(DataError, match=r"000002.jpg: is \(40, 60\).* says \(41, 60\)"):
        RefCOCO(root, "train").masks_in_frame(4)
    damage(root, lambda it: it["annotations"].pop(0))
    with pytest.raises(DataError, match="has no picture 1 with an annotation 101, which"):
        RefCOCO(root, "train")
    damage(root, lambda it: it["images"][0].update(file_name="../x.jpg"))
    with pytest.raises(DataError, match="instances.json.*plain name"):
        RefCOCO(root, "train")
    (root / "refcoco" / "instances.json").write_text("[]")
    with pytest.raises(DataError, match="instances.json: not COCO's images"):
        RefCOCO(root, "train")


@pytest.mark.parametrize(
    "outline", ["[]", "[[1]]", "5", "{}", '{"counts": "x", "size": [4, 4]}', "null", "x"]
)
def test_a_damaged_outline_is_named(outline):
    with pytest.raises(DataError, match="annotation 7: "):
        draw(outline, (40, 60), "instances.json, annotation 7")


@pytest.mark.parametrize("stills", ["zero", "shift"])
def test_it_trains_with_videos_and_alone_and_is_scored(root, tmp_path, stills):
    data = {"train_on": "refcoco-train", "evaluate_on": ["refcoco-val"], "roots": {"refcoco": str(root)}}
    parts = tiny.parameters(tmp_path, data)
    run = config.experiment(**parts | {"flow": parts["flow"] | {"stills": stills}})
    catalogue.prepare(run, progress=False)
    result = evaluate(fit(run, progress=False), progress=False)
    scores = result.scores["refcoco-val"]["all"]
    assert scores["samples"] == 8 and scores["selection_chance"] == 0.5 and "J" not in scores
    assert (run.fingerprint() == replaced(run).fingerprint()) is (stills == "zero")


def replaced(run):
    return run.model_copy(update={"flow": run.flow.model_copy(update={"stills": "zero"})})


def test_a_window_of_another_target_is_shifted_around_it(root):
    run = config.experiment(data={"train_on": "refcoco-train", "roots": {"refcoco": str(root)}, "size": 64})
    source = catalogue.open("refcoco-train", run)
    clips = Clips(source.samples, source.flow, run.data.model_copy(update={"frames": 4}))
    clip = TrainingClips(clips, 0, shift=True)[0]
    assert clip.target == 2 and clip.frames.shape[0] == 4 and replace(clip).flow.shape == (4, 2, 64, 64)
