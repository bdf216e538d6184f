"""mmvs.data.expression_videos: a sample is an expression and a frame; samples train, and are scored."""

import json
import shutil

import expression_trees as trees
import numpy as np
import pytest
import tiny
from faster_coco_eval.core import mask as coco
from PIL import Image

from mmvs import config
from mmvs.data import catalogue
from mmvs.data.csv_files import DataError
from mmvs.data.expression_videos import MeViS, OwnVideos, RefYouTubeVOS
from mmvs.data.loaders import split
from mmvs.evaluation import evaluate
from mmvs.training import fit
from mmvs.verify import expressions as verify
from mmvs.verify.findings import HARMLESS, Scope


@pytest.mark.parametrize("name", trees.NAMES)
def test_every_expression_and_frame_is_a_sample_and_objects_are_united(tmp_path, name):
    root = trees.copy(name, tmp_path / name)
    samples = catalogue.FAMILIES[name].open(root, "train", config.Data())
    rows = trees.expected(root)["train"]
    areas = [area for row in rows for area in row["areas"]]
    assert len(samples) == len(areas) and 0 in areas, "frames without the object are samples, too"
    assert [int(samples.mask(i).sum()) for i in range(len(samples))] == areas
    place = 0
    for number, row in enumerate(rows):
        for frame in range(len(row["frames"])):
            sample = samples[place]
            assert (sample.video_id, sample.frame) == (row["video"], frame)
            assert samples.expression(place) == number
            place += 1


def test_a_frame_counts_by_its_picture_whatever_else_the_folder_holds(tmp_path):
    root = trees.copy("ref-youtube-vos", tmp_path / "tree")
    whole = RefYouTubeVOS(root, "train")
    folder = whole.video_path(whole[0].video_id)
    third = whole.window(2, 1)[1]
    (folder / "00000.jpg").rename(folder / "00003.jpg")  # not listed: a neighbour in windows, no sample
    with pytest.warns(UserWarning, match=rf"1 videos lack pictures.*{folder.name} \(1 of 6, as 00000\)"):
        samples = RefYouTubeVOS(root, "train")
    assert len(samples) == len(whole) - 4, "the four expressions of the video lose a frame"
    assert [samples[i].frame for i in range(5)] == [1, 2, 3, 4, 5] and samples.frame_count(folder.name) == 6
    np.testing.assert_array_equal(samples.window(1, 1)[1], third)
    np.testing.assert_array_equal(samples.mask(1), whole.mask(2))


def test_without_pictures_there_is_nothing_to_train_on(tmp_path):
    root = trees.copy("mevis", tmp_path / "tree")
    (root / "train" / "JPEGImages").rename(root / "train" / "elsewhere")
    with pytest.raises(DataError, match="no listed frame has what it needs, .*mmvs verify"):
        MeViS(root, "train")


def test_own_data_have_any_split_and_only_labelled_frames_are_samples(tmp_path):
    root = trees.own(tmp_path / "own")
    (root / "train").rename(root / "monday")
    (root / "meta_expressions" / "train").rename(root / "meta_expressions" / "monday")
    data = {"train_on": "own-monday", "evaluate_on": ["own-valid"], "roots": {"own": str(root)}}
    source = catalogue.open("own-monday", config.experiment(data=data))
    film = [sample.frame for sample in source.samples if sample.video_id == "film"]
    assert film == [0, 1, 2] and source.samples.frame_count("film") == 5
    assert len(OwnVideos(root, "valid")) == len(source.samples)
    other = catalogue.open("own-valid", config.experiment(data=data))
    assert source.flow.root != other.flow.root, "two splits may have different videos of one id"
    with pytest.raises(config.ConfigError, match="unknown data set 'own-'"):
        catalogue.open("own-", config.experiment(data=data))
    with pytest.raises(DataError, match="has no split 'tuesday', there are monday, valid"):
        catalogue.open("own-tuesday", config.experiment(data=data))


def about(tree, objects: list[list[int]]) -> MeViS:
    """A MeViS tree whose first video has three tracks, and sentences about some of them."""
    folder = tree / "train"
    content = json.loads((folder / "meta_expressions.json").read_text())
    video, one = next(iter(content["videos"].items()))
    one["expressions"] = {
        str(k): {"exp": f"sentence {k}", "obj_id": own, "anno_id": own} for k, own in enumerate(objects)
    }
    tracks = {}
    for track in (1, 2, 3):  # each a column of its own
        mask = np.zeros((48, 64), np.uint8, order="F")
        mask[:, track] = 1
        code = coco.encode(mask)
        code["counts"] = code["counts"].decode()
        tracks[str(track)] = [code] * len(one["frames"])
    (folder / "mask_dict.json").write_text(json.dumps(tracks))
    (folder / "meta_expressions.json").write_text(json.dumps({"videos": {video: one}}))
    for picture in (folder / "JPEGImages" / video).iterdir():
        Image.new("RGB", (64, 48)).save(picture)
    return MeViS(tree, "train")


def test_an_object_is_chosen_among_others_not_among_its_own_sentences(tmp_path):
    samples = about(trees.copy("mevis", tmp_path / "tree"), [[1], [1], [2], [3, 1], [1, 3], []])
    frames = len(samples) // 6
    first = [samples[k * frames] for k in range(6)]
    ids = [sample.instance_id for sample in first]
    assert ids[0] == ids[1] == 1 and ids[2] == 2 and ids[3] == ids[4] and len(set(ids)) == 4
    masks = samples.masks_in_frame(0)
    assert {instance: int(mask.sum()) for instance, mask in masks.items()} == {
        1: 48,
        2: 48,
        ids[3]: 96,
        ids[5]: 0,
    }
    chosen = [set(samples.rivals(k * frames, masks)) for k in range(6)]
    assert chosen == [{1, 2}, {1, 2}, {2, 1, ids[3]}, {ids[3], 2}, {ids[3], 2}, set()]
    assert len({samples.expression(k * frames) for k in range(6)}) == 6, "J and F tell them apart"


def test_sentences_about_nothing_are_scored_and_not_trained_on(tmp_path):
    samples = about(trees.copy("mevis", tmp_path / "tree"), [[1], [], [2]])
    frames = len(samples) // 3
    assert not samples.mask(frames).any()
    trained = samples.training_positions().tolist()
    assert trained == [*range(frames), *range(2 * frames, 3 * frames)]
    assert sorted(sum(split(samples, 1), [])) == trained
    empty = about(trees.copy("mevis", tmp_path / "other"), [[], []])
    with pytest.raises(DataError, match="no sample to train on"):
        split(empty, 1)


def test_the_list_that_samples_come_from_is_named(tmp_path):
    root = trees.copy("mevis", tmp_path / "tree")
    assert MeViS(root, "train").samples_from == f"meta_expressions.json ({count(root)} expressions)"
    listing = root / "train" / "meta_expressions.json"
    listing.rename(listing.with_name("meta_expressions_v2.json"))
    assert MeViS(root, "train").samples_from == f"meta_expressions_v2.json ({count(root)} expressions)"


def count(root) -> int:
    return len(trees.expected(root)["train"])


def test_ids_may_have_dots(tmp_path):
    root = trees.own(tmp_path / "own")
    folder = root / "train"
    for kind in ("JPEGImages", "Annotations"):
        for path in (folder / kind).iterdir():
            path.rename(path.with_name(f"a.b-{path.name}"))
    path = root / "meta_expressions" / "train" / "meta_expressions.json"
    trees.edit(path, lambda it: it.update(videos={f"a.b-{name}": v for name, v in it["videos"].items()}))
    assert len(OwnVideos(root, "train")) == len(OwnVideos(root, "valid"))
    findings = list(verify.check(root, {}, Scope(progress=False)))
    assert all(finding.verdict in HARMLESS for finding in findings), findings


def test_a_video_of_valid_whose_id_has_a_dot_is_not_taken_for_one_of_test(tmp_path):
    root = trees.copy("ref-youtube-vos", tmp_path / "tree")
    shutil.rmtree(root / "meta_expressions" / "test", ignore_errors=True)  # as in newer downloads
    whole = RefYouTubeVOS(root, "valid").videos
    old = root / "valid" / "JPEGImages" / whole[0]
    old.rename(old.with_name("b7.01"))
    path = root / "meta_expressions" / "valid" / "meta_expressions.json"
    trees.edit(path, lambda it: it["videos"].update({"b7.01": it["videos"].pop(whole[0])}))
    assert sorted(RefYouTubeVOS(root, "valid").videos) == sorted(["b7.01", *whole[1:]])


def test_masks_are_looked_for_once_a_video_not_once_a_frame(tmp_path, monkeypatch):
    samples = RefYouTubeVOS(trees.copy("ref-youtube-vos", tmp_path / "tree"), "train")
    monkeypatch.setattr(type(tmp_path), "is_file", lambda path: pytest.fail(f"asked for {path}"))
    expressions = samples.expressions
    assert expressions.positions_with_truth(0) == list(range(len(expressions[0].frames)))


def test_places_are_those_of_the_samples(tmp_path):
    for name in trees.NAMES:
        samples = catalogue.FAMILIES[name].open(trees.copy(name, tmp_path / name), "train", config.Data())
        of_video, frames = samples.places()
        pairs = [(samples.videos[place], frame) for place, frame in zip(of_video, frames, strict=True)]
        assert pairs == [(sample.video_id, sample.frame) for sample in samples]
        assert samples.distinct_sentences() == {sample.sentence for sample in samples}


def test_frames_without_the_object_train_and_are_scored(tmp_path):
    root = trees.copy("mevis", tmp_path / "mevis")
    data = {"train_on": "mevis-train", "evaluate_on": ["mevis-valid_u"], "roots": {"mevis": str(root)}}
    run = config.experiment(**tiny.parameters(tmp_path, data | {"size": 64}))
    for summary in catalogue.prepare(run, progress=False).values():
        summary.raise_failures()
    result = evaluate(fit(run, progress=False), progress=False)
    scores = result.scores["mevis-valid_u"]["all"]
    rows = trees.expected(root)["valid_u"]
    assert scores["samples"] == sum(len(row["frames"]) for row in rows)
    assert 0 <= scores["mean_iou"] <= 1
