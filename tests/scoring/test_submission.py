"""Folders and zips of masks: the same numbers from both, and what is refused by name."""

import stat
import struct
import time
import zipfile
import zlib

import numpy as np
import pytest
from PIL import Image

from mmvs.data.csv_files import DataError
from mmvs.scoring.submission import MaskError, Submission


def zip_of(folder, path, top=""):
    with zipfile.ZipFile(path, "w") as archive:
        for file in sorted(folder.rglob("*.png")):
            archive.write(file, f"{top}{file.relative_to(folder)}")
    return path


@pytest.mark.parametrize(
    "data_set, submission, top",
    [
        ("mevis", "predictions", ""),
        ("ref-youtube-vos", "predictions", "Annotations/"),
        ("ref-davis17", "predictions_by_annotator", "results/"),
    ],
)
def test_a_zip_scores_as_its_folder_with_or_without_a_folder_around(
    tree, tmp_path, data_set, submission, top
):
    tree = tree(data_set, submission)
    path = zip_of(tree.submission, tmp_path / "submission.zip", top)
    assert tree.score(path).record() == tree.score().record()
    around = tmp_path / "around"
    around.mkdir()
    tree.submission.rename(around / "Annotations")
    assert tree.score(around).record() == tree.score(path).record()


@pytest.mark.parametrize(
    "name", ["/etc/a.png", "../a.png", "v/../../a.png", "C:\\a.png", "..\\a.png", "\\a.png", "c:/a.png"]
)
def test_a_name_that_leads_out_of_a_zip_is_refused(tmp_path, name):
    path = tmp_path / "submission.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("v/0/00000.png", b"")
        archive.writestr(zipfile.ZipInfo(name), b"")
    with pytest.raises(DataError, match="leads out of the archive") as refusal:
        Submission(path, ["v"])
    assert str(path) in str(refusal.value) and name in str(refusal.value)


def test_a_name_that_stands_twice_in_a_zip_is_refused(tmp_path):
    path = tmp_path / "submission.zip"
    with zipfile.ZipFile(path, "w") as archive, pytest.warns(UserWarning, match="Duplicate"):
        for _ in range(2):
            archive.writestr("v/0/00000.png", b"")
    with pytest.raises(DataError, match="'v/0/00000.png' twice"):
        Submission(path, ["v"])


def test_what_macos_adds_is_passed_over(tmp_path):
    path = tmp_path / "submission.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for name in ("__MACOSX/v/0/._00000.png", "v/0/00000.png"):
            archive.writestr(name, b"")
    assert Submission(path, ["v"]).folders() == {"v"}


def test_what_is_no_submission_to_this_data_set_says_what_was_expected(tmp_path):
    with pytest.raises(DataError, match="no such folder or zip"):
        Submission(tmp_path / "nothing", ["v"])
    (tmp_path / "some" / "deep").mkdir(parents=True)
    with pytest.raises(DataError, match=r"none of the 4 folders.*\(a, b, c and 1 more\); it holds some"):
        Submission(tmp_path, ["a", "b", "c", "v"])
    file = tmp_path / "submission.tar"
    file.write_bytes(b"no zip")
    with pytest.raises(DataError, match="not a folder and not a zip"):
        Submission(file, ["v"])


@pytest.fixture
def submission(tmp_path):
    folder = tmp_path / "masks"
    (folder / "v" / "0").mkdir(parents=True)
    return Submission(folder, ["v"]), folder / "v" / "0" / "00000.png"


def test_every_value_but_0_is_the_object_whatever_the_kind_of_picture(submission):
    submission, path = submission
    values = np.array([[0, 1, 128, 255]], np.uint8)
    expected = [[False, True, True, True]]
    for picture in (Image.fromarray(values), Image.fromarray(values != 0)):
        picture.save(path)
        assert submission.mask("v/0/00000.png").tolist() == expected
    palette = Image.fromarray(np.array([[0, 1, 2, 3]], np.uint8)).convert("P")
    palette.putpalette([0, 0, 0, 200, 0, 0, 0, 200, 0, 255, 255, 255])
    palette.save(path)
    assert submission.mask("v/0/00000.png").tolist() == expected
    assert submission.labels("v/0/00000.png").tolist() == [[0, 1, 2, 3]]


def test_a_missing_file_and_a_folder_in_its_place_are_told_apart(submission):
    submission, path = submission
    with pytest.raises(MaskError) as missing:
        submission.mask("v/0/00000.png")
    assert missing.value.fault == "missing frame"
    path.mkdir()
    with pytest.raises(MaskError) as damaged:
        submission.mask("v/0/00000.png")
    assert damaged.value.fault == "damaged file"


def test_a_damaged_member_of_a_zip_is_a_damaged_mask(tree, tmp_path):
    tree = tree("mevis")
    path = zip_of(tree.submission, tmp_path / "submission.zip")
    with zipfile.ZipFile(path) as archive:
        member = archive.getinfo("f7270b83dc93/2/00004.png")
    content = bytearray(path.read_bytes())
    content[member.header_offset + 30 + len(member.filename) + 50] ^= 0xFF
    path.write_bytes(content)
    (fault,) = tree.score(path).faults
    assert fault.fault == "damaged file" and fault.frames == ["00004"]


def test_nothing_is_unpacked_and_nothing_written(tree, tmp_path):
    tree = tree("mevis")
    path = zip_of(tree.submission, tmp_path / "submission.zip")
    path.chmod(stat.S_IREAD)
    before = sorted(tmp_path.rglob("*"))
    tree.score(path)
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("read", [Submission.mask, Submission.labels])
def test_a_mask_that_claims_a_huge_size_is_refused_before_it_is_read(tmp_path, read):
    """A PNG of 100 bytes that says it is 60,000 pixels wide and high: OpenCV fills all of them."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        sums = struct.pack(">I", zlib.crc32(kind + content))
        return struct.pack(">I", len(content)) + kind + content + sums

    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 0, 0, 0, 0)
    chunks = chunk(b"IHDR", header), chunk(b"IDAT", zlib.compress(b"\0" * 100)), chunk(b"IEND", b"")
    (tmp_path / "video").mkdir()
    (tmp_path / "video" / "mask.png").write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(chunks))
    begin = time.process_time()
    with pytest.raises(MaskError, match="damaged file"):
        read(Submission(tmp_path, ["video"]), "video/mask.png")
    assert time.process_time() - begin < 1
