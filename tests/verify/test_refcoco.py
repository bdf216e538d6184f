"""The check of RefCOCO, RefCOCO+ and RefCOCOg: counts, missing and damaged pictures and masks."""

import pytest
import refcoco_trees as trees

from mmvs.data.csv_files import DataError
from mmvs.verify.tree import recognise, verify


@pytest.fixture
def root(tmp_path):
    trees.write(tmp_path / "refer", "refcoco")
    return trees.write(tmp_path / "refer", "refcocog")


def test_a_whole_copy_is_healthy_and_a_part_is_explained(root):
    verification = verify(root, progress=False)
    assert verification.healthy and verification.data_set.startswith("RefCOCO")
    text = verification.text()
    assert "refcoco testB: refs" in text and "refcocog test: refs" in text and "refcoco+" not in text
    assert "42,404" in text and "a part" in text
    assert recognise(root / "refcoco") is recognise(root)
    assert verify(root / "refcoco", progress=False).healthy


def test_what_is_missing_and_damaged_is_named(root):
    pictures = sorted((root / "images" / "mscoco" / "images" / "train2014").iterdir())
    pictures[0].unlink()
    pictures[1].write_bytes(b"x")
    verification = verify(root, progress=False)
    text = verification.text()
    assert not verification.healthy and pictures[0].name in text and pictures[1].name in text
    (root / "refcoco" / "refs(unc).p").write_bytes(b"x")
    (root / "refcocog" / "instances.json").write_text("{}")
    text = verify(root, progress=False).text()
    assert "refcoco: refs" in text and "refcocog train: annotations" in text


def test_a_folder_of_none_of_them_is_refused(tmp_path):
    with pytest.raises(DataError, match="holds none of the data sets"):
        recognise(tmp_path)
