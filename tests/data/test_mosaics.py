"""Two videos in one frame: pictures, flow and masks are joined alike; a sentence keeps its object."""

import numpy as np
import own_videos
import pytest
import tiny
import torch
from own_videos import FRAMES, SIZE

from mmvs import config
from mmvs.data import catalogue, mosaics
from mmvs.data.clips import Clips
from mmvs.data.csv_files import DataError
from mmvs.data.loaders import Loaders
from mmvs.data.mosaics import FixedMosaics, Mosaics
from mmvs.data.own.making import make
from mmvs.data.training_clips import TrainingClips
from mmvs.evaluation import Exchanged, _score_copies

NAMES = ["a", "b", "c"]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Three films with all frames labelled, in train and in valid; c is shorter."""
    folder = tmp_path_factory.mktemp("mosaics")
    rows = []
    for name in NAMES:
        frames = FRAMES - 2 * (name == "c")
        own_videos.film(folder / "clips" / f"{name}.mp4", frames)
        own_videos.masks(folder / "masks" / name, [f"{t:05d}.png" for t in range(frames)])
        rows += [f"{name},1,red of {name}", f"{name},2,the lower left of {name}"]
    table = own_videos.table(folder / "t.csv", *rows)
    assert make(folder / "own", [folder / "clips"], table, folder / "masks", valid=0).is_sound
    parts = tiny.parameters(folder, {"roots": {"own": str(folder / "own")}, "size": 48})
    parts["data"] |= {
        "train_on": "own-train",
        "evaluate_on": ["mosaic:own-train"],
        "mosaic": 1.0,
        "flip": 0.0,
    }
    parts["data"] |= {"jitter": 0.0, "sentences_per_clip": 9, "stride": 1}
    experiment = config.experiment(**parts)
    catalogue.prepare(experiment, progress=False)
    return experiment


@pytest.fixture(scope="module")
def source(run):
    return catalogue.open("mosaic:own-train", run)


def test_each_sample_keeps_its_sentence_beside_another_video(run, source):
    base, samples = source.samples.base, source.samples
    assert len(samples) == len(base) and sorted(samples.scene(i) for i in range(len(samples))) == sorted(
        sample.video_id for sample in base
    )
    for i in range(len(samples)):
        own, partner, first = samples.parts(samples[i].video_id)
        assert own == base[i].video_id != partner and samples[i].sentence == base[i].sentence
        frame = samples[i].frame
        joined, mask = samples.frames(i, [frame])[0], samples.mask(i)
        height, width = SIZE  # wide: one above the other
        assert joined.shape == (2 * height, width, 3) and samples.size(samples[i].video_id) == mask.shape
        half = slice(0, height) if first else slice(height, None)
        rest = slice(height, None) if first else slice(0, height)
        np.testing.assert_array_equal(joined[half], base.frames(i, [frame])[0])
        np.testing.assert_array_equal(mask[half], base.mask(i))
        assert not mask[rest].any()
        j = next(j for j in range(len(base)) if base[j].video_id == partner)
        other = frame % base.frame_count(partner)
        np.testing.assert_array_equal(joined[rest], base.frames(j, [other])[0])
        flow = source.flow.read(samples[i].video_id, "", [frame])[0]
        store = source.flow.store
        np.testing.assert_array_equal(flow[:, half], store.read(own, base.video_path(own), [frame])[0])
        np.testing.assert_array_equal(
            flow[:, rest], store.read(partner, base.video_path(partner), [other])[0]
        )


def test_the_list_is_fixed_and_every_video_is_a_partner_once(source):
    again = Mosaics(source.samples.base)
    assert list(again) == list(source.samples)
    parts = {source.samples.parts(video) for video in source.samples.videos}
    assert {own for own, _, _ in parts} == {partner for _, partner, _ in parts} == set(NAMES)
    assert {first for _, _, first in parts} == {True, False}


def test_training_draws_mosaics_by_the_clips_own_seed(run):
    source = catalogue.open("own-train", run)
    clips = Clips(source.samples, source.flow, run.data)
    one, other = TrainingClips(clips, 0), TrainingClips(clips, 0)
    backwards = [other[number] for number in reversed(range(8))][::-1]
    seen = set()
    for number, twin in enumerate(backwards):
        clip = one[number]
        assert torch.equal(clip.frames, twin.frames) and torch.equal(clip.flow, twin.flow)
        assert clip.samples == twin.samples and torch.equal(clip.masks, twin.masks)
        videos = {source.samples[i].video_id for i in clip.samples}
        seen |= {tuple(sorted(videos))}
        assert len(videos) == 2 and len(clip.sentences) == 4
        middles = {}
        for i, mask in zip(clip.samples, clip.masks, strict=True):
            own = source.samples[i].video_id
            middles.setdefault(own, []).append(int(mask.nonzero()[:, 0].float().mean() >= 24))
            assert mask.any() and clip.sentences[clip.samples.index(i)] == source.samples[i].sentence
        assert sorted(list(set(half)) for half in middles.values()) == [[0], [1]]
    assert len(seen) > 1


def test_in_a_mosaic_too_the_annotated_frames_stand_where_the_key_says(run):
    source = catalogue.open("own-train", run)
    clips = TrainingClips(Clips(source.samples, source.flow, run.data), 0)
    for number in range(4):
        first, middle, last = (clips[number, target] for target in range(3))
        assert (first.target, middle.target, last.target) == (0, 1, 2)
        assert torch.equal(first.frames[0], middle.frames[1]) and torch.equal(
            last.frames[2], middle.frames[1]
        )
        assert torch.equal(first.masks, middle.masks) and first.samples == middle.samples


def test_without_mosaics_nothing_is_drawn_otherwise(run):
    source = catalogue.open("own-train", run)
    data = run.data.model_copy(update={"mosaic": 0.0, "jitter": 0.3, "flip": 0.5})
    clips = TrainingClips(Clips(source.samples, source.flow, data), 0)
    assert all(len({source.samples[i].video_id for i in clips[n].samples}) == 1 for n in range(6))
    fresh = run.model_copy(update={"data": data})
    assert fresh.fingerprint() == config.experiment(**_without_mosaic(fresh)).fingerprint()
    assert fresh.fingerprint() != run.fingerprint()


def _without_mosaic(experiment):
    values = experiment.model_dump()
    del values["data"]["mosaic"]
    return values


def test_validation_is_of_mosaics_too_and_holds_out_frames(run):
    data = run.training.model_copy(update={"hold_out": "frames", "validation_clips": 3})
    loaders = Loaders(
        run.model_copy(update={"training": data}), {"own-train": catalogue.open("own-train", run)}, None
    )
    samples, (validation,) = loaders.sources["own-train"].samples, loaders.validation.datasets
    assert isinstance(validation, FixedMosaics) and len(validation) == 3
    held_out = [positions[0] for positions in validation.clips.positions]
    assert sorted((samples[i].video_id, samples[i].frame) for i in held_out) == [("a", 5), ("b", 5), ("c", 3)]
    trained = {(samples[p[0]].video_id, samples[p[0]].frame) for p in loaders.training.clips.positions}
    assert len(trained) == 5 + 5 + 3 and not trained & {("a", 5), ("b", 5), ("c", 3)}
    one, again = validation[1], validation[1]
    assert torch.equal(one.frames, again.frames) and len(one.sentences) == 4


def test_a_partner_of_another_size_is_scaled_with_its_flow():
    one, other = np.ones((1, 2, 8, 12), np.float32), np.ones((1, 2, 4, 3), np.float32)
    joined = mosaics._joined_flow(one, other, True, 80, 120)
    assert joined.shape == (1, 2, 16, 12)
    assert (joined[0, 0, 8:] == 4).all() and (joined[0, 1, 8:] == 2).all() and (joined[..., :8, :] == 1).all()
    tall = mosaics._joined_frames(
        np.zeros((1, 12, 8, 3), np.uint8), np.full((1, 4, 4, 3), 9, np.uint8), False
    )
    assert tall.shape == (1, 12, 16, 3) and (tall[:, :, :8] == 9).all() and not tall[:, :, 8:].any()
    masks = mosaics._resized_masks(np.ones((2, 4, 4), bool), (12, 8))
    assert masks.shape == (2, 12, 8) and masks.all()


def test_exchanged_sentences_are_of_other_videos(run, source):
    shuffled = Exchanged(Clips(source.samples, source.flow, run.data))
    for item in range(len(shuffled)):
        clip = shuffled[item]
        for i, sentence in zip(clip.samples, clip.sentences, strict=True):
            assert not sentence.endswith(source.samples.scene(i))


def test_the_copied_mask_is_the_last_of_training_in_the_right_half(run, source):
    """The squares move 3 pixels a frame: of 8 columns, the mask of k frames later covers 8 - 3 k."""
    scores = _score_copies(source.samples, source.samples.base)["all"]
    ious = []
    for i, sample in enumerate(source.samples):
        last = source.samples.base.frame_count(source.samples.scene(i)) - 1
        overlap = max(0, 8 - 3 * (last - sample.frame))
        ious.append(overlap / (16 - overlap))
    assert scores["mean_iou"] == pytest.approx(np.mean(ious), abs=1e-4)
    assert scores["J"] == pytest.approx(
        np.mean([np.mean(ious[k : k + n]) for k, n in _spans(source)]), abs=1e-4
    )


def _spans(source):
    start, spans = 0, []
    for name in NAMES:
        for _ in range(2):
            n = source.samples.base.frame_count(name)
            spans.append((start, n))
            start += n
    return spans


def test_one_video_makes_no_mosaic(run):
    base = catalogue.open("own-train", run).samples
    base._frames = {"a": base._frames["a"]}
    with pytest.raises(DataError, match="one video alone makes no mosaic: add videos"):
        Mosaics(base)
