"""mmvs.data.jhmdb_files: what is no mask is refused by name, before it is read."""

import os
import resource

import h5py
import numpy as np
import pytest
import scipy.io
import scipy.sparse

from mmvs.data import jhmdb_files
from mmvs.data.csv_files import DataError
from mmvs.data.jhmdb_files import actions, annotated_frames, part_mask

MASK = np.zeros((4, 6, 3), np.uint8)  # (H, W, T)
MASK[:2, 1, :] = 255


@pytest.fixture
def path(tmp_path):
    """Where the masks of <tmp_path>/walk/vid lie, beside three pictures."""
    for folder in ("Rename_Images", "puppet_mask"):
        (tmp_path / folder / "walk" / "vid").mkdir(parents=True)
    for number in (1, 2, 3):
        (tmp_path / "Rename_Images" / "walk" / "vid" / f"{number:05d}.png").touch()
    return tmp_path / "puppet_mask" / "walk" / "vid" / "puppet_mask.mat"


def refused(path, reason):
    """Reading masks, and reading how many there are, both say why they do not."""
    for read in (part_mask, lambda _: annotated_frames(path.parents[3], {"vid": "walk"}, ["vid"])):
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        with pytest.raises(DataError, match=f"puppet_mask.mat: .*{reason}"):
            read(path)
        assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000  # kB


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ({"part": MASK}, "'part_mask' is struct"),
        ([[MASK]], "'part_mask' is float64|'part_mask' is uint8"),
        (np.array([MASK, "text"], object), "'part_mask' is cell"),
        ("text", "'part_mask' is char"),
        (scipy.sparse.csc_matrix(np.eye(4)), "'part_mask' is sparse"),
        (MASK.astype(float), "'part_mask' is float64"),
        (MASK.astype(np.float32), "'part_mask' is float32"),
        (MASK[..., None], r"'part_mask' is uint8 \(4, 6, 3, 1\)"),
        (MASK[:, :, :0], r"'part_mask' is uint8 \(4, 6, 0\)"),
        (MASK[:0], r"'part_mask' is uint8 \(0, 6, 3\)"),
    ],
)
def test_what_is_no_array_of_integers(path, content, reason):
    scipy.io.savemat(path, {"part_mask": content})
    refused(path, reason)


def test_claims_are_not_believed(path):
    """10**9 masks are announced, compressed to nothing."""
    scipy.io.savemat(path, {"part_mask": MASK})
    content = bytearray(path.read_bytes())
    place = content.index(np.array([4, 6, 3], "<i4").tobytes())
    content[place : place + 12] = np.array([40000, 60000, 3], "<i4").tobytes()
    path.write_bytes(content)
    refused(path, r"\(40000, 60000, 3\), which is too large")


def test_a_bomb_is_not_unpacked(path, monkeypatch):
    scipy.io.savemat(path, {"part_mask": np.zeros((1024, 1024, 32), np.uint8)}, do_compression=True)
    assert path.stat().st_size < 2**18
    monkeypatch.setattr(jhmdb_files, "LARGEST", 2**24)
    refused(path, "too large")


def test_matlab_7_3_is_told_from_damage(path):
    with h5py.File(path, "w", userblock_size=512) as file:
        file["part_mask"] = MASK
    header = b"MATLAB 7.3 MAT-file".ljust(124) + b"\x00\x02IM"
    with path.open("r+b") as file:
        file.write(header)
    refused(path, "MATLAB 7.3, but J-HMDB is published as MATLAB 5")


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir, lambda path: path.symlink_to(path)])
def test_what_is_no_file_is_refused_and_not_waited_for(path, make):
    make(path)
    refused(path, "(not a regular file|cannot be opened)")


@pytest.mark.parametrize("content", [MASK, MASK.astype(bool), MASK.astype(np.int64), MASK[..., :1]])
@pytest.mark.parametrize("compressed", [False, True])
def test_masks_of_every_integer(path, content, compressed):
    scipy.io.savemat(path, {"part_mask": content, "other": {"a": 1}}, do_compression=compressed)
    masks = part_mask(path)
    np.testing.assert_array_equal(masks, content.transpose(2, 0, 1) != 0)
    assert annotated_frames(path.parents[3], {"vid": "walk"}, ["vid"]) == {"vid": len(masks)}


def test_damaged_bytes_give_one_kind_of_error(path):
    scipy.io.savemat(path, {"part_mask": MASK}, do_compression=True)
    whole, random = path.read_bytes(), np.random.default_rng(0)
    for _ in range(300):
        content = bytearray(whole)
        for place in random.integers(0, len(whole), random.integers(1, 9)):
            content[place] = random.integers(256)
        path.write_bytes(content[: random.integers(1, len(whole) + 1)] if random.random() < 0.3 else content)
        try:
            part_mask(path)
        except DataError as error:
            assert str(path) in str(error)


def test_folders_of_macos_are_no_actions(path):
    root = path.parents[3]
    for folder in ("__MACOSX/vid", ".hidden/vid", "walk/.cache"):
        (root / "Rename_Images" / folder).mkdir(parents=True)
    assert actions(root) == {"vid": "walk"}
