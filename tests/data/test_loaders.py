"""Which clips a step reads: no clip twice, none left out, wherever the training goes on."""

from types import SimpleNamespace

import pytest

from mmvs.config import experiment
from mmvs.data import catalogue
from mmvs.data.csv_files import DataError
from mmvs.data.loaders import Batches, Loaders, of_kinds, split
from tests import tiny


def read(first: int = 0) -> list[int]:
    return [number for batch in Batches(first, batches=5, size=3) for number in batch]


def test_steps_read_on_where_the_one_before_ended():
    assert read() == list(range(15)) and read(first=2) == list(range(6, 15)) and read(first=5) == []
    assert len(Batches(2, batches=5, size=3)) == 5  # of the whole training


def test_of_drawn_targets_a_step_has_one_and_all_occur():
    one, accumulating, other = (
        Loaders.target.__get__(
            SimpleNamespace(experiment=experiment(seed=seed, training={"accumulate": count}))
        )
        for seed, count in ((1, 1), (1, 2), (2, 1))
    )
    drawn = list(Batches(0, batches=60, size=3, target=one))
    assert [clip for batch in drawn for clip, _ in batch] == list(range(180))
    targets = [{target for _, target in batch} for batch in drawn]
    assert all(len(of_batch) == 1 for of_batch in targets) and set().union(*targets) == {0, 1, 2}
    assert list(Batches(50, batches=60, size=3, target=one)) == drawn[50:], "a resumed run draws the same"
    assert [one(step) for step in range(60)] != [other(step) for step in range(60)]
    # Two processes read a step's batches side by side, one process one after the other.
    assert [accumulating(number) for number in range(120)] == [one(number // 2) for number in range(120)]


@pytest.mark.parametrize("count", [2, 3])
def test_processes_read_side_by_side(monkeypatch, count):
    monkeypatch.setenv("WORLD_SIZE", str(count))
    shares = []
    for rank in range(count):
        monkeypatch.setenv("RANK", str(rank))
        shares.append(read())
    assert sorted(sum(shares, [])) == list(range(15 * count))
    first_step = sum((share[:3] for share in shares), [])
    assert first_step == list(range(3 * count)), "one step of all is one stretch of the sequence"


def test_sentences_of_some_kinds_train_and_validate(tmp_path):
    samples = catalogue.open("moving_shapes-train", tiny.prepared(tmp_path)).samples
    training, validation = split(samples, 1)
    kind = samples[validation[0]].kind
    own, held_out = of_kinds(samples, [kind], training, validation)
    assert set(own) <= set(training) and set(held_out) <= set(validation)
    assert {samples[i].kind for i in own + held_out} == {kind}
    assert sum(samples[i].kind == kind for i in training) == len(own) > 0
    with pytest.raises(DataError, match=f"no sentence of looks to train on; there are: .*{kind}"):
        of_kinds(samples, ["looks"], training, validation)


def test_a_share_of_the_training_videos_lies_within_a_larger_one(tmp_path):
    samples = catalogue.open("moving_shapes-train", tiny.prepared(tmp_path)).samples
    parts = {share: split(samples, 1, share) for share in (0.25, 0.5, 1.0)}
    videos = {share: {samples[i].video_id for i in own} for share, (own, _) in parts.items()}
    assert [len(one) for one in videos.values()] == [1, 2, 4]
    assert videos[0.25] < videos[0.5] < videos[1.0]
    assert parts[0.25][1] == parts[1.0][1], "all validate on the same clips"
