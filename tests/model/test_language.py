"""Text encoders by name, with published weights; what all of them hold is in tests/contracts."""

import pytest
import tiny
import torch
from torch import nn
from transformers import (
    BartConfig,
    BertConfig,
    BertForMaskedLM,
    BertModel,
    CLIPConfig,
    CLIPModel,
    DistilBertConfig,
    DistilBertForMaskedLM,
    GPT2Config,
    MPNetConfig,
    MPNetForMaskedLM,
    RobertaConfig,
    RobertaForMaskedLM,
    XLMRobertaConfig,
    XLMRobertaModel,
)

from mmvs.build import build
from mmvs.config import ConfigError, Language, experiment
from mmvs.model.language import language_model
from mmvs.model.norms import BatchNormOfWords

SIZES = {"vocab_size": 40, "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
SIZES |= {"intermediate_size": 16, "max_position_embeddings": 32}
PUBLISHED = {
    "bert": (BertForMaskedLM, BertConfig(**SIZES), 32),
    "roberta": (RobertaForMaskedLM, RobertaConfig(**SIZES), 30),  # whose positions count from 2
    "xlm-roberta": (XLMRobertaModel, XLMRobertaConfig(**SIZES), 30),
    "mpnet": (MPNetForMaskedLM, MPNetConfig(**SIZES), 30),
    "distilbert": (
        DistilBertForMaskedLM,
        DistilBertConfig(
            vocab_size=40, dim=16, n_layers=1, n_heads=2, hidden_dim=16, max_position_embeddings=32
        ),
        32,
    ),
    "clip": (
        CLIPModel,
        CLIPConfig(
            text_config=SIZES | {"projection_dim": 16, "bos_token_id": 0, "eos_token_id": 1},
            vision_config={"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
            | {"intermediate_size": 16, "image_size": 16, "patch_size": 8},
        ),
        32,
    ),
}


@pytest.mark.parametrize("kind", PUBLISHED)
def test_published_weights_are_read_in_single_precision(kind, tmp_path):
    """From checkpoints of the whole model, with a head or with pictures, in half precision."""
    model, config, most = PUBLISHED[kind]
    torch.manual_seed(1)
    published = model(config).half().eval()
    published.save_pretrained(tmp_path)
    language = Language(name=str(tmp_path), max_words=most)
    first, again = language_model(language, 40).eval(), language_model(language, 40).eval()
    values = {tuple(p.shape): p for p in published.parameters()}
    for one, other in zip(first.parameters(), again.parameters(), strict=True):
        assert torch.equal(one, other) and one.dtype == torch.float32
        assert tuple(one.shape) in values
    ids, mask = torch.randint(4, 40, (2, most)), torch.ones(2, most, dtype=torch.long)
    mask[1, 5:] = 0
    text = (
        published.text_model if kind == "clip" else getattr(published, published.base_model_prefix, published)
    )
    with torch.no_grad():
        states = first(input_ids=ids, attention_mask=mask).last_hidden_state
        expected = text.float()(input_ids=ids, attention_mask=mask).last_hidden_state
    assert states[0].allclose(expected[0], atol=1e-5) and states[1, :5].allclose(expected[1, :5], atol=1e-5)
    with pytest.raises(ValueError, match=f"max_words: {most + 1}, but .* reads {most} word pieces"):
        language_model(Language(name=str(tmp_path), max_words=most + 1), 40)


def test_weights_of_another_text_encoder_are_refused(tmp_path):
    """transformers would begin anew with what is missing, and only warn."""
    BertModel(BertConfig(**SIZES)).save_pretrained(tmp_path)
    BertConfig(**SIZES | {"num_hidden_layers": 2}).save_pretrained(tmp_path)
    with pytest.raises(ValueError, match=r"nothing fits \d+ of its tensors, the first is encoder.layer.1"):
        language_model(Language(name=str(tmp_path), max_words=16), 40)


@pytest.mark.parametrize(
    "config, words",
    [
        (
            GPT2Config(n_embd=16, n_layer=1, n_head=2),
            "model_type 'gpt2' is none that can be used here: albert,",
        ),
        (BartConfig(d_model=16, encoder_layers=1, decoder_layers=1), "is an encoder with a decoder"),
    ],
)
@pytest.mark.parametrize("file", ["", "config.json"])
def test_what_is_no_text_encoder_is_refused(tmp_path, config, words, file):
    config.save_pretrained(tmp_path)
    with pytest.raises(ValueError, match=words):
        language_model(Language(name=str(tmp_path / file), max_words=16), 40)


def test_a_tokenizer_of_another_model_is_refused(tmp_path):
    BertConfig(**SIZES).save_pretrained(tmp_path)
    model = tiny.model(language={"name": str(tmp_path / "config.json"), "max_words": 16})
    with pytest.raises(ConfigError, match="knows 40 word pieces, its tokenizer makes 41"):
        build(experiment(model=model.model_dump()), 41)


def test_the_published_network_reads_no_clip(tmp_path):
    PUBLISHED["clip"][1].text_config.save_pretrained(tmp_path)
    language = {"name": str(tmp_path / "config.json"), "max_words": 16}
    with pytest.raises(ValueError, match="its first token, which knows nothing of the others in CLIP"):
        tiny.network("published", language=language)


def test_padding_has_no_part_in_the_statistics_of_words():
    torch.manual_seed(0)
    words, mask = 3 * torch.randn(4, 6, 8) + 1, torch.arange(6)[None] < torch.tensor([6, 2, 4, 3])[:, None]
    ours, plain = BatchNormOfWords(8), nn.BatchNorm1d(8)
    torch.testing.assert_close(ours(words, mask)[mask], plain(words[mask]))
    torch.testing.assert_close(dict(ours.named_buffers()), dict(plain.named_buffers()))
    ours.eval(), plain.eval()
    torch.testing.assert_close(ours(words, mask)[mask], plain(words[mask]))
