"""Trackers: files below the run's logs, nothing sent; one that is not installed is named."""

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


def tracked(base, *names):
    training = base.training.model_copy(update={"loggers": list(names)})
    return base.model_copy(update={"run": f"with-{'-'.join(names)}", "training": training})


@pytest.mark.parametrize(("name", "files"), [("wandb", "wandb/offline-run-*"), ("mlflow", "mlflow/*")])
def test_a_tracker_writes_below_the_logs(base, name, files, monkeypatch):
    pytest.importorskip(name, reason=f"{name} is not installed")
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    run = tracked(base, name)
    fit(run, progress=False)
    logs = RunFolder.of(run).logs
    assert list(logs.glob(files)) and list(logs.glob("part-000/metrics.csv"))


def test_a_tracker_changes_no_result_and_is_asked_for_by_name(base, monkeypatch):
    assert tracked(base, "wandb").fingerprint() == base.fingerprint()
    monkeypatch.setattr(tracking, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match="mlflow is not installed: pip install mlflow-skinny"):
        fit(tracked(base, "mlflow"), progress=False)


def test_rates_follow_the_rule_that_the_experiment_names(monkeypatch):
    monkeypatch.setattr(processes, "count", lambda: 4)
    factors = [rate_factor(Training(accumulate=2, scale_rate=rule)) for rule in ("none", "linear", "sqrt")]
    assert factors == [1, 8, math.sqrt(8)]
    with pytest.raises(ValueError, match="skip_nonfinite: a step of several batches"):
        Training(accumulate=2, skip_nonfinite=1)
