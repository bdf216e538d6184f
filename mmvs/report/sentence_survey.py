"""What the sentences of data sets are like, from their annotation files alone: the tables of 01_explore_data.

`texts` is everywhere: data set's name -> rows (video id, instance id, sentence) as `catalogue.sentences`
reads them.
"""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from mmvs.config import Language
from mmvs.data.words import encode, tokenizer
from mmvs.report import motion_words

Row = tuple[str, str, str]
PUBLISHED_LIMIT = 20  # tokens of a sentence that the published network reads, [CLS] and [SEP] included


def measured(rows: Sequence[Row]) -> pd.DataFrame:
    """One row a sentence: video_id, instance_id, sentence (lower case, single spaces), words (count), verbs,
    and whether it moves (has a verb of motion), is directed, is placed.
    """
    table = pd.DataFrame(rows, columns=["video_id", "instance_id", "sentence"], dtype=object)
    table["sentence"] = [" ".join(sentence.lower().split()) for sentence in table["sentence"]]
    said = [motion_words.words(sentence) for sentence in table["sentence"]]
    table["words"] = [len(words) for words in said]
    table["verbs"] = [motion_words.verbs(sentence) for sentence in table["sentence"]]
    lists = {
        "moves": motion_words.MOTION_VERBS,
        "directed": motion_words.DIRECTIONS,
        "placed": motion_words.PLACES,
    }
    for column, listed in lists.items():
        table[column] = [not listed.isdisjoint(words) for words in said]
    return table


def counts(texts: Mapping[str, Sequence[Row]]) -> pd.DataFrame:
    """Numbers of sentences, videos, words, verbs and repetitions: a column a data set."""
    columns = {}
    for name, rows in texts.items():
        table = measured(rows)
        sentences, per_video = table["sentence"], table.groupby("video_id").size()
        vocabulary = {word for sentence in sentences for word in motion_words.words(sentence)}
        found = {verb for verbs in table["verbs"] for verb in verbs}
        ambiguous = table.duplicated(["video_id", "sentence"], keep=False).sum()
        columns[name] = {
            "sentences": f"{len(table):,}",
            "videos": f"{len(per_video):,}",
            "sentences a video, mean": f"{per_video.mean():.2f}",
            "sentences a video, most": f"{per_video.max():,}",
            "distinct sentences": f"{sentences.nunique():,}",
            "sentences said before": f"{sentences.duplicated().sum():,}",
            "… of two objects of one video": f"{ambiguous:,}",
            "words a sentence, median": f"{table['words'].median():.0f}",
            "words a sentence, most": f"{table['words'].max():,}",
            "words in all": f"{table['words'].sum():,}",
            "distinct words": f"{len(vocabulary):,}",
            "distinct verbs": f"{len(found):,}",
            "… of motion": f"{len(found & motion_words.MOTION_VERBS):,}",
            "sentences with a verb of motion": f"{table['moves'].mean():.1%}",
            "sentences with a direction": f"{table['directed'].mean():.1%}",
            "sentences with neither": f"{(~table['moves'] & ~table['directed']).mean():.1%}",
            "sentences that say where": f"{table['placed'].mean():.1%}",
        }
    return pd.DataFrame(columns)


def frequent_verbs(rows: Sequence[Row], count: int = 20) -> pd.Series:
    """The most frequent verbs and how many sentences have them, most frequent first."""
    found = Counter(verb for verbs in measured(rows)["verbs"] for verb in set(verbs))
    return pd.Series(
        dict(sorted(found.items(), key=lambda item: (-item[1], item[0]))[:count]), name="sentences"
    )


def frequent_words(rows: Sequence[Row], count: int = 20) -> pd.Series:
    """The most frequent words, function words passed over, and how often each occurs, most frequent first."""
    found = Counter(word for _, _, sentence in rows for word in motion_words.words(sentence))
    for word in motion_words.FUNCTION_WORDS:
        del found[word]
    return pd.Series(dict(sorted(found.items(), key=lambda item: (-item[1], item[0]))[:count]), name="count")


def tokens(texts: Mapping[str, Sequence[Row]], language: Language) -> pd.DataFrame:
    """What the tokeniser of a run makes of the sentences: a column a data set.

    A `small` language model's vocabulary is made of all these sentences together, and forgotten again: a
    training makes its own, of its training sentences.
    """
    tables = {name: measured(rows) for name, rows in texts.items()}
    everything = [sentence for table in tables.values() for sentence in table["sentence"]]
    with tempfile.TemporaryDirectory() as folder:
        made = tokenizer(language, Path(folder), everything)
    columns = {}
    for name, table in tables.items():
        ids, mask = encode(made, list(table["sentence"]), max_words=10_000)  # nothing is cut
        lengths, unknown = mask.sum(1).numpy(), int((ids == made.unk_token_id).sum())
        columns[name] = {
            "tokeniser": f"{language.name}, {len(made):,} pieces",
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
        f"{name}: {measured([rows[i]])['sentence'].iloc[0]}"
        for name, rows in texts.items()
        for i in np.linspace(0, len(rows) - 1, count + 2).astype(int)[1:-1]
    ]
