"""mmvs.data.mask_tracks: any JSON of tracks is indexed in bounded memory; damage is named."""

import json
import os
import tracemalloc

import numpy as np
import pytest

from mmvs.data import mask_tracks
from mmvs.data.csv_files import DataError
from mmvs.data.mask_tracks import MaskTracks

# Strings with all that could be taken for the end of something, and characters of several bytes.
TRACKS = {
    "0": [{"size": [2, 3], "counts": r"]}[{\"],\\"}, None],
    "10": [None, {"size": [2, 3], "counts": [2, 1, 3], "note": "żółw 红"}],
    "3": [],
}


def written(path, tracks, **style):
    path.write_text(json.dumps(tracks, **style), encoding="utf-8")
    return path


@pytest.mark.parametrize("piece", [1, 2, 7, 64, 1 << 20])
@pytest.mark.parametrize("style", [{}, {"indent": 2}, {"separators": (",", ":")}, {"ensure_ascii": False}])
def test_every_track_is_found_wherever_a_piece_of_the_file_ends(tmp_path, monkeypatch, piece, style):
    monkeypatch.setattr(mask_tracks, "PIECE", piece)
    tracks = MaskTracks(written(tmp_path / "mask_dict.json", TRACKS, **style))
    assert list(tracks.spans) == list(TRACKS)
    for number, codes in TRACKS.items():
        assert int(number) in tracks and tracks.read(int(number)) == codes
    assert 1 not in tracks and tracks.size(10) == (2, 3) and tracks.size(3) is None
    masks = list(tracks.masks(10, 2, [1, 0, 1], (2, 3)))
    assert [mask.tolist() for mask in masks] == [
        [[False, True, False], [False, False, False]],  # column after column: pixel 2 is the second's first
        [[False] * 3] * 2,
        [[False, True, False], [False, False, False]],
    ]


def test_an_empty_file_of_tracks_has_none(tmp_path):
    assert not MaskTracks(written(tmp_path / "mask_dict.json", {})).spans


def test_a_track_that_stands_there_twice_is_named_and_the_last_counts(tmp_path):
    path = tmp_path / "mask_dict.json"
    path.write_text('{"1": [null], "2": [], "1": [null, null]}')
    tracks = MaskTracks(path)
    assert tracks.repeated == ["1"] and tracks.read(1) == [None, None]


@pytest.mark.parametrize(
    "text", ["[]", '{"1" [null]}', "{1: [null]}", '{"1": [null] "2": []}', '{"1": [nul]}']
)
def test_what_is_no_file_of_tracks_is_refused_with_the_place(tmp_path, text):
    path = tmp_path / "mask_dict.json"
    path.write_text(text)
    with pytest.raises(DataError, match=r"mask_dict.json: damaged or cut short at byte \d+, where"):
        MaskTracks(path)


def test_the_index_of_a_large_file_is_kept_until_the_file_changes(tmp_path, monkeypatch):
    monkeypatch.setattr(mask_tracks, "WORTH_KEEPING", 0)
    path = written(tmp_path / "mask_dict.json", TRACKS)
    first = MaskTracks(path)
    kept = tmp_path / ".mmvs_mask_dict_index.json"
    assert kept.is_file()
    with monkeypatch.context() as patch:
        patch.setattr(mask_tracks, "_Scan", None)  # would raise: the file is not read again
        assert MaskTracks(path).spans == first.spans
    written(path, {"7": [None]})
    assert list(MaskTracks(path).spans) == ["7"]
    kept.write_text("{")  # torn
    assert list(MaskTracks(path).spans) == ["7"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_where_the_index_may_not_be_kept_the_file_is_read_again(tmp_path, monkeypatch):
    monkeypatch.setattr(mask_tracks, "WORTH_KEEPING", 0)
    path = written(tmp_path / "mask_dict.json", TRACKS)
    tmp_path.chmod(0o500)
    try:
        assert list(MaskTracks(path).spans) == list(TRACKS)
    finally:
        tmp_path.chmod(0o700)


def test_memory_does_not_grow_with_the_file(tmp_path, monkeypatch):
    monkeypatch.setattr(mask_tracks, "PIECE", 1 << 16)
    code = {"size": [4, 4], "counts": "".join(map(chr, np.random.default_rng(0).integers(48, 90, 500)))}
    path = written(tmp_path / "mask_dict.json", {str(k): [code] * 20 for k in range(400)})  # 4 MB
    tracemalloc.start()
    MaskTracks(path)
    assert tracemalloc.get_traced_memory()[1] < 1 << 20
    tracemalloc.stop()
