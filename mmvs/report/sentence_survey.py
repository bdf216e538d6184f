"""What the sentences of data sets are like, from their annotation files alone: the tables of 01_explore_data.

`texts` is everywhere: data set's name -> rows (video id, instance id, sentence) as `catalogue.sentences`
reads them.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from mmvs.config import Language
from mmvs.data.words import encode, tokenizer
from mmvs.files import write_json
from mmvs.report import motion_words
from mmvs.report.survey import most_frequent
from mmvs.run_folder import RunFolder

Row = tuple[str, str, str]
PUBLISHED_LIMIT = 20  # tokens of a sentence that the published network reads, [CLS] and [SEP] included


def measure(rows: Sequence[Row]) -> pd.DataFrame:
    """One row a sentence.

    Columns: video_id, instance_id, sentence (lower case, single spaces), words (count), verbs (list), and
    whether it has a verb of motion (`motion`), a word of direction (`direction`), one of place (`place`).
    """
    table = pd.DataFrame(rows, columns=["video_id", "instance_id", "sentence"], dtype=object)
    table["sentence"] = [" ".join(sentence.lower().split()) for sentence in table["sentence"]]
    words = [motion_words.words(sentence) for sentence in table["sentence"]]
    table["words"] = [len(of_sentence) for of_sentence in words]
    table["verbs"] = [motion_words.verbs(sentence) for sentence in table["sentence"]]
    vocabularies = {
        "motion": motion_words.MOTION_VERBS,
        "direction": motion_words.DIRECTIONS,
        "place": motion_words.PLACES,
    }
    for column, vocabulary in vocabularies.items():
        table[column] = [not vocabulary.isdisjoint(of_sentence) for of_sentence in words]
    return table


def save(texts: Mapping[str, Sequence[Row]], folder: Path) -> None:
    """Write how many sentences about how many videos there are to `sentences.json`: 01's finding reads it."""
    numbers = {
        name: {"sentences": len(rows), "videos": len({video for video, *_ in rows})}
        for name, rows in texts.items()
    }
    write_json(RunFolder(folder).sentences, numbers)


def counts(texts: Mapping[str, Sequence[Row]]) -> pd.DataFrame:
    """Numbers of sentences, videos, words, verbs and repetitions: a column a data set."""
    columns = {}
    for name, rows in texts.items():
        table = measure(rows)
        sentences, per_video = table["sentence"], table.groupby("video_id").size()
        vocabulary = {word for sentence in sentences for word in motion_words.words(sentence)}
        distinct_verbs = {verb for verbs in table["verbs"] for verb in verbs}
        ambiguous = table.duplicated(["video_id", "sentence"], keep=False).sum()
        columns[name] = {
            "sentences": f"{len(table):,}",
            "videos": f"{len(per_video):,}",
            "sentences a video, mean": f"{per_video.mean():.2f}",
            "sentences a video, most": f"{per_video.max():,}",
            "distinct sentences": f"{sentences.nunique():,}",
            "repeated sentences": f"{sentences.duplicated().sum():,}",
            "… of two objects of one video": f"{ambiguous:,}",
            "words a sentence, median": f"{table['words'].median():.0f}",
            "words a sentence, most": f"{table['words'].max():,}",
            "words in all": f"{table['words'].sum():,}",
            "distinct words": f"{len(vocabulary):,}",
            "distinct verbs": f"{len(distinct_verbs):,}",
            "… of motion": f"{len(distinct_verbs & motion_words.MOTION_VERBS):,}",
            "sentences with a verb of motion": f"{table['motion'].mean():.1%}",
            "sentences with a direction": f"{table['direction'].mean():.1%}",
            "sentences with neither": f"{(~table['motion'] & ~table['direction']).mean():.1%}",
            "sentences that say where": f"{table['place'].mean():.1%}",
        }
    return pd.DataFrame(columns)


def frequent_verbs(rows: Sequence[Row], count: int = 20) -> pd.Series:
    """The most frequent verbs and how many sentences have them, most frequent first."""
    verbs = (verb for of_sentence in measure(rows)["verbs"] for verb in set(of_sentence))
    return most_frequent(verbs, count, "sentences")


def frequent_words(rows: Sequence[Row], count: int = 20) -> pd.Series:
    """The most frequent words without function words, and how often each occurs, most frequent first."""
    words = (word for _, _, sentence in rows for word in motion_words.words(sentence))
    return most_frequent((word for word in words if word not in motion_words.FUNCTION_WORDS), count)


def tokens(texts: Mapping[str, Sequence[Row]], language: Language) -> pd.DataFrame:
    """How many tokens a run's tokeniser makes of the sentences: a column a data set.

    For a `small` language model, this table makes a vocabulary of all these sentences. A training makes its
    own, of its training sentences.
    """
    tables = {name: measure(rows) for name, rows in texts.items()}
    everything = [sentence for table in tables.values() for sentence in table["sentence"]]
    with tempfile.TemporaryDirectory() as folder:
        words = tokenizer(language, Path(folder), everything)
    columns = {}
    for name, table in tables.items():
        ids, mask = encode(words, list(table["sentence"]), max_words=10_000)  # nothing is cut
        lengths, unknown = mask.sum(1).numpy(), int((ids == words.unk_token_id).sum())
        columns[name] = {
            "tokeniser": f"{language.name}, {len(words):,} pieces",
            "tokens a sentence, median": f"{np.median(lengths):.0f}",
            "tokens a sentence, most": f"{lengths.max():,}",
            f"sentences of more than {PUBLISHED_LIMIT} tokens": f"{(lengths > PUBLISHED_LIMIT).sum():,}",
            f"sentences that are cut at {language.max_words}": f"{(lengths > language.max_words).sum():,}",
            "unknown tokens": f"{unknown:,}",
        }
    return pd.DataFrame(columns)


def examples(texts: Mapping[str, Sequence[Row]], count: int = 3) -> list[str]:
    """A handful of sentences, spread over each data set, each after the data set's name."""
    return [
        f"{name}: {measure([rows[i]])['sentence'].iloc[0]}"
        for name, rows in texts.items()
        for i in np.linspace(0, len(rows) - 1, count + 2).astype(int)[1:-1]
    ]
