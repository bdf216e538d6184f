"""What every backbone and every text encoder holds within the network, whatever its name; weights are random.

Each backbone meets one text encoder, and each text encoder several backbones. The full product would take
minutes, and these parts do not touch each other before the fusion.
"""

import json
from dataclasses import replace
from itertools import cycle

import pytest
import tiny
import torch
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from torch import nn
from transformers import (
    BertConfig,
    CLIPTextConfig,
    Dinov2Config,
    PreTrainedTokenizerFast,
    RobertaConfig,
    SwinConfig,
)

from mmvs.build import build, build_empty, keep_architectures
from mmvs.config import experiment
from mmvs.data.catalogue import prepare
from mmvs.data.words import encode, tokenizer
from mmvs.model.inference import ready_for_inference
from mmvs.schema import Prediction
from mmvs.trained import TrainedNetwork
from mmvs.training.fitting import fit

SENTENCES = [
    "a red circle that goes up",
    "a big square",
    "the dog on the left",
    "the man in red runs to the right",
]
BACKBONES = {
    "narrow": [2, 4, 8, 8],
    "resnet18": [4, 8, 16, 32],
    "timm:convnext_atto": [4, 8, 16, 32],
    "timm:tf_efficientnet_lite0": [4, 8, 16, 32],
    "timm:vit_tiny_patch16_224": [4, 8, 16, 16],
    "timm:test_vit3": [4, 8, 16, 16],
    "hf:swin": [4, 8, 16, 32],
    "hf:dinov2": [4, 8, 16, 16],
}
HUGGING_FACE = {
    "swin": SwinConfig(image_size=32, embed_dim=8, depths=[1] * 4, num_heads=[1, 1, 2, 2], window_size=2),
    "dinov2": Dinov2Config(
        hidden_size=16, num_hidden_layers=4, num_attention_heads=2, image_size=28, patch_size=14
    ),
}
BERT = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 16}
TEXT = {
    "bert": (BertConfig, BERT, ("[CLS]", "[SEP]", "[PAD]")),
    "roberta": (RobertaConfig, BERT | {"pad_token_id": 1, "type_vocab_size": 1}, ("<s>", "</s>", "<pad>")),
    # CLIP pads with its end, and reads 77 word pieces
    "clip": (CLIPTextConfig, BERT | {"projection_dim": 16}, ("<start>", "<end>", "<end>")),
}
PAIRS = [pytest.param(b, t, id=f"{b}-{t}") for b, t in zip(BACKBONES, cycle(TEXT), strict=False)]
every_pair = pytest.mark.parametrize("backbone, text", PAIRS)
every_text = pytest.mark.parametrize("text", TEXT)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Architectures of Hugging Face, with tokenizers; no weights."""
    path = tmp_path_factory.mktemp("architectures")
    for name, config in HUGGING_FACE.items():
        config.save_pretrained(path / name)
    words = sorted({word for sentence in SENTENCES for word in sentence.split()})
    for name, (kind, sizes, (start, end, padding)) in TEXT.items():
        pieces = list(dict.fromkeys([start, padding, end, "[UNK]", *words]))
        vocabulary = {piece: number for number, piece in enumerate(pieces)}
        plain = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
        plain.pre_tokenizer = pre_tokenizers.Whitespace()
        ends = [(token, vocabulary[token]) for token in (start, end)]
        plain.post_processor = processors.TemplateProcessing(f"{start} $A {end}", None, ends)
        special = {"bos_token": start, "eos_token": end, "pad_token": padding, "unk_token": "[UNK]"}
        PreTrainedTokenizerFast(tokenizer_object=plain, **special).save_pretrained(path / name)
        ids = {"bos_token_id": 0, "eos_token_id": vocabulary[end]}
        kind(vocab_size=len(pieces), **sizes, **ids).save_pretrained(path / name)
    return path


def run(folder, backbone="narrow", text="bert", **changes):
    """An experiment with that backbone for frames and flow, and that text encoder."""
    source, _, name = backbone.partition(":")
    named = f"hf:{folder / name / 'config.json'}" if source == "hf" else backbone
    part = {"name": named, "weights": None, "widths": [8, 10, 12, 12]}
    parts = {
        "appearance_backbone": part,
        "motion_backbone": part | {"input": "uv"},
        "language": {"name": str(folder / text / "config.json"), "max_words": 12},
    }
    return experiment(model=tiny.model(**(parts | changes)).model_dump())


def made(folder, backbone="narrow", text="bert", clips=1, **changes):
    """Network, objective, tokenizer, and a batch of clips of 33 x 47 pixels, two sentences each."""
    it = run(folder, backbone, text, **changes)
    words = tokenizer(it.model.language, folder / "none", [])
    torch.manual_seed(0)
    built = build(it, len(words))
    ids, mask = encode(words, SENTENCES[: 2 * clips], it.model.language.max_words)
    batch = replace(tiny.batch(clips=clips, height=33, width=47), words=ids, words_mask=mask)
    return it, built, words, batch


@every_pair
def test_shapes_and_gradients(folder, backbone, text):
    _, built, _, batch = made(folder, backbone, text, clips=2)
    network = built.network
    assert network.appearance.strides == network.motion.strides == BACKBONES[backbone]
    levels = network.appearance(batch.frames.flatten(0, 1))
    for level, stride, width in zip(
        [*levels.levels, levels.top], BACKBONES[backbone], network.appearance.widths, strict=True
    ):
        assert level.shape == (6, width, -(-33 // stride), -(-47 // stride))
    prediction = network(batch)
    assert prediction.logits.shape == (4, 33, 47)
    built.objective(prediction, batch)["loss"].backward()
    trained = [(key, p) for key, p in network.named_parameters() if p.requires_grad]
    without = [key for key, p in trained if p.grad is None or not p.grad.abs().sum() > 0]
    assert without == []
    for part in (network.appearance, network.motion, network.language.bert):
        assert sum(p.requires_grad for p in part.parameters()) > 0.8 * len(list(part.parameters()))


@torch.no_grad()
@every_pair
def test_a_batch_equals_its_clips_and_sentences_one_by_one(folder, backbone, text):
    _, built, _, batch = made(folder, backbone, text, clips=2)
    network = built.network.eval()
    together = network(batch)
    for n in (0, 3):
        clip = n // 2
        length = int(batch.words_mask[n].sum())
        one = replace(
            batch,
            frames=batch.frames[clip, None],
            flow=batch.flow[clip, None],
            valid=batch.valid[clip, None],
            words=batch.words[n, None, :length],
            words_mask=batch.words_mask[n, None, :length],
            clip_of_sentence=torch.zeros(1, dtype=torch.long),
        )
        assert network(one).logits[0].allclose(together.logits[n], atol=1e-4)


@torch.no_grad()
@every_pair
def test_it_is_saved_and_opens_without_its_folder(folder, backbone, text, tmp_path):
    it, built, words, batch = made(folder, backbone, text)
    network = built.network.eval()
    elsewhere = it.model.model_copy(  # names that mean something on another machine
        update={
            name: getattr(it.model, name).model_copy(update={"name": f"hf:nobody/{name}"})
            for name in ("appearance_backbone", "motion_backbone")
            if backbone.startswith("hf:")
        }
        | {"language": it.model.language.model_copy(update={"name": "nobody/nothing"})}
    )
    expected: Prediction = network(batch)
    saved = TrainedNetwork(it.model_copy(update={"model": elsewhere}), network, words)
    saved.save_pretrained(tmp_path / "saved")
    loaded = TrainedNetwork.from_pretrained(tmp_path / "saved")
    assert torch.equal(loaded.network(batch).logits, expected.logits)
    assert torch.equal(encode(loaded.tokenizer, SENTENCES[:2], 12)[0], batch.words)
    quick = ready_for_inference(loaded.network)
    assert quick(batch).logits.allclose(expected.logits, atol=1e-3)


def test_a_checkpoint_without_the_architecture_of_its_backbone_is_refused(folder, tmp_path):
    it, built, words, _ = made(folder, "hf:swin")
    keep_architectures(built.network, tmp_path)
    assert json.loads((tmp_path / "motion_backbone.json").read_text())["num_channels"] == 2
    build_empty(it.model, len(words), tmp_path)
    (tmp_path / "motion_backbone.json").unlink()
    with pytest.raises(ValueError, match="the architecture of its motion backbone, is missing"):
        build_empty(it.model, len(words), tmp_path)


@torch.no_grad()
def test_any_two_backbones_go_together(folder):
    """Flow's levels lie on those of appearance."""
    of_flow = {"name": "narrow", "weights": None, "input": "uv", "widths": [8, 10, 12, 12]}
    _, built, _, batch = made(folder, "hf:dinov2", motion_backbone=of_flow)
    assert built.network(batch).logits.shape == (2, 33, 47)


@every_text
def test_longer_sentences_are_cut_at_what_the_text_encoder_reads(folder, text):
    name = str(folder / text / "config.json")
    most = {"bert": 512, "roberta": 510, "clip": 77}[text]
    it = run(folder, language={"name": name, "max_words": most})
    words = tokenizer(it.model.language, folder / "none", [])
    ids, mask = encode(words, ["red " * 999], most)
    assert ids.shape == (1, most)
    reader = build(it, len(words)).network.language
    assert reader.eval()(ids, mask)[0].isfinite().all()
    longer = run(folder, language={"name": name, "max_words": most + 1})
    with pytest.raises(ValueError, match=f"max_words: {most + 1}, but .* reads {most} word pieces"):
        build(longer, len(words))


def test_frozen_text_encoders_stay_as_they_are(folder):
    language = {"name": str(folder / "roberta" / "config.json"), "max_words": 12, "freeze": "all"}
    _, built, _, batch = made(folder, text="roberta", language=language)
    reader = built.network.train().language
    assert not any(p.requires_grad for p in reader.bert.parameters()) and reader.project.weight.requires_grad
    assert reader.training and not any(part.training for part in reader.bert.modules())
    built.objective(built.network(batch), batch)["loss"].backward()
    assert not any(isinstance(m, nn.Dropout) and m.training for m in reader.bert.modules())


def test_a_run_trains_goes_on_and_opens_again(folder, tmp_path, monkeypatch):
    """Through checkpoints on disk, which need nothing of the folders that the parts came from."""
    parts = tiny.parameters(tmp_path, steps=2, layer_decay=0.5)
    part = {"name": f"hf:{folder / 'swin' / 'config.json'}", "weights": None, "freeze": "stem"}
    parts["model"] |= {
        "appearance_backbone": part,
        "motion_backbone": {"name": "timm:test_vit3", "weights": None},
    }
    parts["model"] |= {"language": {"name": str(folder / "clip" / "config.json"), "max_words": 12}}
    it = experiment(**parts)
    prepare(it, progress=False)
    trained = fit(it, progress=False)
    names = {path.name for path in (it.folder / "checkpoints" / "vocabulary").iterdir()}
    assert {"config.json", "appearance_backbone.json", "tokenizer.json"} <= names
    monkeypatch.setattr("mmvs.model.backbones.hub_config", None)
    monkeypatch.setattr("mmvs.model.language.hub_config", None)
    again = TrainedNetwork.from_run(it.folder)
    assert again.fingerprint() == trained.fingerprint()
