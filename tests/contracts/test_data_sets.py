"""What every data set holds, whatever its files look like; a new family adds a line to WRITERS."""

import pickle
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path

import expression_trees
import numpy as np
import pytest
import refcoco_trees
import tiny
import torch

from mmvs import config
from mmvs.data import catalogue
from mmvs.data.annotated_videos import AnnotatedVideos
from mmvs.data.clips import Clips, collate
from mmvs.data.csv_files import DataError, normalise
from mmvs.data.training_clips import TrainingClips
from mmvs.data.words import tokenizer
from mmvs.evaluation import evaluate
from mmvs.schema import Sample
from mmvs.shapes import jhmdb_layout, writing
from mmvs.training import fit
from mmvs.verify.tree import recognise, verify
from mmvs.video.files import write_video

SHAPES = config.MovingShapes(train_clips=3, test_clips=2, unseen_clips=2, height=48, width=64)

WRITERS = {  # family: how a small tree in its layout is written
    "a2d": lambda root: writing.write(root, SHAPES, progress=False),
    "jhmdb": lambda root: jhmdb_layout.write(root, SHAPES, clips=3, progress=False),
    "moving_shapes": lambda root: writing.write(root, SHAPES, progress=False),
    "mevis": lambda root: expression_trees.copy("mevis", root),
    "ref-youtube-vos": lambda root: expression_trees.copy("ref-youtube-vos", root),
    "ref-davis17": lambda root: expression_trees.copy("ref-davis17", root),
    "own": lambda root: expression_trees.own(root),
    "refcoco": lambda root: refcoco_trees.write(root, "refcoco"),
    "refcoco+": lambda root: refcoco_trees.write(root, "refcoco+"),
    "refcocog": lambda root: refcoco_trees.write(root, "refcocog"),
}


class Hidden(AnnotatedVideos):
    """One grey video with two sentences in its "test" split, whose masks the owners keep to themselves."""

    layout, marks, splits = "Hidden", ("hidden.txt",), ("train", "test")

    def __init__(self, root, split):
        self.root, self.truth_is_known = root, split != "test"
        super().__init__([Sample("vid", 2, 0, "a grey dog"), Sample("vid", 2, 1, "the grey sky")])

    @classmethod
    def open(cls, root, split, data):
        return cls(root, split)

    @classmethod
    def sentences(cls, root):
        return [("vid", "0", "A grey dog"), ("vid", "1", "the grey  sky")]

    @classmethod
    def write(cls, root, data, progress):
        (root / "hidden.txt").parent.mkdir(parents=True, exist_ok=True)
        (root / "hidden.txt").touch()
        if not (root / "vid.mp4").exists():
            write_video(root / "vid.mp4", np.full((5, 48, 64, 3), 128, np.uint8))

    def video_path(self, video_id):
        return self.root / f"{video_id}.mp4"

    def annotation_path(self, i):
        return self.root / "nobody-has-it"

    def masks_in_frame(self, i):
        if not self.truth_is_known:
            pytest.fail("nobody may ask for masks that are not known")
        return {k: np.full((48, 64), bool(k)) for k in (0, 1)}


@pytest.fixture(scope="module")
def families():
    """The catalogue with the hidden family beside the real ones."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(catalogue.FAMILIES, "hidden", Hidden)
        yield catalogue.FAMILIES


@pytest.fixture(scope="module")
def run(tmp_path_factory, families):
    """An experiment that uses every split of every family, all of it prepared."""
    folder = tmp_path_factory.mktemp("families")
    for family, write in WRITERS.items():
        write(folder / family)
    run = config.experiment(
        run="tiny",
        reports=str(folder / "reports"),
        data={
            "train_on": "moving_shapes-train",
            "evaluate_on": catalogue.names(),
            "roots": {family: str(folder / family) for family in families},
            "size": 64,
            "workers": 0,
            "moving_shapes": SHAPES.model_dump(),
        },
        flow={"root": str(folder / "flow"), "workers": 1},
        model=tiny.model().model_dump(),
        training={"steps": 2, "batch": 2, "warmup": 1, "validate_every": 2, "validation_clips": 1},
    )
    for summary in catalogue.prepare(run, progress=False).values():
        summary.raise_failures()
    return run


NAMES = [*catalogue.names(), "hidden-train", "hidden-test"]
each = pytest.mark.parametrize("name", NAMES)
each_family = pytest.mark.parametrize("family", list(WRITERS))


def of(run, **data):
    return run.model_copy(update={"data": run.data.model_copy(update=data)})


def test_every_family_is_here():
    assert list(WRITERS) == list(catalogue.FAMILIES), "a family without a tree in WRITERS is not tested"


@each
def test_it_is_a_sequence_in_a_fixed_order_that_travels_to_workers(run, name):
    samples = catalogue.open(name, run).samples
    assert isinstance(samples, Sequence) and len(samples) > 1
    assert list(samples) == [samples[i] for i in range(len(samples))] and samples[-1] == list(samples)[-1]
    for outside in (len(samples), -len(samples) - 1):
        with pytest.raises(IndexError):
            samples[outside]
    assert list(catalogue.open(name, run).samples) == list(samples)
    copy = pickle.loads(pickle.dumps(samples))
    assert list(copy) == list(samples) and copy.window(0, 3)[0] == samples.window(0, 3)[0]


@each
def test_samples_are_sentences_about_frames_that_are_there(run, name):
    samples = catalogue.open(name, run).samples
    assert samples.videos == list(dict.fromkeys(sample.video_id for sample in samples))
    for sample in samples:
        assert 0 <= sample.frame < samples.frame_count(sample.video_id)
        assert sample.sentence and sample.sentence == normalise(sample.sentence)
        assert samples.video_path(sample.video_id).exists()


@each
def test_windows_surround_the_frame_and_are_clamped_to_the_video(run, name):
    samples = catalogue.open(name, run).samples
    for i in range(min(len(samples), 4)):
        frame, last = samples[i].frame, samples.frame_count(samples[i].video_id) - 1
        for size, stride in ((1, 1), (3, 1), (4, 1), (3, 40)):
            indices, frames = samples.window(i, size, stride)
            places = [frame + stride * (k - size // 2) for k in range(size)]
            assert indices == [min(max(place, 0), last) for place in places]
            assert frames.shape == (size, *samples.size(samples[i].video_id), 3) and frames.dtype == np.uint8
            np.testing.assert_array_equal(frames, samples.frames(i, indices))


@each
def test_masks_are_of_the_video_where_the_truth_is_known(run, name):
    samples = catalogue.open(name, run).samples
    for i in range(len(samples)):
        size, known = samples.size(samples[i].video_id), samples.frames_with_truth(i)
        if not samples.truth_is_known:
            assert known == []
            for ask in (lambda i=i: samples.mask(i), lambda i=i: samples.masks(i, [samples[i].frame])):
                with pytest.raises(DataError, match=f"'{samples[i].sentence}' .* not published"):
                    ask()
            continue
        assert samples[i].frame in known and known == sorted(set(known))
        mask = samples.mask(i)
        assert mask.shape == size and mask.dtype == bool
        np.testing.assert_array_equal(mask, samples.masks_in_frame(i)[samples[i].instance_id])
        np.testing.assert_array_equal(samples.masks(i, [samples[i].frame])[0], mask)
        every = samples.masks(i, known[::-1])
        assert every.shape == (len(known), *size) and every.dtype == bool
        with pytest.raises(DataError, match="frame 999 .* has no truth"):
            samples.masks(i, [samples[i].frame, 999])


def test_a_family_may_know_the_truth_of_every_frame(run):
    samples = catalogue.open("jhmdb", run).samples
    assert samples.frames_with_truth(0) == list(range(samples.frame_count(samples[0].video_id)))
    assert len({mask.tobytes() for mask in samples.masks(0, samples.frames_with_truth(0))}) > 1


@each
def test_sentences_are_those_of_the_samples_read_from_the_annotation_file_alone(run, name):
    samples = catalogue.open(name, run).samples
    rows = next(iter(catalogue.sentences(of(run, train_on=name, evaluate_on=[]).data).values()))
    pairs = {(video_id, normalise(sentence)) for video_id, _, sentence in rows}
    assert {(sample.video_id, sample.sentence) for sample in samples} <= pairs


@pytest.mark.parametrize("family", [*WRITERS, "hidden"])
def test_the_folder_tells_the_layout_and_a_check_belongs_to_it(run, families, family):
    root = Path(run.data.roots[family])
    data_set = families[family]
    assert recognise(root).layout == data_set.layout
    if data_set.check is None:
        with pytest.raises(DataError, match="Hidden has no check"):
            verify(root, progress=False)
        return
    checks = import_module(data_set.check)
    assert callable(checks.check) and all(isinstance(count, int) for count in checks.PUBLISHED.values())
    assert verify(root, progress=False).healthy


@each_family
def test_a_folder_that_is_not_there_is_named(run, tmp_path, family):
    split = next(iter(catalogue.FAMILIES[family].splits), "")
    missing = of(run, roots={family: str(tmp_path / "nowhere")})
    with pytest.raises(DataError, match="nowhere: no such folder: put .* there, or change the root"):
        catalogue.open(f"{family}-{split}" if split else family, missing)


@pytest.mark.parametrize("video_id", ["../x", "/x", "..", "a/b", "a\\b", ""])
@each_family
def test_an_id_that_leads_out_of_the_folder_is_refused(run, family, video_id):
    split = next(iter(catalogue.FAMILIES[family].splits), "")
    with pytest.raises(DataError, match="not a video id"):
        catalogue.open(f"{family}-{split}" if split else family, run).samples.video_path(video_id)


@pytest.mark.parametrize("name", ["a2d", "a2d-", "a2d-val", "jhmdb-test", "imagenet", ""])
def test_a_name_that_does_not_exist_is_refused_with_those_that_do(run, name):
    with pytest.raises(
        config.ConfigError, match=f"unknown data set '{name}': known are a2d-train, a2d-test, jhm"
    ):
        catalogue.open(name, run)


def test_a_family_without_a_root_lies_in_its_default_folder(run, tmp_path, monkeypatch):
    monkeypatch.setattr("mmvs.config.part.ROOT", tmp_path)  # where nothing lies yet
    data = run.data.model_copy(update={"roots": {}, "evaluate_on": ["jhmdb", "hidden-test"]})
    assert catalogue.roots(data) == {
        "moving_shapes": tmp_path / "data/moving_shapes",
        "jhmdb": tmp_path / "data/jhmdb-sentences",
        "hidden": tmp_path / "data/hidden",
    }


@each
def test_clips_have_a_mask_a_sentence_or_none_where_nobody_knows(run, tmp_path, name):
    source = catalogue.open(name, run)
    clips = Clips(source.samples, source.flow, run.data)
    clip = clips[0]
    words = tokenizer(run.model.language, tmp_path, clip.sentences)
    batch = collate(words, 12)([clip, clips[len(clips) - 1]])
    assert batch.frames.shape == (2, 3, 3, 64, 64)
    if source.samples.truth_is_known:
        assert clip.masks.shape == (len(clip.samples), 64, 64)
        assert batch.masks.shape == (len(batch.samples), 64, 64) and batch.masks.dtype == torch.float32
    else:
        assert clip.masks is None and batch.masks is None and len(batch.samples) == len(batch.words)


def test_nobody_trains_or_scores_without_a_truth(run):
    hidden = of(run, train_on="hidden-test", evaluate_on=["moving_shapes-test"])
    with pytest.raises(
        DataError, match="training on hidden-test needs masks, .* not published: name another"
    ):
        fit(hidden.model_copy(update={"run": "hidden"}), progress=False)
    assert not (hidden.folder.parent / "hidden").exists(), "it is refused before anything is written"
    source = catalogue.open("hidden-test", run)
    with pytest.raises(DataError, match="training needs masks"):
        TrainingClips(Clips(source.samples, source.flow, run.data), seed=0)


def test_evaluation_opens_every_data_set_once(run, tmp_path, monkeypatch):
    names = ["moving_shapes-test", "jhmdb"]
    of_two = of(run, evaluate_on=names).model_copy(update={"reports": str(tmp_path)})
    trained = fit(of_two, progress=False)
    calls, genuine = [], catalogue.open
    monkeypatch.setattr(catalogue, "open", lambda name, it: calls.append(name) or genuine(name, it))
    result = evaluate(trained, progress=False)
    assert sorted(calls) == sorted(["moving_shapes-train", *names])
    assert list(result.scores) == [*names, "moving_shapes-test-shuffled", "moving_shapes-test-backwards"]
    other = trained.experiment.model_copy(
        update={"run": "other", "data": of_two.data.model_copy(update={"evaluate_on": ["hidden-test"]})}
    )
    trained.experiment = other
    with pytest.raises(DataError, match="scoring hidden-test needs masks"):
        evaluate(trained, progress=False)
