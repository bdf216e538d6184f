"""Flow that was compared once is not read again until a file changes; stamps never hide a change."""

import os

import numpy as np
import pytest

from mmvs.config import Flow
from mmvs.flow.estimators import estimator
from mmvs.flow.store import FlowStore
from mmvs.video.files import write_video


@pytest.fixture
def video(tmp_path):
    path = tmp_path / "clip.mp4"
    write_video(path, np.random.default_rng(0).integers(0, 255, (5, 48, 64, 3), dtype=np.uint8))
    return path


@pytest.fixture
def store(tmp_path, video):
    store = FlowStore(tmp_path / "flow", estimator(Flow()))
    assert store.compute({"clip": video}, progress=False).computed == 1
    return store


def test_a_second_call_reads_no_flow_file(store, video, monkeypatch):
    monkeypatch.setattr(FlowStore, "is_good", lambda *_: pytest.fail("was read"))
    summary = store.compute({"clip": video}, workers=2, progress=False)
    assert (summary.computed, summary.skipped) == (0, 1)
    assert summary.bytes == store.path("clip").stat().st_size


@pytest.mark.parametrize("change", ["flow", "video", "gone", "stamps"])
def test_a_change_is_seen(store, video, change):
    flow = store.path("clip")
    if change == "flow":  # of the same size
        content = bytearray(flow.read_bytes())
        content[len(content) // 2 : len(content) // 2 + 40] = bytes(40)
        flow.write_bytes(content)
    elif change == "video":
        write_video(video, np.zeros((5, 48, 64, 3), np.uint8))
    elif change == "gone":
        flow.unlink()
    else:
        (store.root / ".checked.json").write_text("{torn")
    summary = store.compute({"clip": video}, progress=False)
    assert (summary.computed, summary.skipped) == ((0, 1) if change == "stamps" else (1, 0))
    assert store.is_good("clip", video)


def test_a_touched_file_is_read_and_kept(store, video):
    os.utime(store.path("clip"), ns=(1, 1))
    assert store.compute({"clip": video}, progress=False).skipped == 1


def test_stamps_of_another_estimator_do_not_count(store, video):
    other = FlowStore(store.root, estimator(Flow(preset="fast")))
    assert other.compute({"clip": video}, progress=False).computed == 1


def test_a_folder_that_cannot_be_written_goes_without(store, video, monkeypatch):
    def full(*_):
        raise OSError(28, "no space left")

    monkeypatch.setattr("mmvs.flow.stamps.write_text", full)
    os.utime(store.path("clip"), ns=(1, 1))
    assert store.compute({"clip": video}, progress=False).skipped == 1


def test_parts_of_a_folder_keep_the_stamps_of_each_other(store, video, monkeypatch):
    """Another process writes stamps while this one computes."""
    other = FlowStore(store.root, store.estimator)
    content = FlowStore._content

    def meanwhile(self, path):
        if self is store:
            assert other.compute({"theirs": video}, progress=False).computed == 1
        return content(self, path)

    monkeypatch.setattr(FlowStore, "_content", meanwhile)
    assert store.compute({"mine": video}, progress=False).computed == 1
    monkeypatch.setattr(FlowStore, "is_good", lambda *_: pytest.fail("was read"))
    assert store.compute(dict.fromkeys(("clip", "mine", "theirs"), video), progress=False).skipped == 3
