"""A model is the same wherever it comes from; what is none of ours is refused, and nothing in it is run."""

import json
import os
import pickle
import shutil
import zipfile

import pytest
import tiny
import torch
from transformers import BertConfig, BertTokenizerFast

from mmvs.build import build_empty
from mmvs.config import experiment
from mmvs.model.network import Network
from mmvs.segmenter.segmenter import Segmenter
from mmvs.trained import CheckpointError, TrainedNetwork


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    folder = tmp_path_factory.mktemp("reports") / "tiny"
    return tiny.checkpoint(tiny.run(folder), folder / "checkpoints")


@pytest.fixture(scope="module")
def segmenter(checkpoint) -> Segmenter:
    return Segmenter.from_checkpoint(checkpoint)


def test_a_run_its_checkpoint_and_a_saved_model_are_the_same(checkpoint, segmenter, tmp_path):
    segmenter.save_pretrained(tmp_path / "saved")
    assert {"README.md", "config.json", "language", "model.safetensors"} <= set(
        os.listdir(tmp_path / "saved")
    )
    frames = torch.randint(0, 255, (2, 24, 32, 3), dtype=torch.uint8)
    expected = [answer.canvas for answer in segmenter.segment(frames, "the red circle")]
    for where in (checkpoint, checkpoint.parents[1], tmp_path / "saved"):
        loaded = Segmenter.from_run(where)
        assert loaded.fingerprint() == segmenter.fingerprint() and not loaded.network.training
        assert loaded.experiment == segmenter.experiment
        answers = [answer.canvas for answer in loaded.segment(frames, "the red circle")]
        assert all(torch.equal(one, other) for one, other in zip(answers, expected, strict=True))


def test_other_weights_have_another_fingerprint(checkpoint, segmenter):
    other = Segmenter.from_checkpoint(checkpoint)
    next(other.network.parameters()).data.view(-1)[0] += 1e-3
    assert other.fingerprint() != segmenter.fingerprint()


def test_the_model_card_says_what_it_is(segmenter, tmp_path):
    segmenter.save_pretrained(tmp_path)
    card = (tmp_path / "README.md").read_text()
    assert card.startswith("---\nlibrary_name: mmvs") and "license: mit" in card
    assert f"{sum(p.numel() for p in segmenter.network.parameters()):,} weights" in card
    assert segmenter.experiment.fingerprint() in card and "{{" not in card


def test_a_saved_model_with_bert_and_torchvision_loads_without_a_download(tmp_path, monkeypatch):
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    BertConfig(vocab_size=40, **sizes).save_pretrained(tmp_path / "bert")
    words = tiny.run(tmp_path / "run").tokenizer
    parts = tiny.model(
        language={"name": str(tmp_path / "bert" / "config.json")},
        appearance_backbone={"name": "resnet18", "weights": None},
    ).model_dump()
    it = experiment(model=parts, data={"size": 64})
    network = Network(it.model, len(words))
    downloads = it.model.model_copy(  # as a trained one would be: by names that mean a download
        update={
            "language": it.model.language.model_copy(update={"name": "bert-base-uncased"}),
            "appearance_backbone": it.model.appearance_backbone.model_copy(update={"weights": "DEFAULT"}),
        }
    )
    TrainedNetwork(it.model_copy(update={"model": downloads}), network, words).save_pretrained(
        tmp_path / "saved"
    )
    monkeypatch.setattr(torch.hub, "load_state_dict_from_url", None)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    loaded = Segmenter.from_run(tmp_path / "saved")
    assert loaded.experiment.model.language.name == "bert-base-uncased"
    for one, other in zip(loaded.network.parameters(), network.parameters(), strict=True):
        assert torch.equal(one, other)


def test_a_checkpoint_with_bert_and_torchvision_opens_without_a_download(tmp_path, monkeypatch):
    """As `fit` leaves it: BERT's tokenizer and its config.json in `vocabulary`."""
    words, sizes = tiny.run(tmp_path / "run").tokenizer, {"hidden_size": 16, "num_hidden_layers": 1}
    bert = BertConfig(vocab_size=len(words), num_attention_heads=2, intermediate_size=16, **sizes)
    bert.save_pretrained(tmp_path / "vocabulary")
    words.save_pretrained(tmp_path / "vocabulary")
    named = {"language": {"name": "bert-base-uncased"}, "appearance_backbone": {"name": "resnet18"}}
    it = experiment(model=tiny.model(**named).model_dump())
    network = build_empty(it.model, len(words), tmp_path / "vocabulary")
    monkeypatch.setattr(torch.hub, "load_state_dict_from_url", None)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    path = tiny.checkpoint(TrainedNetwork(it, network, words, 0, 0.0), tmp_path)
    segmenter = Segmenter.from_run(path)
    assert segmenter.experiment == it
    for one, other in zip(segmenter.network.parameters(), network.parameters(), strict=True):
        assert torch.equal(one, other)


def test_a_path_is_looked_for_where_the_user_is(checkpoint, segmenter, tmp_path, monkeypatch):
    segmenter.save_pretrained(tmp_path / "saved")
    shutil.copytree(checkpoint.parent, tmp_path / "checkpoints")
    monkeypatch.chdir(tmp_path)
    for where in ("saved", "./saved", "checkpoints/best.ckpt", "."):
        assert Segmenter.from_run(where).fingerprint() == segmenter.fingerprint()
    with pytest.raises(FileNotFoundError, match=r"no checkpoint .*beast\.ckpt$"):
        Segmenter.from_run("checkpoints/beast.ckpt")


class Harmful:
    ran = False

    def __reduce__(self):
        return (setattr, (Harmful, "ran", True))


def test_foreign_checkpoints_are_refused_with_the_reason(checkpoint, tmp_path):
    content = torch.load(checkpoint, weights_only=True)
    parameters = json.loads(content["mmvs"]["experiment"])
    files = {
        "text.ckpt": lambda path: path.write_text("no checkpoint"),
        "empty.ckpt": lambda path: path.touch(),
        "pickle.ckpt": lambda path: path.write_bytes(pickle.dumps(Harmful())),
        "harmful.ckpt": lambda path: torch.save({"mmvs": Harmful()}, path),
        "foreign.ckpt": lambda path: torch.save({"state_dict": {}}, path),
        "zip.ckpt": lambda path: zipfile.ZipFile(path, "w").writestr("a", "b"),
        "cut.ckpt": lambda path: path.write_bytes(checkpoint.read_bytes()[:5000]),
    }
    for name, write in files.items():
        write(tmp_path / name)
        with pytest.raises(CheckpointError, match=f"{name} is no checkpoint of mmvs.training"):
            Segmenter.from_run(tmp_path / name)
    assert not Harmful.ran, "weights_only: nothing in a checkpoint is run"

    newer = {**content, "mmvs": {"experiment": json.dumps({**parameters, "depth": 3})}}
    torch.save(newer, tmp_path / "newer.ckpt")
    with pytest.raises(CheckpointError, match="(?s)newer.ckpt is of another version.*depth"):
        Segmenter.from_run(tmp_path / "newer.ckpt")
    torch.save({**content, "mmvs": {"experiment": "[1]"}}, tmp_path / "list.ckpt")
    with pytest.raises(CheckpointError, match="list.ckpt is of another version"):
        Segmenter.from_run(tmp_path / "list.ckpt")
    torch.save(content, tmp_path / "alone.ckpt")
    with pytest.raises(CheckpointError, match="alone.ckpt: the folder `vocabulary`"):
        Segmenter.from_run(tmp_path / "alone.ckpt")


def test_what_is_torn_is_refused_by_name(checkpoint, segmenter, tmp_path):
    """A checkpoint without its parts, a torn vocabulary, a saved model with a torn or foreign file."""
    content = torch.load(checkpoint, weights_only=True)
    shutil.copytree(checkpoint.parent / "vocabulary", tmp_path / "vocabulary")
    for part in ("state_dict", "global_step"):
        torch.save(
            {key: value for key, value in content.items() if key != part}, tmp_path / f"no_{part}.ckpt"
        )
        with pytest.raises(CheckpointError, match=f"no_{part}.ckpt .*KeyError: '{part}'"):
            Segmenter.from_run(tmp_path / f"no_{part}.ckpt")
    (tmp_path / "vocabulary" / "tokenizer.json").write_text("{")
    torch.save(content, tmp_path / "best.ckpt")
    with pytest.raises(CheckpointError, match="best.ckpt"):
        Segmenter.from_run(tmp_path / "best.ckpt")

    files = ("model.safetensors", "config.json", "config.json", "language/tokenizer.json")
    for n, (name, text) in enumerate(zip(files, ("text", "{", "[1]", "{"), strict=True)):
        segmenter.save_pretrained(tmp_path / f"saved{n}")
        (tmp_path / f"saved{n}" / name).write_text(text)
        with pytest.raises(CheckpointError, match=f"saved{n} holds no model"):
            Segmenter.from_run(tmp_path / f"saved{n}")


def test_a_folder_without_a_model_is_refused(segmenter, tmp_path):
    with pytest.raises(FileNotFoundError, match="best.ckpt: train the run first"):
        Segmenter.from_run(tmp_path)
    segmenter.save_pretrained(tmp_path / "saved")
    (tmp_path / "saved" / "config.json").write_text(json.dumps({"model_type": "llama"}))
    with pytest.raises(CheckpointError, match="(?s)saved holds no model.*model_type"):
        Segmenter.from_run(tmp_path / "saved")


def test_a_vocabulary_is_the_runs_own(segmenter, tmp_path):
    segmenter.save_pretrained(tmp_path)
    assert (
        BertTokenizerFast.from_pretrained(tmp_path / "language").get_vocab()
        == segmenter.tokenizer.get_vocab()
    )
