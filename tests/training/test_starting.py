"""Fine-tuning starts from the weights of another run, says so, and refuses what does not fit."""

import pytest
import tiny
import torch

from mmvs import config
from mmvs.checkpoints import CheckpointError
from mmvs.config import ConfigError
from mmvs.evaluation import evaluate
from mmvs.run_folder import RunFolder
from mmvs.trained import TrainedNetwork
from mmvs.training import fit, starting
from mmvs.training.optimisation import NetworkTraining


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    run = tiny.prepared(tmp_path_factory.mktemp("starting"), steps=2, validate_every=2)
    fit(run, progress=False)
    return run


def tuned(base, name: str, model: dict | None = None, **training):
    """An experiment that starts from the base; a tiny rate keeps its weights near the start's."""
    training = {"start_from": str(base.folder), "rate": 1e-9, "backbone_rate": 1e-9, **training}
    parts = base.model_dump()
    parts["training"] |= {"language_rate": 1e-9, "weight_decay": 0.0, **training}
    parts["model"] |= model or {}
    return config.experiment(**(parts | {"run": name}))


def weights(run) -> dict[str, torch.Tensor]:
    return TrainedNetwork.from_run(run.folder).network.state_dict()


def nearly(one, other) -> bool:
    return torch.allclose(one.float(), other.float(), atol=1e-6)


def learnt(run, prefix: str = "") -> dict[str, torch.Tensor]:
    """Weights that an optimiser moves: not the statistics of batches."""
    own = TrainedNetwork.from_run(run.folder).network
    return {name: tensor for name, tensor in own.named_parameters() if name.startswith(prefix)}


def test_it_starts_from_the_weights_and_says_so(base):
    run = tuned(base, "tuned")
    trained = fit(run, progress=False)
    before = learnt(base)
    assert all(nearly(tensor, before[name]) for name, tensor in learnt(run).items())
    start = TrainedNetwork.from_run(base.folder)
    assert trained.tokenizer.get_vocab() == start.tokenizer.get_vocab()
    origin = evaluate(trained, progress=False).provenance
    assert origin.started_from == {
        "from": str(base.folder),
        "run": base.run,
        "weights": start.fingerprint(),
    }
    assert RunFolder.of(run).result().provenance.started_from == origin.started_from
    plain = run.training.model_copy(update={"start_from": None})
    assert run.fingerprint() != run.model_copy(update={"training": plain}).fingerprint()


@pytest.mark.parametrize("kind", ["checkpoint", "saved"])
def test_it_starts_from_a_checkpoint_or_a_saved_model(base, tmp_path, kind):
    where = RunFolder.of(base).checkpoints.best
    if kind == "saved":
        where = tmp_path / "saved"
        TrainedNetwork.from_run(base.folder).save_pretrained(where)
    run = tuned(base, f"from-{kind}", start_from=str(where))
    fit(run, progress=False)
    before = learnt(base)
    assert all(nearly(tensor, before[name]) for name, tensor in learnt(run).items())


def test_a_resumed_run_does_not_read_its_start_again(base, monkeypatch):
    run = tuned(base, "resumed", steps=4)
    step = NetworkTraining.training_step

    def die(self, batch, index):
        if self.global_step == 2:
            raise KeyError("killed")
        return step(self, batch, index)

    with monkeypatch.context() as patched, pytest.raises(KeyError):
        patched.setattr(NetworkTraining, "training_step", die)
        fit(run, progress=False)
    monkeypatch.setattr(TrainedNetwork, "from_run", lambda where: pytest.fail(f"{where} is read again"))
    trained = fit(run, progress=False)
    assert trained.steps == 4 and trained.start["from"] == str(base.folder)
    assert fit(run, progress=False).start == trained.start


def test_parts_that_are_named_start_anew(base):
    run = tuned(base, "anew", model={"width": 32}, start_anew=["motion"])
    with pytest.raises(ConfigError, match=r"start_anew: \[.*\]") as refused:
        fit(run, progress=False)
    assert "(16" in str(refused.value) and "(32" in str(refused.value) and "and " in str(refused.value)
    widths = tiny.NARROW | {"widths": [8, 8, 8, 8], "input": "uv"}
    wide = tuned(base, "wide", model={"motion_backbone": widths})
    with pytest.raises(ConfigError, match=r"motion\..* here; .*start_anew: \[motion, motion_necks\]"):
        fit(wide, progress=False)
    parts = ["motion", "motion_necks"]
    fit(tuned(base, "wider", model={"motion_backbone": widths}, start_anew=parts), progress=False)
    other = tuned(base, "fresh", start_anew=["motion"])
    trained = fit(other, progress=False)
    before, after = learnt(base), learnt(other)
    same = {name: nearly(after[name], before[name]) for name in after}
    assert all(ok for name, ok in same.items() if not name.startswith("motion."))
    matrices = [name for name in same if name.startswith("motion.") and after[name].ndim > 1]
    assert not any(same[name] for name in matrices) and trained.start["anew"] == ["motion"]


def test_another_language_is_refused(base, monkeypatch):
    start = TrainedNetwork.from_run(base.folder)
    language = start.experiment.model.language.model_copy(update={"name": "bert-base-uncased"})
    model = start.experiment.model.model_copy(update={"language": language})
    start.experiment = start.experiment.model_copy(update={"model": model})
    monkeypatch.setattr(TrainedNetwork, "from_run", lambda where: start)
    run = tuned(base, "language")
    with pytest.raises(ConfigError, match=r"'bert-base-uncased', this run 'small': .*anew: \[language"):
        starting.source(run, RunFolder.of(run).checkpoints)


def test_what_is_missing_or_damaged_is_named(base, tmp_path):
    with pytest.raises(ConfigError, match="training.start_from: no .*best.ckpt: train the run first"):
        fit(tuned(base, "missing", start_from=str(tmp_path / "nowhere")), progress=False)
    (tmp_path / "x.ckpt").write_bytes(b"x")
    with pytest.raises(CheckpointError, match="training.start_from: .*x.ckpt"):
        fit(tuned(base, "damaged", start_from=str(tmp_path / "x.ckpt")), progress=False)
    with pytest.raises(ConfigError, match="no part 'motin', its parts are "):
        fit(tuned(base, "part", start_anew=["motin"]), progress=False)
    with pytest.raises(ConfigError, match="is this very run"):
        fit(tuned(base, base.run), progress=False)
    assert RunFolder.of(base).checkpoints.best.exists()
    with pytest.raises(ConfigError, match="without start_from every part starts anew"):
        config.experiment(training={"start_anew": ["language"]})
