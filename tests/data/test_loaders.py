"""Which clips a step reads: no clip twice, none left out, wherever the training goes on."""

import pytest

from mmvs.data.loaders import Batches


def read(first: int = 0) -> list[int]:
    return [number for batch in Batches(first, steps=5, size=3) for number in batch]


def test_steps_read_on_where_the_one_before_ended():
    assert read() == list(range(15)) and read(first=2) == list(range(6, 15)) and read(first=5) == []
    assert len(Batches(2, steps=5, size=3)) == 5  # of the whole training


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
