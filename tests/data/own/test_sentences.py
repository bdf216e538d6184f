"""The CSV of sentences, as spreadsheets write it."""

import pytest

from mmvs.data.csv_files import DataError
from mmvs.data.own import sentences

PLAIN = "video,object,sentence\nstreet.mp4,1,the red car\n\nyard,,das Auto\nyard,dog,\n"


def rows(path, content, encoding="utf-8"):
    path.write_bytes(content.encode(encoding))
    return [(row.video, row.object, row.sentence) for row in sentences.read(path)]


EXPECTED = [("street", "1", "the red car"), ("yard", "1", "das Auto"), ("yard", "dog", "")]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_delimiters_and_byte_order_marks(tmp_path, encoding, delimiter):
    assert rows(tmp_path / "t.csv", PLAIN.replace(",", delimiter), encoding) == EXPECTED
    crlf = PLAIN.replace(",", delimiter).replace("\n", "\r\n")
    assert rows(tmp_path / "t.csv", crlf, encoding) == EXPECTED


def test_columns_in_any_order_with_others_and_quotes(tmp_path):
    content = 'sep=;\n"Sentence";Note;"Object";Video\n"a; b";x;2;クリップ.mov\nthe "red" one;;3;a.b\n'
    assert rows(tmp_path / "t.csv", content) == [("クリップ", "2", "a; b"), ("a.b", "3", 'the "red" one')]


def test_accents_are_the_same_however_they_are_written(tmp_path):
    assert rows(tmp_path / "t.csv", "video,object,sentence\ncafe\u0301.mp4,1,x\n")[0][0] == "caf\xe9"


@pytest.mark.parametrize(
    "content, named",
    [
        ("", "the first line should be video,object,sentence"),
        ("video,sentence\na,b\n", "but is 'video,sentence'"),
        ("video,object,sentence\na,1,b,c\n", "line 2: 4 columns, not 3"),
        ("video,object,sentence,split\na,1,b,test\n", "line 2: split 'test': expected train or valid"),
    ],
)
def test_what_cannot_be_read_is_named(tmp_path, content, named):
    with pytest.raises(DataError, match=f"t.csv.*{named}"):
        rows(tmp_path / "t.csv", content)


def test_another_encoding_is_named(tmp_path):
    with pytest.raises(DataError, match="not UTF-8"):
        rows(tmp_path / "t.csv", PLAIN.replace("Auto", "Grün"), "latin-1")
