"""Sentences to ids, and what a flip does to them."""

import pytest
from tokenizers import Tokenizer, decoders, models
from transformers import BertConfig, PreTrainedTokenizerFast

from mmvs.config import ConfigError, Language
from mmvs.data.words import (
    encode,
    keep_words,
    kept_tokenizer,
    mirror,
    readable_pieces,
    tokenizer,
    unseen_words,
)

SENTENCES = ["the red circle moving left", "the blue square that goes up, then turns right"]
SMALL = Language(name="small", vocabulary=120)


@pytest.mark.parametrize(
    ("sentence", "flipped"),
    [
        ("the man on the left", "the man on the right"),
        ("moving leftwards, then right", "moving rightwards, then left"),
        ("left-most dog, rightmost cat", "right-most dog, leftmost cat"),
        ("his left-hand side", "his right-hand side"),
        ("the bright cleft is alright", "the bright cleft is alright"),
        ("the dog leftovers", "the dog leftovers"),
    ],
)
def test_mirrored(sentence, flipped):
    assert mirror(sentence) == flipped
    assert mirror(flipped) == sentence


def test_small_vocabulary_is_trained_once_and_kept_with_the_run(tmp_path):
    first = tokenizer(SMALL, tmp_path / "vocabulary", SENTENCES)
    again = tokenizer(SMALL, tmp_path / "vocabulary", ["something else"])
    assert first.get_vocab() == again.get_vocab()
    assert "circle" in first.get_vocab()
    assert tokenizer(SMALL, tmp_path / "other", reversed(SENTENCES)).get_vocab() == first.get_vocab()


def test_encode_pads_cuts_and_masks(tmp_path):
    words = tokenizer(SMALL, tmp_path, SENTENCES)
    ids, mask = encode(words, SENTENCES, 64)
    assert ids.shape == mask.shape
    assert mask[1].all() and not mask[0].all()
    assert words.convert_ids_to_tokens(ids[0][mask[0]].tolist()) == ["[CLS]", *SENTENCES[0].split(), "[SEP]"]
    assert encode(words, ["left " * 100], 16)[0].shape == (1, 16)


def test_pieces_are_readable_whatever_marks_the_tokenizer_sets(tmp_path):
    words = tokenizer(SMALL, tmp_path, SENTENCES)
    ids, _ = encode(words, ["the red circle"], 64)
    assert readable_pieces(words, ids[0].tolist()) == ["[CLS]", "the", "red", "circle", "[SEP]"]
    for piece, decoder in (("Ġdog", decoders.ByteLevel()), ("▁dog", decoders.Metaspace())):
        plain = Tokenizer(models.WordLevel({"<s>": 0, piece: 1, "s": 2}, unk_token="<s>"))
        plain.decoder = decoder
        marked = PreTrainedTokenizerFast(tokenizer_object=plain, unk_token="<s>")
        assert readable_pieces(marked, [0, 1, 2]) == ["<s>", "dog", "s"]


def test_a_tokenizer_that_cannot_pad_is_refused(tmp_path):
    plain = Tokenizer(models.WordLevel({"<s>": 0, "dog": 1}, unk_token="<s>"))
    PreTrainedTokenizerFast(tokenizer_object=plain, unk_token="<s>").save_pretrained(tmp_path)
    BertConfig(vocab_size=2).save_pretrained(tmp_path)
    with pytest.raises(ConfigError, match="has no padding token"):
        tokenizer(Language(name=str(tmp_path)), tmp_path / "none", [])


def test_unknown_words_do_not_stop_it(tmp_path):
    ids, _ = encode(tokenizer(SMALL, tmp_path, SENTENCES), ["naïve 图 ✓"], 64)
    assert ids.shape[0] == 1


@pytest.mark.parametrize("empty", ["", "   "])
def test_an_empty_sentence_is_refused(tmp_path, empty):
    with pytest.raises(ValueError, match="sentence 2 is empty"):
        encode(tokenizer(SMALL, tmp_path, SENTENCES), ["a", empty], 64)


@pytest.mark.parametrize(
    "sentence", ["", "  ", "\u200b", "\ufeff", "\u00ad", "\x07\x08", "\u0301", "\u2060 \n"]
)
def test_a_sentence_of_invisible_characters_is_empty(sentence, tmp_path):
    words = tokenizer(Language(name="small"), tmp_path, ["the red circle"])
    with pytest.raises(ValueError, match="sentence 2 is empty"):
        encode(words, ["the red circle", sentence], 12)


def test_bytes_that_are_no_text_are_refused(tmp_path):
    words = tokenizer(Language(name="small"), tmp_path, ["the red circle"])
    with pytest.raises(ValueError, match="sentence 1 holds bytes that are not UTF-8"):
        encode(words, ["the red \udcff circle"], 12)


def test_a_published_vocabulary_tells_what_training_never_showed(tmp_path):
    """The words of training travel with the tokenizer."""
    bert = Language(name="some-bert")
    words = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer(SMALL, tmp_path / "small", ["the red circle", "a dog"]).backend_tokenizer,
        unk_token="[UNK]",
        pad_token="[PAD]",
    )
    assert unseen_words(words, ["the dog", "the ☃"], bert) == ["☃"], "nobody kept the words of training"
    keep_words(words, ["the red circle"])
    words.save_pretrained(tmp_path / "kept")
    kept = kept_tokenizer(tmp_path / "kept")
    assert unseen_words(kept, ["The RED dog"], bert) == ["dog"]


def test_words_that_training_never_showed_are_told(tmp_path):
    words = tokenizer(Language(name="small"), tmp_path, ["the red circle", "a blue square"])
    assert unseen_words(words, ["The RED dog", "a blue cat that runs"], SMALL) == [
        "dog",
        "cat",
        "that",
        "runs",
    ]
    assert unseen_words(words, ["the red circle"], SMALL) == []


def test_a_torn_vocabulary_is_made_anew_where_there_are_sentences(tmp_path):
    whole = tokenizer(Language(name="small"), tmp_path, ["the red circle"]).get_vocab()
    (tmp_path / "tokenizer.json").write_text("{")
    with pytest.raises(Exception, match="(?i)expect|eof|json|key"):
        tokenizer(Language(name="small"), tmp_path, [])
    assert tokenizer(Language(name="small"), tmp_path, ["the red circle"]).get_vocab() == whole


def bert_folder(folder, vocabulary: bool):
    """A BERT as it lies on a disk: its architecture, and its vocabulary or not."""
    BertConfig(hidden_size=16, num_hidden_layers=1, num_attention_heads=2, vocab_size=9).save_pretrained(
        folder
    )
    if vocabulary:
        pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "the", "red", "circle"]
        (folder / "vocab.txt").write_text("\n".join(pieces))
    return folder


@pytest.mark.parametrize("name", ["", "config.json"])
def test_the_vocabulary_of_a_bert_on_disk_lies_in_its_folder(tmp_path, name):
    language = Language(name=str(bert_folder(tmp_path / "bert", True) / name))
    words = tokenizer(language, tmp_path / "run", [])
    assert words.tokenize("the red circle") == ["the", "red", "circle"]


@pytest.mark.parametrize("name", ["", "config.json"])
def test_a_bert_without_vocabulary_is_refused(tmp_path, name):
    language = Language(name=str(bert_folder(tmp_path / "bert", False) / name))
    with pytest.raises(ConfigError, match="bert holds no vocabulary.*vocab.txt"):
        tokenizer(language, tmp_path / "run", [])
