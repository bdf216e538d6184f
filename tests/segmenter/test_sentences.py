"""A file of sentences: one a line, whatever wrote it."""

import pytest

from mmvs.data.csv_files import DataError
from mmvs.segmenter.sentences import read_sentences


@pytest.mark.parametrize(
    "content",
    [
        b"the red circle\na big square\n",
        b"the red circle\na big square",
        b"\xef\xbb\xbfthe red circle\r\na big square\r\n",
        b"# what to look for\n\n  the red circle  \n\t\n   # not this one\na big square\n\n",
    ],
)
def test_a_sentence_a_line(tmp_path, content):
    (tmp_path / "sentences.txt").write_bytes(content)
    assert read_sentences(tmp_path / "sentences.txt") == ["the red circle", "a big square"]


def test_a_number_sign_inside_belongs_to_the_sentence(tmp_path):
    (tmp_path / "s.txt").write_text("player #7\nкрасный круг\n")
    assert read_sentences(tmp_path / "s.txt") == ["player #7", "красный круг"]


@pytest.mark.parametrize(
    "content, reason",
    [
        (None, "cannot be read"),
        (b"", "holds no sentence"),
        (b"# nothing\n\n", "holds no sentence"),
        (b"the r\xe9d circle\n", "not UTF-8 at byte 5"),
    ],
)
def test_what_is_no_file_of_sentences_is_named(tmp_path, content, reason):
    if content is not None:
        (tmp_path / "s.txt").write_bytes(content)
    with pytest.raises(DataError, match=f"s.txt: {reason}"):
        read_sentences(tmp_path / "s.txt")


def test_a_folder_is_no_file(tmp_path):
    with pytest.raises(DataError, match="cannot be read"):
        read_sentences(tmp_path)
