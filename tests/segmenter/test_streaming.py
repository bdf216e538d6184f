"""Streaming: the same answers as every window for itself, each thing computed once, nothing kept too long."""

import pytest
import tiny
import torch
from torch import Tensor

from mmvs.schema import Batch
from mmvs.segmenter.streaming import Picture, Streaming
from mmvs.video.files import window

SIZE = 32


def video(count: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    g = torch.Generator().manual_seed(seed)
    frames = torch.randint(0, 256, (count, 3, SIZE, SIZE), dtype=torch.uint8, generator=g)
    return frames, torch.randn(count, 2, SIZE, SIZE, generator=g)


def sentences(count: int) -> tuple[Tensor, Tensor]:
    """Of 4, 5, 6, 7, 4 ... words."""
    words = torch.randint(5, tiny.VOCABULARY, (count, 7), generator=torch.Generator().manual_seed(1))
    lengths = torch.arange(count)[:, None] % 4 + 4
    return words, torch.arange(7) < lengths


def plainly(network, frames, flow, words, mask, size, stride) -> Tensor:
    """Every frame's window through the whole network: (F, N, H, W)."""
    answers = []
    for target in range(len(frames)):
        indices = window(target, size, stride, len(frames))
        batch = Batch(
            frames=frames[indices][None],
            flow=flow[indices][None],
            masks=torch.empty(0),
            valid=torch.ones(1, *frames.shape[-2:], dtype=torch.bool),
            words=words,
            words_mask=mask,
            clip_of_sentence=torch.zeros(len(words), dtype=torch.long),
            target=size // 2,
            samples=[],
            original_sizes=[],
        )
        with torch.inference_mode():
            answers.append(network(batch).probability())
    return torch.stack(answers)


def streaming(network, words, mask, *settings) -> Streaming:
    with torch.inference_mode():
        return Streaming(network, network.read(words, mask), *settings)


def pictures(frames: Tensor, flow: Tensor):
    return (Picture(*both) for both in zip(frames, flow, strict=True))


@pytest.mark.parametrize("size, stride", [(1, 1), (2, 1), (3, 1), (3, 3), (4, 2), (5, 1)])
@pytest.mark.parametrize("count", [1, 2, 8])
def test_equal_to_every_window_for_itself(count, size, stride):
    network, (frames, flow), (words, mask) = tiny.network(), video(count), sentences(3)
    expected = plainly(network, frames, flow, words, mask, size, stride)
    for batch in (1, 3, 8):
        shared = streaming(network, words, mask, size, stride, batch)
        answers = torch.stack(list(shared(pictures(frames, flow))))
        assert (answers - expected).abs().max() < 1e-5
    # words that were swapped would be seen: the test can fail
    assert (plainly(network, frames, flow, words.flip(0), mask, size, stride) - expected).abs().max() > 1e-4


@pytest.mark.parametrize("stride", [1, 3])
def test_starting_late_gives_the_rest_of_the_same_answers(stride):
    network, (frames, flow), (words, mask) = tiny.network(), video(9), sentences(2)
    whole = torch.stack(list(streaming(network, words, mask, 3, stride)(pictures(frames, flow))))
    for start in (1, 4, 8, 9):
        shared = streaming(network, words, mask, 3, stride)
        first = max(0, start - shared.before)
        rest = list(shared(pictures(frames[first:], flow[first:]), first, start))
        assert len(rest) == 9 - start
        assert all((a - b).abs().max() < 1e-5 for a, b in zip(rest, whole[start:], strict=True))


@pytest.mark.parametrize(
    "switches",
    [
        {"motion": False},
        {"appearance": "target"},
        {"appearance": "none"},
        {"transformer": False},
        {"language_guided": False},
        {"time": "added"},
        {"time": "multiplied"},
        {
            "time": "modulated",
            "fusion": {"convolution": "separable"},
            "motion_backbone": {**tiny.NARROW, "input": "uv", "shrink": 2},
        },
    ],
)
def test_every_kind_of_network(switches):
    network, (frames, flow), (words, mask) = tiny.network(**switches), video(5), sentences(2)
    expected = plainly(network, frames, flow, words, mask, 3, 1)
    answers = torch.stack(list(streaming(network, words, mask, 3, 1)(pictures(frames, flow))))
    assert (answers - expected).abs().max() < 1e-5


@pytest.mark.parametrize(
    "time, name, place", [("modulated", "segment_related", 2), ("multiplied", "segment", 1)]
)
def test_each_frame_is_observed_once_and_each_sentence_read_once(monkeypatch, time, name, place):
    network, (frames, flow), (words, mask) = tiny.network(time=time), video(10), sentences(3)
    observed, decided, encoded = [], [], []
    observe, segment, encode = network.observe, getattr(network, name), network.refine.encode
    monkeypatch.setattr(network, "observe", lambda f, *a, **k: observed.append(len(f)) or observe(f, *a, **k))
    monkeypatch.setattr(network, name, lambda *a: decided.append(len(a[place].words)) or segment(*a))
    monkeypatch.setattr(
        network.refine, "encode", lambda *a: encoded.append(a[2].shape[0] * a[2].shape[1]) or encode(*a)
    )
    monkeypatch.setattr(network.language, "forward", None)  # whoever reads again fails
    with torch.inference_mode():
        two_sentences = tiny.network().read(words, mask)
    assert len(list(Streaming(network, two_sentences, 5, 2, batch=4)(pictures(frames, flow)))) == 10
    assert sum(observed) == 10 and max(observed) <= 4
    assert sum(decided) == 30 and max(decided) <= (4 if time == "multiplied" else 3)
    windows = 5 if time == "multiplied" else 1  # a sentence meets a frame once, or in every window again
    assert sum(encoded) == 30 * windows


def test_answers_come_as_soon_as_their_windows_are_complete():
    network, (frames, flow), (words, mask) = tiny.network(), video(12), sentences(1)
    taken = 0

    def counted():
        nonlocal taken
        for picture in pictures(frames, flow):
            taken += 1
            yield picture

    answers = streaming(network, words, mask, 3, 3, 1)(counted())
    for target in range(12):
        next(answers)
        assert taken == min(12, target + 3 + 1)  # a window ends 3 frames after its target


@pytest.mark.parametrize("time", ["modulated", "multiplied"])
def test_what_is_kept_does_not_grow_with_the_video(time):
    network, (words, mask) = tiny.network(time=time), sentences(2)
    shared = streaming(network, words, mask, 3, 2, 8)
    frame, flow = torch.zeros(3, 16, 16, dtype=torch.uint8), torch.zeros(2, 16, 16)
    most, owned = 0, set()
    for count, _ in enumerate(shared(Picture(frame, flow) for _ in range(1000)), 1):
        most = max(most, len(shared.tops), len(shared.levels))
        if count % 200 == 0:
            owned.add(sum(t.untyped_storage().nbytes() for maps in shared.tops.values() for t in maps))
    assert count == 1000
    assert most <= shared.before + 1 + shared.after + 8  # a window's reach and one batch
    # No batch is kept alive. Of 16 channels and 4 x 4 cells there are two tops a frame; or, of each of both
    # sentences, three maps and 7 words.
    numbers = 2 * 16 * 16 if time == "multiplied" else 2 * (3 * 16 + 7) * 16
    assert max(owned) <= most * numbers * 4


def test_inference_mode_does_not_leak_to_whoever_takes_the_answers():
    network, (frames, flow), (words, mask) = tiny.network(), video(2), sentences(1)
    for _ in streaming(network, words, mask, 3, 1)(pictures(frames, flow)):
        assert not torch.is_inference_mode_enabled()


def test_bfloat16_is_close():
    network, (frames, flow), (words, mask) = tiny.network(), video(4), sentences(2)
    exact = torch.stack(list(streaming(network, words, mask, 3, 1, 4)(pictures(frames, flow))))
    coarse = torch.stack(
        list(streaming(network, words, mask, 3, 1, 4, torch.bfloat16)(pictures(frames, flow)))
    )
    assert 0 < (coarse - exact).abs().max() < 0.02
