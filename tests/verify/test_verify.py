"""mmvs.verify.tree: what is wrong with a tree is found, named, and told from what is only odd."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest
import scipy.io
import tiny
from PIL import Image

from mmvs.config import ROOT, MovingShapes
from mmvs.data.a2d import A2DSentences
from mmvs.data.csv_files import DataError
from mmvs.data.jhmdb import JHMDBSentences
from mmvs.shapes import jhmdb_layout, writing
from mmvs.verify import a2d as a2d_checks
from mmvs.verify import findings
from mmvs.verify import jhmdb as jhmdb_checks
from mmvs.verify.tree import verify

SHAPES = MovingShapes(train_clips=3, test_clips=2, unseen_clips=1)


@pytest.fixture(scope="module")
def trees(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("trees")
    writing.write(folder / "a2d", SHAPES, progress=False)
    jhmdb_layout.write(folder / "jhmdb", SHAPES, clips=3, progress=False)
    return folder


@pytest.fixture
def a2d(trees, tmp_path) -> Path:
    return shutil.copytree(trees / "a2d", tmp_path / "a2d")


@pytest.fixture
def jhmdb(trees, tmp_path) -> Path:
    return shutil.copytree(trees / "jhmdb", tmp_path / "jhmdb")


def problems(root, **how) -> dict[str, tuple[str, str, str]]:
    """What needs something done: what -> (found, verdict, what to do)."""
    verification = verify(root, progress=False, **how)
    assert verification.healthy == all(f.verdict in findings.HARMLESS for f in verification.findings)
    return {
        f.what: (f.found, f.verdict, f.remedy)
        for f in verification.findings
        if f.verdict not in findings.HARMLESS
    }


def notes(root) -> dict[str, str]:
    """Verdict "explained" or "extra": what -> what is told."""
    rows = verify(root, progress=False).findings
    return {f.what: f"{f.found}: {f.remedy}" for f in rows if f.verdict in ("explained", "extra")}


def test_healthy_trees(trees):
    for root in (trees / "a2d", trees / "a2d" / "unseen", trees / "jhmdb"):
        assert problems(root) == {}
        assert problems(root, fast=True) == {}
    assert verify(trees / "a2d", progress=False).data_set == "moving shapes in the layout of A2D-Sentences"
    table = verify(trees / "jhmdb", progress=False).table()
    assert table.loc["videos with masks", "found"] == "3" and table.loc["sentences", "expected"] == "3"
    assert table.loc["annotated frames", "found"] == str(2 * 13 + 11)


def test_published_counts_are_those_of_the_papers():
    counts = a2d_checks.PUBLISHED
    assert counts["train"] + counts["test"] == counts["videos"] == 3782 and counts["sentences"] == 6655
    assert jhmdb_checks.PUBLISHED == {"videos": 928, "actions": 21, "frames": 31838}


def test_real_trees_are_held_to_the_published_counts(a2d, jhmdb):
    for root, what in ((a2d, "videos for train"), (jhmdb, "sentences")):
        (root / "moving_shapes.json").unlink()
        count, verdict, remedy = problems(root)[what]
        assert verdict == "wrong count" and "get it anew" in remedy


def test_a_damaged_a2d_tree(a2d):
    clips, masks = a2d / "Release" / "clips320H", a2d / "text_annotations" / "a2d_annotation_with_instances"
    whole = (clips / "train00000.mp4").read_bytes()
    (clips / "train00000.mp4").write_bytes(whole[: len(whole) // 2])
    (clips / "train00001.mp4").unlink()
    (clips / "stranger.mp4").write_bytes(b"")
    shutil.rmtree(masks / "train00002")
    damaged, other = sorted((masks / "test00000").glob("*.h5"))[:2]
    damaged.write_bytes(b"no HDF5")
    with h5py.File(other, "a") as file:
        stored = file["reMask"][()]
        del file["reMask"]
        file["reMask"] = stored[..., :-2]
    rows = problems(a2d)
    assert rows["clips missing"] == ("1 of 6", "missing", "put them into Release/clips320H: train00001")
    assert rows["clips"][:2] == ("1 of 5", "corrupt") and "clips320H/train00000.mp4" in rows["clips"][2]
    assert rows["annotated videos missing"][2].endswith("train00002")
    assert rows["annotated frames"][1] == "corrupt" and damaged.name in rows["annotated frames"][2]
    assert rows["masks"] == (
        rows["masks"][0], "wrong size",
        f"clips and masks are of different releases: test00000/{other.name}",
    )  # fmt: skip
    assert len(rows) == 5 and str(a2d) not in str(rows), "files are named from the root on"
    assert notes(a2d)["other clips"] == "1: nothing reads them: stranger"


def test_hidden_files_are_ignored_by_check_and_loader_alike(a2d):
    masks = a2d / "text_annotations" / "a2d_annotation_with_instances"
    before = list(A2DSentences(a2d, "train"))
    for folder in (masks / "train00000", a2d / "Release" / "clips320H", masks / "__MACOSX"):
        folder.mkdir(exist_ok=True)
        for name in ("._00003.h5", "._train00000.mp4", ".DS_Store", "._x"):
            (folder / name).write_bytes(b"\0\5\x16\7")
    assert problems(a2d) == {} and "other annotated videos" not in notes(a2d)
    assert list(A2DSentences(a2d, "train")) == before


def test_the_check_lists_what_is_no_annotation_and_goes_on(a2d):
    masks = a2d / "text_annotations" / "a2d_annotation_with_instances"
    first, second, third = sorted((masks / "test00000").glob("*.h5"))[:3]
    first.unlink()
    os.mkfifo(first)
    with h5py.File(second, "w") as file:
        file.create_group("instance")
        file.create_dataset("reMask", (10**6, 10**6, 10**3), "u1")
    with h5py.File(third, "a") as file:
        file["instance"][...] = -1
    known = next((masks / "train00000").glob("*.h5"))
    for name in ("1.h5", "001.h5"):
        shutil.copy(known, known.with_name(name))
    (a2d / "Release" / "clips320H" / "train00002.mp4").unlink()
    os.mkfifo(a2d / "Release" / "clips320H" / "train00002.mp4")
    rows = problems(a2d)
    found, verdict, remedy = rows["annotated frames"]
    assert found.startswith("4 of ") and verdict == "corrupt" and first.name in remedy
    assert rows["clips"][0].startswith("1 of") and "train00002.mp4" in rows["clips"][2]
    assert set(rows) == {"annotated frames", "clips"}


def test_oddities_of_a2d_are_explained(a2d):
    texts = a2d / "text_annotations"
    with (texts / "a2d_annotation.txt").open("a") as file:
        file.write("train00000,1 (copy),a bird\ntrain00001,99,a ghost\n")
    videoset = a2d / "Release" / "videoset.csv"
    videoset.write_text(videoset.read_text().replace(",13,", ",15,"))
    assert problems(a2d) == {}
    explained = notes(a2d)
    assert "'1 (copy)' is dropped" in explained["sentences that are used"]
    assert explained["sentences"].endswith("no annotated frame, no sample: train00001 (99)")
    assert "(13 of 15)" in explained["clips' frames"] and "(64)" in explained["clips' height"]


@pytest.mark.parametrize("row", ["../../x,0,hello", "/x,0,hello"])
def test_ids_that_lead_out_are_refused(a2d, row):
    with (a2d / "text_annotations" / "a2d_annotation.txt").open("a") as file:
        file.write(row + "\n")
    assert "not a video id" in problems(a2d)["text files"][2]


def test_text_files_that_are_missing(a2d, jhmdb):
    (a2d / "Release" / "videoset.csv").unlink()
    assert "videoset.csv: no such file" in problems(a2d)["text files"][2]
    (jhmdb / "jhmdb_annotation.txt").unlink()
    assert "jhmdb_annotation.txt: no such file" in problems(jhmdb)["annotations"][2]


def test_a_damaged_jhmdb_tree(jhmdb):
    masks = sorted((jhmdb / "puppet_mask").glob("*/*/puppet_mask.mat"))
    videos = [file.parent.name for file in masks]
    pictures = [jhmdb / "Rename_Images" / file.parent.parent.name / file.parent.name for file in masks]
    (pictures[0] / "00003.png").write_bytes(b"no picture")
    masks[1].unlink()
    scipy.io.savemat(masks[2], {"part_mask": np.ones((32, 64, 13), np.uint8)})
    (jhmdb / "Rename_Images" / "walk" / "stranger").mkdir(parents=True)
    rows = problems(jhmdb)
    assert rows["pictures"][:2] == ("1 of 3", "corrupt") and f"{videos[0]}/00003.png" in rows["pictures"][2]
    assert rows["videos with masks missing"][2].endswith(videos[1])
    assert rows["masks"][1] == "wrong size" and "(32, 64)" in rows["masks"][2]
    assert len(rows) == 3
    assert notes(jhmdb)["other videos with frames"].endswith("stranger")
    shutil.rmtree(pictures[1])
    masks[2].write_bytes(b"no MATLAB")
    rows = problems(jhmdb)
    assert rows["videos with frames missing"][2].endswith(videos[1])
    assert rows["masks"][1] == "corrupt"


def test_oddities_of_jhmdb_are_explained(jhmdb):
    JHMDBSentences(jhmdb)
    explained = notes(jhmdb)
    assert "(11 of 13)" in explained["masks"] and "not 320 x 240" in explained["pictures' size"]
    table = verify(jhmdb, progress=False).table()
    assert table.loc["sampled frames", ["expected", "found", "verdict"]].tolist() == ["9", "9", "ok"]
    file = next((jhmdb / "puppet_mask").glob("*/*/puppet_mask.mat"))
    scipy.io.savemat(file, {"part_mask": np.zeros((64, 64, 15), np.uint8)})
    rows = verify(jhmdb, progress=False).findings
    remedies = " ".join(f.remedy for f in rows if f.what == "masks")
    assert "(15 for 13)" in remedies and "nobody" in remedies


def test_the_fast_mode_opens_some_videos_only(jhmdb, monkeypatch):
    monkeypatch.setattr(findings, "FAST", 2)
    masks = sorted((jhmdb / "puppet_mask").glob("*/*/puppet_mask.mat"))
    assert "pictures' size" in notes(jhmdb) and verify(jhmdb, fast=True, progress=False).healthy
    for k, picture in enumerate(sorted((jhmdb / "Rename_Images").glob("*/*/00001.png"))):
        picture.write_bytes(b"")
        assert problems(jhmdb)["pictures"][0] == f"{k + 1} of 3"
    assert problems(jhmdb, fast=True)["pictures"][0] == "2 of 2"
    masks[1].unlink()
    assert "videos with masks missing" in problems(jhmdb, fast=True), "presence is checked of all"


def test_folders_that_hold_no_data_set(trees, tmp_path):
    with pytest.raises(DataError, match="nowhere: no such folder"):
        verify(tmp_path / "nowhere")
    with pytest.raises(
        DataError, match=r"holds none of the data sets \(A2D-Sentences has Release.*mean .*/a2d\?"
    ):
        verify(trees)
    (tmp_path / "Release").mkdir()
    (tmp_path / "puppet_mask").mkdir()
    with pytest.raises(DataError, match="parts of both A2D-Sentences and J-HMDB-Sentences"):
        verify(tmp_path)


def test_exit_status_and_table(jhmdb, tmp_path, capsys):
    assert tiny.command("verify", jhmdb, "--quiet") == 0
    printed = capsys.readouterr().out
    assert printed.splitlines()[0].split() == ["what", "expected", "found", "verdict", "what", "to", "do"]
    assert "healthy; every file was opened" in printed
    Image.new("RGB", (8, 8)).save(next((jhmdb / "Rename_Images").glob("*/*/00002.png")))
    assert tiny.command("verify", jhmdb, "--fast", "--quiet") == 1
    printed = capsys.readouterr().out
    assert printed.splitlines()[1].startswith("pictures ") and "different sizes" in printed
    assert "a sample of the videos" in printed
    assert tiny.command("verify", tmp_path / "nowhere") == 2


def test_it_is_a_command(jhmdb):
    command = [sys.executable, "-m", "mmvs", "verify", str(jhmdb), "--fast"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0 and "healthy" in done.stdout


@pytest.mark.parametrize("kind", ["empty", "zeros", "list", "codec", "folder"])
def test_no_kind_of_bad_clip_ends_the_check(a2d, kind):
    clip = min((a2d / "Release/clips320H").glob("*.mp4"))
    whole = clip.read_bytes()
    contents = {
        "empty": b"",
        "zeros": bytes(5000),
        "list": b"#EXTM3U\n#EXTINF:9,\nother.mp4\n",
        "codec": whole.replace(b"avc1", b"zzzz"),
    }
    clip.unlink()
    if kind == "folder":
        clip.mkdir()
    else:
        clip.write_bytes(contents[kind])
    found, verdict, remedy = problems(a2d)["clips"]
    assert found.startswith("1 of") and verdict == "corrupt" and clip.name in remedy
