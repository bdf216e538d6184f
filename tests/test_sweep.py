"""`mmvs sweep`: cells are ordinary experiments; bad ones are refused; one that fails stops no other."""

import json

import pytest
import tiny
import yaml

from mmvs import config, sweep
from mmvs.config import ConfigError
from mmvs.run_folder import RunFolder


@pytest.fixture
def params(tmp_path):
    """The params file of an experiment of which nothing is on disk yet."""
    path = tmp_path / "tiny.yaml"
    clips = {"train_clips": 3, "test_clips": 2, "unseen_clips": 1}
    path.write_text(yaml.safe_dump(tiny.parameters(tmp_path, {"moving_shapes": clips})))
    return path


def test_cells_are_all_combinations_with_every_seed(params):
    grid = ["training.rate=1e-4,3e-4", "data.evaluate_on=[moving_shapes-test],[moving_shapes-unseen]"]
    cells = sweep.plan(params, grid, seeds=3)
    assert len(cells) == 2 * 2 * 3 == len({cell.experiment.run for cell in cells})
    assert [cell.experiment.seed for cell in cells[:3]] == [0, 1, 2]
    assert {cell.experiment.training.rate for cell in cells} == {1e-4, 3e-4}
    assert cells[0].name.startswith("rate_0.0001+evaluate_on_moving_shapes-test-")
    assert not list(params.parent.glob("*/sweep")), "planning writes nothing"
    (alone,) = sweep.plan(params, [], seeds=1)
    assert alone.name == "as-it-is" and alone.experiment.fingerprint() == config.load(params).fingerprint()


def test_a_cell_is_the_experiment_of_its_params_file(params):
    cell = sweep.plan(params, ["training.warmup=0,1", "model.motion=false"], seeds=2)[-1]
    cell.write()
    assert config.load(cell.params) == cell.experiment
    assert cell.params == params.parent / "tiny/sweep/warmup_1+motion_false/1.yaml"
    assert cell.folder.path == params.parent / "reports/tiny/sweep/warmup_1+motion_false/1"
    before = cell.params.stat().st_mtime_ns
    cell.write()
    assert cell.params.stat().st_mtime_ns == before, "what is there as it should be is not written"


@pytest.mark.parametrize(
    "grid, reason",
    [
        (
            ["training.rat=1"],
            "--grid training.rat=1: .*unknown parameter 'rat' of Training: did you mean 'rate'",
        ),
        (
            ["training.rate=1e-3,fast"],
            r"--grid training.rate=fast: (?s:.*)training.rate: Input should be a valid",
        ),
        (["training=3"], "--grid training=3: "),
        (["training.rate.x=3"], "training.rate: Input should be a valid number"),
        (["model.name=no-such"], "no network 'no-such'"),
        (["training.rate=1e-3,0.001"], "two of its points are the same experiment, rate_0.001"),
        (["training.rate=1e-3", "training.rate=1e-4"], "training.rate stands twice"),
        (["training.rate"], "expected key=value,value"),
        (["training.rate="], "expected key=value,value"),
        (["=1"], "expected key=value,value"),
        (["seed=0,1"], "seed cannot be swept: --seeds says how many"),
        (["run=a,b"], "run cannot be swept"),
        (["data.evaluate_on=[a"], "are not YAML"),
    ],
)
def test_what_cannot_be_swept_is_refused_before_anything_starts(params, grid, reason):
    with pytest.raises(ConfigError, match=f"(?s){reason}"):
        sweep.plan(params, grid, seeds=1)


def test_values_that_look_alike_as_names_have_folders_of_their_own(params):
    cells = sweep.plan(params, ["flow.estimator=ptlflow:raft,ptlflow/raft,ptlflow-raft"], seeds=1)
    assert len({cell.name for cell in cells}) == 3


def test_a_cell_that_fails_is_named_and_the_others_are_scored(params, capsys, monkeypatch):
    """Whether there is an estimator of that name shows when flow is computed."""
    words = ["sweep", params, "--grid", "flow.estimator=dis,no-such", "--cores", 2]
    assert tiny.command(*words, "--dry-run") == 0
    assert capsys.readouterr().out.count("to run: ") == 2 and not (params.parent / "reports").exists()
    assert tiny.command(*words) == 1
    captured = capsys.readouterr()
    folder = params.parent / "reports" / "tiny" / "sweep"
    assert "failed: estimator_no-such, seed 0: " in captured.out and "no-such/0/sweep.log" in captured.out
    assert "estimator_dis, seed 0: finished" in captured.err
    assert "moving_shapes-test: mean IoU" in captured.out
    result = RunFolder(folder / "estimator_dis" / "0").result()
    record = json.loads(folder.with_suffix(".json").read_text())
    assert record["points"]["estimator_dis"]["scores"]["0"] == result.scores
    assert list(record["failed"]) == ["estimator_no-such/0"]

    monkeypatch.setattr(sweep.subprocess, "Popen", None)  # what is scored does not run again
    assert tiny.command("sweep", params, "--grid", "flow.estimator=dis") == 0


def test_the_table_has_student_intervals_and_paired_differences(params):
    """Gains of 0.1 and 0.3 by seed: 0.2 ± 1.2706."""
    cells = sweep.plan(params, ["training.rate=1e-3,1e-4"], seeds=2)
    for cell, value in zip(cells, (0.1, 0.5, 0.2, 0.8), strict=True):
        parts = {"fingerprint": cell.experiment.fingerprint(), "seed": cell.experiment.seed}
        tiny.scored(
            cell.folder.path,
            [("a", "", value)],
            parameters=cell.experiment.model_dump(mode="json"),
            **parts,
        )
    assert all(cell.result() for cell in cells)
    outcome = sweep.Outcome(cells, [])
    one, other = outcome.rows()
    assert (one["score"].value, other["score"].value) == pytest.approx((0.3, 0.5))
    assert one["gain"] is None and other["gain"].value == pytest.approx(0.2)
    assert other["gain"].high == pytest.approx(0.2 + 1.2706, abs=1e-3)
    assert "rate_0.0001  2" in outcome.text()
    record = json.loads(outcome.write_json().read_text())
    assert record["command"] == "mmvs sweep params/tiny.yaml --seeds 2 --grid training.rate=0.001,0.0001"
    page = outcome.write_page().read_text()
    assert "0.500 [" in page and "+0.200 [" in page and record["command"] in page
