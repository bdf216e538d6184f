"""Several data sets in one sequence: each with its share; a clip is a function of the seed and its number."""

import os
import signal
from collections import Counter

import expression_trees as trees
import pytest
import tiny
import torch

from mmvs import checkpoints, config
from mmvs.config import Training
from mmvs.data import catalogue, mixed_clips
from mmvs.data.clips import Clips
from mmvs.data.csv_files import DataError
from mmvs.data.loaders import Loaders, split_all
from mmvs.data.mixed_clips import BLOCK, MixedClips
from mmvs.data.training_clips import TrainingClips
from mmvs.data.words import tokenizer
from mmvs.run_folder import RunFolder
from mmvs.training import fit
from mmvs.training.optimisation import NetworkTraining
from mmvs.training.saving import TrainingStopped

SETS = ["mevis-train", "ref-youtube-vos-train"]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("mixed")
    roots = {name: str(trees.copy(name, folder / name)) for name in ("mevis", "ref-youtube-vos")}
    data = {"train_on": SETS, "evaluate_on": ["mevis-valid_u"], "roots": roots, "sentences_per_clip": 1}
    run = config.experiment(**tiny.parameters(folder, data, steps=4, validate_every=2))
    for summary in catalogue.prepare(run, progress=False).values():
        summary.raise_failures()
    return run


def clips(run) -> dict[str, Clips]:
    sources = {name: catalogue.open(name, run) for name in SETS}
    return {name: Clips(source.samples, source.flow, run.data) for name, source in sources.items()}


def read(mixed: MixedClips, count: int) -> list[tuple[str, int]]:
    return [mixed.locate(number) for number in range(count)]


def test_each_set_has_its_share_and_its_own_clips_in_order(run):
    mixed = MixedClips(clips(run), 0, {SETS[0]: 3, SETS[1]: 1})
    sequence = read(mixed, 2 * BLOCK)
    assert Counter(name for name, _ in sequence) == {SETS[0]: 15_000, SETS[1]: 5_000}
    for name in SETS:
        numbers = [number for one, number in sequence if one == name]
        assert numbers == list(range(len(numbers))), "none twice, none left out"
    first = Counter(name for name, _ in sequence[:1000])
    assert abs(first[SETS[0]] - 750) < 80, "they are mixed, not one after the other"


def test_a_target_reaches_the_clip_of_the_set(run):
    mixed = MixedClips(clips(run), 0)
    for number in range(6):
        name, own = mixed.locate(number)
        one, other = mixed[number, 0], mixed.parts[name][own, 0]
        assert one.target == 0 and torch.equal(one.frames, other.frames) and one.samples == other.samples


def test_without_weights_every_clip_is_read_equally_often(run):
    parts = clips(run)
    mixed = MixedClips(parts, 0)
    counts = Counter(name for name, _ in read(mixed, BLOCK))
    total = sum(map(len, parts.values()))
    assert all(abs(counts[name] - BLOCK * len(parts[name]) / total) <= 2 for name in SETS)


def test_a_set_of_a_tiny_weight_is_read_all_the_same(run):
    counts = Counter(name for name, _ in read(MixedClips(clips(run), 0, {SETS[0]: 1e9, SETS[1]: 1}), BLOCK))
    assert counts == {SETS[0]: BLOCK - 1, SETS[1]: 1}


def test_a_clip_depends_on_seed_and_number_alone(run, monkeypatch):
    monkeypatch.setattr(mixed_clips, "BLOCK", 10)  # several blocks
    weights = {SETS[0]: 1, SETS[1]: 1}
    one = MixedClips(clips(run), 0, weights)
    in_order = [one[number] for number in range(25)]
    other = MixedClips(dict(reversed(clips(run).items())), 0, weights)  # the order of the names means nothing
    for number in (24, 3, 12, 0):
        assert other[number].sentences == in_order[number].sentences
        assert torch.equal(other[number].frames, in_order[number].frames)
    another = MixedClips(clips(run), 1, weights)
    assert any(another[n].sentences != in_order[n].sentences for n in range(25))


def test_batches_name_samples_of_all_sets(run, tmp_path):
    sources = {name: catalogue.open(name, run) for name in SETS}
    words = tokenizer(run.model.language, tmp_path, ["a"])
    loaders = Loaders(run, sources, words)
    first = len(sources[SETS[0]].samples)
    positions = [i for clip in loaders.validation for i in clip.samples]
    assert {i < first for i in positions} == {True, False} and len(set(positions)) == len(positions)
    for clip in [*loaders.validation, *(loaders.training[number] for number in range(20))]:
        sentences = [loaders.sample(i).sentence for i in clip.samples]
        assert sorted(map(len, sentences)) == sorted(map(len, clip.sentences))  # left and right may swap
    with pytest.raises(IndexError):
        loaders.sample(sum(len(source.samples) for source in sources.values()))


def test_what_validates_one_set_trains_no_other(run):
    source = catalogue.open(SETS[0], run)
    parts = split_all({"one": source.samples, "other": source.samples}, Training(validation_clips=2))
    for own, other in (("one", "other"), ("other", "one")):
        trained = {source.samples[i].video_id for i in parts[own][0]}
        assert trained and not trained & {source.samples[i].video_id for i in parts[other][1]}


def test_without_a_clip_to_train_on_it_says_so(run):
    source = catalogue.open(SETS[0], run)
    with pytest.raises(DataError, match="no clip is left to train on"):
        TrainingClips(Clips(source.samples, source.flow, run.data, only=[]), 0)


def test_an_interrupted_training_on_several_sets_ends_with_the_same_weights(run, monkeypatch):
    last, step = [], NetworkTraining.training_step
    for name in ("whole", "broken"):
        it = run.model_copy(update={"run": name})
        if name == "broken":
            with monkeypatch.context() as patched, pytest.raises(TrainingStopped):

                def stop_at_two(self, batch, index):
                    if self.global_step == 1:
                        os.kill(os.getpid(), signal.SIGTERM)
                    return step(self, batch, index)

                patched.setattr(NetworkTraining, "training_step", stop_at_two)
                fit(it, progress=False)
        fit(it, progress=False)
        last.append(checkpoints.read(RunFolder.of(it).checkpoints.last)["state_dict"])
    assert all(torch.equal(last[0][key], last[1][key]) for key in last[0])
