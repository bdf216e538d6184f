"""reports/<run>: paths, states, and a metrics.json that comes back to the last byte."""

import json

import pytest
import tiny

from mmvs.config import ROOT, experiment
from mmvs.run_folder import CheckpointFolder, ReportError, Result, RunFolder, TrainingEnd

COMMITTED = sorted((ROOT / "reports").rglob("metrics.json"))


def fresh(folder, **parts):
    return experiment(run="r", reports=str(folder), **parts)


def test_paths_are_where_every_version_had_them(tmp_path):
    run = RunFolder.of(fresh(tmp_path))
    assert (run.path, run.name) == (tmp_path / "r", "r")
    names = {
        run.checkpoints.best: "checkpoints/best.ckpt",
        run.checkpoints.last: "checkpoints/last.ckpt",
        run.checkpoints.vocabulary: "checkpoints/vocabulary",
        run.checkpoints.fingerprint: "checkpoints/fingerprint",
        run.checkpoints.finished: "checkpoints/finished.json",
        run.lock: "checkpoints.lock",
        run.curves: "logs/metrics.csv",
        run.metrics: "metrics.json",
        run.samples: "samples.csv",
        run.ladder: "ladder.json",
        run.explicit_motion: "explicit_motion.json",
        run.flow_quality: "flow_quality.json",
        run.figures: "figures",
    }
    assert {path.relative_to(run.path).as_posix() for path in names} == set(names.values())
    assert all(path == run.path / name for path, name in names.items())
    assert not list(tmp_path.iterdir()), "asking for a path makes nothing"


def test_states_follow_the_files(tmp_path):
    run = RunFolder(tmp_path)
    assert not run.is_trained() and not run.is_scored() and run.notebooks == []
    run.checkpoints.path.mkdir()
    run.checkpoints.last.touch()
    assert not run.is_trained(), "a checkpoint alone is a training that was broken off"
    assert run.checkpoints.training_end() is None
    run.checkpoints.finished.write_text('{"fingerprint": "abc", "steps": 7, "seconds": 2.5}')
    assert run.is_trained() and not run.is_scored()
    assert run.checkpoints.training_end() == TrainingEnd(fingerprint="abc", steps=7, seconds=2.5)
    for name in ("03_train.ipynb", "01_explore_data.ipynb", "03_train.html"):
        (tmp_path / name).touch()
    assert [path.name for path in run.notebooks] == ["01_explore_data.ipynb", "03_train.ipynb"]


def test_a_torn_end_of_training_counts_as_none(tmp_path):
    (tmp_path / "finished.json").write_text('{"steps": ')
    assert CheckpointFolder(tmp_path).training_end() is None


@pytest.mark.parametrize("file", COMMITTED, ids=lambda file: file.parent.relative_to(ROOT).as_posix())
def test_a_committed_result_comes_back_to_the_last_byte(file, tmp_path):
    result = Result.read(file)
    result.write(tmp_path / "metrics.json")
    assert (tmp_path / "metrics.json").read_bytes() == file.read_bytes()
    content = json.loads(file.read_text())
    assert result.scores == content["scores"] and result.provenance.parameters["run"] == result.run


def test_whole_numbers_stay_whole_and_unknown_fields_stay(tmp_path):
    content = tiny.result({"d": {"all": {"mean_iou": 1, "map": None, "samples": 3}}}).model_dump()
    content["provenance"] |= {"wall_seconds": {"training": 90, "evaluation": 1.5}, "of_a_later_version": [1]}
    text = json.dumps(content, indent=2) + "\n"
    (tmp_path / "metrics.json").write_text(text)
    assert '"training": 90,' in RunFolder(tmp_path).result().text()
    assert json.loads(RunFolder(tmp_path).result().text()) == content


def test_lists_of_samples_are_written_where_there_are_some():
    scores = {"jhmdb": {"all": {"mean_iou": 0.5}}}
    assert "samples_from" not in tiny.result(scores).text()
    text = tiny.result(scores, samples_from={"jhmdb": "mine.csv"}).text()
    assert text.index("data_fingerprint") < text.index("samples_from") < text.index("flow_fingerprint")


def test_commit_and_day_are_short():
    origin = tiny.result(git_commit="0123456789abcdef", git_dirty=True).provenance
    assert (origin.commit, origin.day) == ("0123456789+", "2024-05-06")
    assert tiny.result(git_commit="0123456789abcdef", git_dirty=False).provenance.commit == "0123456789"
    assert tiny.result(git_commit=None, git_dirty=None).provenance.commit == ""


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ("{", "is not JSON"),
        (b"\xff\xfe", "is not JSON"),
        ("[]", "its content"),
        ("{}", "run: Field required"),
        ({"scores": {}}, "scores: .*'all'"),
        ({"scores": {"d": {"motion": {}}}}, "scores: .*'all'"),
        ({"scores": {"d": {"all": 3}}}, "scores.d.all: "),
        ({"scores": {"d": {"all": {"mean_iou": "0.5"}}}}, "scores.d.all.mean_iou"),
        ({"scores": {"d": {"all": {"mean_iou": True}}}}, "scores.d.all.mean_iou"),
        ({"steps": "many"}, "steps: "),
        ({"provenance": [1]}, "provenance: "),
    ],
)
def test_a_torn_or_foreign_result_is_named_and_counts_as_none(tmp_path, content, complaint):
    run = RunFolder.of(fresh(tmp_path))
    run.path.mkdir()
    if isinstance(content, dict):
        content = json.dumps(tiny.result().model_dump() | content)
    run.metrics.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(ReportError, match=f"metrics.json .*{complaint}.*03_train again"):
        run.result()
    assert run.is_scored() and run.result_of(fresh(tmp_path)) is None


def test_a_missing_result_is_named_and_counts_as_none(tmp_path):
    run = RunFolder.of(fresh(tmp_path))
    with pytest.raises(ReportError, match="no result file .*metrics.json: run `python -m mmvs evaluate"):
        run.result()
    assert run.result_of(fresh(tmp_path)) is None


def test_a_result_is_of_one_training_and_one_way_to_score(tmp_path):
    it = fresh(tmp_path)
    result = tiny.result(fingerprint=it.fingerprint(), parameters=it.model_dump(mode="json"))
    run = RunFolder.of(it)
    result.write(run.metrics)
    assert run.result_of(it) == result
    for other in (
        fresh(tmp_path, seed=1),  # another training
        fresh(tmp_path, evaluation={"threshold": 0.4}),  # the same training, other masks
        fresh(tmp_path, data={"jhmdb_samples": "mine.csv"}),  # other samples
    ):
        assert run.result_of(other) is None
    assert run.result_of(fresh(tmp_path, flow={"workers": 1})) == result, "changes no number"


def test_a_result_of_before_an_option_was_known_still_counts(tmp_path):
    it = fresh(tmp_path)
    parameters = it.model_dump(mode="json")
    del parameters["data"]["jhmdb_samples"]
    result = tiny.result(fingerprint=it.fingerprint(), parameters=parameters)
    result.write(RunFolder.of(it).metrics)
    assert RunFolder.of(it).result_of(it) == result
    result.model_copy(update={"provenance": result.provenance.model_copy(update={"parameters": {}})}).write(
        RunFolder.of(it).metrics
    )
    assert RunFolder.of(it).result_of(it) is None, "how it was scored is unknown"
