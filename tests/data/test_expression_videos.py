"""mmvs.data.expression_videos: a sample is an expression and a frame; samples train, and are scored."""

import expression_trees as trees
import numpy as np
import pytest
import tiny

from mmvs import config
from mmvs.data import catalogue
from mmvs.data.csv_files import DataError
from mmvs.data.expression_videos import MeViS, OwnVideos, RefYouTubeVOS
from mmvs.evaluation import evaluate
from mmvs.training import fit


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
            assert (sample.video_id, sample.frame, sample.instance_id) == (row["video"], frame, number)
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
