"""What is counted in sentences, by hand on a few, and on all real ones where they are at hand."""

import matplotlib
import pytest
import tiny
import torch

from mmvs.config import ROOT, Data, Language
from mmvs.data.catalogue import roots, sentences
from mmvs.data.csv_files import DataError, columns, normalise
from mmvs.data.words import encode, mirror, tokenizer
from mmvs.model.network import Network
from mmvs.report import motion_words, sentence_charts, sentence_survey

matplotlib.use("Agg")
SHARED = ROOT.parent / "shared" / "data"
TEXTS = {
    "one": [
        ("a", "0", "The  dog is Running up the stairs"),
        ("a", "1", "the dog is running up the stairs"),
        ("a", "2", "something on the left"),
        ("b", "0", "a cat sitting"),
    ],
    "two": [("c", "", "a man is throwing and catching a ball")],
}
SMALL = Language(name="small", vocabulary=200)


def test_words_and_verbs():
    assert motion_words.words("a man's t-shirt, 2 dogs!") == ["a", "man's", "t-shirt", "dogs"]
    assert motion_words.verbs("something is running into the building, rolling") == ["running", "rolling"]
    assert not motion_words.MOTION_VERBS & motion_words.NO_VERBS
    assert not motion_words.DIRECTIONS & motion_words.PLACES
    assert {"travelling", "rising"} <= motion_words.MOTION_VERBS
    assert all(word.endswith("ing") for word in motion_words.MOTION_VERBS | motion_words.NO_VERBS)


def test_counts_by_hand():
    table = sentence_survey.counts(TEXTS)
    assert list(table) == ["one", "two"]
    column = table["one"].to_dict()
    expected = {
        "sentences": "4",
        "videos": "2",
        "sentences a video, mean": "2.00",
        "sentences a video, most": "3",
        "distinct sentences": "3",
        "repeated sentences": "1",
        "… of two objects of one video": "2",
        "words a sentence, median": "6",  # of 7, 7, 4 and 3
        "words in all": "21",
        "distinct words": "12",
        "distinct verbs": "2",
        "… of motion": "1",
        "sentences with a verb of motion": "50.0%",
        "sentences with a direction": "50.0%",
        "sentences with neither": "50.0%",
        "sentences that say where": "25.0%",
    }
    assert {key: column[key] for key in expected} == expected
    assert table.loc["distinct verbs", "two"] == "2"


def test_frequent_words_and_verbs():
    words = sentence_survey.frequent_words(TEXTS["one"], 3)
    assert words.to_dict() == {"dog": 2, "running": 2, "stairs": 2} and "the" not in words
    assert sentence_survey.frequent_verbs(TEXTS["one"]).to_dict() == {"running": 2, "sitting": 1}


def test_tokens_of_a_vocabulary_that_is_made_for_the_purpose():
    table = sentence_survey.tokens(TEXTS, SMALL)
    assert table.loc["unknown tokens"].tolist() == ["0", "0"]
    assert table.loc["tokens a sentence, most"].tolist() == ["9", "10"]  # with [CLS] and [SEP]
    assert table.loc["sentences that are cut at 64"].tolist() == ["0", "0"]
    cut = sentence_survey.tokens(TEXTS, SMALL.model_copy(update={"max_words": 9}))
    assert cut.loc["sentences that are cut at 9"].tolist() == ["0", "1"]


def test_a_handful_of_examples():
    lines = sentence_survey.examples(TEXTS, 2)
    assert lines[0] == "one: the dog is running up the stairs" and len(lines) == 4


def test_figure_has_a_row_a_data_set_and_tells_verbs_of_motion():
    figure = sentence_charts.language(TEXTS)
    assert len(figure.axes) == 8
    verbs = figure.axes[3]
    names = [label.get_text() for label in verbs.get_yticklabels()]
    colours = dict(zip(names, (bar.get_facecolor() for bar in verbs.patches), strict=True))
    assert colours["running"] != colours["sitting"]
    assert sum(bar.get_height() for bar in figure.axes[0].patches) == 4


def test_annotation_files_alone_are_enough(tmp_path):
    data = Data(evaluate_on=["jhmdb"], roots={"a2d": str(tmp_path / "a"), "jhmdb": str(tmp_path / "j")})
    folders = roots(data)
    assert folders == {"a2d": tmp_path / "a", "jhmdb": tmp_path / "j"}
    (tmp_path / "a" / "text_annotations").mkdir(parents=True)
    (tmp_path / "j").mkdir()
    (tmp_path / "a" / "text_annotations" / "a2d_annotation.txt").write_text(
        'video_id,instance_id,query\nv,0,"A dog, left"\n'
    )
    (tmp_path / "j" / "jhmdb_annotation.txt").write_text("video_id,query\nw,a man\n")
    assert sentences(data) == {"a2d": [("v", "0", "A dog, left")], "jhmdb": [("w", "", "a man")]}
    (tmp_path / "a" / "text_annotations" / "a2d_annotation.txt").unlink()
    with pytest.raises(DataError, match="a2d_annotation.txt: no such file"):
        sentences(data)


def test_moving_shapes_have_a_folder_more_for_unseen():
    names = ["moving_shapes-test", "moving_shapes-unseen"]
    assert list(roots(Data(train_on="moving_shapes-train", evaluate_on=names))) == [
        "moving_shapes", "moving_shapes-unseen",
    ]  # fmt: skip


# All real sentences


@pytest.fixture(scope="module")
def real() -> list[str]:
    """6,655 sentences of A2D and 928 of J-HMDB, as published."""
    a2d, jhmdb = SHARED / "a2d_annotation.txt", SHARED / "jhmdb_samples.csv"
    if not (a2d.is_file() and jhmdb.is_file()):
        pytest.skip("the real annotation files are not part of the repository")
    queries = [query for _, (query,) in columns(a2d, "query")]
    assert len(queries) == 6655
    rows = dict.fromkeys(tuple(row) for _, row in columns(jhmdb, "video_id", "query"))
    assert len(rows) == 928
    return queries + [query for _, query in rows]


def test_the_text_path_takes_all_real_sentences(real, tmp_path):
    """Normalised, mirrored, tokenised and read by a network, nothing is lost, cut or not a number."""
    sentences = [normalise(sentence) for sentence in real]
    assert all(sentences) and all(mirror(mirror(sentence)) == sentence for sentence in sentences)
    language = Language(name="small", width=16, layers=1, heads=2, vocabulary=300)  # most words in pieces
    words = tokenizer(language, tmp_path, sentences)
    network = Network(tiny.model(language=language.model_dump()), len(words)).eval()
    for start in range(0, len(sentences), 512):
        batch = sentences[start : start + 512]
        ids, mask = encode(words, batch, language.max_words)
        assert words.unk_token_id not in ids and ids.shape[1] < language.max_words
        with torch.inference_mode():
            read = network.read(ids, mask)
        assert torch.isfinite(read.summary).all() and torch.isfinite(read.words).all()
        spaceless = [text.replace(" ", "") for text in words.batch_decode(ids, skip_special_tokens=True)]
        assert spaceless == [sentence.replace(" ", "") for sentence in batch]
