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
import torch
from PIL import Image

from mmvs.segmenter.folder import folder_for, segment_to_folder
from mmvs.segmenter.job import DIFFERENT, SegmentJob
from mmvs.segmenter.legend import draw_legend
from mmvs.segmenter.segmenter import Segmenter
from mmvs.video.colours import SENTENCES as COLOURS
from mmvs.video.excerpt import Excerpt
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
    others = {"overlay.mp4", "score.csv", "segmentation.json", ".journal.jsonl"}
    assert set(contents(whole)) == names | others
    rows = list(csv.DictReader((whole / "score.csv").open()))
    assert len(rows) == 2 * COUNT
    for row, (answer, n) in zip(rows, [(a, n) for a in answers for n in (0, 1)], strict=True):
        assert (int(row["frame"]), row["sentence"]) == (answer.index, SENTENCES[n])
        assert float(row["time"]) == pytest.approx(answer.time, abs=1e-4)
        assert float(row["score"]) == pytest.approx(answer.score[n], abs=1e-4)
        assert float(row["area"]) == pytest.approx(answer.masks[n].mean(), abs=1e-6)
        png = np.asarray(Image.open(whole / "masks" / str(n + 1) / f"{answer.index:06d}.png"))
        assert np.array_equal(png, answer.masks[n])
    assert len(overlay(whole)) == COUNT


@pytest.mark.parametrize("formats", ["overlay,png", "palette,coco,npz,ytvos"])
@pytest.mark.parametrize("after", [0, 4, COUNT - 1])
def test_a_stopped_job_goes_on_to_the_same_results(run, whole, tmp_path, monkeypatch, formats, after):
    segmenter, out, expected = Segmenter.from_run(run), tmp_path / "out", whole
    if "png" not in formats:
        expected = tmp_path / "expected"
        segment_to_folder(segmenter, run / "clip.mp4", SENTENCES, expected, [formats], progress=False)
    answer, indices = Segmenter._answer, []

    def stops(self, view, *rest):
        if len(indices) == after:
            raise KeyboardInterrupt
        indices.append(view.index)
        return answer(self, view, *rest)

    monkeypatch.setattr(Segmenter, "_answer", stops)
    with pytest.raises(KeyboardInterrupt, match=f"{after} of {COUNT} frames are kept in {out}"):
        segment_to_folder(segmenter, run / "clip.mp4", SENTENCES, out, [formats], progress=False)
    assert all(name.startswith(".") for name in contents_of(out)), "nothing half-written is in sight"
    assert not [thread for thread in threading.enumerate() if thread.name == "mmvs ahead"]
    with (out / ".journal.jsonl").open("a") as journal:
        journal.write('0123abcd {"frame": 4, "ti')  # killed in the middle of a line

    monkeypatch.setattr(
        Segmenter,
        "_answer",
        lambda self, view, *rest: indices.append(view.index) or answer(self, view, *rest),
    )
    segment_to_folder(segmenter, run / "clip.mp4", SENTENCES, out, [formats], progress=False)
    assert indices == list(range(COUNT)), "every frame once"
    assert without_times(contents(out)) == without_times(contents(expected))
    if "overlay" in formats:
        frames, those = overlay(out), overlay(expected)
        assert np.abs(frames - those).mean() < 6 < np.abs(frames[1:] - those[:-1]).mean()


def without_times(files: dict[str, bytes]) -> dict[str, bytes]:
    """A zip has the times of its members."""
    return {name: b"" if name.endswith("npz") else content for name, content in files.items()}


def contents_of(folder) -> list[str]:
    return [path.name for path in folder.iterdir()]


def test_a_finished_job_is_kept(run, whole, tmp_path, monkeypatch):
    shutil.copytree(whole, tmp_path / "out")
    before = stamps(tmp_path / "out")
    monkeypatch.setattr(Segmenter, "_answer", lambda *_: pytest.fail("done again"))
    segment_to_folder(Segmenter.from_run(run), run / "clip.mp4", SENTENCES, tmp_path / "out", progress=False)
    assert stamps(tmp_path / "out") == before


def stamps(folder) -> dict[str, int]:
    return {str(path): path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("first", ["overlay,png", "npz", "coco"])
def test_a_further_format_is_added_without_the_network(run, whole, tmp_path, monkeypatch, first):
    """To what is there, which stays; the result is that of one call with both."""
    segmenter, both, out = Segmenter.from_run(run), tmp_path / "both", tmp_path / "out"
    more = "palette,overlay,png,ytvos"
    segment_to_folder(segmenter, run / "clip.mp4", SENTENCES, both, [first, more], progress=False)
    segment_to_folder(segmenter, run / "clip.mp4", SENTENCES, out, [first], progress=False)
    before = stamps(out)
    monkeypatch.setattr(Segmenter, "_answer", lambda *_: pytest.fail("done again"))
    segment_to_folder(segmenter, run / "clip.mp4", SENTENCES, out, [more], progress=False)
    after = stamps(out)
    changed = {Path(name).name for name in before if after[name] != before[name]}
    assert changed == {".journal.jsonl", "segmentation.json"}
    one, two = without_times(contents(out)), without_times(contents(both))
    assert one.keys() == two.keys() and len(overlay(out)) == COUNT
    assert all(one[name] == two[name] for name in one if name != ".journal.jsonl")


def test_a_format_whose_writing_was_stopped_is_added_by_the_next_call(run, whole, tmp_path, monkeypatch):
    out = tmp_path / "out"
    shutil.copytree(whole, out)
    save, calls = Image.Image.save, []

    def stops(self, *rest):
        calls.append(self)
        if len(calls) == 5:
            raise KeyboardInterrupt
        return save(self, *rest)

    segmenter = Segmenter.from_run(run)
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Image.Image, "save", stops)
        segment_to_folder(segmenter, run / "clip.mp4", SENTENCES, out, ["palette"], progress=False)
    assert not (out / "palette").exists()
    segment_to_folder(segmenter, run / "clip.mp4", SENTENCES, out, ["palette"], progress=False)
    assert len(list((out / "palette").iterdir())) == COUNT
    assert not list(out.glob(".unfinished*"))


def test_a_journal_that_was_lost_or_damaged_is_made_again(run, whole, tmp_path):
    for damage in ("lost", "damaged"):
        out = tmp_path / damage
        shutil.copytree(whole, out)
        if damage == "lost":
            (out / ".journal.jsonl").unlink()
        else:
            content = (out / ".journal.jsonl").read_bytes()
            place = len(content) // 2
            (out / ".journal.jsonl").write_bytes(content[:place] + b"?" + content[place + 1 :])
        segment_to_folder(Segmenter.from_run(run), run / "clip.mp4", SENTENCES, out, ["npz"], progress=False)
        with np.load(out / "masks.npz") as arrays:
            for n, t in [(1, 0), (2, COUNT - 1)]:
                png = np.asarray(Image.open(whole / "masks" / str(n) / f"{t:06d}.png"))
                assert np.array_equal(arrays["masks"][t, n - 1], png)


@pytest.mark.parametrize(
    "change, what",
    [
        ({"sentences": SENTENCES[:1]}, "other sentences"),
        ({"sentences": SENTENCES[::-1]}, "other sentences"),
        ({"video": "other.mp4"}, "another video"),
        ({"model": True}, "another model"),
        ({"threshold": 0.9}, "another threshold"),
        ({"precision": "bfloat16"}, "another precision"),
        ({"excerpt": Excerpt(0.1)}, "another part of the video"),
        ({"sentences": SENTENCES[:1], "excerpt": Excerpt(fps=5)}, "other sentences, another part"),
    ],
)
@pytest.mark.parametrize("state", ["finished", "stopped"])
def test_results_of_something_else_are_refused_and_stay(run, whole, tmp_path, change, what, state):
    out = tmp_path / "out"
    shutil.copytree(whole, out)
    if state == "stopped":
        for name in ("segmentation.json", "overlay.mp4", "score.csv"):
            (out / name).unlink()
    before, video, change = stamps(out), run / "clip.mp4", dict(change)
    sentences = change.pop("sentences", SENTENCES)
    if name := change.pop("video", ""):
        video = shutil.copy(video, tmp_path / name)
    segmenter = Segmenter.from_run(run)
    if change.pop("model", False):
        with torch.no_grad():
            next(segmenter.network.parameters()).add_(1)
    with pytest.raises(FileExistsError, match=f"holds the results of {what}.*: choose another folder"):
        segment_to_folder(segmenter, video, sentences, out, ["npz"], progress=False, **change)
    assert stamps(out) == before


def test_folders_of_other_questions_are_others(run, tmp_path):
    segmenter = Segmenter.from_run(run)
    question = (tmp_path, segmenter, run / "clip.mp4")
    folder = folder_for(*question, SENTENCES)
    assert folder == folder_for(*question, list(SENTENCES)) and folder.name.startswith("clip-")
    assert folder != folder_for(*question, SENTENCES[:1])


@pytest.mark.parametrize("lost", ["overlay.mp4", "score.csv", "masks"])
def test_a_finished_job_that_lost_a_result_is_done_again(run, whole, tmp_path, lost):
    shutil.copytree(whole, tmp_path / "out")
    path = tmp_path / "out" / lost
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    segment_to_folder(Segmenter.from_run(run), run / "clip.mp4", SENTENCES, tmp_path / "out", progress=False)
    assert contents(tmp_path / "out") == contents(whole)


def test_files_of_somebody_else_are_left_alone(run, tmp_path, capsys):
    (tmp_path / "score.csv").write_text("mine")
    assert tiny.command("segment", run / "clip.mp4", "the circle", "--run", run, "--out", tmp_path) == 1
    assert "score.csv was not made here" in capsys.readouterr().err
    assert (tmp_path / "score.csv").read_text() == "mine"


def test_the_command_line(run, whole, tmp_path, capsys):
    assert tiny.command("segment", run / "clip.mp4", *SENTENCES, "--run", run, "--out", tmp_path) == 0
    out = capsys.readouterr()
    assert out.out.strip() == str(tmp_path) and f"{COUNT}/{COUNT} frames" in out.err
    assert "frames/s, " in out.err and " left" in out.err
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
    with (tmp_path / "out" / "score.csv").open() as file:
        assert [row["frame"] for row in csv.DictReader(file)] == [str(i) for i in range(12)]


# A user's own files


def segment(run, out, sentences=SENTENCES, video=None, formats=("overlay", "png")):
    segmenter, video = Segmenter.from_run(run), video or run / "clip.mp4"
    return segment_to_folder(segmenter, video, list(sentences), out, formats, progress=False)


@pytest.fixture
def used(whole, tmp_path):
    """A folder with a finished job, and with files of the user's at all places."""
    out = tmp_path / "out"
    shutil.copytree(whole, out)
    for name in "notes.txt masks.json masks/notes.txt masks/1/999999.png masks/7/a.png palette/a.png".split():
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


def test_a_rerun_leaves_the_users_files(run, used):
    before = files_of_user(used)
    assert len(before) == 7
    (used / "overlay.mp4").unlink()
    segment(run, used, formats=["overlay,npz,ytvos"])
    assert files_of_user(used) == before and (used / "overlay.mp4").exists()


@pytest.mark.parametrize("name, formats", [("masks.json", "coco"), ("palette", "npz,palette")])
def test_a_result_that_would_take_the_place_of_a_users_file_is_refused(run, used, name, formats):
    before = stamps(used)
    with pytest.raises(FileExistsError, match=f"{re.escape(name)} was not made here"):
        segment(run, used, formats=[formats])
    assert stamps(used) == before


@pytest.mark.parametrize(
    "name, text",
    [
        ("segmentation.json", "{}"),
        ("segmentation.json", '{"identity": {"name": "me"}, "frames": 3}'),
        ("segmentation.json", '{"identity": 3}'),
        (".journal.jsonl", "dear diary\n"),
        (".journal.jsonl", '0f8ff7dd {"identity": {}}\n'),
        ("masks/cat.png", "mine"),
        ("score.csv", "mine"),
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


@pytest.mark.parametrize("link", ["masks", "overlay.mp4", "score.csv", "segmentation.json"])
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


def test_masks_that_went_while_a_job_was_stopped_are_made_again(run, whole, tmp_path, monkeypatch):
    segmenter, answer = Segmenter.from_run(run), Segmenter._answer

    def stops(self, view, *rest):
        if view.index == 6:
            raise KeyboardInterrupt
        return answer(self, view, *rest)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Segmenter, "_answer", stops)
        segment_to_folder(segmenter, run / "clip.mp4", SENTENCES, tmp_path, progress=False)
    (tmp_path / ".unfinished-masks" / "2" / "000003.png").unlink()
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


def test_a_folder_that_still_speaks_of_confidence_is_refused(tmp_path):
    identity = dict.fromkeys(DIFFERENT, "same")
    record = {"identity": identity, "frames": 1, "formats": ["confidence", "overlay"], "damage": ""}
    (tmp_path / "segmentation.json").write_text(json.dumps(record))
    with pytest.raises(FileExistsError, match="was not made here"):
        SegmentJob(tmp_path, identity, {"score": "score.csv"})
