"""A model is the same wherever it comes from; what is none of ours is refused, and nothing in it is run."""

import json
import os
import pickle
import re
import shutil
import subprocess
import zipfile
from fnmatch import fnmatch
from pathlib import Path

import pytest
import tiny
import torch
from transformers import AutoModel, BertConfig, BertTokenizerFast

from mmvs.build import build_empty
from mmvs.config import EMBEDDED, ROOT, Data, Flow, experiment, resolve
from mmvs.model.network import Network
from mmvs.run_folder import RunFolder
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


def test_saving_again_writes_the_card_anew_but_keeps_a_readme_of_somebody(segmenter, tmp_path):
    segmenter.save_pretrained(tmp_path)
    card = tmp_path / "README.md"
    made = card.read_text()
    for there, kept in ((made.replace("weights", "scores of another training"), made), ("mine\n", "mine\n")):
        card.write_text(there)
        segmenter.save_pretrained(tmp_path)
        assert card.read_text() == kept


def test_the_card_has_scores_with_their_source_limits_citation_and_licence():
    """Of the model that comes along, as `save_pretrained` would write it now."""
    trained = TrainedNetwork.from_run(EMBEDDED)
    card = (resolve(EMBEDDED) / "README.md").read_text()
    assert card == str(trained.generate_model_card()), "save the card anew: CONTRIBUTING.md says how"
    result = RunFolder.of(trained.experiment).result()
    row = next(line for line in card.splitlines() if line.startswith("| `moving_shapes-test` |"))
    means = [f"{kind['mean_iou']:.2f}" for kind in result.scores["moving_shapes-test"].values()]
    assert row.split(" | ")[1:] == [*means[:-1], means[-1] + " |"]
    assert result.provenance.commit in card and "seed 0" in card
    for part in ("## Limits", "@inproceedings{zhao2022modeling", "## Licence"):
        assert part in card


def test_a_model_without_scores_says_so(segmenter):
    assert "not evaluated" in str(segmenter.trained.generate_model_card())


def test_the_authors_checkpoint_is_known_by_its_tensors(checkpoint, tmp_path, monkeypatch):
    def opened(cls, file):
        raise LookupError(file.name)

    monkeypatch.setattr(TrainedNetwork, "from_released", classmethod(opened))
    name = "LanguagemodelGuidedSegmentation.conv.weight"
    for content in ({name: torch.ones(1)}, {"state_dict": {f"module.{name}": torch.ones(1)}}):
        torch.save(content, tmp_path / "released.pth")
        with pytest.raises(LookupError, match="released.pth"):
            TrainedNetwork.from_run(tmp_path / "released.pth")
    torch.save({"layer.weight": torch.ones(1)}, tmp_path / "other.pth")
    with pytest.raises(CheckpointError, match="other.pth is no checkpoint"):
        TrainedNetwork.from_run(tmp_path / "other.pth")
    shutil.copytree(checkpoint.parent, tmp_path / "copy")
    (tmp_path / "copy" / checkpoint.name).rename(tmp_path / "copy" / "ours.pth")
    assert isinstance(TrainedNetwork.from_run(tmp_path / "copy" / "ours.pth"), TrainedNetwork)


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


# What came from elsewhere


@pytest.fixture
def saved(segmenter, tmp_path):
    segmenter.save_pretrained(tmp_path / "saved")
    return tmp_path / "saved"


def change(file, **settings) -> None:
    """Change settings of a JSON file of a saved model, and forget the sums, as who means harm would."""
    file.write_text(json.dumps({**json.loads(file.read_text()), **settings}))
    (file.parents[file.parent.name == "language"] / "SHA256SUMS").unlink(missing_ok=True)


@pytest.mark.parametrize("name", ["model.safetensors", "config.json", "language/tokenizer.json"])
@pytest.mark.parametrize("place", [0.1, 0.5, 0.999])
def test_a_changed_byte_of_a_saved_model_is_refused_by_name(saved, name, place):
    """Most of them would open, with other weights."""
    content = bytearray((saved / name).read_bytes())
    position = int(place * len(content))
    content[position] ^= 1
    (saved / name).write_bytes(content)
    with pytest.raises(CheckpointError, match=re.escape(str(saved))) as error:
        Segmenter.from_run(saved)
    assert name != "model.safetensors" or f"{saved / name} is damaged" in str(error.value)


def test_a_saved_model_whose_parts_are_not_those_of_its_sums_is_refused(saved):
    (saved / "language" / "added_tokens.json").write_text("{}")
    with pytest.raises(CheckpointError, match="added_tokens.json is not in SHA256SUMS"):
        Segmenter.from_run(saved)
    (saved / "language" / "added_tokens.json").rename(saved / "language" / ".DS_Store")
    Segmenter.from_run(saved)
    (saved / "language" / "config.json").unlink()
    with pytest.raises(CheckpointError, match="config.json is missing"):
        Segmenter.from_run(saved)
    with (saved / "SHA256SUMS").open("a") as sums:
        sums.write("torn")
    with pytest.raises(CheckpointError, match="SHA256SUMS is damaged"):
        Segmenter.from_run(saved)


def test_sums_are_those_of_the_command_that_everybody_has(saved):
    if not shutil.which("sha256sum"):
        pytest.skip("no sha256sum here")
    subprocess.run(["sha256sum", "--check", "--strict", "SHA256SUMS"], cwd=saved, check=True)


def test_a_model_that_was_saved_without_sums_opens(saved, segmenter):
    (saved / "SHA256SUMS").unlink()
    assert Segmenter.from_run(saved).fingerprint() == segmenter.fingerprint()
    (saved / "README.md").write_text("its card may change")
    Segmenter.from_run(saved).save_pretrained(saved)
    assert (saved / "SHA256SUMS").exists()


def test_a_saved_model_does_not_choose_a_language_model_by_name(saved, monkeypatch, tmp_path):
    """Neither a folder of this machine nor one of the hub."""
    settings = json.loads((saved / "config.json").read_text())
    BertConfig(vocab_size=40, hidden_size=16).save_pretrained(tmp_path / "private")
    for name in (str(tmp_path / "private"), str(tmp_path / "private" / "config.json"), "somebody/something"):
        settings["model"]["language"]["name"] = name
        change(saved / "config.json", **settings)
        with monkeypatch.context() as patch:
            patch.setattr(AutoModel, "from_pretrained", lambda *_, **__: pytest.fail("opened"))
            (saved / "language" / "config.json").rename(tmp_path / "aside.json")
            with pytest.raises(CheckpointError, match="language/config.json.*is missing"):
                Segmenter.from_run(saved)
            (tmp_path / "aside.json").rename(saved / "language" / "config.json")
            Segmenter.from_run(saved)  # its own architecture, whatever the name


def test_a_saved_model_runs_no_code(saved, capsys, monkeypatch):
    monkeypatch.setattr("builtins.input", lambda *_: pytest.fail("asked whether to run code"))
    (saved / "language" / "evil.py").write_text("print('ran')\nclass Evil: pass\n")
    language = saved / "language"
    kept = {file.name: file.read_text() for file in language.glob("*.json")}
    for file, settings in [
        ("tokenizer_config.json", {"auto_map": {"AutoTokenizer": ["evil.Evil", "evil.Evil"]}}),
        ("tokenizer_config.json", {"tokenizer_class": "Evil", "auto_map": ["evil.Evil", None]}),
        ("tokenizer_config.json", {"vocab_file": "/etc/passwd"}),
        ("tokenizer_config.json", {"tokenizer_file": "../../private.json"}),
        ("config.json", {"auto_map": {"AutoConfig": "evil.Evil", "AutoModel": "evil.Evil"}}),
        ("config.json", {"model_type": "evil", "auto_map": {"AutoModel": "somebody/x--evil.Evil"}}),
        ("config.json", {"model_type": "timm_wrapper", "architecture": "resnet18"}),
    ]:
        change(language / file, **settings)
        try:
            Segmenter.from_run(saved)
        except CheckpointError as error:
            assert str(saved) in str(error)
        else:
            assert file == "config.json", "small needs no architecture"
        (language / file).write_text(kept[file])
    assert "ran" not in capsys.readouterr().out


@pytest.mark.parametrize(
    "settings",
    [
        {"auto_map": {"AutoModel": "somebody/x--evil.Evil"}},
        {"attn_implementation": "somebody/kernel"},
        {"_attn_implementation": "somebody/kernel"},
        {"_attn_implementation_internal": "somebody/kernel"},
        {"quantization_config": {"quant_method": "bitsandbytes"}},
    ],
)
def test_an_architecture_that_came_with_a_model_is_sizes_alone(tmp_path, monkeypatch, settings):
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    BertConfig(vocab_size=40, **sizes).save_pretrained(tmp_path)
    change(tmp_path / "config.json", **settings)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    model = tiny.model(language={"name": "bert-base-uncased"})
    bert = build_empty(model, 40, tmp_path).language.bert
    assert type(bert).__name__ == "BertModel" and bert.config.hidden_size == 16
    change(tmp_path / "config.json", model_type="timm_wrapper")
    with pytest.raises(ValueError, match="config.json: model_type 'timm_wrapper'"):
        build_empty(model, 40, tmp_path)


def test_a_backbone_is_a_resnet(monkeypatch):
    monkeypatch.setattr(torch.hub, "load_state_dict_from_url", lambda *_, **__: pytest.fail("download"))
    for name in ("fcn_resnet50", "deeplabv3_resnet101", "vit_b_16", "../resnet"):
        with pytest.raises(ValueError, match="use 'narrow' or a torchvision ResNet"):
            build_empty(tiny.model(appearance_backbone={"name": name}), 40, Path("absent"))


def test_a_downloaded_model_writes_and_reads_at_home(saved, monkeypatch, tmp_path):
    """Its author's folders, and files of these names on this machine, are none of its business."""
    private = tmp_path / "private.pth"
    private.touch()
    settings = json.loads((saved / "config.json").read_text())
    settings["reports"] = str(tmp_path / "elsewhere")
    settings["data"] |= {"roots": {"a2d": "/etc", "jhmdb": "../../.."}, "jhmdb_samples": "/etc/passwd"}
    settings["flow"]["root"] = str(tmp_path)
    change(saved / "config.json", **settings)
    patterns = []

    def download(name, allow_patterns, **_):
        patterns.extend(allow_patterns)
        return str(saved)

    monkeypatch.setattr("mmvs.trained.snapshot_download", download)
    monkeypatch.setattr("huggingface_hub.hub_mixin.hf_hub_download", lambda **_: str(saved / "config.json"))
    loaded = TrainedNetwork.from_pretrained("somebody/model").experiment
    assert loaded.folder == ROOT / "reports" / "tiny" and loaded.data.jhmdb_samples is None
    assert loaded.data.roots == Data().roots and loaded.flow.root == Flow().root
    assert loaded.fingerprint() == experiment(**settings).fingerprint()
    assert all(any(fnmatch(name, p) for p in patterns) for name in ("model.safetensors", "language/a.json"))
    assert not any(fnmatch("evil.py", pattern) for pattern in patterns)
    settings["flow"]["weights"] = str(private)
    change(saved / "config.json", **settings)
    with pytest.raises(CheckpointError, match="flow.weights '.*private.pth' is a file of its author's"):
        TrainedNetwork.from_pretrained("somebody/model")


@pytest.mark.parametrize("run", ["../up", "/absolute", "a/../../b", "a/..", ".hidden", "a\x00b", "a\n", ""])
def test_the_name_of_a_run_leads_to_no_other_folder(saved, run):
    change(saved / "config.json", run=run)
    with pytest.raises(CheckpointError, match="run: "):
        Segmenter.from_run(saved)


def test_a_checkpoint_without_its_language_model_is_refused(tmp_path, monkeypatch):
    """Its name may mean another one here."""
    words = tiny.run(tmp_path / "run").tokenizer
    BertConfig(vocab_size=len(words), hidden_size=16, num_attention_heads=2).save_pretrained(
        tmp_path / "bert"
    )
    it = experiment(model=tiny.model(language={"name": "bert-base-uncased"}).model_dump())
    network = build_empty(it.model, len(words), tmp_path / "bert")
    path = tiny.checkpoint(TrainedNetwork(it, network, words, 0, 0.0), tmp_path)
    monkeypatch.setattr(AutoModel, "from_pretrained", lambda *_, **__: pytest.fail("opened"))
    with pytest.raises(CheckpointError, match="best.ckpt: the folder `vocabulary`"):
        Segmenter.from_checkpoint(path)
