"""`torch.export` takes observe, read and decide, for runtimes without Python; its programs answer alike."""

import pytest
import tiny
import torch
from torch import Tensor, nn
from torch.export import Dim, export

from mmvs.schema import Observed, Sentences

FRAMES, SENTENCES, WORDS = Dim("frames", min=2), Dim("sentences", min=2), Dim("words", min=2, max=12)


class Observe(nn.Module):
    def __init__(self, network):
        super().__init__()
        self.network = network

    def forward(self, frames: Tensor, flow: Tensor) -> list[Tensor]:
        observed = self.network.observe(frames, flow)
        return [*observed.tops, *observed.levels]


class Read(Observe):
    def forward(self, words: Tensor, mask: Tensor) -> list[Tensor]:
        sentences = self.network.read(words, mask)
        return [sentences.words, sentences.summary]


class Decide(Observe):
    def forward(self, tops: list[Tensor], levels: list[Tensor], read: list[Tensor], mask: Tensor) -> Tensor:
        height, width = (2 * side for side in levels[0].shape[-2:])
        clips = torch.arange(len(mask)) * 0
        return self.network.segment(Observed(tops, levels, (height, width)), Sentences(*read, mask), clips, 1)


@pytest.fixture
def network():
    return tiny.network().requires_grad_(False)


def test_observe_of_any_number_of_frames(network):
    batch = tiny.batch()
    frames, flow = batch.frames.flatten(0, 1), batch.flow.flatten(0, 1)
    program = export(Observe(network), (frames, flow), dynamic_shapes=({0: FRAMES}, {0: FRAMES})).module()
    for count in (2, 5, 6):
        torch.testing.assert_close(
            program(frames[:count], flow[:count]), Observe(network)(frames[:count], flow[:count])
        )


def test_read_of_any_number_of_sentences_and_words(network):
    batch = tiny.batch(words=9)
    batch.words_mask[1, 4:] = False
    shapes = {0: SENTENCES, 1: WORDS}
    program = export(Read(network), (batch.words, batch.words_mask), dynamic_shapes=(shapes, shapes)).module()
    for part in ((slice(4), slice(9)), (slice(3), slice(5)), (slice(2), slice(7))):
        words, mask = batch.words[part], batch.words_mask[part]
        torch.testing.assert_close(program(words, mask), Read(network)(words, mask))


def test_decide(network):
    batch = tiny.batch(clips=1, per_clip=4)
    tops_and_levels = Observe(network)(batch.frames[0], batch.flow[0])
    tops = [top[None] for top in tops_and_levels[:2]]
    levels = [level[1:2] for level in tops_and_levels[2:]]
    arguments = tops, levels, Read(network)(batch.words, batch.words_mask), batch.words_mask
    program = export(Decide(network), arguments).module()
    logits = program(*arguments)
    torch.testing.assert_close(logits, Decide(network)(*arguments))
    assert logits.shape == (4, 1, 32, 48) and logits.std() > 0
