"""Flow has the right sign and size, and the store never hands out flow that is not the video's."""

import json
import math
import os
import pickle
import struct

import cv2
import h5py
import numpy as np
import pytest

import mmvs.flow.store
from mmvs.config import Flow
from mmvs.flow.estimators import Dis, FlowError, endpoint_error, estimator, flows
from mmvs.flow.store import STEPS, FlowStore
from mmvs.video.files import write_video


def textured(height: int, width: int, seed: int = 0) -> np.ndarray:
    grains = np.random.default_rng(seed).uniform(0, 255, (height // 4, width // 4, 3)).astype(np.float32)
    return cv2.resize(grains, (width, height), interpolation=cv2.INTER_CUBIC).clip(0, 255).astype(np.uint8)


def moving(frames: int, u: int, v: int, height: int = 64, width: int = 80) -> np.ndarray:
    """A textured picture that moves by (u, v) pixels a frame: uint8 (T, H, W, 3)."""
    picture = textured(height + 64, width + 64)
    starts = [(32 - v * t, 32 - u * t) for t in range(frames)]
    return np.stack([picture[y : y + height, x : x + width] for y, x in starts])


class Settled(Dis):
    """DIS that leaves a file named after its device."""

    def __init__(self, folder):
        super().__init__(Flow())
        self.folder = folder

    def devices(self, processes):
        return [f"one-{number}" for number in range(processes)]

    def settle(self, device):
        (self.folder / device).touch(exist_ok=False)


@pytest.fixture
def video(tmp_path):
    write_video(tmp_path / "clip.mp4", moving(5, u=2, v=-1))
    return tmp_path / "clip.mp4"


@pytest.fixture
def store(tmp_path):
    return FlowStore(tmp_path / "flow", estimator(Flow()))


def middle(flow: np.ndarray) -> np.ndarray:
    """(u, v) well inside the picture, where nothing has come in from outside."""
    return np.median(flow[:, 12:-12, 12:-12], axis=(1, 2))


@pytest.mark.parametrize(("u", "v"), [(2, 0), (-2, 0), (0, 2), (0, -2), (3, -1)])
@pytest.mark.parametrize("preset", ["ultrafast", "fast", "medium"])
def test_flow_is_u_to_the_right_and_v_down_in_pixels(u, v, preset):
    estimate = estimator(Flow(preset=preset))
    flow = estimate(*moving(2, u, v))
    assert flow.shape == (2, 64, 80) and flow.dtype == np.float32
    assert np.allclose(middle(flow), (u, v), atol=0.2)


@pytest.mark.parametrize("size", [(48, 64), (64, 48), (32, 32)])
@pytest.mark.parametrize("finest_scale", [0, 3])
def test_small_frames_are_estimated(size, finest_scale):
    assert estimator(Flow(finest_scale=finest_scale))(*moving(2, 1, 0, *size)).shape == (2, *size)


def test_frames_too_small_for_dis_are_refused():
    with pytest.raises(FlowError, match=r"\(4, 4\)"):
        estimator(Flow())(*np.zeros((2, 4, 4, 3), np.uint8))


def test_the_last_frame_repeats_the_one_before():
    first, second, last = flows(estimator(Flow()), moving(3, 2, 0))
    assert np.array_equal(second, last)
    assert not np.array_equal(first, second)


def test_a_single_frame_does_not_move():
    (flow,) = flows(estimator(Flow()), moving(1, 2, 0))
    assert flow.shape == (2, 64, 80) and not flow.any()


@pytest.mark.parametrize("size", [(48, 64), (130, 139)])
def test_torchvision_raft_keeps_the_size_and_its_random_weights(size):
    import torch

    frames = moving(2, 1, 0, *size)
    flow = estimator(Flow(estimator="raft_small", weights="random"))(*frames)
    assert flow.shape == (2, *size) and flow.dtype == np.float32 and np.isfinite(flow).all()
    torch.manual_seed(size[0])  # as other code may: the same random weights are drawn in every process
    assert np.array_equal(flow, estimator(Flow(estimator="raft_small", weights="random"))(*frames))


def test_weights_from_a_file_are_used_and_fingerprinted(tmp_path):
    import torch

    random = estimator(Flow(estimator="raft_small", weights="random"))
    state = {
        key: value * 0.5 if value.is_floating_point() else value
        for key, value in random.model.state_dict().items()
    }
    torch.save(state, tmp_path / "raft.pth")
    loaded = estimator(Flow(estimator="raft_small", weights=str(tmp_path / "raft.pth")))
    assert loaded.fingerprint != random.fingerprint
    assert all(torch.equal(loaded.model.state_dict()[key].cpu(), value.cpu()) for key, value in state.items())


def test_published_weights_are_fingerprinted_by_the_hash_in_their_file_name():
    fingerprint = estimator(Flow(estimator="raft_small", weights="C_T_V2")).fingerprint
    assert fingerprint == estimator(Flow(estimator="raft_small", weights="DEFAULT")).fingerprint
    assert fingerprint != estimator(Flow(estimator="raft_small", weights="C_T_V1")).fingerprint


def test_published_weights_are_the_default_and_random_ones_have_to_be_asked_for():
    def weights(name: str, choice: str | None) -> str:
        return estimator(Flow(estimator=name, weights=choice)).fingerprint["weights"]

    assert weights("raft_small", None) == weights("raft_small", "DEFAULT") != weights("raft_small", "random")
    pytest.importorskip("ptlflow")
    assert weights("ptlflow:raft_small", None) == weights("ptlflow:raft_small", "things")


def test_a_network_without_published_weights_says_what_to_give(monkeypatch):
    ptlflow = pytest.importorskip("ptlflow")
    monkeypatch.setattr(ptlflow.get_model_reference("raft_small"), "pretrained_checkpoints", {})
    with pytest.raises(FlowError, match="publishes no weights of it: give flow.weights a file, or 'random'"):
        estimator(Flow(estimator="ptlflow:raft_small"))


@pytest.mark.parametrize("content", [None, b"not weights"])
def test_weights_that_cannot_be_had_are_named(tmp_path, content):
    path = tmp_path / "lost.pth"
    if content:
        path.write_bytes(content)
    with pytest.raises(FlowError, match="lost.pth"):
        estimator(Flow(estimator="raft_small", weights=str(path))).model  # noqa: B018


def test_ptlflow_raft_runs_with_random_weights():
    pytest.importorskip("ptlflow")
    estimate = estimator(Flow(estimator="ptlflow:raft_small", weights="random"))
    frames = moving(2, 1, 0, 48, 72)
    flow = estimate(*frames)
    assert flow.shape == (2, 48, 72) and np.isfinite(flow).all()
    assert np.array_equal(flow, pickle.loads(pickle.dumps(estimate))(*frames))
    with pytest.raises(FlowError, match="raft_small"):
        estimator(Flow(estimator="ptlflow:raft_smal"))


@pytest.mark.parametrize("name", ["raft_small", "ptlflow:raft_small"])
def test_pairs_together_flow_as_one_by_one(name, monkeypatch):
    if name.startswith("ptlflow"):
        pytest.importorskip("ptlflow")
    estimate, frames = estimator(Flow(estimator=name, weights="random")), moving(5, 2, 1)
    one_by_one = np.stack(list(flows(estimate, frames)))
    sizes = []
    between = estimate.between
    monkeypatch.setattr(estimate, "between", lambda some: sizes.append(len(some)) or between(some))
    monkeypatch.setattr(estimate, "pairs_at_once", lambda height, width: 3)
    assert np.allclose(list(flows(estimate, frames)), one_by_one, atol=1e-3)
    assert sizes == [4, 2]


def test_a_network_takes_one_process_a_gpu_and_few_pairs_of_large_frames(monkeypatch):
    raft, dis = estimator(Flow(estimator="raft_small", weights="random")), estimator(Flow())
    assert raft.devices(3) == dis.devices(3) == ["cpu"] * 3
    assert raft.pairs_at_once(64, 64) == 1
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    assert raft.devices(8) == ["cuda:0", "cuda:1"] and raft.devices(1) == ["cuda:0"]
    assert dis.devices(3) == ["cpu"] * 3
    assert [raft.pairs_at_once(*size) for size in ((240, 320), (480, 854), (720, 1280))] == [8, 2, 1]
    monkeypatch.setenv("WORLD_SIZE", "2")  # under torchrun, the others have GPUs of their own
    assert raft.devices(8) == ["cuda:0"]


def test_workers_share_the_devices(store, video, tmp_path, monkeypatch):
    """Each worker settles on a device that no other has."""
    monkeypatch.setattr(store, "estimator", Settled(tmp_path))
    videos = {f"clip{number}": video for number in range(4)}
    assert store.compute(videos, workers=2, progress=False).computed == 4
    assert sorted(path.name for path in tmp_path.glob("one-*")) == ["one-0", "one-1"]


def test_an_unknown_estimator_lists_what_exists():
    with pytest.raises(FlowError, match="'diss'.*dis, raft_small, raft_large, ptlflow:"):
        estimator(Flow(estimator="diss"))


def test_endpoint_error_is_the_mean_distance_in_the_mask():
    exact = np.zeros((2, 2, 2))
    estimated = np.zeros((2, 2, 2))
    estimated[:, 0, 0] = 3, 4  # off by 5 px in one pixel of four
    assert endpoint_error(estimated, exact) == pytest.approx(5 / 4)
    assert endpoint_error(estimated, exact, np.array([[True, True], [False, False]])) == pytest.approx(5 / 2)
    assert math.isnan(endpoint_error(estimated, exact, np.zeros((2, 2), bool)))


def test_what_is_read_is_what_was_estimated_to_a_64th_pixel(store, video):
    from mmvs.video.files import read_frames

    summary = store.compute({"clip": video}, progress=False)
    assert (summary.computed, summary.skipped, summary.failed) == (1, 0, {})
    assert summary.bytes == store.path("clip").stat().st_size
    exact = np.stack(list(flows(store.estimator, read_frames(video, range(5)))))
    stored = store.read("clip", video, [4, 0, 2, 2])
    assert stored.shape == (4, 2, 64, 80) and stored.dtype == np.float32
    assert np.abs(stored - exact[[4, 0, 2, 2]]).max() <= 0.5 / STEPS + 1e-6
    assert np.array_equal(store.read("clip", video, [3]), store.read("clip", video, [4]))


def test_flow_of_scaled_frames_is_in_their_pixels(video, tmp_path):
    store = FlowStore(tmp_path, estimator(Flow()), height=32)
    store.compute({"clip": video}, progress=False)
    flow = store.read("clip", video, [1])
    assert flow.shape == (1, 2, 32, 40)
    assert np.allclose(np.median(flow[0], axis=(1, 2)), (1, -0.5), atol=0.2)  # half of (2, -1)


def test_blocks_of_frames_leave_no_seam(store, video, monkeypatch):
    store.compute({"whole": video}, progress=False)
    monkeypatch.setattr(mmvs.flow.store, "BLOCK", 2)
    store.compute({"blocks": video}, progress=False)
    assert np.array_equal(store.read("whole", video, range(5)), store.read("blocks", video, range(5)))


def test_a_second_call_skips_what_is_there(store, video):
    store.compute({"clip": video}, progress=False)
    before = store.path("clip").stat().st_mtime_ns
    summary = store.compute({"clip": video}, progress=False)
    assert (summary.computed, summary.skipped) == (0, 1)
    assert store.path("clip").stat().st_mtime_ns == before


def test_flow_of_another_estimator_is_stale_until_computed_anew(store, video):
    store.compute({"clip": video}, progress=False)
    other = FlowStore(store.root, estimator(Flow(preset="fast")))
    with pytest.raises(FlowError, match=r"clip\.h5: stale.*preset.*02_compute_flow"):
        other.read("clip", video, [0])
    assert other.compute({"clip": video}, progress=False).computed == 1
    assert other.read("clip", video, [0]).shape == (1, 2, 64, 80)


def test_flow_at_another_height_is_stale(store, video):
    store.compute({"clip": video}, progress=False)
    with pytest.raises(FlowError, match="height: None -> 32"):
        FlowStore(store.root, store.estimator, height=32).read("clip", video, [0])


def test_a_changed_video_makes_its_flow_stale(store, video):
    store.compute({"clip": video}, progress=False)
    content = bytearray(video.read_bytes())
    write_video(video, moving(5, u=0, v=0))
    assert video.stat().st_size != len(content)
    with pytest.raises(FlowError, match="stale"):
        store.read("clip", video, [0])
    content[-1] ^= 1  # of the same size: only compute, which hashes the content, can tell
    video.write_bytes(content)
    assert not store.is_good("clip", video)


def test_missing_flow_says_how_to_get_it(store, video):
    with pytest.raises(FlowError, match=r"clip\.h5: no flow.*02_compute_flow"):
        store.read("clip", video, [0])


def test_frames_beyond_the_video_are_refused(store, video):
    store.compute({"clip": video}, progress=False)
    with pytest.raises(FlowError, match=r"0 to 4, not of \[-1, 5\]"):
        store.read("clip", video, [0, -1, 5])


def truncate(path):
    os.truncate(path, path.stat().st_size // 2)


def empty(path):
    os.truncate(path, 0)


def flip_one_bit_of_the_flow(path):
    with h5py.File(path) as file:
        offset = file["flow"].id.get_chunk_info(2).byte_offset
    content = bytearray(path.read_bytes())
    content[offset + 20] ^= 1
    path.write_bytes(content)


def forget_the_fingerprint(path):
    with h5py.File(path, "a") as file:
        del file.attrs["fingerprint"]


def test_the_fingerprint_stands_behind_a_checksum(store, video):
    """Text of any length would lie in HDF5's heap, which has none: damage there can be read for ever."""
    store.compute({"clip": video}, progress=False)
    with h5py.File(store.path("clip")) as file:
        assert file.attrs["fingerprint"].dtype.kind == "S"
        fingerprint = json.loads(file.attrs["fingerprint"])
    with h5py.File(store.path("clip"), "a") as file:  # as earlier versions wrote it
        file.attrs["fingerprint"] = json.dumps(fingerprint)
    assert store.compute({"clip": video}, progress=False).skipped == 1


@pytest.mark.parametrize("damage", [truncate, empty, flip_one_bit_of_the_flow, forget_the_fingerprint])
def test_a_corrupt_file_is_not_read_but_made_anew(store, video, damage):
    store.compute({"clip": video}, progress=False)
    good = store.read("clip", video, range(5))
    damage(store.path("clip"))
    with pytest.raises(FlowError, match=r"clip\.h5: corrupt.*02_compute_flow"):
        store.read("clip", video, range(5))
    assert store.compute({"clip": video}, progress=False).computed == 1
    assert np.array_equal(store.read("clip", video, range(5)), good)


def test_a_disk_that_fills_up_fails_the_video_only(store, video):
    import resource

    unlimited = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4000, unlimited[1]))  # of any file: stands in for a full disk
    try:
        summary = store.compute({"clip": video}, progress=False)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, unlimited)
    assert "clip.h5: cannot be written (File too large)" in summary.failed["clip"]
    assert not list(store.root.glob("*.h5"))


def test_an_interrupt_keeps_what_is_done_and_leaves_nothing_half_written(store, video, monkeypatch):
    calls = []

    def interrupted(first, second):
        calls.append(1)
        if len(calls) == 6:  # the second frame pair of the second video
            raise KeyboardInterrupt
        return np.zeros((2, *first.shape[:2]), np.float32)

    monkeypatch.setattr(type(store.estimator), "__call__", lambda self, *pair: interrupted(*pair))
    with pytest.raises(KeyboardInterrupt):
        store.compute({"first": video, "second": video}, progress=False)
    assert [path.name for path in store.root.glob("*.h5")] == ["first.h5"]
    assert not store.read("first", video, range(5)).any()


@pytest.mark.parametrize("wrong", [np.nan, 2000.0])
def test_flow_that_cannot_be_stored_is_an_error(store, video, monkeypatch, wrong):
    monkeypatch.setattr(
        type(store.estimator),
        "__call__",
        lambda self, first, _: np.full((2, *first.shape[:2]), wrong, np.float32),
    )
    assert "not finite or beyond" in store.compute({"clip": video}, progress=False).failed["clip"]
    assert not store.path("clip").exists()


@pytest.mark.parametrize("workers", [1, 2])
def test_a_broken_video_does_not_stop_the_others(store, video, tmp_path, workers):
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(video.read_bytes()[:500])
    videos = {"a": video, "broken": broken, "b": video, "lost": tmp_path / "lost.mp4"}
    summary = store.compute(videos, workers=workers, progress=False)
    assert summary.computed == 2 and summary.failed.keys() == {"broken", "lost"}
    with pytest.raises(FlowError, match=r"(?s)2 videos \(2 others are kept\).*broken\.mp4"):
        summary.raise_failures()
    assert np.array_equal(store.read("a", video, [0]), store.read("b", video, [0]))
    assert sorted(path.name for path in store.root.glob("*.h5")) == ["a.h5", "b.h5"]


def test_too_little_disk_is_said_before_the_start(store, video, monkeypatch):
    full = type("Usage", (), {"free": 1000})
    monkeypatch.setattr(mmvs.flow.store.shutil, "disk_usage", lambda path: full)
    with pytest.raises(FlowError, match="flow.root"):
        store.compute({"clip": video}, progress=False)
    assert not store.path("clip").exists()


def test_flow_of_another_estimator_goes_beside_and_stays(store, video):
    store.compute({"clip": video}, progress=False)
    before = store.path("clip").read_bytes()
    assert FlowStore.beside_others(store.root, store.estimator).root == store.root
    other = FlowStore.beside_others(store.root, estimator(Flow(preset="fast")))
    smaller = FlowStore.beside_others(store.root, store.estimator, height=32)
    assert len({store.root, other.root, smaller.root}) == 3
    other.compute({"clip": video}, progress=False)
    assert store.path("clip").read_bytes() == before
    assert FlowStore.beside_others(store.root, estimator(Flow(preset="fast"))).root == other.root


@pytest.mark.parametrize("video_id", ["../up", "a/../../up", "/absolute", "", "a\0b"])
def test_a_video_id_does_not_lead_out_of_the_store(store, video, video_id):
    with pytest.raises(FlowError, match="is not a video id"):
        store.path(video_id)
    with pytest.raises(FlowError, match="is not a video id"):
        store.compute({video_id: video}, progress=False)
    assert store.path("action/clip") == store.root / "action" / "clip.h5"


HEADER = (b"RIFF", 2084, b"WAVE", b"fmt ", 16, 1, 1, 8000, 8000, 1, 8, b"data", 2048)
SOUND = struct.pack("<4sI4s4sIHHIIHH4sI", *HEADER) + bytes(2048)


def test_no_kind_of_bad_clip_stops_the_others(store, video, tmp_path):
    whole = video.read_bytes()
    contents = {
        "empty": b"",
        "zeros": bytes(5000),
        "cut": whole[: len(whole) // 2],
        "list": b"ffconcat version 1.0\nfile 'clip.mp4'\n",
        "codec": whole.replace(b"avc1", b"zzzz"),
        "sound": SOUND,
    }
    clips = {name: tmp_path / f"{name}.mp4" for name in contents}
    for name, content in contents.items():
        clips[name].write_bytes(content)
    (tmp_path / "folder.mp4").mkdir()
    clips |= {"folder": tmp_path / "folder.mp4", "good": video}
    summary = store.compute(clips, progress=False)
    assert summary.computed == 1 and summary.failed.keys() == clips.keys() - {"good"}
    assert all(name in reason for name, reason in summary.failed.items())
    assert "zzzz" in summary.failed["codec"] and "only audio" in summary.failed["sound"]
