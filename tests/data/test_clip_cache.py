"""Clips on disk: the same as cut from the video, made once, and anew where a source has changed."""

import os
import warnings

import pytest
import safetensors.torch
import torch

from mmvs.config import Data, MovingShapes, experiment
from mmvs.data import catalogue
from mmvs.data.catalogue import prepare
from mmvs.data.clips import Clips
from mmvs.data.training_clips import TrainingClips
from mmvs.flow.store import FlowError

SHAPES = MovingShapes(train_clips=3, test_clips=2, unseen_clips=2, height=48, width=66)


@pytest.fixture
def run(tmp_path):
    run = experiment(
        data=Data(
            train_on="moving_shapes-train",
            evaluate_on=["moving_shapes-test"],
            roots={"moving_shapes": str(tmp_path / "data")},
            cache="disk",
            cache_root=str(tmp_path / "cache"),
            size=32,
            stride=2,
            moving_shapes=SHAPES,
        ),
        flow={"root": str(tmp_path / "flow"), "workers": 1},
    )
    for summary in prepare(run, progress=False).values():
        summary.raise_failures()
    return run


def clips(run, name="moving_shapes-train", **changes) -> Clips:
    source = catalogue.open(name, run)
    return Clips(source.samples, source.flow, run.data.model_copy(update=changes))


def same(one, other) -> bool:
    maps = ("frames", "flow", "masks", "valid")
    facts = ("sentences", "samples", "target", "original_size")
    return all(torch.equal(getattr(one, m), getattr(other, m)) for m in maps) and all(
        getattr(one, f) == getattr(other, f) for f in facts
    )


def refuse(*_, **__):
    raise AssertionError("read from the video")


def files(run) -> list:
    return sorted((run.folder.parent / run.data.cache_root).rglob("*.safetensors"))


def test_a_kept_clip_is_the_clip_to_the_bit_and_the_video_is_not_read_again(run, monkeypatch):
    plain, first = clips(run, cache=False), clips(run)
    assert len(plain) and all(same(a, b) for a, b in zip(plain, first, strict=True))
    assert len(files(run)) == len(plain)

    again = clips(run)
    monkeypatch.setattr(Clips, "read", refuse)
    fitted = [again[i] for i in range(len(again))]
    monkeypatch.undo()
    assert all(same(a, b) for a, b in zip(plain, fitted, strict=True))
    assert all(clip.frames.is_contiguous() and clip.flow.is_contiguous() for clip in fitted)


def test_augmentation_is_drawn_anew_on_kept_clips(run):
    first, again = TrainingClips(clips(run, cache=False), 0), TrainingClips(clips(run), 0)
    numbers = range(3 * len(first.clips))
    assert all(same(first[n], again[n]) for n in numbers)
    assert all(same(first[n], again[n]) for n in numbers), "of files that are there"


def test_another_canvas_window_or_flow_has_files_of_its_own(run):
    count = len(clips(run))
    for number, changes in enumerate(({}, {"size": 48}, {"frames": 5}, {"stride": 3}), 1):
        assert all(
            same(*pair)
            for pair in zip(clips(run, **changes), clips(run, **changes, cache=False), strict=True)
        )
        assert len(files(run)) == number * count
    flow = run.flow.model_copy(update={"preset": "fast", "root": run.flow.root + "2"})
    other = run.model_copy(update={"flow": flow})
    prepare(other, progress=False)
    assert all(same(*pair) for pair in zip(clips(other), clips(other, cache=False), strict=True))
    assert len(files(run)) == 5 * count


@pytest.mark.parametrize("source", ["video", "flow", "masks"])
def test_a_changed_source_makes_the_clip_anew(run, source):
    kept = clips(run)
    samples, flow = kept.samples, kept.flow
    kept[0]
    path = {
        "video": samples.video_path(samples[0].video_id),
        "flow": flow.path(samples[0].video_id),
        "masks": samples.annotation_path(0),
    }[source]
    (file,) = files(run)
    before = file.stat().st_mtime_ns
    kept[0]
    assert file.stat().st_mtime_ns == before
    os.utime(path, ns=(1, 1))
    assert same(clips(run)[0], clips(run, cache=False)[0])
    assert file.stat().st_mtime_ns > before


def test_a_torn_file_and_a_file_of_somebody_else_are_made_anew(run):
    expected = clips(run, cache=False)[0]
    clips(run)[0]
    (file,) = files(run)
    whole = file.read_bytes()
    other = safetensors.torch.save({"frames": torch.zeros(1)}, {"clip": '{"made_of"'})
    for content in (b"", whole[:100], whole[:-1], b"\xff" * len(whole), other):
        file.write_bytes(content)
        assert same(clips(run)[0], expected)
        assert file.read_bytes() == whole


def test_a_missing_source_is_named_as_without_the_cache(run):
    source = clips(run)
    source[0]
    source.flow.path(source.video(0)).unlink()
    with pytest.raises(FlowError, match="no flow stored; run"):
        source[0]


def test_where_nothing_can_be_kept_clips_are_cut_and_one_warning_says_why(run, tmp_path):
    blocked = tmp_path / "blocked"
    blocked.write_text("a file where the folder should be")
    source = clips(run, cache_root=str(blocked))
    with pytest.warns(UserWarning, match="cannot be kept.*cache_root") as caught:
        assert all(same(*pair) for pair in zip(source, clips(run, cache=False), strict=True))
    assert len(caught) == 1


def test_what_has_no_flow_of_its_own_is_not_kept(run):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert len(clips(run, "mosaic:moving_shapes-train")[0].frames) == run.data.frames
    assert not files(run)
