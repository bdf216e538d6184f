"""A folder of videos: each into a folder of its own, whatever is wrong with another."""

import shutil

import numpy as np
import pytest

from mmvs.__main__ import main
from mmvs.config import EMBEDDED, ROOT
from mmvs.segmenter import Segmenter
from mmvs.segmenter.folder import segment_to_folder, segment_videos
from mmvs.video.files import write_video
from mmvs.video.folders import films
from mmvs.video.stream import VideoSource

CLIP = ROOT / "docs" / "media" / "shapes.mp4"
SENTENCES = ["the yellow circle falling"]


@pytest.fixture
def folder(tmp_path):
    """Two good videos, of which one is short, one that is none, and a note."""
    videos = tmp_path / "videos"
    videos.mkdir()
    shutil.copy(CLIP, videos / "good.mp4")
    write_video(videos / "short.mp4", np.zeros((4, 64, 64, 3), np.uint8), 18)
    (videos / "torn.mov").write_bytes(b"no video")
    (videos / "notes.txt").write_text("of this folder")
    return videos


def test_films_of_a_folder(folder, tmp_path):
    assert [file.name for file in films(folder)] == ["good.mp4", "short.mp4", "torn.mov"]
    (folder / "001.png").write_bytes(b"")
    assert films(folder) == films(CLIP) == films(tmp_path / "absent") == []


def test_each_is_as_by_itself(folder, tmp_path):
    segmenter, out = Segmenter.from_run(EMBEDDED), tmp_path / "out"
    damaged, failed = segment_videos(segmenter, films(folder), SENTENCES, out, ("npz",), progress=False)
    assert not damaged and list(failed) == [folder / "torn.mov"]
    assert sorted(one.name for one in out.iterdir() if one.is_dir()) == ["good", "short"]
    segment_to_folder(segmenter, CLIP, SENTENCES, tmp_path / "alone", ("npz",), progress=False)
    own, alone = (np.load(place / "masks.npz")["masks"] for place in (out / "good", tmp_path / "alone"))
    assert own.any() and np.array_equal(own, alone)


def test_command(folder, tmp_path, capfd):
    for frames in ("17/17", "0/0"):  # the second call finds everything done
        with pytest.raises(SystemExit) as end:
            main(["segment", str(folder), *SENTENCES, "--out", str(tmp_path / "out"), "--format", "png"])
        said = capfd.readouterr()
        assert end.value.code == 1 and "no results of" in said.err and "torn.mov" in said.err
        assert frames in said.err
    assert (tmp_path / "out" / "short" / "masks").is_dir()


def test_names_that_differ_in_their_ends_alone(folder, tmp_path):
    shutil.copy(CLIP, folder / "good.mkv")
    (folder / "torn.mov").unlink()
    segmenter, out = Segmenter.from_run(EMBEDDED), tmp_path / "out"
    assert segment_videos(segmenter, films(folder), SENTENCES, out, ("npz",), False) == ({}, {})
    assert sorted(one.name for one in out.iterdir() if one.is_dir()) == ["good.mkv", "good.mp4", "short"]


@pytest.mark.parametrize("several", [False, True])
def test_a_video_of_unknown_length(folder, tmp_path, monkeypatch, several):
    unknown = property(lambda source: None, lambda source, value: None)
    monkeypatch.setattr(VideoSource, "count", unknown, raising=False)
    segmenter = Segmenter.from_run(EMBEDDED)
    if several:
        segment_videos(segmenter, films(folder)[:2], SENTENCES, tmp_path / "out", ("npz",))
    else:
        segment_to_folder(segmenter, CLIP, SENTENCES, tmp_path / "out" / "good", ("npz",))
    assert np.load(tmp_path / "out" / "good" / "masks.npz")["masks"].any()
