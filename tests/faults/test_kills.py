"""A killed run ends as one that nothing interrupted."""

import signal

import kills
import pytest


@pytest.fixture(scope="module")
def jobs():
    return kills.Jobs()


@pytest.fixture(scope="module")
def whole(jobs, tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole")
    assert jobs.run(folder) == 0
    return kills.results(folder)


def test_results_of_every_part_of_the_work_are_compared(whole):
    names = {name.rpartition("/")[2] for name in whole}
    assert {"best.ckpt", "last.ckpt", "metrics.json", "samples.csv", "score.csv", "page.html"} <= names
    assert {"mp4", "h5", "csv", "png"} <= {name.rpartition(".")[2] for name in whole}


def test_a_run_that_is_killed_at_every_moment_ends_as_one_that_nothing_interrupted(jobs, whole, tmp_path):
    """One kill after the other in the same folder, in the order of the work."""
    for moment in kills.MOMENTS:
        assert jobs.run(tmp_path, moment) == -signal.SIGKILL, f"killed at {moment}"
    assert jobs.run(tmp_path) == 0
    assert not kills.compare(whole, kills.results(tmp_path))
    assert not list((tmp_path / "reports/tiny/checkpoints").glob(".partial*")), "no half checkpoint stays"


def test_what_differs_is_named():
    assert kills.compare({"a": "1", "b": "1"}, {"a": "2", "c": "1"}) == ["a", "b", "c"]
