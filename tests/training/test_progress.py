"""A training shows where its curves are and one bar, and nothing of the libraries behind it."""

import re

import pytest
import tiny

from mmvs.training import fit
from mmvs.training.optimisation import NetworkTraining


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return tiny.prepared(tmp_path_factory.mktemp("run"), steps=4, validate_every=2)


def lines(capsys) -> list[str]:
    out, err = capsys.readouterr()
    assert out == ""
    return err.splitlines()


def test_one_bar_from_the_first_step_to_the_last(run, capsys, recwarn):
    fit(run)
    curves, *bar = lines(capsys)
    assert re.fullmatch(r"curves: (.*/tiny/logs); to look at them: tensorboard --logdir \1", curves)
    shape = r"training: +\d+%\|.*\| step \d of 4, \d\d:\d\d elapsed, .* left"
    end = r"(, validating|, mean IoU 0.\d+ at step \d)?"
    assert all(re.fullmatch(shape + end, line) for line in bar)
    assert " step 0 of 4" in bar[0] and " step 4 of 4" in bar[-1] and "at step 4" in bar[-1]
    assert [line for line in bar if "validating" in line][0].count("step 2 of 4")
    assert not [str(one.message) for one in recwarn if "ightning" in str(one.filename)]


def test_a_training_that_goes_on_begins_where_it_was(run, capsys, monkeypatch):
    stopped = run.model_copy(update={"run": "stopped"})
    step = NetworkTraining.training_step

    def ends(self, batch, index):
        if self.global_step == 3:
            raise KeyError
        return step(self, batch, index)

    with monkeypatch.context() as patched, pytest.raises(KeyError):
        patched.setattr(NetworkTraining, "training_step", ends)
        fit(stopped)
    assert " step 3 of 4" in lines(capsys)[-1], "the bar is closed, whatever ended the training"
    fit(stopped)
    assert " step 2 of 4" in lines(capsys)[1]


def test_quiet_is_quiet(run, capsys):
    fit(run.model_copy(update={"run": "quiet"}), progress=False)
    assert lines(capsys) == []
