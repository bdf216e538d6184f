"""Sentences to token ids: BERT's tokenizer, or a WordPiece vocabulary of the training sentences."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import torch
from tokenizers import BertWordPieceTokenizer
from tokenizers.pre_tokenizers import BertPreTokenizer
from torch import Tensor
from transformers import AutoTokenizer, BertTokenizerFast, PreTrainedTokenizerBase

from mmvs.config import Language, resolve

_MIRROR = {"left": "right", "right": "left"}


def tokenizer(language: Language, folder: Path, sentences: Iterable[str]) -> PreTrainedTokenizerBase:
    """The tokenizer of a run: the one in `folder`; else BERT's own, or for `small` a new one, kept there.

    A damaged one is made anew where there are sentences. Raises OSError (of transformers) when
    `language.name` is neither a local folder nor on the hub.
    """
    sentences, kind = list(sentences), BertTokenizerFast if language.name == "small" else AutoTokenizer
    if (folder / "tokenizer.json").exists():
        try:
            return kind.from_pretrained(folder)
        except Exception:  # tokenizers raises many kinds on a file that is torn
            if not sentences:
                raise
    if language.name != "small":
        local = resolve(language.name)
        return AutoTokenizer.from_pretrained(str(local) if local.is_dir() else language.name)
    pieces = word_pieces(sentences, language.vocabulary)
    small = BertTokenizerFast(tokenizer_object=BertWordPieceTokenizer(pieces, lowercase=True)._tokenizer)
    small.save_pretrained(folder)
    return BertTokenizerFast.from_pretrained(folder)


def word_pieces(sentences: Iterable[str], size: int) -> dict[str, int]:
    """A WordPiece vocabulary: every character, alone and as a continuation, then the most frequent words.

    Counted, not trained: the `tokenizers` library's trainer breaks ties differently at every call.
    """
    counts = Counter(word for s in sentences for word, _ in BertPreTokenizer().pre_tokenize_str(s))
    characters = sorted({c for word in counts for c in word})
    pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *characters, *(f"##{c}" for c in characters)]
    frequent = sorted(counts, key=lambda word: (-counts[word], word))
    return {piece: i for i, piece in enumerate(dict.fromkeys([*pieces, *frequent][:size]))}


def encode(tokenizer: PreTrainedTokenizerBase, sentences: list[str], max_words: int) -> tuple[Tensor, Tensor]:
    """Tokenise N sentences: ids (N, L) int64 from [CLS] to [SEP], then padding, and its mask (N, L) bool.

    Raises ValueError on an empty sentence: it describes nothing.
    """
    for number, sentence in enumerate(sentences, 1):
        if not sentence.strip():
            raise ValueError(f"sentence {number} is empty; say which object to segment")
    tokens = tokenizer(sentences, padding=True, truncation=True, max_length=max_words, return_tensors="pt")
    return tokens["input_ids"], tokens["attention_mask"].to(torch.bool)


def mirror(sentence: str) -> str:
    """Say the same of the mirrored picture: left and right change places, their endings stay."""
    return re.sub(r"\b(left|right)(?=(?:-?most|wards?|-hand|-handed)?\b)", lambda m: _MIRROR[m[1]], sentence)
