"""The zip of a data set's masks: the names that its server wants, the masks that clips give, once."""

import io
import json
import zipfile

import expression_trees as trees
import numpy as np
import pytest
import tiny
from PIL import Image

from mmvs import config
from mmvs.answers import answers
from mmvs.data import catalogue
from mmvs.data.clips import Clips
from mmvs.evaluation import evaluate
from mmvs.metrics import binarise
from mmvs.run_folder import RunFolder
from mmvs.scoring import Request, score
from mmvs.segmenter import submission
from mmvs.segmenter.submission import write_submission

SPLITS = {"mevis": ["valid_u", "valid"], "ref-youtube-vos": ["train", "valid"], "ref-davis17": ["valid"]}


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A network of random weights, and every tree with its flow."""
    folder = tmp_path_factory.mktemp("submission")
    roots = {name: str(trees.copy(name, folder / name)) for name in trees.NAMES}
    names = [f"{family}-{split}" for family, splits in SPLITS.items() for split in splits]
    it = tiny.run(folder, roots=roots, train_on="mevis-train", evaluate_on=names)
    flow = config.Flow(root=str(folder / "flow"), workers=1)
    it.experiment = it.experiment.model_copy(update={"flow": flow})
    for summary in catalogue.prepare(it.experiment, progress=False).values():
        summary.raise_failures()
    return it


def source(trained, name):
    return catalogue.open(name, trained.experiment)


def masks(path) -> dict[str, np.ndarray]:
    with zipfile.ZipFile(path) as archive:
        pictures = {name: Image.open(io.BytesIO(archive.read(name))) for name in archive.namelist()}
    assert all(picture.mode == "L" and picture.format == "PNG" for picture in pictures.values())
    return {name: np.asarray(picture) for name, picture in pictures.items()}


@pytest.mark.parametrize("family", ["mevis", "ref-youtube-vos"])
def test_the_zip_has_the_names_and_sizes_that_the_server_wants(trained, tmp_path, family):
    data = source(trained, f"{family}-valid")
    root = data.samples.expressions.root
    written = masks(write_submission(trained, data, tmp_path / "valid.zip", progress=False))
    top = {"mevis": "", "ref-youtube-vos": "Annotations/"}[family]
    expected = [
        f"{top}{row['video']}/{row['exp_id']}/{frame}.png"
        for row in trees.expected(root)["valid"]
        for frame in row["frames"]
    ]
    assert list(written) == expected
    assert {value for mask in written.values() for value in np.unique(mask)} == {0, 255}
    for row in trees.expected(root)["valid"]:
        of_video = [mask.shape for name, mask in written.items() if f"{row['video']}/" in name]
        assert set(of_video) == {(row["height"], row["width"])}


def test_masks_are_those_of_clips(trained, tmp_path):
    data = source(trained, "mevis-valid_u")
    written = masks(write_submission(trained, data, tmp_path / "valid_u.zip", progress=False))
    samples, different, total = data.samples, 0, 0
    for _, some in answers(trained, Clips(samples, data.flow, trained.experiment.data)):
        for answer in some:
            one = samples.expressions[samples.expression(answer.index)]
            frame = one.frames[samples._positions[one.video_id][samples[answer.index].frame]]
            mask = written[f"{one.video_id}/{one.expression_id}/{frame}.png"] > 0
            plain = binarise(answer.probability, trained.experiment.evaluation)
            different, total = different + (mask != plain).sum(), total + mask.size
    assert total and different <= 1e-4 * total
    assert 0.01 < np.mean([mask.mean() for mask in written.values()]) / 255 < 0.99, "neither empty nor full"


def test_a_killed_run_goes_on_with_the_next_video_and_a_finished_one_stays(trained, tmp_path, monkeypatch):
    data, path = source(trained, "mevis-valid_u"), tmp_path / "valid_u.zip"
    whole = masks(write_submission(trained, data, tmp_path / "whole.zip", progress=False))
    videos, genuine = [], submission._masks_of_video

    def of_video(predictor, video_id, bar):
        videos.append(video_id)
        for count, member in enumerate(genuine(predictor, video_id, bar)):
            if len(videos) == 2 and count == 3:
                raise KeyboardInterrupt
            yield member

    monkeypatch.setattr(submission, "_masks_of_video", of_video)
    with pytest.raises(KeyboardInterrupt):
        write_submission(trained, data, path, progress=False)
    assert not path.exists()
    write_submission(trained, data, path, progress=False)
    names = data.samples.expressions.videos
    assert videos == [names[0], names[1], *names[1:]], "the first is not done again"
    again = masks(path)
    assert list(again) == list(whole) and all(np.array_equal(again[name], whole[name]) for name in whole)
    before = path.stat().st_mtime_ns
    write_submission(trained, data, path, progress=False)
    assert path.stat().st_mtime_ns == before and len(videos) == 1 + len(names)
    assert [p.name for p in tmp_path.iterdir() if p.is_dir()] == [], "no part is left"
    relative = config.Evaluation(threshold=0.9)
    monkeypatch.setattr(trained, "experiment", trained.experiment.model_copy(update={"evaluation": relative}))
    write_submission(trained, data, path, progress=False)
    assert len(videos) == 1 + 2 * len(names), "another threshold gives other masks"


def test_a_frame_without_a_picture_gets_an_empty_mask_and_is_named(trained, tmp_path):
    root = trees.copy("mevis", tmp_path / "mevis")
    folder = next(iter((root / "valid_u" / "JPEGImages").iterdir()))
    last = sorted(folder.iterdir())[-1]
    last.unlink()
    data = trained.experiment.data.model_copy(
        update={"roots": {"mevis": str(root)}, "train_on": "mevis-train"}
    )
    flow = config.Flow(root=str(tmp_path / "flow"), workers=1)
    it = trained.experiment.model_copy(update={"data": data, "flow": flow})
    it = it.model_copy(update={"data": data.model_copy(update={"evaluate_on": ["mevis-valid_u"]})})
    with pytest.warns(UserWarning, match="lack pictures"):
        catalogue.prepare(it, progress=False)
        one = catalogue.open("mevis-valid_u", it)
    with pytest.warns(UserWarning, match=rf"1 videos lack pictures: empty masks \({folder.name}\)"):
        written = masks(write_submission(trained, one, tmp_path / "valid_u.zip", progress=False))
    empty = [name for name in written if name.startswith(folder.name) and name.endswith(f"{last.stem}.png")]
    assert empty and not any(written[name].any() for name in empty)
    assert len(written) == sum(len(one.frames) for one in one.samples.expressions)


def test_evaluation_writes_zips_and_scores_as_mmvs_score_does(trained, tmp_path, monkeypatch):
    names = ["mevis-valid", "mevis-valid_u", "ref-davis17-valid"]
    data = trained.experiment.data.model_copy(update={"evaluate_on": names})
    it = trained.experiment.model_copy(update={"data": data, "reports": str(tmp_path), "run": "scored"})
    monkeypatch.setattr(trained, "experiment", it)
    result = evaluate(trained, progress=False)
    folder = RunFolder.of(it)
    assert list(result.scores) == [*names, "mevis-valid_u-shuffled"]
    assert result.scores["mevis-valid"] == {"all": {"samples": len(source(trained, "mevis-valid").samples)}}
    assert all(folder.submission(name).exists() for name in names)
    root = source(trained, "mevis-valid_u").samples.expressions.root
    request = Request(folder.submission("mevis-valid_u"), root, "mevis", "valid_u", workers=1, progress=False)
    overall = score(request).details["overall"]
    scores = result.scores["mevis-valid_u"]["all"]
    assert {name: scores[name] for name in ("J", "F", "J&F")} == {
        name: overall[name] for name in ("J", "F", "J&F")
    }
    assert (
        json.loads(folder.submission("mevis-valid_u").with_suffix(".json").read_text())["overall"] == overall
    )
    assert scores["samples"] and "official J&F" in result.scores["ref-davis17-valid"]["all"]
    shuffled = result.scores["mevis-valid_u-shuffled"]["all"]
    assert shuffled["J"] != scores["J"] or shuffled["mean_iou"] == scores["mean_iou"]
    monkeypatch.setattr("mmvs.evaluation._score", lambda *_: pytest.fail("scored again"))
    assert evaluate(trained, progress=False) == result


def test_where_no_truth_is_known_there_are_zips_and_no_scores(trained, tmp_path, monkeypatch):
    data = trained.experiment.data.model_copy(update={"evaluate_on": ["ref-youtube-vos-valid"]})
    it = trained.experiment.model_copy(update={"data": data, "reports": str(tmp_path), "run": "hidden"})
    monkeypatch.setattr(trained, "experiment", it)
    (scores,) = evaluate(trained, progress=False).scores.values()
    assert scores == {"all": {"samples": len(source(trained, "ref-youtube-vos-valid").samples)}}
    assert RunFolder.of(it).submission("ref-youtube-vos-valid").exists()
    assert tiny.command("report", "--reports", tmp_path) == 0
