"""The command: what it writes, that a stopped job goes on, and that refusals are one line."""

import csv
import json
import re
import shutil
import threading
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
import tiny
from faster_coco_eval.core import mask as coco
from PIL import Image

from mmvs.segmenter.folder import segment_to_folder
from mmvs.segmenter.legend import draw_legend
from mmvs.segmenter.overlay import COLOURS
from mmvs.segmenter.segmenter import Segmenter
from mmvs.video.files import write_video

SENTENCES = ["the red circle", "a big square that goes up"]
COUNT = 9


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run's folder, and a video."""
    folder = tmp_path_factory.mktemp("reports") / "tiny"
    tiny.checkpoint(tiny.run(folder), folder / "checkpoints")
    frames = np.random.default_rng(0).integers(0, 255, (COUNT, 32, 48, 3), dtype=np.uint8)
    write_video(folder / "clip.mp4", frames)
    return folder


@pytest.fixture(scope="module")
def whole(run, tmp_path_factory):
    """The results of a job that nothing stopped."""
    out = tmp_path_factory.mktemp("whole")
    segment_to_folder(Segmenter.from_run(run), run / "clip.mp4", SENTENCES, out, progress=False)
    return out


def contents(folder) -> dict[str, bytes]:
    """Every file with its content, without seconds of the clock; the overlay's name only: see `overlay`."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    content = {str(file.relative_to(folder)): file.read_bytes() for file in files}
    content["segmentation.json"] = json.dumps(
        {**json.loads(content["segmentation.json"]), "seconds": 0}
    ).encode()
    return content | {"overlay.mp4": b""}


def overlay(folder) -> np.ndarray:
    """Its pictures. x264 gives slightly others on every call."""
    with av.open(str(folder / "overlay.mp4")) as container:
        return np.stack([frame.to_ndarray(format="rgb24").astype(int) for frame in container.decode(video=0)])


def test_what_the_command_writes(run, whole):
    answers = list(Segmenter.from_run(run).segment(run / "clip.mp4", SENTENCES))
    names = {f"masks/{n}/{t:06d}.png" for n in (1, 2) for t in range(COUNT)}
    assert set(contents(whole)) == names | {"overlay.mp4", "confidence.csv", "segmentation.json"}
    rows = list(csv.DictReader((whole / "confidence.csv").open()))
    assert len(rows) == 2 * COUNT
    for row, (answer, n) in zip(rows, [(a, n) for a in answers for n in (0, 1)], strict=True):
        assert (int(row["frame"]), row["sentence"]) == (answer.index, SENTENCES[n])
        assert float(row["time"]) == pytest.approx(answer.time, abs=1e-4)
        assert float(row["confidence"]) == pytest.approx(answer.confidence[n], abs=1e-4)
        assert float(row["area"]) == pytest.approx(answer.masks[n].mean(), abs=1e-6)
        png = np.asarray(Image.open(whole / "masks" / str(n + 1) / f"{answer.index:06d}.png"))
        assert np.array_equal(png, answer.masks[n])
    assert len(overlay(whole)) == COUNT


def test_run_lengths_hold_the_same_masks(run, whole, tmp_path):
    segment_to_folder(Segmenter.from_run(run), run / "clip.mp4", SENTENCES, tmp_path, "rle", progress=False)
    record = json.loads((tmp_path / "masks.json").read_text())
    assert record["sentences"] == SENTENCES and not (tmp_path / "masks").exists()
    assert (tmp_path / "confidence.csv").read_bytes() == (whole / "confidence.csv").read_bytes()
    for frame in record["frames"]:
        for n, code in enumerate(frame["rle"], 1):
            png = np.asarray(Image.open(whole / "masks" / str(n) / f"{frame['frame']:06d}.png"))
            assert np.array_equal(coco.decode(code).astype(bool), png)


@pytest.mark.parametrize("masks", ["png", "rle"])
@pytest.mark.parametrize("after", [0, 4, COUNT - 1])
def test_a_stopped_job_goes_on_to_the_same_results(run, whole, tmp_path, monkeypatch, masks, after):
    segmenter = Segmenter.from_run(run)
    answer, indices = Segmenter._answer, []

    def stops(self, view, canvas):
        if len(indices) == after:
            raise KeyboardInterrupt
        indices.append(view.index)
        return answer(self, view, canvas)

    monkeypatch.setattr(Segmenter, "_answer", stops)
    with pytest.raises(KeyboardInterrupt):
        segment_to_folder(segmenter, run / "clip.mp4", SENTENCES, tmp_path, masks, progress=False)
    assert not {"overlay.mp4", "confidence.csv", "segmentation.json", "masks.json"} & set(
        contents_of(tmp_path)
    )
    assert not [thread for thread in threading.enumerate() if thread.name == "mmvs ahead"]
    with (tmp_path / ".journal.jsonl").open("a") as journal:
        journal.write('{"frame": 4, "ti')  # killed in the middle of a line

    monkeypatch.setattr(
        Segmenter,
        "_answer",
        lambda self, view, canvas: indices.append(view.index) or answer(self, view, canvas),
    )
    segment_to_folder(segmenter, run / "clip.mp4", SENTENCES, tmp_path, masks, progress=False)
    assert indices == list(range(COUNT)), "every frame once"
    if masks == "png":
        assert contents(tmp_path) == contents(whole)
        frames, expected = overlay(tmp_path), overlay(whole)
        assert np.abs(frames - expected).mean() < 6 < np.abs(frames[1:] - expected[:-1]).mean()
    else:
        assert (tmp_path / "confidence.csv").read_bytes() == (whole / "confidence.csv").read_bytes()


def contents_of(folder) -> list[str]:
    return [path.name for path in folder.iterdir()]


def test_a_finished_job_is_kept_and_another_one_takes_its_place(run, tmp_path, monkeypatch):
    segmenter = Segmenter.from_run(run)
    segment_to_folder(segmenter, run / "clip.mp4", SENTENCES, tmp_path, progress=False)
    with monkeypatch.context() as patch:
        patch.setattr(Segmenter, "_answer", lambda *_: pytest.fail("done again"))
        segment_to_folder(segmenter, run / "clip.mp4", SENTENCES, tmp_path, progress=False)
    segment_to_folder(segmenter, run / "clip.mp4", SENTENCES[:1], tmp_path, progress=False)
    assert contents_of(tmp_path / "masks") == ["1"], "no mask of the earlier job is left"
    assert len(list(csv.reader((tmp_path / "confidence.csv").open()))) == COUNT + 1


@pytest.mark.parametrize("lost", ["overlay.mp4", "confidence.csv", "masks"])
def test_a_finished_job_that_lost_a_result_is_done_again(run, whole, tmp_path, lost):
    shutil.copytree(whole, tmp_path / "out")
    path = tmp_path / "out" / lost
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    segment_to_folder(Segmenter.from_run(run), run / "clip.mp4", SENTENCES, tmp_path / "out", progress=False)
    assert contents(tmp_path / "out") == contents(whole)


def test_files_of_somebody_else_are_left_alone(run, tmp_path, capsys):
    (tmp_path / "confidence.csv").write_text("mine")
    assert tiny.command("segment", run / "clip.mp4", "the circle", "--run", run, "--out", tmp_path) == 1
    assert "confidence.csv was not made here" in capsys.readouterr().err
    assert (tmp_path / "confidence.csv").read_text() == "mine"


def test_the_command_line(run, whole, tmp_path, capsys):
    assert tiny.command("segment", run / "clip.mp4", *SENTENCES, "--run", run, "--out", tmp_path) == 0
    out = capsys.readouterr()
    assert out.out.strip() == str(tmp_path) and f"{COUNT}/{COUNT}" in out.err and "frame/s" in out.err
    assert contents(tmp_path) == contents(whole)


@pytest.mark.parametrize(
    "video, sentence, reason",
    [
        ("gone.mp4", "the circle", "no such file"),
        ("clip.mp4", " ", "is empty"),
        ("clip.mp4", "x" * 10_000, "10,000 characters"),
    ],
)
def test_refusals_are_one_line_and_leave_nothing(run, tmp_path, capsys, video, sentence, reason):
    assert tiny.command("segment", run / video, sentence, "--run", run, "--out", tmp_path / "out") == 1
    message = capsys.readouterr().err
    assert reason in message and "Traceback" not in message and message.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_no_run_to_load(tmp_path, capsys):
    assert tiny.command("segment", "a.mp4", "the circle", "--run", tmp_path, "--out", tmp_path / "out") == 1
    assert "train the run first" in capsys.readouterr().err


def test_two_jobs_on_one_folder_do_not_meet(tmp_path):
    """Both end well, and the folder is that of one job."""
    segmenter = Segmenter(tiny.run(tmp_path))
    frames = np.random.default_rng(0).integers(0, 255, (12, 32, 48, 3), dtype=np.uint8)
    write_video(tmp_path / "clip.mp4", frames)
    jobs = [
        threading.Thread(
            target=segment_to_folder,
            args=(segmenter, tmp_path / "clip.mp4", ["the red circle"], tmp_path / "out"),
            kwargs={"progress": False},
        )
        for _ in range(3)
    ]
    for job in jobs:
        job.start()
    for job in jobs:
        job.join()
    with (tmp_path / "out" / "confidence.csv").open() as file:
        assert [row["frame"] for row in csv.DictReader(file)] == [str(i) for i in range(12)]


# A user's own files


def segment(run, out, sentences=("a circle",), video=None, masks="png"):
    segmenter, video = Segmenter.from_run(run), video or run / "clip.mp4"
    return segment_to_folder(segmenter, video, list(sentences), out, masks, progress=False)


USERS = "notes.txt masks.json masks/notes.txt masks/1/999999.png masks/2/mine.png masks/7/a.png".split()


@pytest.fixture
def used(whole, tmp_path):
    """A folder with a finished job, and with files of the user's at all places."""
    out = tmp_path / "out"
    shutil.copytree(whole, out)
    for name in (
        "notes.txt",
        "masks.json",
        "masks/notes.txt",
        "masks/1/999999.png",
        "masks/2/mine.png",
        "masks/7/a.png",
    ):
        (out / name).parent.mkdir(parents=True, exist_ok=True)
        (out / name).write_text("mine")
    (out / "nested").mkdir()
    (out / "nested" / ".partial-1-0-overlay.mp4").write_text("mine")
    return out


def files_of_user(folder) -> set[str]:
    return {
        str(path.relative_to(folder))
        for path in folder.rglob("*")
        if path.is_file() and path.read_bytes() == b"mine"
    }


@pytest.mark.parametrize("again", ["other sentences", "another video", "lost overlay"])
def test_a_rerun_leaves_the_users_files(run, used, tmp_path, again):
    before, sentences, video = files_of_user(used), SENTENCES, run / "clip.mp4"
    assert len(before) == 7
    (used / "masks/1/999999.png").rename(used / "masks/1/a.png")  # no name of a mask
    before = files_of_user(used)
    if again == "other sentences":
        sentences = ["a circle"]
    elif again == "another video":
        video = shutil.copy(video, tmp_path / "other.mp4")
    else:
        (used / "overlay.mp4").unlink()
    segment(run, used, sentences, video)
    assert files_of_user(used) == before
    pictures = {path.name for path in (used / "masks" / "2").iterdir()}
    assert pictures == {"mine.png"} | (
        {f"{t:06d}.png" for t in range(COUNT)} if len(sentences) == 2 else set()
    )


@pytest.mark.parametrize(
    "name, masks", [("masks/1/999999.png", "png"), ("masks.json", "rle"), ("masks/1/000050.png", "png")]
)
def test_a_result_that_would_take_the_place_of_a_users_file_is_refused(run, used, name, masks):
    """And before the earlier results give way."""
    (used / name).write_text("mine")
    before = contents(used)
    with pytest.raises(FileExistsError, match=f"{re.escape(name)} was not made here|999999"):
        segment_to_folder(
            Segmenter.from_run(run), run / "clip.mp4", ["a circle"], used, masks, progress=False
        )
    assert contents(used) == before


@pytest.mark.parametrize(
    "name, text",
    [
        ("segmentation.json", "{}"),
        ("segmentation.json", '{"identity": {"name": "me"}, "frames": 3}'),
        ("segmentation.json", '{"identity": 3}'),
        (".journal.jsonl", "dear diary\n"),
        ("masks/cat.png", "mine"),
        ("masks.json", "mine"),
        ("overlay.mp4", "mine"),
        ("masks", "mine"),
    ],
)
def test_a_folder_with_files_of_such_names_is_refused(run, tmp_path, name, text):
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_text(text)
    with pytest.raises(FileExistsError, match="was not made here"):
        segment(run, tmp_path, SENTENCES)
    assert [path.read_text() for path in tmp_path.rglob("*") if path.is_file()] == [text]


@pytest.mark.parametrize("link", ["masks", "masks/1", "overlay.mp4", "confidence.csv", "segmentation.json"])
def test_links_lead_a_job_nowhere(run, whole, tmp_path, link):
    """The folder's results were moved, and a link put in their place, perhaps to another job's results."""
    out, elsewhere = tmp_path / "out", tmp_path / "elsewhere"
    shutil.copytree(whole, out)
    shutil.copytree(whole, elsewhere)
    before = contents(elsewhere)
    path = out / link
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    path.symlink_to(elsewhere / link)
    with pytest.raises(FileExistsError, match=f"{link} was not made here"):
        segment(run, out)
    assert contents(elsewhere) == before and path.is_symlink()


def test_a_journal_that_is_a_link_is_not_continued(run, tmp_path):
    (tmp_path / "mine.jsonl").write_text("dear diary")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / ".journal.jsonl").symlink_to(tmp_path / "mine.jsonl")
    with pytest.raises(FileExistsError, match="was not made here"):
        segment_to_folder(
            Segmenter.from_run(run), run / "clip.mp4", SENTENCES, tmp_path / "out", progress=False
        )
    assert (tmp_path / "mine.jsonl").read_text() == "dear diary"


@pytest.mark.parametrize("after", [0, 1, 5, 2 * COUNT + 1, 2 * COUNT + 3])
@pytest.mark.parametrize("then", ["the old sentences", "the new sentences"])
def test_killed_while_earlier_results_give_way(run, used, whole, monkeypatch, after, then):
    """Whichever job is next does all of its work, and the user's files are there."""
    (used / "masks/1/999999.png").unlink()
    before, unlink, calls = files_of_user(used), Path.unlink, []

    def stops(path, **options):
        if path.suffix != ".mp4" or not path.name.startswith(".partial"):
            calls.append(path)
        if len(calls) > after:
            raise KeyboardInterrupt
        return unlink(path, **options)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Path, "unlink", stops)
        segment(run, used)
    sentences = SENTENCES if then == "the old sentences" else ["a circle"]
    segment(run, used, sentences)
    assert files_of_user(used) == before
    rows = list(csv.DictReader((used / "confidence.csv").open()))
    assert [row["sentence"] for row in rows[: len(sentences)]] == sentences and len(rows) == COUNT * len(
        sentences
    )
    for n in range(1, len(sentences) + 1):
        assert len(list((used / "masks" / str(n)).glob("0*.png"))) == COUNT
    if then == "the old sentences":
        for path in whole.glob("masks/*/*.png"):
            assert (used / path.relative_to(whole)).read_bytes() == path.read_bytes()


def test_masks_that_went_while_a_job_was_stopped_are_made_again(run, whole, tmp_path, monkeypatch):
    segmenter, answer = Segmenter.from_run(run), Segmenter._answer

    def stops(self, view, canvas):
        if view.index == 6:
            raise KeyboardInterrupt
        return answer(self, view, canvas)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Segmenter, "_answer", stops)
        segment_to_folder(segmenter, run / "clip.mp4", SENTENCES, tmp_path, progress=False)
    (tmp_path / "masks" / "2" / "000003.png").unlink()
    segment_to_folder(segmenter, run / "clip.mp4", SENTENCES, tmp_path, progress=False)
    assert contents(tmp_path) == contents(whole)


@pytest.mark.parametrize(
    "sentence", ["../../up", "/absolute", "a/b", "..", "C:\\x", "x" * 300, "a\x00b", "\n"]
)
def test_a_sentence_is_no_part_of_a_path(run, tmp_path, sentence):
    out = tmp_path / "deep" / "out"
    try:
        segment(run, out, [sentence])
    except ValueError as error:  # too long, or blank
        assert "sentence 1" in str(error)
    folders = {path.parent.relative_to(tmp_path) for path in tmp_path.rglob("*") if path.is_file()}
    assert {str(folder) for folder in folders} <= {"deep", "deep/out", "deep/out/masks/1"}


def test_the_working_folder_is_a_folder_like_others(run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert tiny.command("segment", run / "clip.mp4", "the circle", "--run", run, "--out", ".") == 0
    assert (tmp_path / "segmentation.json").exists()


@pytest.mark.parametrize("video", ["overlay.mp4", "masks/1"])
def test_a_result_is_not_segmented_into_its_own_folder(run, whole, tmp_path, video):
    shutil.copytree(whole, tmp_path / "out")
    with pytest.raises(ValueError, match="is itself a result"):
        segment(run, tmp_path / "out", video=tmp_path / "out" / video)
    assert contents(tmp_path / "out") == contents(whole)


def test_masks_are_of_stored_pixels_and_the_overlay_of_shown_ones(run, tmp_path, monkeypatch):
    """A sample aspect ratio of 2, a colon in all names, and a sentence that perhaps no font can show."""
    monkeypatch.chdir(tmp_path)
    name, out = Path("2024-01-01T12:30:05.mp4"), Path("out:1")
    with av.open(str(tmp_path / name), "w", format="mp4") as container:
        stream = container.add_stream("libx264", 25)
        stream.height, stream.width, stream.pix_fmt = 32, 48, "yuv420p"
        stream.codec_context.sample_aspect_ratio = Fraction(2)
        for _ in range(2):
            container.mux(stream.encode(av.VideoFrame(48, 32, "yuv420p")))
        container.mux(stream.encode(None))
    sentences = ["the red circle", "красный круг", "红色的圆圈 🔴"]
    assert segment_to_folder(Segmenter.from_run(run), name, sentences, out, progress=False) == ""
    assert Image.open(out / "masks" / "3" / "000001.png").size == (48, 32)
    legend = draw_legend(sentences, COLOURS[:3], 384, "segmentation.json")
    assert overlay(out.resolve()).shape == (
        2,
        len(legend) + 128,
        384,
        3,
    )  # 96 x 32 as shown, four times as large
    assert np.abs(overlay(out.resolve())[0, : len(legend)] - legend).mean() < 4
    assert json.loads((out / "segmentation.json").read_text())["identity"]["sentences"] == sentences


def test_names_of_pictures_in_another_encoding(run, tmp_path):
    folder = tmp_path / "pictures"
    folder.mkdir()
    for number in (1, 2):
        Image.new("RGB", (48, 32), (number,) * 3).save(folder / "a.png")
        (folder / "a.png").rename(folder / f"\udce9t\udce9_{number}.png")  # Latin letters, in the file system
    (folder / "\udce9t\udce9_3.png").write_bytes(b"torn")
    for _ in range(2):  # the second time it is recognised
        damage = segment_to_folder(
            Segmenter.from_run(run), folder, ["the circle"], tmp_path / "out", progress=False
        )
        assert "1 of 3 pictures are left out" in damage
    record = json.loads((tmp_path / "out" / "segmentation.json").read_text())
    assert record["frames"] == 2 and record["identity"]["video"][0][0] == "\udce9t\udce9_1.png"
