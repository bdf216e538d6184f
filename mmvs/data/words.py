"""Sentences to token ids: a published tokenizer, or a WordPiece vocabulary of the training sentences."""

from __future__ import annotations

import difflib
import json
import re
from collections import Counter
from collections.abc import Collection, Iterable
from pathlib import Path

import torch
from tokenizers import BertWordPieceTokenizer
from tokenizers.pre_tokenizers import BertPreTokenizer
from torch import Tensor
from transformers import AutoTokenizer, BertTokenizerFast, PreTrainedTokenizerBase

from mmvs.config import ConfigError, Language, resolve
from mmvs.data.csv_files import is_blank
from mmvs.files import regular

TRAINING_WORDS = "training_words"  # of a tokenizer's settings
# They name nothing that could be seen: pictures of attention leave them out.
EMPTY_WORDS = frozenset("the a an that which is of and then one to . , it in".split())
_MIRROR = {"left": "right", "right": "left"}


def tokenizer(language: Language, folder: Path, sentences: Iterable[str]) -> PreTrainedTokenizerBase:
    """The tokenizer of a run: the one in `folder`; else a published one, or for `small` a new one, kept.

    A damaged one is made anew where there are sentences. Where `language.name` is a config.json, the
    published one lies beside it. Raises OSError (of transformers) when `language.name` is neither a local
    folder nor on the hub; ConfigError where the vocabulary is missing (every word would be unknown), where
    the tokenizer is not a fast one, or where it cannot pad.
    """
    sentences, kind = list(sentences), BertTokenizerFast if language.name == "small" else AutoTokenizer
    if (folder / "tokenizer.json").exists():
        try:
            return kept_tokenizer(folder, kind)
        except Exception:  # tokenizers raises many kinds on a file that is torn
            if not sentences:
                raise
    if language.name != "small":
        return _published_tokenizer(language.name)
    pieces = word_pieces(sentences, language.vocabulary)
    small = BertTokenizerFast(tokenizer_object=BertWordPieceTokenizer(pieces, lowercase=True)._tokenizer)
    small.save_pretrained(folder)
    return BertTokenizerFast.from_pretrained(folder)


def _published_tokenizer(name: str) -> PreTrainedTokenizerBase:
    local = resolve(name).parent if name.endswith(".json") else resolve(name)
    place = str(local) if local.is_dir() else name
    words = AutoTokenizer.from_pretrained(place)
    if len(words) <= len(words.all_special_tokens):
        raise ConfigError(
            f"model.language.name: {place} holds no vocabulary, so that every word would be unknown: copy "
            "tokenizer.json, or vocab.txt, there"
        )
    if not words.is_fast:
        raise ConfigError(
            f"model.language.name: {place} has no fast tokenizer (a tokenizer.json): take another"
        )
    if words.pad_token_id is None:
        raise ConfigError(
            f"model.language.name: the tokenizer of {place} has no padding token, so that sentences of "
            "several lengths make no batch: take a text encoder"
        )
    return words


def kept_tokenizer(folder: Path, kind: type = AutoTokenizer) -> PreTrainedTokenizerBase:
    """The tokenizer that `save_pretrained` wrote into a folder, from wherever the folder came.

    kind  class of transformers

    ValueError, naming the file, where its settings ask for code or for files of their own choice; further
    errors of transformers where it is torn.
    """
    for file in folder.glob("*"):
        regular(file)
    for file in (folder / "tokenizer_config.json", folder / "config.json"):
        settings = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
        for name, value in settings.items():
            if value and (name == "auto_map" or name.endswith(("_file", "_files"))):
                raise ValueError(f"{file}: '{name}' asks for code or files from elsewhere: remove the line")
    return kind.from_pretrained(folder, trust_remote_code=False)


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
    """Tokenise N sentences: ids (N, L) int64, from BERT's [CLS] to [SEP], then padding; mask (N, L) bool.

    Raises ValueError on a sentence that shows nothing, or that is no text.
    """
    for number, sentence in enumerate(sentences, 1):
        if is_blank(sentence):
            raise ValueError(f"sentence {number} is empty; say which object to segment")
        try:
            sentence.encode()
        except UnicodeEncodeError:  # bytes of a command line that are no text
            raise ValueError(f"sentence {number} holds bytes that are not UTF-8") from None
    tokens = tokenizer(sentences, padding=True, truncation=True, max_length=max_words, return_tensors="pt")
    return tokens["input_ids"], tokens["attention_mask"].to(torch.bool)


def readable_pieces(tokenizer: PreTrainedTokenizerBase, ids: list[int]) -> list[str]:
    """Token ids as figures show them: without RoBERTa's and CLIP's marks of where words begin and end."""
    pieces = tokenizer.convert_ids_to_tokens(ids)
    marked = [any(mark in piece for mark in ("Ġ", "▁", "</w>")) for piece in pieces]
    return [
        tokenizer.convert_tokens_to_string([piece]).strip() if mark else piece
        for piece, mark in zip(pieces, marked, strict=True)
    ]


def keep_words(tokenizer: PreTrainedTokenizerBase, sentences: Iterable[str]) -> None:
    """Let a tokenizer know the words of its training; they are saved with it."""
    words = {word for s in sentences for word, _ in BertPreTokenizer().pre_tokenize_str(s.lower())}
    tokenizer.init_kwargs[TRAINING_WORDS] = sorted(words)


def unseen_words(
    tokenizer: PreTrainedTokenizerBase, sentences: Iterable[str], language: Language
) -> list[str]:
    """Words that are not in the vocabulary: the network can only guess what they mean.

    `small` is a vocabulary of the training sentences, and falls back to letters for other words. BERT's own
    knows nearly everything, at least by its parts: there the words of training count, where the model keeps
    them (`keep_words`), and else only words with unknown characters.
    """
    kept = tokenizer.init_kwargs.get(TRAINING_WORDS)
    known: Collection[str] | None = tokenizer.get_vocab() if language.name == "small" else kept
    words = dict.fromkeys(
        word for s in sentences for word, _ in BertPreTokenizer().pre_tokenize_str(s.lower())
    )
    if known is not None:
        return [word for word in words if word not in known]
    return [word for word in words if tokenizer.unk_token in tokenizer.tokenize(word)]


def nearest_words(tokenizer: PreTrainedTokenizerBase, word: str) -> list[str]:
    """Up to three words of the vocabulary that are spelt nearly as this one, the nearest first."""
    known = [piece for piece in tokenizer.get_vocab() if piece.isalpha() and len(piece) > 1]
    return difflib.get_close_matches(word, sorted(known), n=3, cutoff=0.7)


def mirror(sentence: str) -> str:
    """Say the same of the mirrored picture: left and right change places, their endings stay."""
    return re.sub(r"\b(left|right)(?=(?:-?most|wards?|-hand|-handed)?\b)", lambda m: _MIRROR[m[1]], sentence)
