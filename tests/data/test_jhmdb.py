"""mmvs.data.jhmdb: each convention of J-HMDB-Sentences on a small tree written by hand."""

import csv
import os
from pathlib import Path

import numpy as np
import pytest
import scipy.io
import tiny
from PIL import Image

from mmvs import files
from mmvs.config import ROOT, Flow, experiment
from mmvs.data import catalogue, jhmdb_samples
from mmvs.data.csv_files import DataError
from mmvs.data.jhmdb import JHMDBSentences
from mmvs.flow.estimators import FlowError, estimator
from mmvs.flow.store import FlowStore
from mmvs.schema import Sample
from mmvs.video.files import VideoError

HEIGHT, WIDTH, FRAMES = 24, 40, 7  # not square: a transposition shows
PUBLISHED = [
    ROOT.parent / "shared" / "data" / name for name in ("jhmdb_samples.csv", "jhmdb_samples_mttr.csv")
]


class Tree:
    """A folder in the published layout; tests add what they need, then open it."""

    def __init__(self, root: Path):
        self.root, self.rows = root, []
        root.mkdir()

    def video(self, name, action="walk", pictures=FRAMES, masks=FRAMES, value=1, query="A man  walks"):
        """Frame t is grey 20 + 30 t; its mask is the columns t to t + 9, above row 5."""
        for t in range(pictures):
            path = self.pictures(name, action) / f"{t + 1:05d}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (WIDTH, HEIGHT), (20 + 30 * t, 0, 200)).save(path)
        mask = np.zeros((HEIGHT, WIDTH, masks), np.uint8)
        for t in range(masks):
            mask[:5, t : t + 10, t] = value
        self.puppet(name, action).parent.mkdir(parents=True, exist_ok=True)
        scipy.io.savemat(self.puppet(name, action), {"part_mask": mask}, do_compression=True)
        if query is not None:
            self.rows.append([name, query])
        self.annotate()
        return self

    def annotate(self):
        with (self.root / "jhmdb_annotation.txt").open("w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows([["video_id", "query"], *self.rows])

    def pictures(self, name, action="walk"):
        return self.root / "Rename_Images" / action / name

    def puppet(self, name, action="walk"):
        return self.root / "puppet_mask" / action / name / "puppet_mask.mat"

    def write_list(self, *rows, header="video_id,action,frame,total_frames,query"):
        path = self.root / "list.csv"
        path.write_text("\n".join([header, *rows]) + "\n", encoding="utf-8")
        return path


@pytest.fixture
def tree(tmp_path):
    return Tree(tmp_path / "jhmdb")


@pytest.fixture
def one(tree):
    return tree.video("vid")


# The conventions


def test_a_list_of_samples_is_read_as_published(one):
    one.video("other", action="run")
    path = one.write_list("other,run,7,7,Two  MEN", "vid,walk,1,7,a man", 'vid,walk,3,7,"a man, left"')
    dataset = JHMDBSentences(one.root, path)
    assert list(dataset) == [  # in the list's order, frames from 0, normalised
        Sample("other", 6, 0, "two men"), Sample("vid", 0, 0, "a man"), Sample("vid", 2, 0, "a man, left"),
    ]  # fmt: skip
    assert dataset.videos == ["other", "vid"]
    assert dataset.video_path("other") == one.pictures("other", "run")
    shorter = one.write_list("vid,3,a man", header="video_id,frame,query")
    assert list(JHMDBSentences(one.root, str(shorter))) == [Sample("vid", 2, 0, "a man")]


def test_the_list_is_named(one):
    first = JHMDBSentences(one.root, one.write_list("vid,walk,1,7,a man")).samples_from
    second = JHMDBSentences(one.root, one.write_list("vid,walk,2,7,a man")).samples_from
    assert first.startswith("list.csv (1 samples, sha256 ") and first != second
    assert JHMDBSentences(one.root).samples_from.startswith("mmvs_jhmdb_samples.csv (3 samples")


def test_masks_are_height_width_time_and_any_value_counts(tree):
    tree.video("ones").video("bright", value=255).video("part", value=7)
    dataset = JHMDBSentences(tree.root)
    for i, sample in enumerate(dataset):
        expected = np.zeros((HEIGHT, WIDTH), bool)
        expected[:5, sample.frame : sample.frame + 10] = True
        assert dataset.mask(i).dtype == bool
        np.testing.assert_array_equal(dataset.mask(i), expected)
        assert dataset.masks_in_frame(i).keys() == {sample.instance_id}


def test_frames_count_from_one(one):
    dataset = JHMDBSentences(one.root, one.write_list("vid,walk,1,7,x"))
    assert dataset.size("vid") == (HEIGHT, WIDTH)
    indices, frames = dataset.window(0, 3)
    assert indices == [0, 0, 1] and frames.shape == (3, HEIGHT, WIDTH, 3) and frames.dtype == np.uint8
    assert frames[:, 0, 0].tolist() == [[20, 0, 200], [20, 0, 200], [50, 0, 200]]  # red first


@pytest.mark.parametrize(("pictures", "masks"), [(7, 5), (5, 7), (7, 1)])
def test_the_smaller_of_pictures_and_masks_is_usable(tree, pictures, masks):
    usable = min(pictures, masks)
    tree.video("vid", pictures=pictures, masks=masks)
    dataset = JHMDBSentences(tree.root, tree.write_list(f"vid,walk,{usable},7,x"))
    assert dataset.frame_count("vid") == usable
    assert dataset.window(0, 3)[0] == [max(usable - 2, 0), usable - 1, usable - 1]
    assert dataset.mask(0)[0, usable - 1]
    with pytest.raises(
        DataError, match=f"list.csv: frame {usable + 1} of 'vid' .* only {usable} are annotated"
    ):
        JHMDBSentences(tree.root, tree.write_list(f"vid,walk,{usable + 1},7,x"))


@pytest.mark.parametrize("name", ["_Boom_Snap_Clap_clap_u", "a(1)_b", "@_x@y", "50_FIRST_DATES", "-x", "é"])
def test_names_hold_brackets_signs_and_underscores(tree, name):
    dataset = JHMDBSentences(tree.video(name).root)
    assert {sample.video_id for sample in dataset} == {name}
    assert dataset.window(0, 1)[1].shape == (1, HEIGHT, WIDTH, 3) and dataset.mask(0).any()


# The list that is drawn


def test_three_frames_are_drawn_once_and_kept(tree):
    for k in range(6):
        tree.video(f"v{k}", pictures=20, masks=20)
    dataset = JHMDBSentences(tree.root)
    frames = [[s.frame for s in dataset if s.video_id == f"v{k}"] for k in range(6)]
    assert all(len(set(f)) == 3 and f == sorted(f) and 0 <= f[0] <= f[2] < 20 for f in frames)
    assert len({tuple(f) for f in frames}) > 1, "videos are drawn from independently"
    path = tree.root / jhmdb_samples.DRAWN
    text = path.read_text()
    assert text.splitlines()[:2] == [
        "video_id,action,frame,total_frames,query", f"v0,walk,{frames[0][0] + 1},20,a man walks",
    ]  # fmt: skip
    path.write_text("".join(text.splitlines(keepends=True)[:3]))
    assert len(JHMDBSentences(tree.root)) == 2, "it is read, not drawn anew"


def test_what_is_drawn_depends_on_the_seed_and_the_video_alone(tree, tmp_path):
    for k in range(4):
        tree.video(f"v{k}", pictures=20, masks=20)
    lists = [
        jhmdb_samples.read_list(jhmdb_samples.draw(tree.root, tmp_path / f"{s}.csv", s)) for s in (0, 0, 1)
    ]
    assert lists[0] == lists[1] != lists[2]
    tree.rows = tree.rows[2:]
    tree.annotate()
    fewer = jhmdb_samples.read_list(jhmdb_samples.draw(tree.root, tmp_path / "fewer.csv"))
    assert fewer == [sample for sample in lists[0] if sample.video_id in ("v2", "v3")]


def test_short_videos_give_all_their_frames(tree):
    assert [s.frame for s in JHMDBSentences(tree.video("vid", pictures=2).root)] == [0, 1]


def test_a_root_that_may_not_be_written_is_said_with_the_way_out(one, monkeypatch):
    def refuse(*_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(files.os, "replace", refuse)
    before = sorted(one.root.rglob("*"))
    with pytest.raises(
        DataError, match=r"mmvs_jhmdb_samples.csv: .*Permission denied.*mmvs draw ROOT.*data: "
    ):
        JHMDBSentences(one.root)
    assert sorted(one.root.rglob("*")) == before, "nothing half-written is left"


def test_the_command_draws_elsewhere(one, tmp_path, capsys):
    assert tiny.command("draw", one.root, tmp_path / "mine.csv", "--seed", 3) == 0
    assert capsys.readouterr().out.startswith("mine.csv (3 samples, sha256 ")
    run = experiment(data={"roots": {"jhmdb": str(one.root)}, "jhmdb_samples": str(tmp_path / "mine.csv")})
    assert catalogue.open("jhmdb", run).samples.samples_from.startswith("mine.csv")
    assert tiny.command("draw", tmp_path / "nowhere", "x.csv") == 1
    assert "nowhere" in capsys.readouterr().err


@pytest.mark.parametrize("path", PUBLISHED, ids=lambda path: path.stem)
def test_published_lists_are_accepted(path):
    if not path.is_file():
        pytest.skip("the published lists are not part of the repository")
    samples = jhmdb_samples.read_list(path)
    assert len(samples) == 2784 and len({s.video_id for s in samples}) == 928
    assert min(s.frame for s in samples) == 0 and max(s.frame for s in samples) == 39


# Flow


def test_flow_of_a_folder_is_stored_and_follows_its_content(tree, tmp_path):
    tree.video("vid")
    noise = np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH + 20, 3), dtype=np.uint8)
    for t in range(FRAMES):  # the picture moves to the left, two pixels a frame
        Image.fromarray(noise[:, 2 * t : 2 * t + WIDTH]).save(tree.pictures("vid") / f"{t + 1:05d}.png")
    dataset = JHMDBSentences(tree.root)
    store, video = FlowStore(tmp_path / "flow", estimator(Flow())), dataset.video_path("vid")
    assert store.compute({"vid": video}, progress=False).computed == 1
    assert store.compute({"vid": video}, progress=False).skipped == 1
    flow = store.read("vid", video, [0, FRAMES - 1])
    assert flow.shape == (2, 2, HEIGHT, WIDTH)
    assert np.median(flow[0, 0]) == pytest.approx(-2, abs=0.3) and np.median(flow[0, 1]) == pytest.approx(
        0, abs=0.3
    )
    Image.new("RGB", (WIDTH, HEIGHT)).save(video / "00002.png")
    with pytest.raises(FlowError, match="stale"):
        store.read("vid", video, [0])
    assert store.compute({"vid": video}, progress=False).computed == 1


# Bad input: the message names it


@pytest.mark.parametrize("name", ["../vid", "/vid", "..", "a/b", "a\\b", ""])
def test_an_id_that_leads_out_of_the_tree_is_refused(one, name):
    with pytest.raises(DataError, match="list.csv, line 3.*not a video id"):
        JHMDBSentences(one.root, one.write_list("vid,walk,1,7,x", f"{name},walk,1,7,x"))
    dataset = JHMDBSentences(one.root)
    with pytest.raises(DataError, match="not a video id"):
        dataset.frame_count(name)
    one.rows.append([name, "x"])
    one.annotate()
    (one.root / jhmdb_samples.DRAWN).unlink()
    with pytest.raises(DataError, match="jhmdb_annotation.txt, line 3.*not a video id"):
        JHMDBSentences(one.root)


def test_the_action_of_a_list_is_not_believed(one):
    dataset = JHMDBSentences(one.root, one.write_list("vid,../../elsewhere,1,7,x"))
    assert dataset.video_path("vid") == one.pictures("vid") and dataset.annotation_path(0) == one.puppet(
        "vid"
    )


@pytest.mark.parametrize(
    ("rows", "complaint"),
    [
        (["vid,walk,0,7,x"], "line 2: frame 0, but frames are numbered from 1"),
        (["vid,walk,two,7,x"], "line 2: expected a whole number, got 'two'"),
        (["vid,walk,1,7,  "], "line 2: the sentence of video 'vid' is empty"),
        (["vid,walk,1,7,a, b"], "line 2: 6 columns, not 5"),
        ([], "lists no samples"),
    ],
)
def test_a_damaged_list(one, rows, complaint):
    with pytest.raises(DataError, match=f"list.csv.*{complaint}"):
        JHMDBSentences(one.root, one.write_list(*rows))


def test_missing_files_are_named(one):
    with pytest.raises(DataError, match="no.csv: no such file"):
        JHMDBSentences(one.root, one.root / "no.csv")
    with pytest.raises(
        DataError, match=r"Rename_Images: no folder for 1 of 2 videos \('gone'\).*python -m mmvs verify"
    ):
        JHMDBSentences(one.root, one.write_list("vid,walk,1,7,x", "gone,walk,1,7,x"))
    with pytest.raises(DataError, match="no folder for video 'gone'"):
        JHMDBSentences(one.root).video_path("gone")
    one.puppet("vid").unlink()
    with pytest.raises(DataError, match="puppet_mask.mat: no such file"):
        JHMDBSentences(one.root)
    (one.root / jhmdb_samples.DRAWN).unlink()
    (one.root / "jhmdb_annotation.txt").unlink()
    with pytest.raises(DataError, match="jhmdb_annotation.txt: no such file"):
        JHMDBSentences(one.root)


@pytest.mark.parametrize("content", [b"", b"not MATLAB", b"half"])
def test_damaged_masks(one, content):
    dataset = JHMDBSentences(one.root)
    whole = one.puppet("vid").read_bytes()
    one.puppet("vid").write_bytes(whole[: len(whole) // 2] if content == b"half" else content)
    with pytest.raises(DataError, match="puppet_mask.mat: (damaged or not MATLAB 5|.*cut short)"):
        dataset.mask(0)


def test_masks_of_another_kind_or_size(one):
    dataset = JHMDBSentences(one.root)
    scipy.io.savemat(one.puppet("vid"), {"part_mask": np.zeros((WIDTH, HEIGHT, FRAMES), np.uint8)})
    with pytest.raises(DataError, match=r"masks are \(40, 24\).*vid is \(24, 40\)"):
        dataset.mask(0)
    scipy.io.savemat(one.puppet("vid"), {"part_mask": np.zeros((HEIGHT, WIDTH, FRAMES))})
    with pytest.raises(DataError, match="is float64"):
        dataset.mask(0)
    scipy.io.savemat(one.puppet("vid"), {"mask": np.zeros((HEIGHT, WIDTH, FRAMES), np.uint8)})
    for use in (lambda: dataset.mask(0), lambda: JHMDBSentences(one.root)):
        with pytest.raises(DataError, match="lacks 'part_mask'"):
            use()


def test_damaged_pictures(one):
    dataset = JHMDBSentences(one.root, one.write_list("vid,walk,4,7,x"))
    picture = one.pictures("vid") / "00004.png"
    whole = picture.read_bytes()
    for content in (whole[: len(whole) // 2], b"no picture", b""):
        picture.write_bytes(content)
        with pytest.raises(VideoError, match="00004.png: damaged"):
            dataset.window(0, 3)
    Image.new("RGB", (8, 8)).save(picture)
    with pytest.raises(VideoError, match="different sizes"):
        dataset.window(0, 3)
    picture.unlink()
    with pytest.raises(VideoError, match=r"vid: 1 of 7 frames are missing \(00004.png\)"):
        dataset.window(0, 3)
    for left in one.pictures("vid").iterdir():
        left.unlink()
    with pytest.raises(VideoError, match="vid: no frames"):
        JHMDBSentences(one.root)


def test_other_files_in_a_folder_are_no_frames(one):
    for name in ("._00001.png", "Thumbs.db", "cover.png"):
        (one.pictures("vid") / name).write_bytes(b"x")
    os.mkdir(one.root / "Rename_Images" / "walk" / "unsaid")
    assert JHMDBSentences(one.root).frame_count("vid") == FRAMES
