"""Clips of a small embedded data set: what is cut, and that augmentation is joint."""

import pytest
import torch

from mmvs.config import Data, MovingShapes, experiment
from mmvs.data import catalogue
from mmvs.data.catalogue import prepare
from mmvs.data.clips import Clips, collate
from mmvs.data.words import mirror, tokenizer

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
    data = run.data.model_copy(update={k: v for k, v in changes.items() if k != "training"})
    source = catalogue.open("moving_shapes-train", run)
    return Clips(source.samples, source.flow, data, training=changes.get("training", False))


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


def test_flip_moves_frames_flow_mask_and_words_together(run):
    plain = clips(run, jitter=0.0)[0]
    flipped = clips(run, jitter=0.0, flip=1.0, training=True, sentences_per_clip=9)[0]
    assert torch.equal(flipped.frames, plain.frames.flip(-1))
    assert torch.equal(flipped.flow[:, 0], -plain.flow[:, 0].flip(-1))
    assert torch.equal(flipped.flow[:, 1], plain.flow[:, 1].flip(-1))
    order = [plain.samples.index(i) for i in flipped.samples]
    assert torch.equal(flipped.masks, plain.masks[order].flip(-1))
    assert flipped.sentences == [mirror(plain.sentences[i]) for i in order]


def test_jitter_changes_frames_and_never_flow(run):
    plain = clips(run, jitter=0.0)[0]
    jittered = clips(run, jitter=0.5, flip=0.0, training=True)[0]
    assert not torch.equal(jittered.frames, plain.frames)
    assert torch.equal(jittered.flow, plain.flow)


def test_training_draws_sentences_and_the_cache_keeps_what_is_drawn_from(run):
    cached = clips(run, cache=True, training=True, sentences_per_clip=1)
    assert {len(clip.samples) for clip in cached} == {1}
    drawn = {cached[0].samples[0] for _ in range(40)}
    assert drawn == set(clips(run)[0].samples)


def test_gaps_are_drawn_in_training_alone(run):
    """Neighbours are 1 to `gap` frames away on either side, drawn at every reading, `cache` or not."""
    drawn = clips(run, gap=3, cache=True, training=True, flip=0.0, jitter=0.0)
    sample, last = drawn.samples[0], drawn.samples.frame_count(drawn.samples[0].video_id) - 1
    near = range(1, 4)
    expected = {
        (max(sample.frame - a, 0), sample.frame, min(sample.frame + b, last)) for a in near for b in near
    }
    assert {tuple(drawn._draw_window(sample)) for _ in range(300)} == expected
    assert len({drawn[0].frames.sum().item() for _ in range(20)}) > 1
    assert torch.equal(clips(run, gap=3)[0].frames, clips(run)[0].frames)


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
