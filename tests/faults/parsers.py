"""Every reader of files, with small good inputs: what `fuzz` mutates."""

from __future__ import annotations

import csv
import dataclasses
import hashlib
import json
import shutil
from functools import cache, partial
from pathlib import Path
from typing import Any

import av
import expression_trees
import h5py
import numpy as np
import scipy.io
import tiny
from faults.fuzz import Parser
from PIL import Image

from mmvs import checkpoints, config
from mmvs.checkpoints import CheckpointError
from mmvs.config import ConfigError, Flow
from mmvs.data.a2d import A2DSentences
from mmvs.data.annotated_videos import AnnotatedVideos
from mmvs.data.csv_files import DataError
from mmvs.data.expression_videos import ExpressionVideos, MeViS, RefDAVIS17, RefYouTubeVOS
from mmvs.data.jhmdb import JHMDBSentences
from mmvs.data.words import encode
from mmvs.flow.estimators import FlowError, estimator
from mmvs.flow.store import FlowStore
from mmvs.report.pages import write_index
from mmvs.run_folder import CheckpointFolder, ReportError, RunFolder
from mmvs.scoring import Request, score
from mmvs.segmenter.job import SegmentJob
from mmvs.trained import TrainedNetwork
from mmvs.verify.tree import verify
from mmvs.video import frames
from mmvs.video.files import VideoError, write_video
from mmvs.video.stream import open_video

COUNT, HEIGHT, WIDTH = 6, 32, 48  # frames and pixels of every video
SENTENCES = ["the red circle that goes up", "a big square"]


@cache
def pixels() -> np.ndarray:
    """(COUNT, HEIGHT, WIDTH, 3) uint8: a square that moves over noise."""
    video = np.random.default_rng(0).integers(0, 90, (COUNT, HEIGHT, WIDTH, 3), dtype=np.uint8)
    for t in range(COUNT):
        video[t, 8:20, 4 * t : 4 * t + 12] = (250, 30, 30)
    return video


def digest(*arrays: Any) -> str:
    """Of arrays and tensors: shapes, types and content."""
    state = hashlib.sha256()
    for array in arrays:
        array = np.ascontiguousarray(array)
        state.update(f"{array.shape} {array.dtype}".encode())
        state.update(array.tobytes())
    return state.hexdigest()


@cache
def trained() -> TrainedNetwork:
    """A tiny network; its folder is not used again."""
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        return tiny.run(Path(folder))


def answers_of(network: TrainedNetwork) -> list[Any]:
    """All of a model that decides its masks: weights and experiment, and what words mean to it."""
    ids, _ = encode(network.tokenizer, SENTENCES, 12)
    return [network.fingerprint(), network.experiment.model_dump_json(), ids.tolist()]


# Parameters, checkpoints and models


def make_params(folder: Path) -> None:
    shutil.copy(config.ROOT / "params" / "smoke.yaml", folder / "mine.yaml")


def read_params(folder: Path) -> str:
    return config.load(folder / "mine.yaml").model_dump_json()


def make_checkpoint(folder: Path) -> None:
    network = trained()
    tiny.checkpoint(network, folder)
    shutil.rmtree(folder / "vocabulary")


def read_checkpoint(folder: Path) -> list[Any]:
    content = checkpoints.read(folder / "best.ckpt", mmap=False)
    weights = content["state_dict"]
    return [content["mmvs"], content["global_step"], list(weights), digest(*weights.values())]


def make_vocabulary(folder: Path) -> None:
    path = tiny.checkpoint(trained(), folder / "checkpoints")
    path.rename(folder.parent / "vocabulary.ckpt")  # intact: mutations are of the vocabulary beside it


def read_vocabulary(folder: Path) -> list[Any]:
    intact = folder.parents[1] / "good" / "vocabulary.ckpt"
    if not (folder / "checkpoints" / "best.ckpt").exists():
        (folder / "checkpoints" / "best.ckpt").symlink_to(intact)
    return answers_of(TrainedNetwork.from_checkpoint(folder / "checkpoints" / "best.ckpt"))


def make_saved(folder: Path) -> None:
    trained().save_pretrained(folder)


def read_saved(folder: Path) -> list[Any]:
    return answers_of(TrainedNetwork.from_run(folder))


def make_reports(folder: Path) -> None:
    run = RunFolder(folder / "one")
    tiny.result(parameters={"data": {"train_on": "a"}}).write(run.metrics)
    run.checkpoints.path.mkdir()
    end = '{"fingerprint": "0123456789ab", "steps": 30, "seconds": 1.5}'
    run.checkpoints.finished.write_text(end)
    (run.path / "03_train.ipynb").write_text("{}")


def read_metrics(folder: Path) -> str:
    return RunFolder(folder / "one").result().text()


def read_finished(folder: Path) -> str:
    return repr(CheckpointFolder(folder / "one" / "checkpoints").training_end())


def read_index(folder: Path) -> list[str]:
    return [path.read_text() for path in write_index(folder)]


# Data sets


def make_a2d(folder: Path) -> None:
    (folder / "Release" / "clips320H").mkdir(parents=True)
    annotations = folder / "text_annotations" / "a2d_annotation_with_instances"
    for video, subset in (("v_one", 0), ("v_two", 1)):
        write_video(folder / "Release" / "clips320H" / f"{video}.mp4", pixels())
        (annotations / video).mkdir(parents=True)
        with h5py.File(annotations / video / "00003.h5", "w") as file:
            masks = np.zeros((2, WIDTH, HEIGHT), np.uint8)
            masks[0, 8:20, 8:20], masks[1, :4, :4] = 1, 1
            file["reMask"], file["instance"] = masks, np.array([[1, 2]], np.float64)
            file["reBBox"] = np.zeros((4, 2))
        with (folder / "Release" / "videoset.csv").open("a", newline="") as table:
            csv.writer(table).writerow([video, 11, "0:00", "0:01", HEIGHT, WIDTH, COUNT, 1, subset])
    rows = [["video_id", "instance_id", "query"], ["v_one", 1, SENTENCES[0]], ["v_one", 2, "a, b"]]
    rows.append(["v_two", 1, SENTENCES[1]])
    with (folder / "text_annotations" / "a2d_annotation.txt").open("w", newline="") as table:
        csv.writer(table).writerows(rows)
    (folder / "text_annotations" / "a2d_missed_videos.txt").write_text("v_none\n")
    with (folder / "sentence_kinds.csv").open("w", newline="") as table:
        csv.writer(table).writerows([[*rows[0], "kind"], [*rows[1], "motion"]])
    stamp = (annotations / "v_one" / "00003.h5").stat()
    index = {"v_one/00003.h5": [[stamp.st_size, stamp.st_mtime_ns], [1, 2]]}
    (folder / ".mmvs_index.json").write_text(json.dumps(index))


def read_a2d(folder: Path) -> list[Any]:
    return samples_of(A2DSentences(folder, "train"))


def make_jhmdb(folder: Path) -> None:
    pictures, masks = folder / "Rename_Images" / "run" / "clip", folder / "puppet_mask" / "run" / "clip"
    pictures.mkdir(parents=True), masks.mkdir(parents=True)
    for t, frame in enumerate(pixels()):
        Image.fromarray(frame).save(pictures / f"{t + 1:05d}.png")
    mask = np.zeros((HEIGHT, WIDTH, COUNT), np.uint8)
    mask[8:20, 8:20] = 1
    scipy.io.savemat(masks / "puppet_mask.mat", {"part_mask": mask}, do_compression=True)
    (folder / "jhmdb_annotation.txt").write_text("video_id,query\nclip,a man runs\n")
    JHMDBSentences(folder)  # draws the list, which is an input from then on


def read_jhmdb(folder: Path) -> list[Any]:
    return samples_of(JHMDBSentences(folder))


def samples_of(data_set: AnnotatedVideos) -> list[Any]:
    """All that a training or a score asks of a data set."""
    return [
        [dataclasses.astuple(sample), digest(data_set.mask(i), data_set.window(i, 3)[1])]
        for i, sample in enumerate(data_set)
    ]


def make_shapes(folder: Path) -> None:
    make_a2d(folder)
    settings = {"train_clips": 1, "test_clips": 1, "unseen_clips": 1}
    (folder / "moving_shapes.json").write_text(json.dumps(config.MovingShapes(**settings).model_dump()))


EXPRESSIONS = {"mevis": MeViS, "ref-youtube-vos": RefYouTubeVOS, "ref-davis17": RefDAVIS17}
SCORED = {"mevis": "valid_u", "ref-davis17": "valid"}  # data set → split
SUBMISSIONS = Path(__file__).parents[1] / "scoring" / "trees.tar.xz"


def make_expressions(name: str, folder: Path) -> None:
    expression_trees.copy(name, folder / "tree")
    shutil.rmtree(folder / "all-tree")


def read_expressions(kind: type[ExpressionVideos], folder: Path) -> list[Any]:
    return samples_of(kind(folder / "tree", "train"))


def make_submission(name: str, folder: Path) -> None:
    shutil.unpack_archive(SUBMISSIONS, folder.parent / "trees")
    for part in (folder.parent / "trees" / name).iterdir():
        shutil.move(part, folder / part.name)
    shutil.rmtree(folder.parent / "trees")
    for part in folder.iterdir():  # other submissions
        if part.name.startswith("predictions") and part.name != "predictions":
            shutil.rmtree(part)
    (folder / "expected.json").unlink()
    if name == "mevis":
        shutil.make_archive(str(folder / "masks"), "zip", folder / "predictions")
        shutil.rmtree(folder / "predictions")


def read_score(name: str, folder: Path) -> Any:
    masks = folder / ("masks.zip" if name == "mevis" else "predictions")
    report = score(Request(masks, folder, name, SCORED[name], workers=1, progress=False))
    return [report.record(), [str(fault) for fault in report.faults]]


def read_verification(folder: Path) -> str:
    return verify(folder, progress=False).text()


# Videos, pictures and flow


def encoded(path: Path, format: str, codec: str, **options: str) -> None:
    with av.open(str(path), "w", format=format) as container:
        stream = container.add_stream(codec, 25, options)
        stream.height, stream.width, stream.pix_fmt = HEIGHT, WIDTH, "yuv420p"
        for frame in pixels():
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode(None))


def make_videos(folder: Path) -> None:
    encoded(folder / "clip.mp4", "mp4", "libx264", crf="20", bf="2")
    encoded(folder / "clip.mkv", "matroska", "libx264", crf="20", bf="2")
    encoded(folder / "clip.avi", "avi", "mpeg4")
    encoded(folder / "clip.ts", "mpegts", "mpeg2video")


def read_clips(folder: Path) -> list[Any]:
    """As a data set reads them."""
    results = []
    for path in sorted(folder.iterdir()):
        count = frames.frame_count(path)
        results.append([path.name, count, frames.frame_size(path)])
        results.append(digest(frames.read_frames(path, [0, count // 2, count - 1])))
    return results


def read_streams(folder: Path) -> list[Any]:
    """As `segment` reads them."""
    return [stream_of(path) for path in sorted(folder.iterdir())]


def stream_of(path: Path) -> list[Any]:
    source = open_video(path)
    timed = list(source)
    return [[t for t, _ in timed], digest(*(frame for _, frame in timed)), source.size, source.damage]


def make_pictures(folder: Path) -> None:
    (folder / "pictures").mkdir()
    for t, frame in enumerate(pixels()[:3]):
        Image.fromarray(frame).save(folder / "pictures" / f"{t + 1:05d}.png")


def read_pictures(folder: Path) -> list[Any]:
    numbered = digest(frames.read_frames(folder / "pictures", [0, 1, 2]))
    return [numbered, stream_of(folder / "pictures")]


def make_mixed_pictures(folder: Path) -> None:
    (folder / "pictures").mkdir()
    for number, suffix in enumerate(("jpg", "bmp", "tiff", "gif", "webp")):
        Image.fromarray(pixels()[0]).save(folder / "pictures" / f"{number}.{suffix}")


def read_mixed_pictures(folder: Path) -> list[Any]:
    return stream_of(folder / "pictures")


def store(folder: Path) -> FlowStore:
    return FlowStore(folder / "flow", estimator(Flow(preset="ultrafast")))


def make_flow(folder: Path) -> None:
    write_video(folder.parent / "flow.mp4", pixels())  # intact: mutations are of the flow
    store(folder).ensure("clip", folder.parent / "flow.mp4")


def read_flow(folder: Path) -> str:
    video = folder.parents[1] / "good" / "flow.mp4"
    return digest(store(folder).read("clip", video, range(COUNT)))


# Sentences and what `segment` leaves


def make_sentences(folder: Path) -> None:
    (folder / "sentences.txt").write_text("\n".join(SENTENCES))


def read_sentences(folder: Path) -> list[Any]:
    if not (folder / "sentences.txt").is_file():  # they come as words of a command, not as a file
        return []
    sentences = (folder / "sentences.txt").read_bytes().decode(errors="surrogateescape").split("\n")
    return encode(trained().tokenizer, sentences, 12)[0].tolist()


IDENTITY = {"video": [["clip.mp4", 1, 2]], "sentences": SENTENCES, "weights": "0" * 12}


def make_jobs(folder: Path) -> None:
    masks = pixels()[..., 0] > 200
    for name, end in (("stopped", False), ("whole", True)):
        job = SegmentJob(folder / name, IDENTITY, {"overlay": "overlay.mp4"})
        for t, mask in enumerate(masks[:3]):
            job.add(t, t / 25, np.stack([mask, ~mask]), np.array([0.5, 0.25]))
        if end:
            (folder / name / "overlay.mp4").write_bytes(b"a video")
            job.finish(damage="")


def read_jobs(folder: Path) -> list[Any]:
    results = []
    for name in ("stopped", "whole"):
        job = SegmentJob(folder / name, IDENTITY, {"overlay": "overlay.mp4"})
        results.append([job.frames, job.finished])
        if job.journal.is_file():
            results.append([digest(entry.masks()) for entry in job.entries()])
    return results


YAML = ("run:", "&a [*a]", "<<: *a", "!!int ", "2024-01-01", "? ", "|", "- -", "%TAG", "---\n", "...", "#")
JSON = ('"scores"', '"all"', '"fingerprint"', '"identity"', "\\ud800", "\\u0000", "1E400", "/*")
CSV = ("v_one", "v_two", "clip", ",", ",,,", "0", "1 (copy)", "video_id", "../..", "\ufeff", "\u2028")

DATA = (DataError, VideoError)

PARSERS = {
    parser.name: parser
    for parser in (
        Parser("params", make_params, read_params, (ConfigError,), weight=3, tokens=YAML),
        Parser("checkpoint", make_checkpoint, read_checkpoint, (CheckpointError,), exact=True, weight=4),
        Parser("vocabulary", make_vocabulary, read_vocabulary, (CheckpointError,), tokens=JSON),
        Parser("saved", make_saved, read_saved, (CheckpointError,), exact=True, weight=2, tokens=JSON),
        Parser("metrics", make_reports, read_metrics, (ReportError,), weight=2, tokens=JSON),
        Parser("finished", make_reports, read_finished, (), tokens=JSON),
        Parser("index", make_reports, read_index, (), tokens=JSON),
        Parser("a2d", make_a2d, read_a2d, DATA, weight=3, tokens=CSV),
        Parser("jhmdb", make_jhmdb, read_jhmdb, DATA, weight=3, tokens=CSV),
        *(
            Parser(name, partial(make_expressions, name), partial(read_expressions, kind), DATA, tokens=JSON)
            for name, kind in EXPRESSIONS.items()
        ),
        *(
            Parser(
                f"score {name}", partial(make_submission, name), partial(read_score, name), DATA, tokens=JSON
            )
            for name in SCORED
        ),
        Parser("verify a2d", make_shapes, read_verification, DATA, tokens=CSV + JSON),
        Parser("verify jhmdb", make_jhmdb, read_verification, DATA, tokens=CSV),
        Parser("clips", make_videos, read_clips, (VideoError,), weight=3),
        Parser("streams", make_videos, read_streams, (VideoError,), weight=3),
        Parser("pictures", make_pictures, read_pictures, (VideoError,)),
        Parser("mixed pictures", make_mixed_pictures, read_mixed_pictures, (VideoError,)),
        Parser("flow", make_flow, read_flow, (FlowError,), exact=True, weight=3),
        Parser("sentences", make_sentences, read_sentences, (ValueError,)),
        Parser("segment", make_jobs, read_jobs, (FileExistsError, ValueError), weight=2, tokens=JSON),
    )
}
