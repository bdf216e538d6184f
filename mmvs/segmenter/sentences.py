"""A text file of sentences, one a line."""

from __future__ import annotations

from pathlib import Path

from mmvs.data.csv_files import DataError
from mmvs.files import regular


def read_sentences(file: str | Path) -> list[str]:
    """The sentences of a UTF-8 file; blank lines and those that begin with "#" are none.

    DataError names the file that is missing, no text or has no sentence.
    """
    try:
        text = regular(file).read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise DataError(
            f"{file}: cannot be read ({error.strerror}): it should hold a sentence a line"
        ) from None
    except UnicodeDecodeError as error:
        where = f"byte {error.start}"
        raise DataError(f"{file}: not UTF-8 at {where}: save the sentences as UTF-8 text") from None
    lines = [line.strip() for line in text.splitlines()]
    sentences = [line for line in lines if line and not line.startswith("#")]
    if not sentences:
        raise DataError(f"{file}: holds no sentence: write one a line")
    return sentences
