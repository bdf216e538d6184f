"""Clips of a small embedded data set: what is cut, and how clips become a batch."""

import pytest
import torch

from mmvs.config import Data, MovingShapes, experiment
from mmvs.data import catalogue
from mmvs.data.catalogue import prepare
from mmvs.data.clips import Backwards, Clips, collate
from mmvs.data.loaders import split
from mmvs.data.words import tokenizer

SHAPES = MovingShapes(train_clips=4, test_clips=2, unseen_clips=2, height=48, width=64)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("shapes")
    run = experiment(
        data=Data(
            train_on="moving_shapes-train",
            evaluate_on=["moving_shapes-test"],
            roots={"moving_shapes": str(folder / "data")},
            size=64,
            stride=3,
            moving_shapes=SHAPES,
        ),
        flow={"root": str(folder / "flow"), "workers": 1},
    )
    for summary in prepare(run, progress=False).values():
        summary.raise_failures()
    return run


def clips(run, **changes) -> Clips:
    source = catalogue.open("moving_shapes-train", run)
    return Clips(source.samples, source.flow, run.data.model_copy(update=changes))


def test_one_item_an_annotated_frame_with_all_its_sentences(run):
    source = clips(run)
    samples = source.samples
    assert sorted(i for clip in source for i in clip.samples) == list(range(len(samples)))
    for clip in source:
        assert len({(samples[i].video_id, samples[i].frame) for i in clip.samples}) == 1
        assert clip.sentences == [samples[i].sentence for i in clip.samples]
        assert clip.frames.shape == (3, 3, 64, 64) and clip.flow.shape == (3, 2, 64, 64)
        assert clip.masks.shape == (len(clip.samples), 64, 64)
        assert clip.valid.sum() == 48 * 64 and not clip.masks[:, ~clip.valid].any()
        assert torch.equal(clip.masks[0, 8:56], torch.from_numpy(samples.mask(clip.samples[0])))


def test_a_window_that_runs_backwards_has_the_same_frames_and_flow_fields(run):
    source = clips(run)
    for clip, turned in zip(source, Backwards(source), strict=True):
        assert torch.equal(turned.frames, clip.frames[[2, 1, 0]])
        assert torch.equal(turned.flow, clip.flow[[2, 1, 0]]), "each field shows the motion that it showed"
        assert turned.target == 1 and torch.equal(turned.masks, clip.masks)
        assert turned.sentences == clip.sentences


def test_collate_points_every_sentence_at_its_clip(run, tmp_path):
    source = clips(run)
    words = tokenizer(run.model.language.model_copy(update={"name": "small"}), tmp_path, ["the red circle"])
    some = [source[0], source[1], source[2]]
    batch = collate(words, 32)(some)
    assert batch.frames.shape == (3, 3, 3, 64, 64) and batch.target == 1
    for n, c in enumerate(batch.clip_of_sentence):
        assert batch.samples[n] in some[c].samples
        at = some[c].samples.index(batch.samples[n])
        assert torch.equal(batch.masks[n].bool(), some[c].masks[at])
    assert batch.original_sizes == [(48, 64)] * 3


def test_clips_and_the_split_keep_the_order_of_the_samples(run):
    """Grouped by arrays; the plain way beside it decides what a seed trains on."""
    source = catalogue.open("moving_shapes-train", run)
    samples, videos = source.samples, {}
    for i, sample in enumerate(samples):
        videos.setdefault(sample.video_id, []).append(i)
    order = torch.randperm(len(videos), generator=torch.Generator().manual_seed(0)).tolist()
    training, validation = split(samples, 1)
    names = sorted(videos)
    assert validation == videos[names[order[0]]]
    assert training == [i for place in sorted(order[1:]) for i in videos[names[place]]]
    for only in (None, training[::-1]):
        frames = {}
        for i in range(len(samples)) if only is None else only:
            frames.setdefault((samples[i].video_id, samples[i].frame), []).append(i)
        assert Clips(samples, source.flow, run.data, only).positions == list(frames.values())
