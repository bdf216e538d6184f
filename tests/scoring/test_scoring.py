"""`mmvs score` as a user meets it: exit status, files, refusals; and data of one's own."""

import csv
import json
import shutil
import zipfile

import numpy as np
import pytest
import tiny

from mmvs.__main__ import ScoredDataSet
from mmvs.data.csv_files import DataError
from mmvs.scoring import DATA_SETS, Request, score


def test_the_command_knows_every_data_set():
    assert {one.value for one in ScoredDataSet} == set(DATA_SETS)


def test_the_command_prints_writes_and_tells_by_its_exit_status(tree, tmp_path, capsys):
    tree, json_file, table = tree("mevis"), tmp_path / "out" / "scores.json", tmp_path / "scores.csv"
    words = ["score", tree.submission, tree.root, "--data-set", "mevis", "--split", "valid_u", "--quiet"]
    assert tiny.command(*words, "--json", json_file, "--table", table, "--workers", "1") == 0
    assert "J&F 0.4840" in capsys.readouterr().out
    assert json.loads(json_file.read_text())["overall"]["J&F"] == pytest.approx(0.4839923755117475, abs=1e-9)
    with table.open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 16 and float(rows[0]["J mean"]) == pytest.approx(0.8051848385870709, abs=1e-9)
    (tree.submission / "aa47bb1ad2b4" / "0" / "00001.png").unlink()
    assert tiny.command(*words) == 1
    captured = capsys.readouterr()
    assert "aa47bb1ad2b4, expression 0: missing frame 00001" in captured.out and not captured.err
    assert tiny.command(*words, "--as-official") == 0
    assert "J&F 0.4669" in capsys.readouterr().out


def test_what_cannot_be_scored_at_all_is_one_line(tree, tmp_path, capsys):
    tree = tree("mevis")
    words = ["score", tree.submission, tree.root, "--data-set", "mevis", "--quiet", "--split"]
    assert tiny.command(*words, "no_such") == 1
    assert "no_such" in capsys.readouterr().err
    path = tmp_path / "bad.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("../aa47bb1ad2b4/0/00000.png", b"")
    words[1] = path
    assert tiny.command(*words, "valid_u") == 1
    error = capsys.readouterr().err
    assert "'../aa47bb1ad2b4/0/00000.png' leads out" in error and "Traceback" not in error


def test_a_data_set_that_is_not_known_or_a_split_that_is_not_named_is_refused(tmp_path):
    with pytest.raises(DataError, match="unknown data set 'refcoco': there are mevis"):
        Request(tmp_path, tmp_path, "refcoco", "val")
    with pytest.raises(DataError, match="mevis has splits"):
        Request(tmp_path, tmp_path, "mevis")


def test_folders_that_nobody_asked_for_are_mentioned(tree):
    tree = tree("mevis")
    (tree.submission / "of_another_split").mkdir()
    report = tree.score()
    assert report.is_sound and "not scored: of_another_split" in report.text()


@pytest.fixture
def own(tree, tmp_path):
    """Data of one's own: Ref-YouTube-VOS's layout, where video 8be838101b has masks of two frames only."""
    tree = tree("ref-youtube-vos")
    root = tmp_path / "own"
    shutil.copytree(tree.root, root)
    for path in sorted((root / "train" / "Annotations" / "8be838101b").iterdir())[2:]:
        path.unlink()
    return root, tree


def test_own_data_are_scored_on_the_frames_that_have_a_mask(own):
    root, tree = own
    report = score(Request(tree.submission, root, "expressions", "train", progress=False))
    row = next(row for row in report.record()["per_expression"] if row["video"] == "8be838101b")
    expected = next(row for row in tree.expected["scores"]["per_expression"] if row["video"] == "8be838101b")
    assert row["frames"] == ["00015", "00020"] and row["J_per_frame"] == expected["J_per_frame"][:2]
    assert row["J"] == pytest.approx(np.mean(expected["J_per_frame"][:2]))
    assert report.is_sound and "not scored: 42" in report.text()  # 7 frames of 6 expressions


def test_a_truth_that_is_damaged_or_missing_is_named_and_the_rest_is_scored(own):
    root, tree = own
    annotations = root / "train" / "Annotations"
    (annotations / "eddd1cf421" / "00010.png").write_bytes(b"no picture")
    shutil.rmtree(annotations / "6160f30be4")
    report = score(Request(tree.submission, root, "expressions", "train", progress=False))
    named = {(fault.fault, fault.video) for fault in report.faults}
    assert named == {("no truth", "eddd1cf421"), ("no truth", "6160f30be4")} and not report.is_sound
    assert report.record()["overall"]["expressions"] == 6 and "00010.png" in report.text()


def test_a_split_whose_masks_are_not_published_is_refused(tree):
    tree = tree("ref-youtube-vos")
    with pytest.raises(DataError, match="not published"):
        score(Request(tree.submission, tree.root, "ref-youtube-vos", "valid", progress=False))
