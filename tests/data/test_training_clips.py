"""What training reads: augmentation is joint, and a clip is a function of the seed and its number."""

from dataclasses import replace

import pytest
import tiny
import torch
from torch.utils.data import DataLoader

from mmvs.data import catalogue
from mmvs.data.clips import Clips
from mmvs.data.training_clips import TrainingClips, draw_seed, shifted
from mmvs.data.words import mirror


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return tiny.prepared(tmp_path_factory.mktemp("clips"))


def clips(run, seed: int = 0, **changes) -> TrainingClips:
    source = catalogue.open("moving_shapes-train", run)
    return TrainingClips(Clips(source.samples, source.flow, run.data.model_copy(update=changes)), seed)


def plain(sequence: TrainingClips, number: int):
    """The clip that is augmented to clip `number`."""
    return sequence.clips[sequence._item(number)]


def same(one, other) -> bool:
    tensors = (
        (one.frames, one.flow, one.masks, one.valid),
        (other.frames, other.flow, other.masks, other.valid),
    )
    return one.samples == other.samples and all(map(torch.equal, *tensors))


def test_flip_moves_frames_flow_mask_and_words_together(run):
    sequence = clips(run, jitter=0.0, flip=1.0, sentences_per_clip=9)
    before, flipped = plain(sequence, 0), sequence[0]
    assert torch.equal(flipped.frames, before.frames.flip(-1))
    assert torch.equal(flipped.flow[:, 0], -before.flow[:, 0].flip(-1))
    assert torch.equal(flipped.flow[:, 1], before.flow[:, 1].flip(-1))
    order = [before.samples.index(i) for i in flipped.samples]
    assert sorted(order) == list(range(len(before.samples)))
    assert torch.equal(flipped.masks, before.masks[order].flip(-1))
    assert flipped.sentences == [mirror(before.sentences[i]) for i in order]


def test_jitter_changes_frames_and_never_flow(run):
    sequence = clips(run, jitter=0.5, flip=0.0)
    assert not torch.equal(sequence[0].frames, plain(sequence, 0).frames)
    assert torch.equal(sequence[0].flow, plain(sequence, 0).flow)


def test_sentences_are_drawn_and_the_cache_keeps_what_is_drawn_from(run):
    sequence = clips(run, cache=True, sentences_per_clip=1)
    drawn = [sequence[number] for number in range(40 * len(sequence.clips))]
    assert {len(clip.samples) for clip in drawn} == {1}
    assert {clip.samples[0] for clip in drawn} == {i for p in sequence.clips.positions for i in p}


def test_a_round_reads_every_clip_once_and_the_next_in_another_order(run):
    sequence = clips(run)
    count = len(sequence.clips)
    rounds = [[sequence._item(r * count + place) for place in range(count)] for r in range(6)]
    assert all(sorted(items) == list(range(count)) for items in rounds)
    assert len({tuple(items) for items in rounds}) > 1


@pytest.mark.parametrize("gap", [0, 2])
def test_the_annotated_frame_stands_where_the_key_says(run, gap):
    sequence = clips(run, cache=True, flip=0.0, jitter=0.0, sentences_per_clip=9, gap=gap)
    for number in range(len(sequence.clips)):
        middle = plain(sequence, number)
        annotated, neighbours = middle.frames[1], []
        for target in range(3):
            clip = sequence[number, target]
            assert clip.target == target
            assert torch.equal(clip.frames[target], annotated)
            assert torch.equal(clip.flow[target], middle.flow[1])
            assert sorted(clip.samples) == sorted(middle.samples)
            order = [middle.samples.index(i) for i in clip.samples]
            assert torch.equal(clip.masks, middle.masks[order])
            neighbours.append(clip.frames)
        assert not torch.equal(neighbours[0], neighbours[2]), "what came after, and what came before"
        assert same(sequence[number, 1], sequence[number])
    if not gap:  # frames 0, 3 and 6 after the annotated one, which is the first of them
        sample = sequence.clips.samples[sequence.clips.positions[sequence._item(0)][0]]
        last = sequence.clips.samples.frame_count(sample.video_id) - 1
        wanted = [min(sample.frame + steps, last) for steps in (0, 3, 6)]
        assert sequence._window(sequence._item(0), 0) == wanted


def test_gaps_are_drawn_cache_or_not(run):
    """Neighbours are 1 to `gap` frames away on either side."""
    sequence = clips(run, gap=3, cache=True, flip=0.0, jitter=0.0)
    sample = sequence.clips.samples[sequence.clips.positions[0][0]]
    last, near = sequence.clips.samples.frame_count(sample.video_id) - 1, range(1, 4)
    expected = {
        (max(sample.frame - a, 0), sample.frame, min(sample.frame + b, last)) for a in near for b in near
    }
    assert {tuple(sequence._window(0, 1)) for _ in range(300)} == expected
    readings = [number for number in range(20 * len(sequence.clips)) if sequence._item(number) == 0]
    assert len({sequence[number].frames.sum().item() for number in readings}) > 1


@pytest.mark.parametrize("gap", [0, 2])
def test_a_clip_depends_on_seed_and_number_alone(run, gap):
    """Not on what was read before, nor on torch's generator, which it leaves as it was."""
    numbers = [17, 3, 0, 9]
    torch.manual_seed(1)
    before = torch.get_rng_state()
    sequence = clips(run, gap=gap)
    in_order = {number: sequence[number] for number in sorted(numbers)}
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(2)
    other = clips(run, gap=gap)
    assert all(same(other[number], in_order[number]) for number in numbers)
    assert not all(same(clips(run, seed=1, gap=gap)[number], in_order[number]) for number in numbers)


def test_a_shifted_picture_moves_as_its_flow_says(run):
    clip = clips(run).clips[0]
    still = replace(clip, frames=clip.frames[clip.target][None].repeat(3, 1, 1, 1))
    valid = torch.zeros_like(still.valid)
    valid[8:56] = True  # a picture that is wider than high
    still = replace(still, valid=valid)
    right, down, stride = 5, -3, 2
    moved = shifted(still, right, down, stride)
    assert torch.equal(moved.frames[clip.target], still.frames[clip.target])
    assert torch.equal(moved.frames[:, :, ~valid], still.frames[:, :, ~valid]), "the padding stays"
    picture = still.frames[0][:, 8:56]
    after, x, y = moved.frames[clip.target + 1][:, 8:56], stride * right, stride * down
    assert torch.equal(after[:, : 48 + y, x:], picture[:, -y:, : 64 - x])
    assert torch.equal(after[:, : 48 + y, 0], picture[:, -y:, 0]), "an edge goes on in its colour"
    assert (moved.flow[:, 0][:, valid] == right).all() and (moved.flow[:, 1][:, valid] == down).all()
    assert not moved.flow[:, :, ~valid].any() and torch.equal(moved.masks, still.masks)


def test_only_single_pictures_are_shifted(run):
    plain_clips = clips(run)
    assert same(TrainingClips(plain_clips.clips, 0, shift=True)[3], plain_clips[3])


def test_loader_processes_change_nothing(run):
    def read(workers: int) -> list:
        loader = DataLoader(clips(run), 2, sampler=range(12), collate_fn=list, num_workers=workers)
        return [clip for batch in loader for clip in batch]

    pairs = list(zip(read(0), read(2), strict=True))
    assert len(pairs) == 12 and all(same(*pair) for pair in pairs)


def test_seeds_differ_by_everything_that_goes_into_them():
    seeds = [draw_seed(s, p, *n) for s in range(9) for p in ("clip", "step") for n in [(0,), (1,), (0, 1)]]
    assert len(set(seeds)) == len(seeds) and seeds[0] == draw_seed(0, "clip", 0)
