"""Every format, written by the command and read by the library that its users have."""

import csv
import json
import shutil
from pathlib import Path

import expression_trees as trees
import numpy as np
import pytest
import tiny
from faster_coco_eval import COCO
from PIL import Image

from mmvs.data.own import coco as own_coco
from mmvs.data.own import mask_pictures
from mmvs.scoring import Request, score
from mmvs.segmenter.formats import FORMATS, Results, View, video_name
from mmvs.segmenter.segmenter import Segmenter
from mmvs.video.files import write_video
from mmvs.video.frames import read_frames

SENTENCES = ["the red circle", "a big square that goes up", "the circle"]
COUNT, SIZE = 7, (32, 48)
THRESHOLD = 0.36  # at which the masks of untrained weights overlap, and do not cover everything


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run's folder, and a video."""
    folder = tmp_path_factory.mktemp("reports") / "tiny"
    tiny.checkpoint(tiny.run(folder), folder / "checkpoints")
    frames = np.random.default_rng(0).integers(0, 255, (COUNT, *SIZE, 3), dtype=np.uint8)
    write_video(folder / "clip.mp4", frames)
    return folder


@pytest.fixture(scope="module")
def out(run, tmp_path_factory):
    """The results of all formats."""
    folder = tmp_path_factory.mktemp("out")
    every = "overlay,png,palette", "coco,ytvos", "npz"
    options = [word for some in every for word in ("--format", some)]
    words = ["segment", run / "clip.mp4", *SENTENCES, "--run", run, "--out", folder, "--quiet"]
    assert tiny.command(*words, *options, "--threshold", THRESHOLD) == 0
    return folder


@pytest.fixture(scope="module")
def answers(run):
    """What the formats should say."""
    return list(Segmenter.from_run(run).segment(run / "clip.mp4", SENTENCES, threshold=THRESHOLD))


def test_the_folder_holds_results_alone(out):
    hidden = {".journal.jsonl"}
    names = {one.output for one in FORMATS.values()} | {"segmentation.json"} | hidden
    assert {path.name for path in out.iterdir()} == names


def test_numpy(out, answers):
    with np.load(out / "masks.npz") as arrays:
        assert arrays["masks"].dtype == bool
        assert np.array_equal(arrays["masks"], np.stack([answer.masks for answer in answers]))
        score = np.stack([answer.score for answer in answers])
        assert np.abs(arrays["score"] - score).max() <= 0.5e-4
        assert arrays["frame"].tolist() == list(range(COUNT))
        assert np.abs(arrays["time"] - [answer.time for answer in answers]).max() <= 0.5e-4
        assert arrays["sentences"].tolist() == SENTENCES


def test_pictures(out, answers):
    for answer in answers:
        for n in range(3):
            picture = Image.open(out / "masks" / str(n + 1) / f"{answer.index:06d}.png")
            assert picture.mode == "1" and np.array_equal(np.asarray(picture), answer.masks[n])


def test_a_palette_has_all_sentences_and_the_surer_where_they_overlap(out, answers):
    with (out / "score.csv").open() as file:
        rows = list(csv.DictReader(file))
    overlaps = 0
    for answer in answers:
        picture = Image.open(out / "palette" / f"{answer.index:05d}.png")
        assert picture.mode == "P" and picture.size == SIZE[::-1]
        assert picture.getpalette()[:12] == [0, 0, 0, 128, 0, 0, 0, 128, 0, 128, 128, 0]  # DAVIS's first four
        numbers = np.asarray(picture)
        sure = [float(row["score"]) for row in rows if int(row["frame"]) == answer.index]
        assert np.array_equal(numbers > 0, answer.masks.any(axis=0))
        for y, x in np.argwhere(answer.masks.any(axis=0)):
            there = [n for n in range(3) if answer.masks[n, y, x]]
            assert numbers[y, x] == 1 + max(there, key=lambda n: (sure[n], -n))
            overlaps += len(there) > 1
    assert overlaps, "the case that the rule is for"


def test_coco(out, answers, capsys):
    data = COCO(str(out / "masks.json"))
    assert [category["name"] for category in data.loadCats(data.getCatIds())] == SENTENCES
    assert [image["file_name"] for image in data.loadImgs(data.getImgIds())] == [
        f"clip/{t:05d}.png" for t in range(COUNT)
    ]
    for answer in answers:
        masks = np.zeros_like(answer.masks)
        for one in data.loadAnns(data.getAnnIds(imgIds=[answer.index])):
            n = one["category_id"] - 1
            masks[n] = data.annToMask(one)
            assert one["area"] == masks[n].sum() > 0
            assert one["score"] == pytest.approx(answer.score[n], abs=0.5e-4)
            ys, xs = np.nonzero(masks[n])
            assert one["bbox"] == [xs.min(), ys.min(), np.ptp(xs) + 1, np.ptp(ys) + 1]
        assert np.array_equal(masks, answer.masks)


def test_coco_and_palette_are_labels_of_own_data(out, answers):
    """So that masks can be mended and trained on."""
    labels = own_coco.read((out / "masks.json").read_bytes(), "masks.json")
    assert not labels.faults and len(labels.frames) == COUNT
    names = {name for frame in labels.frames for name, _ in frame.objects}
    assert names <= {"1", "2", "3"}
    pictures = mask_pictures.read(out / "palette")
    assert not pictures.faults and [str(frame.frame) for frame in pictures.frames] == [
        f"{t:05d}" for t in range(COUNT)
    ]


def test_a_submission_is_scored(tmp_path):
    """Of videos of Ref-YouTube-VOS, folders of pictures: by the names that its server wants."""
    run = tmp_path / "run"
    tiny.checkpoint(tiny.run(run, max_words=64), run / "checkpoints")
    root = trees.copy("ref-youtube-vos", tmp_path / "data")
    meta = json.loads((root / "meta_expressions" / "train" / "meta_expressions.json").read_text())
    for name, video in meta["videos"].items():
        sentences = [one["exp"] for _, one in sorted(video["expressions"].items(), key=lambda x: int(x[0]))]
        pictures = root / "train" / "JPEGImages" / name
        words = ["segment", pictures, *sentences, "--run", run, "--quiet", "--format", "ytvos"]
        assert tiny.command(*words, "--out", tmp_path / name) == 0
        written = sorted(path.relative_to(tmp_path / name) for path in (tmp_path / name).rglob("*.png"))
        assert written == sorted(
            Path("Annotations", name, str(n), f"{picture.stem}.png")
            for n in range(len(sentences))
            for picture in pictures.iterdir()
        )
        shutil.copytree(tmp_path / name / "Annotations", tmp_path / "all", dirs_exist_ok=True)
    report = score(Request(tmp_path / "all", root, "ref-youtube-vos", "train", workers=1, progress=False))
    assert report.is_sound, report.text()
    assert 0 <= report.details["overall"]["J&F"] <= 1


def test_an_excerpt_keeps_the_numbers_and_times_of_the_whole_video(run, tmp_path):
    frames = read_frames(run / "clip.mp4", range(COUNT)).repeat(5, axis=0)  # 35 frames, 1.4 s
    write_video(tmp_path / "long.mp4", frames)
    words = [
        "segment",
        tmp_path / "long.mp4",
        "the circle",
        "--run",
        run,
        "--out",
        tmp_path / "out",
        "--quiet",
    ]
    part = [
        "--start",
        "0:00.4",
        "--end",
        "1.2",
        "--fps",
        "5",
        "--format",
        "png,npz,overlay,coco,ytvos,palette",
    ]
    assert tiny.command(*words, *part) == 0
    with np.load(tmp_path / "out" / "masks.npz") as arrays:
        assert arrays["frame"].tolist() == [10, 15, 20, 25]
        assert arrays["time"].tolist() == pytest.approx([0.4, 0.6, 0.8, 1.0])
        alone = Segmenter.from_run(run).segment(frames[[10, 15, 20, 25]], "the circle")
        assert all(np.mean(a.masks != b) < 0.02 for a, b in zip(alone, arrays["masks"], strict=True))
    names = {"masks/1": "0000{}.png", "palette": "000{}.png", "Annotations/long/0": "000{}.png"}
    for folder, name in names.items():
        written = sorted(path.name for path in (tmp_path / "out" / folder).iterdir())
        assert written == [name.format(t) for t in (10, 15, 20, 25)]


def test_names_of_videos(tmp_path, monkeypatch):
    (tmp_path / "street").mkdir()
    for name in ("00005.jpg", "00000.jpg"):
        Image.new("RGB", (4, 4)).save(tmp_path / "street" / name)
    assert video_name(tmp_path / "street") == ("street", ["00000.jpg", "00005.jpg"])
    monkeypatch.chdir(tmp_path / "street")
    assert video_name(".") == ("street", ["00000.jpg", "00005.jpg"])
    (tmp_path / "a.b.mp4").touch()
    assert video_name(tmp_path / "a.b.mp4") == ("a.b", [])
    assert video_name("https://example.org/films/one.mp4?size=1/2") == ("one", [])
    assert video_name("rtsp://example.org") == ("video", [])


def test_more_sentences_than_a_palette_has_numbers(run, tmp_path, capsys):
    words = ["segment", run / "clip.mp4", *["the circle"] * 255, "--run", run, "--out", tmp_path / "out"]
    assert tiny.command(*words, "--format", "palette") == 1
    assert "254 at most" in capsys.readouterr().err and not (tmp_path / "out").exists()


def test_a_hidden_folder_that_is_a_link_is_not_written_into(tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / ".unfinished-masks").symlink_to(tmp_path / "elsewhere")
    about = Results(None, "clip", [], ["one"], (4, 4), 1.0)
    with pytest.raises(FileExistsError, match="was not made here"):
        with FORMATS["png"].open(tmp_path / "masks", about) as write:
            write(View(0, 0.0, None, np.ones((1, 4, 4), bool), [1.0]))
    assert not list((tmp_path / "elsewhere").iterdir())
