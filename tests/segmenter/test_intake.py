"""intake: frames and flow of a video as the flow store and the clips have them."""

import cv2
import numpy as np
import pytest
import torch

from mmvs.config import experiment
from mmvs.data import geometry
from mmvs.flow.estimators import estimator
from mmvs.flow.store import FlowStore
from mmvs.segmenter.intake import FLOW_IN_CANVASES, _flow_size, intake
from mmvs.video.files import write_video
from mmvs.video.stream import open_video

FRAMES = np.random.default_rng(0).integers(0, 255, (5, 40, 60, 3), dtype=np.uint8)


@pytest.mark.parametrize("height", [None, 24])
def test_the_same_flow_as_the_store_keeps(tmp_path, height):
    settings = experiment(data={"size": 48}, flow={"height": height})
    write_video(tmp_path / "clip.mp4", FRAMES)
    store = FlowStore(tmp_path / "flow", estimator(settings.flow), height)
    store.ensure("clip", tmp_path / "clip.mp4")
    pairs = torch.from_numpy(store.read("clip", tmp_path / "clip.mp4", range(5)))
    views = list(intake(open_video(tmp_path / "clip.mp4"), settings))
    assert torch.equal(
        torch.stack([view.picture.flow for view in views]), geometry.fit_flow(pairs, 48, (40, 60))
    )
    frames = torch.from_numpy(np.stack([view.frame for view in views])).permute(0, 3, 1, 2)
    assert torch.equal(torch.stack([view.picture.frame for view in views]), geometry.fit_frames(frames, 48))


def test_beginning_late_gives_the_rest(tmp_path):
    settings = experiment(data={"size": 48})
    whole, rest = list(intake(open_video(FRAMES), settings)), list(intake(open_video(FRAMES), settings, 3))
    assert [view.index for view in rest] == [3, 4]
    for one, other in zip(rest, whole[3:], strict=True):
        assert torch.equal(one.picture.flow, other.picture.flow) and one.time == other.time


def test_without_motion_no_flow_is_estimated(monkeypatch):
    settings = experiment(data={"size": 48}, model={"motion": False})
    monkeypatch.setattr("mmvs.segmenter.intake.estimator", None)
    assert not any(view.picture.flow.any() for view in intake(open_video(FRAMES), settings))


def test_flow_is_estimated_at_the_videos_size_up_to_a_limit():
    assert _flow_size(480, 854, None, 1000) == (480, 854)
    assert _flow_size(480, 854, 240, 100) == (240, 427), "what the experiment says stands"
    assert _flow_size(720, 1280, None, 128) == (72, 128)
    assert _flow_size(1280, 720, None, 640) == (640, 360)


def test_large_videos_move_as_far_as_small_ones_on_the_canvas():
    """A texture that moves 8 of 512 pixels a frame: of a canvas of 64 that is 1 pixel."""
    texture = cv2.resize(np.random.default_rng(1).integers(0, 255, (48, 48, 3), np.uint8), (512, 512))
    video = np.stack([np.roll(texture, 8 * t, axis=1) for t in range(3)])
    settings = experiment(data={"size": 64}, flow={"finest_scale": 0})
    first, *_ = intake(open_video(video), settings)
    inside = first.picture.flow[:, 16:-16, 16:-16]
    assert inside[0].median() == pytest.approx(1.0, abs=0.1) and abs(inside[1].median()) < 0.1
    assert max(_flow_size(512, 512, None, FLOW_IN_CANVASES * 64)) == 128
