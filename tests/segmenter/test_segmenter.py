"""Segmenter: evaluation's answers on any video, and plain words about what it cannot use."""

import threading

import av
import numpy as np
import pytest
import tiny
import torch

from mmvs.answers import track
from mmvs.config import experiment
from mmvs.data import catalogue
from mmvs.data.catalogue import prepare
from mmvs.flow.estimators import Dis
from mmvs.segmenter.segmenter import Segmenter
from mmvs.trained import TrainedNetwork
from mmvs.video.files import VideoError, write_video


@pytest.fixture(scope="module")
def segmenter(tmp_path_factory) -> Segmenter:
    run = tiny.run(tmp_path_factory.mktemp("run"))
    return Segmenter(run)


def noise(count=5, height=24, width=40, seed=0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 255, (count, height, width, 3), dtype=np.uint8)


def zeros(frame: np.ndarray) -> np.ndarray:
    return np.zeros((2, *frame.shape[:2]), np.float32)


def test_the_same_as_evaluation_on_a_clip_of_a_data_set(tmp_path):
    """Flow from the store equals the segmenter's own; canvas, window and resolution agree as well."""
    parameters = tiny.parameters(
        tmp_path,
        {
            "train_on": "moving_shapes-test",
            "size": 48,
            "stride": 3,
            "moving_shapes": {"train_clips": 1, "test_clips": 1, "unseen_clips": 1},
        },
    )
    parameters["flow"]["height"] = 40
    it = experiment(**parameters)
    prepare(it, progress=False)
    run = tiny.run(tmp_path, max_words=64)
    it = it.model_copy(update={"model": run.experiment.model})
    trained = TrainedNetwork(it, run.network, run.tokenizer, 0, 0.0)
    frames, probability = track(trained, "moving_shapes-test", 0)
    samples = catalogue.open("moving_shapes-test", it).samples
    answers = list(
        Segmenter(TrainedNetwork(it, run.network, run.tokenizer)).segment(
            samples.video_path(samples[0].video_id), samples[0].sentence
        )
    )
    assert np.array_equal(np.stack([answer.frame for answer in answers]), frames)
    assert np.abs(np.concatenate([answer.probability for answer in answers]) - probability).max() < 1e-4
    assert np.array_equal(np.concatenate([answer.masks for answer in answers]), probability > 0.5)
    assert [answer.index for answer in answers] == list(range(len(frames)))


def test_sentences_together_equal_each_alone(segmenter):
    sentences = ["the red circle", "a big square that goes up", "the circle"]
    together = list(segmenter.segment(noise(), sentences, batch=2))
    for n, sentence in enumerate(sentences):
        for one, answer in zip(segmenter.segment(noise(), sentence), together, strict=True):
            assert np.abs(one.probability[0] - answer.probability[n]).max() < 1e-5
            assert answer.masks.shape == (3, 24, 40) and answer.masks.dtype == bool


def test_score_is_the_mean_probability_in_the_mask(segmenter, monkeypatch):
    halfway = segmenter.experiment.evaluation.model_copy(update={"relative": True, "threshold": 0.9})
    monkeypatch.setattr(
        segmenter.trained, "experiment", segmenter.experiment.model_copy(update={"evaluation": halfway})
    )
    (answer,) = segmenter.segment(noise(1), ["the red circle", "a big square"])
    assert answer.masks.any() and not answer.masks.all()  # whatever the random weights are
    for mask, probability, score in zip(answer.masks, answer.probability, answer.score, strict=True):
        assert score == pytest.approx(probability[mask].mean() if mask.any() else 0, abs=1e-6)


@pytest.mark.parametrize("size", [(1, 1), (1, 90), (77, 3), (15, 17), (33, 31)])
def test_odd_sizes_and_a_single_frame(segmenter, size):
    for count in (1, 2):
        answers = list(segmenter.segment(noise(count, *size), "the red circle"))
        assert [answer.masks.shape for answer in answers] == [(1, *size)] * count


def test_a_very_large_frame(segmenter, monkeypatch):
    """8k; its flow is estimated on no more than two canvases a side."""
    sizes = []
    monkeypatch.setattr(Dis, "__call__", lambda self, one, other: sizes.append(one.shape) or zeros(one))
    frame = np.zeros((4320, 7680, 3), np.uint8)
    frame[1000:3000, 2000:4000] = 200
    answers = segmenter.segment([frame, frame], "the red circle")
    assert next(answers).masks.shape == (1, 4320, 7680) and sizes == [(36, 64, 3)]
    answers.close()


def test_a_view_and_a_start_beyond_the_end(segmenter):
    frames = noise(3)
    for view in (frames[..., ::-1], frames[:, ::-1], frames[::-1]):
        answers, expected = (list(segmenter.segment(x, "the red circle")) for x in (view, view.copy()))
        assert all(torch.equal(a.canvas, b.canvas) for a, b in zip(answers, expected, strict=True))
    assert list(segmenter.segment(frames, "the red circle", start=20)) == []


def test_case_and_white_space_do_not_matter(segmenter):
    (one,) = segmenter.segment(noise(1), "the red circle")
    (other,) = segmenter.segment(noise(1), "  The RED\n circle ")
    assert torch.equal(one.canvas, other.canvas)


def test_what_cannot_be_used_is_refused_at_once(segmenter, tmp_path):
    (tmp_path / "text.mp4").write_text("no video")
    for video, sentences, error, reason in [
        (noise(), [], ValueError, "no sentence"),
        (noise(), None, ValueError, "no sentence"),
        (noise(), ["the circle", 3], ValueError, "sentences are text"),
        (noise(), ["the circle", "  "], ValueError, "sentence 2 is empty"),
        (noise(), "x" * 10_000, ValueError, "sentence 1 has 10,000 characters, 1,000 are the limit"),
        (
            noise(),
            ["the circle", "red " * 40],
            ValueError,
            "sentence 2 has 42 word pieces, the network reads 12",
        ),
        (tmp_path / "text.mp4", "the circle", VideoError, "not a video"),
        (noise(0), "the circle", VideoError, "no frame"),
    ]:
        with pytest.raises(error, match=reason):
            segmenter.segment(video, sentences)  # before the first answer is asked for
    with pytest.raises(ValueError, match="batch 0"):
        segmenter.segment(noise(), "the circle", batch=0)
    with pytest.raises(ValueError, match="precision float8"):
        segmenter.segment(noise(), "the circle", precision="float8")


def test_a_truncated_video_is_segmented_as_far_as_it_goes(segmenter, tmp_path):
    path = tmp_path / "cut.avi"
    with av.open(str(path), "w") as out:
        stream = out.add_stream("mpeg4", 25)
        stream.height, stream.width, stream.pix_fmt = 32, 48, "yuv420p"
        for frame in noise(12, 32, 48):
            out.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        out.mux(stream.encode(None))
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 4 // 5])
    with pytest.warns(UserWarning, match="cut.avi.*cut short: of 12 frames the last is frame"):
        answers = list(segmenter.segment(path, "the red circle"))
    assert 2 < len(answers) < 12


def test_stopping_early_leaves_nothing_running(segmenter, tmp_path):
    write_video(tmp_path / "clip.mp4", noise(40, 32, 48))
    answers = segmenter.segment(tmp_path / "clip.mp4", "the red circle")
    next(answers)
    answers.close()
    assert not [thread for thread in threading.enumerate() if thread.name == "mmvs ahead"]


def test_memory_does_not_grow_with_the_video(segmenter):
    """A generated stream: frames that anything kept would be counted."""
    alive, most = 0, 0

    class Counted(np.ndarray):
        def __del__(self):
            nonlocal alive
            alive -= 1

    def frames():
        nonlocal alive
        for t in range(250):
            alive += 1
            yield np.full((16, 16, 3), t % 256, np.uint8).view(Counted)

    count = 0
    for _ in segmenter.segment(frames(), ["the red circle", "a big square"]):
        count, most = count + 1, max(most, alive)
    assert count == 250 and most < 60, "of 250 frames only those under way are kept"


def test_a_model_of_drawn_shapes_warns_of_other_videos(segmenter, monkeypatch):
    def trained_on(*names):
        data = segmenter.experiment.data.model_copy(update={"train_on": list(names)})
        other = segmenter.experiment.model_copy(update={"data": data})
        monkeypatch.setattr(segmenter.trained, "experiment", other)

    trained_on("moving_shapes-train")
    assert segmenter.warning_of_video((64, 64)) == "" == segmenter.warning_of_video((256, 256))
    warning = segmenter.warning_of_video((720, 1280))
    assert "drawn shapes in clips of 64 x 64" in warning and "of a video of 1280 x 720" in warning
    trained_on("moving_shapes-train", "own-train")
    assert segmenter.warning_of_video((720, 1280)) == ""


def test_unseen_words_are_named_with_the_nearest_known(segmenter):
    assert segmenter.warning_of_words("The red circle") == ""
    warning = segmenter.warning_of_words(["the red crcle", "a big zebra"])
    assert warning.endswith("which guesses: crcle (known: circle), zebra")
