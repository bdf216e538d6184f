"""The path from A2D-Sentences to J-HMDB-Sentences without fine-tuning, on moving shapes in both layouts."""

import pytest
import tiny

from mmvs.answers import examples, track
from mmvs.config import Experiment, MovingShapes, experiment
from mmvs.data import catalogue
from mmvs.data.catalogue import prepare
from mmvs.data.csv_files import DataError
from mmvs.evaluation import evaluate
from mmvs.report import cited_scores, tables
from mmvs.shapes import jhmdb_layout, writing
from mmvs.training import fit
from mmvs.verify.tree import overview

SHAPES = MovingShapes(train_clips=4, test_clips=2, unseen_clips=1)


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Experiment:
    folder = tmp_path_factory.mktemp("generalisation")
    writing.write(folder / "a2d", SHAPES, progress=False)
    jhmdb_layout.write(folder / "jhmdb", SHAPES, clips=4, progress=False)
    run = experiment(
        run="tiny",
        reports=str(folder / "reports"),
        data={
            "train_on": "a2d-train",
            "evaluate_on": ["a2d-test", "jhmdb"],
            "roots": {"a2d": str(folder / "a2d"), "jhmdb": str(folder / "jhmdb")},
            "size": 64,
            "workers": 0,
        },
        flow={"root": str(folder / "flow"), "workers": 1},
        model=tiny.model().model_dump(),
        training={"steps": 2, "batch": 2, "warmup": 1, "validate_every": 2, "validation_clips": 1},
    )
    for summary in prepare(run, progress=False).values():
        summary.raise_failures()
    return run


@pytest.fixture(scope="module")
def trained(run):
    return fit(run, progress=False)


def test_both_are_scored_and_the_list_of_samples_is_named(run, trained):
    result = evaluate(trained, progress=False)
    assert list(result.scores) == ["a2d-test", "jhmdb", "a2d-test-shuffled"]
    assert result.scores["jhmdb"]["all"]["samples"] == 12 == len(catalogue.open("jhmdb", run).samples)
    assert list(result.provenance.data_fingerprint) == ["a2d-train", "a2d-test", "jhmdb"]
    (name, listed), *others = result.provenance.samples_from.items()
    assert name == "jhmdb" and listed.startswith("mmvs_jhmdb_samples.csv (12 samples") and not others
    assert cited_scores.own_scores(result).loc["J-HMDB-Sentences", "list of samples"] == listed
    assert "mmvs_jhmdb_samples.csv" in tables.provenance(result).loc["samples_from", "value"]


def test_another_list_is_another_evaluation_of_the_same_training(run, trained, tmp_path):
    before = evaluate(trained, progress=False)
    lines = (catalogue.open("jhmdb", run).samples.root / "mmvs_jhmdb_samples.csv").read_text().splitlines()
    (tmp_path / "mine.csv").write_text("\n".join(lines[:3]) + "\n")
    data = run.data.model_copy(update={"jhmdb_samples": str(tmp_path / "mine.csv")})
    other = run.model_copy(update={"data": data})
    assert other.fingerprint() == run.fingerprint()
    result = evaluate(fit(other, progress=False), progress=False)
    assert result.scores["jhmdb"]["all"]["samples"] == 2
    assert result.provenance.samples_from["jhmdb"].startswith("mine.csv (2 samples")
    again = evaluate(trained, progress=False)
    assert again.scores["jhmdb"] == before.scores["jhmdb"]
    assert (run.folder / "metrics.json").read_text() == again.text()


def test_figures_and_tracks_show_folders_of_pictures_as_well(trained, run):
    (example,) = examples(trained, "jhmdb", [2])
    assert example.frame.shape == (64, 64, 3) and example.flow.shape == (2, 64, 64) and example.truth.any()
    samples = catalogue.open("jhmdb", run).samples
    frames, probability = track(trained, "jhmdb", 7)
    assert len(frames) == len(probability) == samples.frame_count(samples[7].video_id) == 11


def test_both_trees_are_healthy(run):
    table = overview({"a2d": run.data.roots["a2d"], "jhmdb": run.data.roots["jhmdb"]}, progress=False)
    assert set(table["verdict"]) == {"ok", "explained"}
    assert set(table.index.get_level_values("data set")) == {"a2d", "jhmdb"}


def test_a_tree_is_written_once(run, tmp_path):
    root = jhmdb_layout.write(tmp_path / "jhmdb", SHAPES, clips=2, progress=False)
    times = {path: path.stat().st_mtime_ns for path in root.rglob("*.mat")}
    jhmdb_layout.write(root, SHAPES, clips=3, progress=False)
    assert all(path.stat().st_mtime_ns == time for path, time in times.items())
    assert len(list(root.rglob("*.mat"))) == 3
    (root / "jhmdb_annotation.txt").unlink()
    with pytest.raises(DataError, match="jhmdb_annotation.txt"):
        data = run.data.model_copy(update={"roots": {"jhmdb": str(root)}})
        catalogue.open("jhmdb", run.model_copy(update={"data": data}))
