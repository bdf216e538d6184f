"""mmvs.data.a2d_files: what is no annotation is refused by name, before it is read, or passed over."""

import os
import resource
import socket

import h5py
import numpy as np
import pytest

from mmvs.data.a2d_files import annotated_frames, read_h5, read_index, read_masks
from mmvs.data.csv_files import DataError

IDS = np.array([2, 0])
MASKS = np.zeros((2, 6, 4), np.uint8)  # (N, W, H)
MASKS[0, 1:3, 0] = MASKS[1, :, 3] = 1


@pytest.fixture
def write(tmp_path):
    """write(instance=..., reMask=...): an annotation file; a function puts something into the open file."""

    def write(**content):
        path = tmp_path / "00003.h5"
        with h5py.File(path, "w") as file:
            for name, value in ({"instance": IDS, "reMask": MASKS} | content).items():
                if callable(value):
                    value(file, name)
                else:
                    file[name] = value
        return path

    return write


def virtual(file, name):
    layout = h5py.VirtualLayout(MASKS.shape, np.uint8)
    layout[:] = h5py.VirtualSource(file.filename + ".other", "reMask", MASKS.shape)
    file.create_virtual_dataset(name, layout)


def external(file, name):
    secret = file.filename + ".secret"
    with open(secret, "wb") as other:
        other.write(b"s" * MASKS.size)
    file.create_dataset(name, MASKS.shape, np.uint8, external=[(secret, 0, MASKS.size)])


def half_stored(file, name):
    file.create_dataset(name, MASKS.shape, np.uint8, chunks=(1, 6, 4))[0] = 1


REFERENCE = h5py.special_dtype(ref=h5py.Reference)
NO_ARRAYS = {
    "group": (lambda f, n: f.create_group(n), "is a group, but expected an array"),
    "text": ("0", "is of type object"),
    "texts": (np.array([b"0", b"1"]), r"is of type \|S1"),
    "records": (np.zeros(2, [("a", int)]), "is of type"),
    "references": (lambda f, n: f.create_dataset(n, (2,), REFERENCE), "is of type object"),
    "complex": (np.zeros(2, complex), "is of type complex128"),
    "null": (h5py.Empty("f8"), "is of type float64, but expected an array"),
    "link": (lambda f, n: f.__setitem__(n, h5py.SoftLink("/reBBox")), "lies in another place"),
    "external link": (
        lambda f, n: f.__setitem__(n, h5py.ExternalLink("other.h5", "/x")),
        "lies in another place",
    ),
    "unallocated": (lambda f, n: f.create_dataset(n, (9,), "i8"), "its values are missing"),
    "huge": (lambda f, n: f.create_dataset(n, (10**6, 10**6, 10**3), "u1"), "is too large"),
    "bomb": (lambda f, n: f.create_dataset(n, (10**6, 10**6), "u1", chunks=(9, 9)), "is too large"),
    "huge chunks": (
        lambda f, n: f.create_dataset(n, (2,), "u1", maxshape=(None,), chunks=(10**9,)),
        "is too large",
    ),
}


@pytest.mark.parametrize("name", ["instance", "reMask"])
@pytest.mark.parametrize("kind", NO_ARRAYS)
def test_what_is_no_array_of_numbers_in_the_file_is_refused(write, name, kind):
    content, reason = NO_ARRAYS[kind]
    path = write(**{name: content})
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(DataError, match=f"00003.h5: '{name}' .*{reason}.*: (replace|store)"):
        read_masks(path)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000  # kB


@pytest.mark.parametrize(
    ("kind", "reason"),
    [(virtual, "another place"), (external, "another place"), (half_stored, "its values are missing")],
)
def test_masks_that_lie_elsewhere_or_nowhere_are_not_made_up(write, kind, reason):
    with pytest.raises(DataError, match=f"00003.h5: 'reMask' .*{reason}"):
        read_masks(write(reMask=kind))


@pytest.mark.parametrize(
    ("ids", "reason"),
    [
        ([np.nan, 0.0], "holds nan, 0.0"),
        ([np.inf, 0.0], "holds inf"),
        ([1.5, 0.0], "holds 1.5"),
        ([-1, 0], "holds -1, 0"),
        ([True, False], "holds True"),
        (np.zeros((2, 2)), r"is \(2, 2\), but expected a list"),
    ],
)
@pytest.mark.parametrize("read", [read_masks, lambda path: read_h5(path, False)])
def test_ids_that_are_no_whole_numbers(write, ids, reason, read):
    with pytest.raises(DataError, match=f"00003.h5: 'instance' {reason}"):
        read(write(instance=ids))


@pytest.mark.parametrize(
    ("ids", "shape"),
    [
        ([1], (2, 6, 4)),
        ([1, 2, 3], (2, 6, 4)),
        ([1, 2], (6, 4)),
        ([1, 2], (2, 0, 4)),
        ([1, 2], (2, 1, 6, 4)),
        ([1], (24,)),
        ([], (2, 6, 4)),
    ],
)
@pytest.mark.parametrize("read", [read_masks, lambda path: read_h5(path, False)])
def test_masks_of_another_number_or_shape(write, ids, shape, read):
    with pytest.raises(DataError, match=rf"00003.h5: {len(ids)} instances, but reMask is \({shape[0]}"):
        read(write(instance=np.array(ids, int), reMask=np.ones(shape, np.uint8)))


def test_masks_of_nan_are_no_masks(write):
    with pytest.raises(DataError, match="00003.h5: reMask holds NaN"):
        read_masks(write(reMask=np.full(MASKS.shape, np.nan)))


@pytest.mark.parametrize("masks", [MASKS, MASKS.astype(float), MASKS.astype(bool), MASKS.astype(">i4") * 255])
@pytest.mark.parametrize("ids", [IDS, IDS.astype(float), IDS[None], IDS[:, None]])
def test_all_that_matlab_and_python_write_is_read(write, ids, masks):
    read = read_masks(write(instance=ids, reMask=masks))
    assert list(read) == [0, 2]
    for k, instance in enumerate(IDS):
        np.testing.assert_array_equal(read[instance], MASKS[k].T == 1)


def test_one_mask_none_and_compressed_ones(write):
    np.testing.assert_array_equal(read_masks(write(instance=7, reMask=MASKS[0]))[7], MASKS[0].T == 1)
    assert read_masks(write(instance=np.zeros(0, int), reMask=np.zeros((0, 6, 4)))) == {}

    def compressed(file, name):
        file.create_dataset(name, data=MASKS, compression="gzip")

    assert list(read_masks(write(reMask=compressed))) == [0, 2]


def pipe(path):
    os.mkfifo(path)


def unix_socket(path):
    server = socket.socket(socket.AF_UNIX)
    server.bind(str(path))
    server.close()


def loop(path):
    path.symlink_to(path.name)


@pytest.mark.parametrize("make", [pipe, unix_socket, os.mkdir, loop])
def test_what_is_no_file_is_refused_and_not_waited_for(tmp_path, monkeypatch, make):
    monkeypatch.chdir(tmp_path)  # a socket's path is short
    (tmp_path / "vid").mkdir()
    make((tmp_path / "vid" / "00003.h5").relative_to(tmp_path))
    for read in (
        lambda: read_masks(tmp_path / "vid" / "00003.h5"),
        lambda: read_index(tmp_path, {"vid"}, tmp_path / "index.json"),
    ):
        with pytest.raises(DataError, match=r"00003.h5: (not a regular file|cannot be opened)"):
            read()


def test_damaged_bytes_give_one_kind_of_error(write):
    path = write()
    whole, random = path.read_bytes(), np.random.default_rng(0)
    for _ in range(300):
        content = bytearray(whole)
        for place in random.integers(0, len(whole), random.integers(1, 9)):
            content[place] = random.integers(256)
        path.write_bytes(content[: random.integers(1, len(whole) + 1)] if random.random() < 0.3 else content)
        try:
            read_masks(path)
        except DataError as error:
            assert str(path) in str(error)


def test_names_with_and_without_zeros(tmp_path):
    for name in ("3.h5", "00012.h5", "0007.H5", "._00003.h5", ".DS_Store", "notes.txt", "00004.h5.part"):
        (tmp_path / name).write_bytes(b"")
    names = {frame: path.name for frame, path in annotated_frames(tmp_path).items()}
    assert names == {2: "3.h5", 6: "0007.H5", 11: "00012.h5"} and list(names) == [2, 6, 11]
    assert annotated_frames(tmp_path / "gone") == {}
    (tmp_path / "0003.h5").touch()
    with pytest.raises(DataError, match="3.h5: 0003.h5 is of the same frame: keep one of them"):
        annotated_frames(tmp_path)


@pytest.mark.parametrize("name", ["0", "-1", "first", "0_1", "1.5", "00003 copy"])
def test_names_that_are_no_numbers(tmp_path, name):
    (tmp_path / f"{name}.h5").touch()
    with pytest.raises(DataError, match=f"{name}.h5: (frames are numbered from 1|expected a whole number)"):
        annotated_frames(tmp_path)


@pytest.mark.parametrize("content", ["[]", "3", '{"vid/00003.h5": 5}', '{"vid/00003.h5": [[1, 2], "x"]}'])
def test_a_spoilt_index_is_made_anew(tmp_path, write, content):
    (tmp_path / "vid").mkdir()
    path = write().rename(tmp_path / "vid" / "00003.h5")
    (tmp_path / "index.json").write_text(content)
    frames = read_index(tmp_path, {"vid"}, tmp_path / "index.json")["vid"]
    assert list(frames) == [2] and frames[2].path == path and frames[2].ids == [2, 0]
