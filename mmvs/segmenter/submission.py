"""Masks of every expression and every listed frame of a data set, in the zip that its server takes.

    <video>/<expression>/<frame>.png               MeViS, Ref-DAVIS17, own data
    Annotations/<video>/<expression>/<frame>.png   Ref-YouTube-VOS

Pictures are grey, 0 and 255, of the video's own size. Each video goes through the network once, frame by
frame, with all its expressions. A video that is done lies in a part beside the zip: a run that was killed
goes on with the next one. The zip appears whole or not at all.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import warnings
import zipfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import torch
from torch import nn
from tqdm.auto import tqdm

from mmvs.data import geometry
from mmvs.data.catalogue import Source
from mmvs.data.expression_videos import ExpressionVideos
from mmvs.data.words import encode
from mmvs.files import remove_partial, whole
from mmvs.metrics import binarise
from mmvs.model.inference import ready_for_inference
from mmvs.processes import one_at_a_time
from mmvs.progress import progress_bar
from mmvs.segmenter.streaming import Picture, Streaming
from mmvs.trained import TrainedNetwork
from mmvs.video.frames import read_frames

MARK = b"mmvs "  # begins the comment of a finished zip; behind it stands what the masks depend on
BLOCK = 16  # frames decoded at once
SHOWN = 3  # names in a warning


class Predictor(NamedTuple):
    """What segments the videos of a data set."""

    trained: TrainedNetwork
    network: nn.Module  # made ready once, for all videos
    source: Source

    @property
    def samples(self) -> ExpressionVideos:
        """Of the source: a data set of expressions."""
        assert isinstance(self.source.samples, ExpressionVideos)
        return self.source.samples


def write_submission(trained: TrainedNetwork, source: Source, path: Path, progress: bool = True) -> Path:
    """Write the masks of a data set of expressions into a zip; one of the same masks stays as it is.

    path  of the zip; a second call on it waits for the first, and goes on where a killed one stopped

    A listed frame without a picture gets an empty mask; a video without any picture is left out: warnings
    name them. Raises DataError, VideoError or FlowError, naming the file, on what is missing or broken.
    """
    samples = source.samples
    assert isinstance(samples, ExpressionVideos)
    digest = _digest(trained, samples)
    with one_at_a_time(path.with_name(f".{path.name}.lock")):
        if not _is_finished(path, digest):
            _write(Predictor(trained, ready_for_inference(trained.network), source), path, digest, progress)
    return path


def _write(predictor: Predictor, path: Path, digest: str, progress: bool) -> None:
    samples, parts = predictor.samples, path.with_name(f".{path.stem}-{digest}")
    remove_partial(parts)
    _warn_of_missing(samples, path)
    counts = {video_id: samples.frame_count(video_id) for video_id in _videos(samples)}
    left = [video_id for video_id in counts if not zipfile.is_zipfile(parts / f"{video_id}.zip")]
    total, to_do = sum(counts.values()), sum(counts[video_id] for video_id in left)
    options = {"total": total, "initial": total - to_do, "unit": "frame", "disable": not progress}
    with progress_bar(desc=f"segmenting {path.stem}", **options) as bar:
        for video_id in left:
            with whole(parts / f"{video_id}.zip") as partial, zipfile.ZipFile(partial, "w") as archive:
                for name, content in _masks_of_video(predictor, video_id, bar):
                    archive.writestr(name, content)
    with whole(path, durable=True) as partial, zipfile.ZipFile(partial, "w") as archive:
        archive.comment = MARK + digest.encode()
        for video_id in counts:
            with zipfile.ZipFile(parts / f"{video_id}.zip") as part:
                for name in _members(samples, video_id):
                    archive.writestr(name, part.read(name))
    shutil.rmtree(parts)


def _masks_of_video(predictor: Predictor, video_id: str, bar: tqdm) -> Iterator[tuple[str, bytes]]:
    """Yield the name and the PNG file of every listed frame of every expression of a video."""
    samples, settings = predictor.samples, predictor.trained.experiment.evaluation
    every = samples.expressions
    own, size = every.expressions_of(video_id), samples.size(video_id)
    names = {index: every[own[0]].frames[position] for position, index in _pictures_of(samples, video_id)}
    for index, canvas in enumerate(_probabilities(predictor, video_id, size)):
        bar.update()
        if index not in names:  # not listed: a neighbour in windows
            continue
        for i, one in zip(own, canvas, strict=True):
            mask = binarise(geometry.restore(one[None], size)[0].numpy(), settings)
            yield _member(samples, i, names[index]), grey_png(mask)
    for frame in sorted(set(every[own[0]].frames) - set(names.values())):
        for i in own:
            yield _member(samples, i, frame), grey_png(np.zeros(size, bool))


def _probabilities(predictor: Predictor, video_id: str, size: tuple[int, int]) -> Iterator[torch.Tensor]:
    """Yield (N, H, W) on the canvas of every frame of a video, for its N expressions."""
    trained, samples = predictor.trained, predictor.samples
    experiment, data = trained.experiment, trained.experiment.data
    sentences = [samples.expressions[i].sentence for i in samples.expressions.expressions_of(video_id)]
    words, mask = encode(trained.tokenizer, sentences, experiment.model.language.max_words)
    with torch.inference_mode():
        meaning = trained.network.read(words.to(trained.device), mask.to(trained.device))
    streaming = Streaming(
        predictor.network,
        meaning,
        data.frames,
        data.stride,
        experiment.evaluation.batch,
        valid=geometry.valid_area(data.size, size).to(trained.device),
    )
    yield from streaming(_pictures(predictor, video_id, size))


def _pictures(predictor: Predictor, video_id: str, size: tuple[int, int]) -> Iterator[Picture]:
    """Yield every frame of a video with its stored flow, as clips have them."""
    samples, flow, canvas = predictor.samples, predictor.source.flow, predictor.trained.experiment.data.size
    path, count = samples.video_path(video_id), samples.frame_count(video_id)
    for start in range(0, count, BLOCK):
        indices = list(range(start, min(start + BLOCK, count)))
        frames = torch.from_numpy(read_frames(path, indices)).permute(0, 3, 1, 2)
        motion = torch.from_numpy(flow.read(video_id, path, indices))
        fitted = geometry.fit_frames(frames, canvas), geometry.fit_flow(motion, canvas, size)
        yield from map(Picture, *fitted)


def _videos(samples: ExpressionVideos) -> list[str]:
    """Ids of the videos that have pictures, in the order of the list."""
    return [video_id for video_id in samples.expressions.videos if _pictures_of(samples, video_id)]


def _pictures_of(samples: ExpressionVideos, video_id: str) -> list[tuple[int, int]]:
    """(position in the list, place among all pictures) of the video's listed frames that have a picture."""
    own = samples.expressions.expressions_of(video_id)
    return list(samples.expressions.frames_of_video(own[0]).items()) if own else []


def _members(samples: ExpressionVideos, video_id: str) -> list[str]:
    """Names of a video's pictures in the zip: expressions as listed, frames sorted."""
    every = samples.expressions
    return [_member(samples, i, frame) for i in every.expressions_of(video_id) for frame in every[i].frames]


def _member(samples: ExpressionVideos, i: int, frame: str) -> str:
    one = samples.expressions[i]
    return "/".join(filter(None, (samples.submission_top, one.video_id, one.expression_id, f"{frame}.png")))


def grey_png(mask: np.ndarray) -> bytes:
    """A mask (H, W) bool as the PNG file of a submission: 0 and 255."""
    return cv2.imencode(".png", mask.astype(np.uint8) * 255)[1].tobytes()


def _warn_of_missing(samples: ExpressionVideos, path: Path) -> None:
    every, frames, videos = samples.expressions, [], []
    for video_id in every.videos:
        there = len(_pictures_of(samples, video_id))
        own = every.expressions_of(video_id)
        if own and not there:
            videos.append(video_id)
        elif own and there < len(every[own[0]].frames):
            frames.append(video_id)
    for some, fate in ((videos, "have no picture and are left out"), (frames, "lack pictures: empty masks")):
        if some:
            shown = ", ".join(some[:SHOWN]) + (", ..." if len(some) > SHOWN else "")
            warnings.warn(f"{path}: {len(some)} videos {fate} ({shown})", stacklevel=4)


def _digest(trained: TrainedNetwork, samples: ExpressionVideos) -> str:
    """12 hex digits of all that decides the masks."""
    asked = [(one.video_id, one.expression_id, one.sentence, one.frames) for one in samples.expressions]
    settings = trained.experiment.evaluation.model_dump(mode="json", exclude={"batch"})
    text = json.dumps([trained.fingerprint(), settings, asked])
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def _is_finished(path: Path, digest: str) -> bool:
    """Is the zip there, with these very masks?"""
    with suppress(OSError, zipfile.BadZipFile), zipfile.ZipFile(path) as archive:
        return archive.comment == MARK + digest.encode()
    return False
