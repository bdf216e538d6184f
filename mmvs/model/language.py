"""Text encoders by name: BERT and its relatives, or the text part of CLIP."""

from __future__ import annotations

import inspect

from torch import nn
from transformers import BertConfig, BertModel
from transformers.models.auto.modeling_auto import MODEL_FOR_MASKED_LM_MAPPING_NAMES, MODEL_MAPPING

from mmvs.config import Language, resolve
from mmvs.model.architectures import hub_config, hub_place, kept_config, pretrained

READERS = {*MODEL_FOR_MASKED_LM_MAPPING_NAMES, "clip_text_model"}


def language_model(language: Language, vocabulary: int) -> nn.Module:
    """A text encoder: pretrained, by its name; untrained, by its config.json; or a small BERT.

    vocabulary  word pieces of the tokenizer: the size of a small BERT's vocabulary

    ValueError where the model is no text encoder, or reads fewer words than `max_words`; OSError (of the hub)
    where there is none of that name.
    """
    name = language.name
    if name == "small":
        return freeze(_small(language, vocabulary), language)
    architecture = name.endswith(".json")
    config = kept_config(resolve(name), READERS) if architecture else hub_config(name, READERS)
    if getattr(config, "is_encoder_decoder", False):
        raise ValueError(f"model.language.name: {name} is an encoder with a decoder: take an encoder alone")
    kind = MODEL_MAPPING[type(config)]
    options = inspect.signature(kind.__init__).parameters
    pooling = {"add_pooling_layer": False} if "add_pooling_layer" in options else {}
    if architecture:
        model = kind(config, **pooling)
    else:
        model = pretrained(kind, config, hub_place(name), **pooling)
    if (most := _positions(model)) is not None and language.max_words > most:
        raise ValueError(
            f"model.language.max_words: {language.max_words}, but {name} reads {most} word pieces: give at "
            f"most {most}; longer sentences are cut there"
        )
    return freeze(model, language)


def freeze(model: nn.Module, language: Language) -> nn.Module:
    """Hold all weights as they are, where the parameters say so; the caller keeps it in eval mode then."""
    if language.freeze == "all":
        model.requires_grad_(False)
    return model


def _small(language: Language, vocabulary: int) -> nn.Module:
    return BertModel(
        BertConfig(
            vocab_size=vocabulary,
            hidden_size=language.width,
            num_hidden_layers=language.layers,
            num_attention_heads=language.heads,
            intermediate_size=2 * language.width,
            max_position_embeddings=language.max_words,
            hidden_dropout_prob=0.0,  # a hundred words leave little to overfit
            attention_probs_dropout_prob=0.0,
            initializer_range=language.width**-0.5,
        ),
        add_pooling_layer=False,
    )


def _positions(model: nn.Module) -> int | None:
    """How many word pieces a model reads; None where it has no table of positions."""
    for table in ("position_embeddings", "position_embedding"):
        embedding = getattr(getattr(model, "embeddings", None), table, None)
        if isinstance(embedding, nn.Embedding):
            padding = embedding.padding_idx  # RoBERTa counts positions from the one behind it
            return embedding.num_embeddings - (0 if padding is None else padding + 1)
    return None
