"""fit: idempotent, resumable, and nothing is lost when parameters change or the job is killed."""

import copy
import json
import resource
import shutil

import pandas as pd
import pytest
import tiny
import torch

from mmvs import evaluation
from mmvs.answers import examples, track
from mmvs.config import ConfigError, Experiment, LadderPlan, experiment
from mmvs.data.catalogue import prepare
from mmvs.evaluation import evaluate, ladder
from mmvs.flow.estimators import FlowError
from mmvs.processes import one_at_a_time
from mmvs.schema import Sample
from mmvs.trained import TrainedNetwork
from mmvs.training import fit
from mmvs.training.optimisation import NetworkTraining
from mmvs.video.files import VideoError


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Experiment:
    return tiny.prepared(tmp_path_factory.mktemp("run"))


@pytest.fixture(scope="module")
def trained(run):
    return fit(run, progress=False)


def test_a_finished_run_is_loaded_not_trained_again(run, trained, monkeypatch):
    monkeypatch.setattr(NetworkTraining, "training_step", lambda *_: pytest.fail("trained again"))
    again = fit(run, progress=False)
    assert again.steps == trained.steps == 4 and again.seconds == trained.seconds > 0
    for one, other in zip(again.network.parameters(), trained.network.parameters(), strict=True):
        assert torch.equal(one, other)
    curves = pd.read_csv(run.folder / "logs" / "metrics.csv")
    assert curves["val/mean_iou"].count() == 2 and curves["train/final"].notna().any()


def test_a_killed_run_goes_on_from_its_last_checkpoint(run, monkeypatch):
    killed = run.model_copy(update={"run": "killed"})
    step = NetworkTraining.training_step
    steps: list[int] = []

    def dies(self, batch, index):
        if self.global_step == 3:
            raise RuntimeError("killed")
        return step(self, batch, index)

    monkeypatch.setattr(NetworkTraining, "training_step", dies)
    with pytest.raises(RuntimeError, match="killed"):
        fit(killed, progress=False)
    assert not (killed.folder / "checkpoints" / "finished.json").exists()

    def counts(self, batch, index):
        steps.append(self.global_step)
        return step(self, batch, index)

    monkeypatch.setattr(NetworkTraining, "training_step", counts)
    assert fit(killed, progress=False).steps == 4
    assert steps == [2, 3]  # the checkpoint of step 2, not a new start
    assert pd.read_csv(killed.folder / "logs" / "metrics.csv")["val/mean_iou"].count() == 2


def test_other_parameters_move_the_old_run_aside(run):
    first = run.model_copy(
        update={"run": "changed", "training": run.training.model_copy(update={"steps": 2})}
    )
    fit(first, progress=False)
    second = first.model_copy(update={"seed": 7})
    with pytest.warns(UserWarning, match="other parameters"):
        fit(second, progress=False)
    aside = first.folder / f"checkpoints-{first.fingerprint()}"
    assert (aside / "best.ckpt").exists() and (first.folder / "checkpoints" / "best.ckpt").exists()


def test_the_same_seed_gives_the_same_weights(run, trained):
    twin = fit(run.model_copy(update={"run": "twin"}), progress=False)
    for one, other in zip(twin.network.parameters(), trained.network.parameters(), strict=True):
        assert torch.allclose(one, other, atol=1e-6)


@pytest.mark.parametrize("name", ["multimodal", "published"])
def test_every_frame_of_a_window_can_be_trained_on(tmp_path, monkeypatch, name):
    values = tiny.parameters(tmp_path, {"stride": 3, "targets": "all"}, steps=6, validate_every=6)
    one = experiment(**values | {"model": tiny.model(name).model_dump()})
    prepare(one, progress=False)
    targets, step = [], NetworkTraining.training_step
    monkeypatch.setattr(
        NetworkTraining,
        "training_step",
        lambda self, batch, n: targets.append(batch.target) or step(self, batch, n),
    )
    assert fit(one, progress=False).steps == 6
    assert set(targets) == {0, 1, 2}


def test_every_parameter_is_in_one_group_and_norms_do_not_decay(run):
    module = NetworkTraining(run, tiny.VOCABULARY)
    groups = module.configure_optimizers()["optimizer"].param_groups
    assert sum(len(g["params"]) for g in groups) == len(list(module.network.parameters()))
    assert all(p.ndim <= 1 for g in groups if g["weight_decay"] == 0 for p in g["params"])


def test_metrics_file_has_the_fixed_layout_and_is_computed_once(run, trained, monkeypatch):
    result = evaluate(trained, progress=False)
    written = json.loads((run.folder / "metrics.json").read_text())
    assert written == result.model_dump(exclude_unset=True) and result.run == "tiny"
    assert set(result.scores) == {
        "moving_shapes-test",
        "moving_shapes-unseen",
        "moving_shapes-test-shuffled",
        "moving_shapes-test-backwards",
    }
    for groups in result.scores.values():
        assert {"mean_iou", "overall_iou", "precision@0.5", "map", "selection_accuracy"} <= set(groups["all"])
        parts = (g["samples"] for kind, g in groups.items() if kind not in ("all", "temporal"))
        assert sum(parts) == groups["all"]["samples"]  # `temporal` holds its three kinds once more
    origin = result.provenance
    assert origin.fingerprint == run.fingerprint() and origin.seed == 0
    assert len(set(origin.data_fingerprint.values())) == 3 and origin.flow_fingerprint
    assert origin.wall_seconds["training"] > 0 and origin.peak_memory_mb > 0
    table = pd.read_csv(run.folder / "samples.csv")
    scored = table[table.data_set == "moving_shapes-test"]
    assert scored.iou.mean() == pytest.approx(
        result.scores["moving_shapes-test"]["all"]["mean_iou"], abs=1e-4
    )

    monkeypatch.setattr(evaluation, "_score", lambda *_: pytest.fail("scored again"))
    assert evaluate(trained, progress=False) == result


def test_shuffled_sentences_come_from_other_videos(run):
    from mmvs.data import catalogue
    from mmvs.data.clips import Clips

    source = catalogue.open("moving_shapes-train", run)
    samples = source.samples
    exchanged = evaluation.Exchanged(Clips(samples, source.flow, run.data))
    assert sorted(exchanged.order) == list(range(len(samples)))
    same = [samples[i].video_id == samples[int(exchanged.order[i])].video_id for i in range(len(samples))]
    assert sum(same) == 0
    clip = exchanged[0]
    assert clip.sentences == [samples[int(exchanged.order[i])].sentence for i in clip.samples]


class Samples(list):
    """As many samples of each video as its letter occurs: what Exchanged reads of a data set."""

    def __init__(self, videos: str):
        super().__init__(Sample(video, 0, 0, f"{video}{i}") for i, video in enumerate(videos))
        self.samples = self

    def scene(self, i: int) -> str:
        return self[i].video_id


@pytest.mark.parametrize("videos", ["AAB", "AAAB", "AAABB", "BAAAC", "AABB", "ABCDEFF", "A", "AA"])
def test_as_few_sentences_as_can_be_stay_within_their_video(videos):
    exchanged = evaluation.Exchanged(Samples(videos))
    assert sorted(exchanged.order) == list(range(len(videos)))
    same = sum(videos[i] == videos[exchanged.order[i]] for i in range(len(videos)))
    largest = max(videos.count(video) for video in videos)
    assert same == max(0, 2 * largest - len(videos))  # whoever has more than half meets itself


def test_validation_counts_a_repeated_clip_once(run):
    module = NetworkTraining(run, tiny.VOCABULARY)
    module.log = lambda *_, **__: None
    for _ in range(2):  # as a distributed sampler does to give every process as many
        module.validation_step(tiny.batch(), 0)
    assert module.validation.compute()["samples"] == len(tiny.batch().samples)


def test_examples_and_track_show_what_was_scored(run, trained):
    evaluate(trained, progress=False)
    table = pd.read_csv(run.folder / "samples.csv")
    rows = table[table.data_set == "moving_shapes-test"].iloc[[3, 0]]
    pictures = examples(trained, "moving_shapes-test", rows["index"].tolist())
    for example, row in zip(pictures, rows.itertuples(), strict=True):
        assert (example.sentence, example.frame_index) == (row.sentence, row.frame)
        assert example.iou == pytest.approx(row.iou, abs=2e-4)
        assert example.mask.shape == example.truth.shape == example.frame.shape[:2] == example.flow.shape[1:]
        assert len(example.words) == len(example.attention)
    frames, probability = track(trained, "moving_shapes-test", 0)
    assert frames.shape == (13, 64, 64, 3) and probability.shape == (13, 64, 64)
    first = examples(trained, "moving_shapes-test", [0])[0]
    assert abs(probability[first.frame_index] - first.probability).max() < 1e-4
    assert (frames[first.frame_index] == first.frame).all()


def test_ladder_trains_what_is_missing_and_reads_the_rest(run, trained, monkeypatch):
    evaluate(trained, progress=False)
    plan = LadderPlan(rungs=["B", "B+M+T+L+A"], seeds=[0])
    assert ladder(run, plan.model_copy(update={"train_missing": False})).keys() == {"B+M+T+L+A"}
    cells = ladder(run, plan, progress=False)
    assert cells == json.loads((run.folder / "ladder.json").read_text())
    assert cells["B"]["0"]["moving_shapes-test"]["all"]["samples"] > 0
    monkeypatch.setattr(evaluation, "fit", lambda *_: pytest.fail("trained again"))
    assert ladder(run, plan, progress=False) == cells


def test_a_corrupt_metrics_file_is_computed_anew(run, trained):
    file = run.folder / "metrics.json"
    file.write_text('{"run": "tiny", "sco')
    assert evaluate(trained, progress=False).run == "tiny"
    assert json.loads(file.read_text())["run"] == "tiny"


def test_a_full_disk_is_named_and_the_last_checkpoint_kept(run, monkeypatch):
    crowded = run.model_copy(update={"run": "crowded"})
    unlimited = resource.getrlimit(resource.RLIMIT_FSIZE)
    step = NetworkTraining.training_step
    steps: list[int] = []

    def fills(self, batch, index):
        if self.global_step == 3:  # of any file, in bytes: stands in for a disk that is full
            resource.setrlimit(resource.RLIMIT_FSIZE, (2000, unlimited[1]))
        return step(self, batch, index)

    def counts(self, batch, index):
        steps.append(self.global_step)
        return step(self, batch, index)

    monkeypatch.setattr(NetworkTraining, "training_step", fills)
    try:
        with pytest.raises(OSError, match="too little disk.*crowded"):
            fit(crowded, progress=False)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, unlimited)
    assert not list((crowded.folder / "checkpoints").glob("finished*"))
    monkeypatch.setattr(NetworkTraining, "training_step", counts)
    assert fit(crowded, progress=False).steps == 4 and steps == [2, 3]


def test_the_last_checkpoint_is_the_last_even_where_it_is_not_the_best(run, monkeypatch):
    worse = iter([0.5, 0.1])
    log = NetworkTraining.log

    def logs(self, name, value, **settings):
        log(self, name, next(worse) if name == "val/mean_iou" else value, **settings)

    monkeypatch.setattr(NetworkTraining, "log", logs)
    fit(run.model_copy(update={"run": "worse"}), progress=False)
    steps = {
        name: torch.load(run.folder.with_name("worse") / f"checkpoints/{name}.ckpt", weights_only=True)
        for name in ("best", "last")
    }
    assert {name: kept["global_step"] for name, kept in steps.items()} == {"best": 2, "last": 4}


def test_what_is_missing_or_damaged_is_named_before_training(run, tmp_path):
    lost = run.model_copy(
        update={"run": "lost", "flow": run.flow.model_copy(update={"root": str(tmp_path / "flow")})}
    )
    with pytest.raises(FlowError, match=r"train\d+\.h5: no flow.*02_compute_flow"):
        fit(lost, progress=False)
    shutil.copytree(run.data.roots["moving_shapes"], tmp_path / "data")
    shutil.copytree(run.flow.root, tmp_path / "flow", dirs_exist_ok=True)
    data = run.data.model_copy(update={"roots": {"moving_shapes": str(tmp_path / "data")}})
    copied = lost.model_copy(update={"data": data})
    flows = sorted((tmp_path / "flow").rglob("train*.h5"))
    for file in flows:
        file.write_bytes(file.read_bytes()[:300])
    with pytest.raises(FlowError, match=r"train\d+\.h5: corrupt"):
        fit(copied, progress=False)
    clips = sorted((tmp_path / "data").rglob("train*.mp4"))
    assert len(flows) == len(clips) == 5
    for file in clips:
        file.write_bytes(file.read_bytes()[:300])
    with pytest.raises(VideoError, match=r"train\d+\.mp4"):
        fit(copied, progress=False)


def test_scores_are_those_of_the_same_weights(run, trained):
    """Other weights under the same parameters (another checkpoint) are scored anew."""
    first = evaluate(trained, progress=False)
    assert first.provenance.weights == trained.fingerprint() and first.provenance.cpu
    other = TrainedNetwork(trained.experiment, copy.deepcopy(trained.network), trained.tokenizer)
    with torch.no_grad():
        next(other.network.parameters()).add_(1)
    assert evaluate(other, progress=False).provenance.weights == other.fingerprint() != trained.fingerprint()
    assert evaluate(trained, progress=False).scores == first.scores


def test_several_processes_do_not_wait_for_another_job(run, monkeypatch):
    """Rank 0 alone would wait, and the others would train on: the call is refused."""
    elsewhere = run.model_copy(update={"run": "busy"})
    with one_at_a_time(elsewhere.folder / "training.lock"):
        monkeypatch.setenv("WORLD_SIZE", "2")
        with pytest.raises(BlockingIOError, match="another process is at work here.*busy"):
            fit(elsewhere, progress=False)
    skipping = run.training.model_copy(update={"skip_nonfinite": 1})
    with pytest.raises(ConfigError, match="skip_nonfinite works on one process"):
        fit(elsewhere.model_copy(update={"training": skipping}), progress=False)
