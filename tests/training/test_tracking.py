"""A tracker: files below the run's logs, nothing sent; rates by the rule that the experiment names."""

import math

import pytest
import tiny

from mmvs import processes
from mmvs.config import ConfigError, Training
from mmvs.run_folder import RunFolder
from mmvs.training import fit, tracking
from mmvs.training.optimisation import rate_factor


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return tiny.prepared(tmp_path_factory.mktemp("tracking"), steps=2, validate_every=2)


def tracked(base, name):
    training = base.training.model_copy(update={"loggers": ["wandb"]})
    return base.model_copy(update={"run": name, "training": training})


def test_a_tracker_writes_below_the_logs(base):
    pytest.importorskip("wandb", reason="wandb is not installed")
    run = tracked(base, "tracked")
    fit(run, progress=False)
    logs = RunFolder.of(run).logs
    assert list(logs.glob("wandb/offline-run-*")) and list(logs.glob("part-000/metrics.csv"))


def test_a_tracker_changes_no_result_and_has_to_be_installed(base, monkeypatch):
    run = tracked(base, "refused")
    assert run.fingerprint() == base.fingerprint()
    monkeypatch.setattr(tracking, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match="wandb is not installed: pip install wandb"):
        fit(run, progress=False)


def test_rates_follow_the_rule_that_the_experiment_names(monkeypatch):
    monkeypatch.setattr(processes, "count", lambda: 4)
    factors = [rate_factor(Training(accumulate=2, scale_rate=rule)) for rule in ("none", "linear", "sqrt")]
    assert factors == [1, 8, math.sqrt(8)]
    with pytest.raises(ValueError, match="skip_nonfinite: a step of several batches"):
        Training(accumulate=2, skip_nonfinite=1)
