"""Whatever happens to a training: nothing is torn, nothing damaged is trusted, what was saved is not lost."""

import json
import os
import random
import signal
import threading

import pandas as pd
import pytest
import tiny
import torch

from mmvs import checkpoints
from mmvs.checkpoints import CheckpointError
from mmvs.config import Experiment
from mmvs.run_folder import RunFolder
from mmvs.trained import TrainedNetwork
from mmvs.training import fit
from mmvs.training.optimisation import NetworkTraining
from mmvs.training.saving import NonFiniteError, TrainingStopped, keep_beside, latest

Step = NetworkTraining.training_step


@pytest.fixture(scope="module")
def base(tmp_path_factory) -> Experiment:
    return tiny.prepared(tmp_path_factory.mktemp("saving"), steps=4, validate_every=2)


@pytest.fixture
def run(base, request) -> Experiment:
    return base.model_copy(update={"run": request.node.name.replace("[", "-").rstrip("]")})


def folder(run):
    return RunFolder.of(run).checkpoints


def at(monkeypatch, step: int, action) -> list[int]:
    """Call `action(loss)` at a step, once; returns the list of steps that were begun."""
    begun = []

    def training_step(self, batch, index):
        begun.append(self.global_step)
        loss = Step(self, batch, index)
        return action(loss) if self.global_step == step and begun.count(step) == 1 else loss

    monkeypatch.setattr(NetworkTraining, "training_step", training_step)
    return begun


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_lets_the_step_end_and_saves_it(run, monkeypatch, number):
    before = signal.getsignal(number)
    begun = at(monkeypatch, 0, lambda loss: os.kill(os.getpid(), number) or loss)
    with pytest.raises(TrainingStopped, match="last.ckpt keeps step 1 of 4, the same call") as stopped:
        fit(run, progress=False)
    assert stopped.value.signal == number and signal.getsignal(number) == before
    assert checkpoints.read(folder(run).last)["global_step"] == 1
    assert fit(run, progress=False).steps == 4 and begun == [0, 1, 2, 3]


@pytest.mark.parametrize(
    ("step", "kept"), [(0, "before anything was saved"), (3, "last.ckpt keeps step 2 of 4")]
)
def test_a_second_ctrl_c_stops_at_once_and_says_what_is_kept(run, monkeypatch, step, kept):
    def twice(loss):
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)
        return loss

    at(monkeypatch, step, twice)
    with pytest.raises(TrainingStopped, match=kept) as stopped:
        fit(run, progress=False)
    assert stopped.value.signal == signal.SIGINT
    assert fit(run, progress=False).steps == 4


def test_the_command_says_once_what_is_kept_and_how_to_go_on(base, tmp_path, monkeypatch, capsys):
    values = base.model_dump(mode="json") | {"run": "by-command"}
    (tmp_path / "mine.yaml").write_text(json.dumps(values))
    at(monkeypatch, 2, lambda loss: os.kill(os.getpid(), signal.SIGINT) or loss)
    assert tiny.command("train", tmp_path / "mine.yaml", "--device", "cpu") == 130
    error = capsys.readouterr().err
    assert error.count("step 3 of 4") == 2, "in the bar and in the message"
    again = f"python -m mmvs train {tmp_path}/mine.yaml --device cpu"
    assert error.endswith(f"the same call goes on from there: {again}\n")


@pytest.mark.parametrize("damage", ["torn", "flipped", "empty"])
def test_a_damaged_last_checkpoint_costs_the_steps_since_the_one_before(run, monkeypatch, damage):
    fit(run, progress=False)  # saved at 2 and 4
    folder(run).finished.unlink()
    last = folder(run).last
    content = bytearray(last.read_bytes())
    content[len(content) // 2] ^= 1
    last.write_bytes({"torn": content[: len(content) // 2], "flipped": content, "empty": b""}[damage])
    begun = at(monkeypatch, -1, None)
    with pytest.warns(UserWarning, match="last.ckpt .*damaged.*goes on from previous.ckpt, step 2"):
        assert fit(run, progress=False).steps == 4
    assert begun == [2, 3] and (folder(run).path / "last.damaged.ckpt").exists()


def test_where_no_checkpoint_can_be_read_nothing_is_overwritten(run):
    fit(run, progress=False)
    folder(run).finished.unlink()
    for path in (folder(run).last, folder(run).previous, folder(run).best):
        path.write_bytes(b"x" * 100)
    with pytest.raises(CheckpointError, match="best.ckpt.*move .* away to train anew"):
        fit(run, progress=False)
    assert folder(run).best.read_bytes() == b"x" * 100


def test_no_byte_of_a_checkpoint_changes_unnoticed(run):
    """400 files with one byte or one stretch changed: refused, or the same weights."""
    fit(run, progress=False)
    path, copy = folder(run).best, folder(run).path / "mutant.ckpt"
    content, weights, draw = path.read_bytes(), checkpoints.read(path)["state_dict"], random.Random(0)
    outcomes = {"refused": 0, "same": 0}
    for _ in range(400):
        mutant, start = bytearray(content), draw.randrange(len(content))
        for place in range(start, min(len(content), start + draw.choice((1, 1, 4, 64)))):
            mutant[place] ^= draw.randrange(1, 256)
        copy.write_bytes(mutant)
        try:
            read = checkpoints.read(copy)["state_dict"]
        except CheckpointError as error:
            assert "mutant.ckpt" in str(error)
            outcomes["refused"] += 1
            continue
        assert read.keys() == weights.keys()
        assert all(torch.equal(read[name], weights[name]) for name in weights)
        outcomes["same"] += 1
    assert outcomes["refused"] > 300


def test_records_that_are_marked_as_folders_are_damage(run, tmp_path):
    """torch's reader leaves the memory of such a record as it is, and compares no checksum."""
    fit(run, progress=False)
    content = bytearray(folder(run).best.read_bytes())
    torch.save(
        checkpoints.read(folder(run).best, mmap=False), tmp_path / "torch.ckpt"
    )  # without our checksum
    plain = bytearray((tmp_path / "torch.ckpt").read_bytes())
    for name, archive in (("sealed", content), ("plain", plain)):
        archive[archive.rindex(b"PK\x01\x02") + 38] |= 0x10  # MS-DOS's attribute of a folder
        (tmp_path / name).write_bytes(archive)
        with pytest.raises(CheckpointError, match=f"{name} is no checkpoint .*(checksum|list of records)"):
            checkpoints.read(tmp_path / name)


def test_a_pickle_in_the_last_checkpoint_is_not_run(run, tmp_path):
    class Evil:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "evil"),)

    fit(run, progress=False)
    folder(run).finished.unlink()
    folder(run).previous.unlink()
    folder(run).best.unlink()
    torch.save({"state_dict": {}, "global_step": 0, "mmvs": Evil()}, folder(run).last)
    with pytest.raises(CheckpointError, match="last.ckpt is no checkpoint"):
        fit(run, progress=False)
    assert not (tmp_path / "evil").exists()


def test_a_moved_reports_folder_goes_on_with_its_best_score(run, tmp_path, monkeypatch):
    scores = iter([0.9, 0.1])
    log = NetworkTraining.log

    def logs(self, name, value, **settings):
        log(self, name, next(scores) if name == "val/mean_iou" else value, **settings)

    monkeypatch.setattr(NetworkTraining, "log", logs)
    with monkeypatch.context() as patched:
        at(patched, 2, lambda loss: os.kill(os.getpid(), signal.SIGTERM) or loss)
        with pytest.raises(TrainingStopped, match="step 3 of"):
            fit(run, progress=False)
    moved = run.model_copy(update={"reports": str(tmp_path / "moved")})
    (tmp_path / "moved").mkdir()
    run.folder.rename(moved.folder)
    fit(moved, progress=False)
    assert checkpoints.read(folder(moved).best)["global_step"] == 2, "0.1 does not replace 0.9"


@pytest.mark.parametrize("file", ["finished.json", "vocabulary/tokenizer.json", "logs"])
def test_a_cosmetic_file_never_blocks_a_run(run, monkeypatch, file):
    weights = fit(run, progress=False).network.state_dict()
    if file == "logs":
        folder(run).finished.unlink()
        for part in RunFolder.of(run).logs.glob("part-*/metrics.csv"):
            part.write_text("")
    else:
        (folder(run).path / file).write_text("{")
    again = fit(run, progress=False).network.state_dict()
    assert all(torch.equal(again[name], weights[name]) for name in weights)


def test_a_loss_that_is_no_number_stops_and_names_step_samples_and_checkpoint(run, monkeypatch):
    spoil(monkeypatch, 2)
    with pytest.raises(
        NonFiniteError, match=r"(?s)step 3: the loss is no number \(loss nan.*train\d+, frame"
    ):
        fit(run, progress=False)
    with pytest.raises(NonFiniteError, match=r"last\.ckpt is of step 2, before it"):
        fit(run, progress=False)
    assert not folder(run).finished.exists()


def test_so_many_batches_without_a_number_are_left_out(run, monkeypatch):
    spoil(monkeypatch, 1)
    training = run.training.model_copy(update={"skip_nonfinite": 1})
    trained = fit(run.model_copy(update={"training": training}), progress=False)
    assert (trained.steps, trained.skipped) == (4, 1)
    assert all(torch.isfinite(weights).all() for weights in trained.network.state_dict().values())


def spoil(monkeypatch, step: int) -> None:
    """The loss of one batch is NaN."""

    def training_step(self, batch, index):
        judge = self.objective.forward
        if self.global_step == step and not self.skipped:
            self.objective.forward = lambda *pair: {
                name: term * torch.nan for name, term in judge(*pair).items()
            }
        try:
            return Step(self, batch, index)
        finally:
            self.objective.forward = judge

    monkeypatch.setattr(NetworkTraining, "training_step", training_step)


def test_weights_that_are_no_numbers_are_never_kept(run, monkeypatch):
    validate = NetworkTraining.validation_step

    def poison(self, batch, index):
        validate(self, batch, index)
        if self.global_step == 4:
            next(self.network.parameters()).data.fill_(torch.nan)

    monkeypatch.setattr(NetworkTraining, "validation_step", poison)
    with pytest.raises(NonFiniteError, match="step 4: 1 weights are no numbers any more.*step 2, before it"):
        fit(run, progress=False)
    for path in (folder(run).best, folder(run).last):
        assert all(torch.isfinite(w).all() for w in checkpoints.read(path)["state_dict"].values())


def test_a_second_fit_waits_and_finds_the_first_one_s_work(run, monkeypatch):
    begun = at(monkeypatch, -1, None)
    results = []
    other = threading.Thread(target=lambda: results.append(fit(run, progress=False)))
    other.start()
    results.append(fit(run, progress=False))
    other.join()
    assert begun == [0, 1, 2, 3] and [type(trained) for trained in results] == [TrainedNetwork] * 2


def test_a_file_is_kept_under_a_second_name_with_and_without_links(tmp_path, monkeypatch):
    for name in ("links", "none"):
        path, beside = tmp_path / name, tmp_path / f"{name}.beside"
        path.write_text("new")
        beside.write_text("old")
        if name == "none":
            monkeypatch.setattr(os, "link", lambda *_: (_ for _ in ()).throw(OSError()))
        keep_beside(path, beside)
        assert beside.read_text() == "new" and path.exists() == (name == "links")


def test_where_there_is_nothing_yet_training_starts_anew(run):
    assert latest(folder(run)) is None


# Parameters under which something is drawn in every step: augmentations, and connections that drop out.
DRAWS = {"steps": 7, "validate_every": 3}


@pytest.fixture(scope="module")
def whole(base) -> tuple[Experiment, dict[str, dict]]:
    """A training that nothing interrupts: 7 steps of 2 of 4 clips, so that epochs end within it."""
    model = base.model.model_copy(update={"dropout": 0.2})
    training = base.training.model_copy(update=DRAWS)
    run = base.model_copy(update={"run": "whole", "model": model, "training": training})
    fit(run, progress=False)
    return run, weights_of(run)


def weights_of(run) -> dict[str, dict]:
    """Everything that a run has learnt: weights and the optimiser's memory."""
    kept = {name: checkpoints.read(getattr(folder(run), name), mmap=False) for name in ("best", "last")}
    memory = {
        f"{group}.{key}": value
        for group, state in kept["last"]["optimizer_states"][0]["state"].items()
        for key, value in state.items()
    }
    return {"best": kept["best"]["state_dict"], "last": kept["last"]["state_dict"], "memory": memory}


def assert_equal(run, expected) -> None:
    for part, tensors in weights_of(run).items():
        assert tensors.keys() == expected[part].keys()
        assert not [n for n, tensor in tensors.items() if not torch.equal(tensor, expected[part][n])], part


@pytest.mark.parametrize(
    ("how", "kill"), [*(("signal", step) for step in range(6)), *(("death", step) for step in range(7))]
)
def test_an_interrupted_training_ends_with_the_same_weights(whole, monkeypatch, how, kill):
    run = whole[0].model_copy(update={"run": f"{how}{kill}"})

    def die(loss):
        if how == "death":
            raise KeyError("killed")
        os.kill(os.getpid(), signal.SIGTERM)
        return loss

    with monkeypatch.context() as patched, pytest.raises((KeyError, TrainingStopped)):
        at(patched, kill, die)
        fit(run, progress=False)
    torch.manual_seed(kill)  # as another process would find it
    assert fit(run, progress=False).steps == 7
    assert_equal(run, whole[1])


def test_a_training_that_stops_at_every_step_reaches_its_end(whole, monkeypatch):
    """A job whose time limit is shorter than an epoch."""
    run = whole[0].model_copy(update={"run": "steps"})
    monkeypatch.setattr(
        NetworkTraining,
        "training_step",
        lambda self, batch, index: os.kill(os.getpid(), signal.SIGTERM) or Step(self, batch, index),
    )
    for step in range(1, 7):
        with pytest.raises(TrainingStopped, match=f"step {step} of 7,"):
            fit(run, progress=False)
    assert fit(run, progress=False).steps == 7
    assert_equal(run, whole[1])


def test_a_signal_between_the_batches_of_a_step_lets_the_step_end(whole, monkeypatch):
    """3 steps of 2 batches; the signal comes in the first batch of the second step."""
    accumulated = {"accumulate": 2, "steps": 3, "validate_every": 2}
    training = whole[0].training.model_copy(update=accumulated)
    run, other = (whole[0].model_copy(update={"run": f"batches{i}", "training": training}) for i in (0, 1))
    assert fit(run, progress=False).steps == 3
    with monkeypatch.context() as patched, pytest.raises(TrainingStopped, match="step 2 of 3"):
        begun = at(patched, 1, lambda loss: os.kill(os.getpid(), signal.SIGTERM) or loss)
        fit(other, progress=False)
    assert begun == [0, 0, 1, 1]
    assert fit(other, progress=False).steps == 3
    assert_equal(other, weights_of(run))


def test_a_resumed_training_has_the_threads_that_it_began_with(whole, monkeypatch):
    training = whole[0].training.model_copy(update={"threads": None})
    run = whole[0].model_copy(update={"run": "threads", "training": training})
    before = torch.get_num_threads()
    try:
        with monkeypatch.context() as patched, pytest.raises(TrainingStopped):
            at(patched, 2, lambda loss: os.kill(os.getpid(), signal.SIGTERM) or loss)
            fit(run, progress=False)
        torch.set_num_threads(before + 1)
        fit(run, progress=False)
        assert torch.get_num_threads() == before
    finally:
        torch.set_num_threads(before)
    assert_equal(run, whole[1])


@pytest.mark.parametrize("workers", [1, 2])
def test_loader_processes_change_no_weight(whole, workers):
    data = whole[0].data.model_copy(update={"workers": workers})
    run = whole[0].model_copy(update={"run": f"workers{workers}", "data": data})
    fit(run, progress=False)
    assert_equal(run, whole[1])


def test_deterministic_is_a_parameter(whole):
    training = whole[0].training.model_copy(update={"deterministic": True})
    run = whole[0].model_copy(update={"run": "deterministic", "training": training})
    try:
        fit(run, progress=False)
        assert torch.are_deterministic_algorithms_enabled()
    finally:
        torch.use_deterministic_algorithms(False)
    assert_equal(run, whole[1])
    assert run.fingerprint() != whole[0].fingerprint()


def test_the_last_step_is_validated(whole):
    """7 is no multiple of `validate_every`: 3."""
    curves = pd.read_csv(RunFolder.of(whole[0]).curves).dropna(subset="val/mean_iou")
    assert curves["step"].tolist() == [2, 5, 7]  # steps count from 0; the last comes when all are done
