"""Which frames of J-HMDB-Sentences are scored: a published list, or one drawn once and kept.

Published results draw three annotated frames a video at random, once. Two published lists share a tenth of
their rows and scores depend on the list, so that a score is comparable only beside the name of its list.

`mmvs draw ROOT LIST.csv` draws a list outside a root that may not be written.
"""

from __future__ import annotations

import csv
import hashlib
import io
import zlib
from pathlib import Path

import numpy as np

from mmvs.data.csv_files import DataError, columns, integer, is_blank, normalise, plain
from mmvs.data.jhmdb_files import actions, annotated_frames, sentences
from mmvs.files import write_text
from mmvs.schema import Sample

DRAWN = "mmvs_jhmdb_samples.csv"  # below the root
SEED, PER_VIDEO = 0, 3
HEADER = ("video_id", "action", "frame", "total_frames", "query")  # as in published lists; frame from 1
PERSON = 0  # instance id: J-HMDB annotates one person a video


def read_list(path: Path) -> list[Sample]:
    """The samples of a list with the columns video_id, frame (1-based) and query; others are passed over.

    DataError names the file and the line at fault.
    """
    samples = []
    for line, (video_id, frame, query) in columns(path, "video_id", "frame", "query"):
        where = f"{path}, line {line}"
        number = integer(frame, where)
        if number < 1:
            raise DataError(f"{where}: frame {number}, but frames are numbered from 1")
        if is_blank(query):
            raise DataError(f"{where}: the sentence of video '{video_id}' is empty: drop the row")
        samples.append(Sample(plain(video_id, where), number - 1, PERSON, normalise(query)))
    if not samples:
        raise DataError(f"{path}: lists no samples: replace the file")
    return samples


def drawn_list(root: Path) -> Path:
    """The list that belongs to a root: drawn and written at the first call, kept ever after."""
    path = root / DRAWN
    return path if path.is_file() else draw(root, path)


def draw(root: Path, path: Path, seed: int = SEED) -> Path:
    """Write a list of PER_VIDEO frames of every video, or of all where it has fewer; returns `path`.

    What is drawn of a video depends on the seed and the video alone, not on the other videos.
    DataError says what to do where `path` cannot be written.
    """
    rows, folders = sentences(root), actions(root)
    counts = annotated_frames(root, folders, (video_id for video_id, _ in rows))
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(HEADER)
    for video_id, sentence in rows:
        generator = np.random.default_rng([seed, zlib.crc32(video_id.encode())])
        count = counts[video_id]
        for index in sorted(generator.permutation(count)[:PER_VIDEO].tolist()):
            table.writerow((video_id, folders[video_id], index + 1, count, sentence))
    try:
        write_text(path, text.getvalue())
    except OSError as error:
        raise DataError(
            f"{path}: the list of sampled frames cannot be written ({error.strerror}): make the folder "
            "writable; or draw it elsewhere, `mmvs draw ROOT LIST.csv`, and name that file in "
            "data: {jhmdb_samples: ...}"
        ) from error
    return path


def name_of(path: Path, samples: int) -> str:
    """How reports name a list: its file, number of samples, and the first digits of its content's SHA-256."""
    return f"{path.name} ({samples} samples, sha256 {hashlib.sha256(path.read_bytes()).hexdigest()[:12]})"
