"""Segment any video: a trained network behind one call.

segmenter = Segmenter.from_run("reports/moving_shapes")  # or a checkpoint, a saved model, a hub id
for answer in segmenter.segment("clip.mp4", ["the red circle", "the square that turns left"]):
    answer.masks  # (2, H, W) bool, at the video's own resolution
"""

from __future__ import annotations

import warnings
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from transformers import PreTrainedTokenizerBase

from mmvs.config import Evaluation, Experiment
from mmvs.data import geometry
from mmvs.data.words import encode, nearest_words, unseen_words
from mmvs.metrics import binarise, foreground_score
from mmvs.model.inference import ready_for_inference
from mmvs.segmenter.background import ahead
from mmvs.segmenter.intake import VideoFrame, intake
from mmvs.segmenter.streaming import Picture, Streaming
from mmvs.trained import TrainedNetwork
from mmvs.video.stream import VideoSource, open_video

LARGEST_SCALE = 4  # of a video, in sizes of the clips that moving shapes have
LARGE = 1920 * 1080  # pixels of a frame, above which few of them wait
LONGEST_SENTENCE = 1000  # characters: a word of any length can be a single unknown word piece
PRECISIONS = ("float32", "bfloat16", "float16")


@dataclass
class Answer:
    """One frame of a video, and what each of N sentences means in it."""

    index: int  # 0-based
    time: float  # seconds since the first frame
    frame: np.ndarray  # (H, W, 3) uint8 RGB
    masks: np.ndarray  # (N, H, W) bool
    score: np.ndarray  # (N,) mean foreground probability in each mask, 0 where it is empty
    canvas: Tensor  # (N, size, size) float32, foreground probability on the network's canvas
    flow: Tensor  # (2, size, size) float32, pixels per frame of the canvas; zeros without motion

    @property
    def probability(self) -> np.ndarray:
        """(N, H, W) float32 foreground probability at the video's resolution; too large to keep it here."""
        return geometry.restore(self.canvas, self.frame.shape[:2]).numpy()


class Segmenter:
    """Asks a trained network about any video."""

    def __init__(self, trained: TrainedNetwork):
        self.trained = trained

    @classmethod
    def from_run(cls, where: str | Path) -> Segmenter:
        """Load a run's folder, a checkpoint, a saved model or a hub id, as TrainedNetwork.from_run does."""
        return cls(TrainedNetwork.from_run(where))

    @classmethod
    def from_checkpoint(cls, checkpoint: str | Path) -> Segmenter:
        """Load a checkpoint that training wrote, as TrainedNetwork.from_checkpoint does."""
        return cls(TrainedNetwork.from_checkpoint(checkpoint))

    @classmethod
    def from_pretrained(cls, where: str | Path, **options: Any) -> Segmenter:
        """Load a saved model by its folder or hub id, as TrainedNetwork.from_pretrained does."""
        return cls(TrainedNetwork.from_pretrained(where, **options))

    @classmethod
    def from_released(cls, file: str | Path) -> Segmenter:
        """Load the authors' released checkpoint, as TrainedNetwork.from_released does."""
        return cls(TrainedNetwork.from_released(file))

    def save_pretrained(self, folder: str | Path, **options: Any) -> None:
        """Save the model for `from_pretrained`."""
        self.trained.save_pretrained(folder, **options)

    def push_to_hub(self, name: str, **options: Any) -> str:
        """Bring the model to the Hugging Face hub; returns its address."""
        return self.trained.push_to_hub(name, **options)

    def fingerprint(self) -> str:
        """12 hex digits of weights and experiment: the same digits give the same masks."""
        return self.trained.fingerprint()

    @property
    def experiment(self) -> Experiment:
        """The experiment that trained the network."""
        return self.trained.experiment

    @property
    def network(self) -> nn.Module:
        """The network, in eval mode."""
        return self.trained.network

    @property
    def tokenizer(self) -> PreTrainedTokenizerBase:
        """The tokenizer of the network's sentences."""
        return self.trained.tokenizer

    def unseen_words(self, sentences: str | Sequence[str]) -> list[str]:
        """Words that are not in the network's vocabulary: it can only guess what they mean."""
        sentences = [sentences] if isinstance(sentences, str) else sentences
        return unseen_words(self.tokenizer, sentences, self.experiment.model.language)

    def warning_of_words(self, sentences: str | Sequence[str]) -> str:
        """A line that names the unseen words, with known words spelt nearly so; "" where there is none."""
        near = {word: nearest_words(self.tokenizer, word) for word in self.unseen_words(sentences)}
        named = [word + (f" (known: {', '.join(some)})" if some else "") for word, some in near.items()]
        return f"not in the model's vocabulary, which guesses: {', '.join(named)}" if named else ""

    def warning_of_video(self, size: tuple[int, int]) -> str:
        """A line on a video of (H, W) that is nothing like those of training; "" where that is not known.

        A model of moving shapes alone has seen drawn clips of one size, and no picture of a camera.
        """
        names = self.experiment.data.training_sets
        if not all(name.startswith("moving_shapes") for name in names):
            return ""
        height, width = self.experiment.data.moving_shapes.height, self.experiment.data.moving_shapes.width
        if max(size[0] / height, size[1] / width) <= LARGEST_SCALE:
            return ""
        return (
            f"the model was trained on drawn shapes in clips of {width} x {height} pixels, and knows nothing "
            f"else; of a video of {size[1]} x {size[0]} its masks mean nothing unless that shows such shapes"
        )

    def segment(
        self,
        video: Any,
        sentences: str | Sequence[str],
        *,
        batch: int = 4,
        precision: str = "float32",
        threshold: float | None = None,
        start: int = 0,
        cut: bool = False,
    ) -> Iterator[Answer]:
        """Answer all sentences in every frame of a video, one Answer a frame as soon as it is ready.

        video      a file, an address, a folder of pictures, (F, H, W, 3) uint8 RGB, an iterable of frames
        sentences  one or several: N
        batch      number of frames, and of (frame, sentence) pairs, that go through the network at once
        precision  of matrix products; "bfloat16" or "float16" are faster on some machines and change a few
                   pixels of the masks
        threshold  between 0 and 1: a mask has the pixels of a larger foreground probability, or of a larger
                   share of the frame's maximum where the model's evaluation is relative; None: the model's
        start      index of the first frame to answer
        cut        read the beginning of a sentence that is too long, as evaluation does; otherwise refuse it

        Raises VideoError and ValueError on a video or a sentence that cannot be used, before it computes
        anything. Skips frames that cannot be decoded, and warns of them at the end.
        """
        if batch < 1 or start < 0 or precision not in PRECISIONS:
            raise ValueError(
                f"batch {batch}, start {start}, precision {precision}: batch is 1 or more, start 0 or more, "
                f"precision one of {', '.join(PRECISIONS)}"
            )
        if threshold is not None and not 0 < threshold < 1:
            raise ValueError(f"threshold {threshold}: a probability between 0 and 1, such as 0.5")
        sentences = [sentences] if isinstance(sentences, str) else list(sentences or [])
        if not all(isinstance(sentence, str) for sentence in sentences):
            raise ValueError(f"sentences are text, such as 'the red circle', not {sentences}")
        words, mask = self._encode(sentences, cut)
        source = open_video(video)
        with torch.inference_mode():
            meaning = self.network.read(words, mask)
        data, dtype = self.experiment.data, getattr(torch, precision)
        network = ready_for_inference(self.network)
        valid = geometry.valid_area(data.size, source.size).to(meaning.words.device)
        streaming = Streaming(network, meaning, data.frames, data.stride, batch, dtype, valid)
        evaluation = self.experiment.evaluation
        if threshold is not None:
            evaluation = evaluation.model_copy(update={"threshold": threshold})
        return self._answers(source, streaming, start, evaluation)

    def _encode(self, sentences: list[str], cut: bool = False) -> tuple[Tensor, Tensor]:
        """Token ids and mask (N, L); ValueError where the network cannot read all of a sentence."""
        if not sentences:
            raise ValueError("no sentence: say which object to segment")
        most = self.experiment.model.language.max_words
        for number, sentence in enumerate(sentences, 1):
            if len(sentence) > LONGEST_SENTENCE:
                raise ValueError(
                    f"sentence {number} has {len(sentence):,} characters, {LONGEST_SENTENCE:,} are the limit"
                )
            if not cut and (pieces := len(self.tokenizer(sentence.lower())["input_ids"])) > most:
                raise ValueError(
                    f"sentence {number} has {pieces} word pieces, the network reads {most}: shorten it"
                )
        tidy = [" ".join(sentence.lower().split()) for sentence in sentences]  # as the data sets' loaders do
        device = self.trained.device
        words, mask = encode(self.tokenizer, tidy, most)
        return words.to(device), mask.to(device)

    def _answers(
        self, source: VideoSource, streaming: Streaming, start: int, evaluation: Evaluation
    ) -> Iterator[Answer]:
        first = max(0, start - streaming.before)
        ready = 2 * streaming.batch if np.prod(source.size) <= LARGE else 1  # 8k: 100 MB a frame
        waiting: deque[VideoFrame] = deque()  # for their masks

        def pictures(coming: Iterable[VideoFrame]) -> Iterator[Picture]:
            for frame in coming:
                if frame.index >= start:
                    waiting.append(frame)
                yield frame.picture

        with closing(ahead(intake(source, self.experiment, first), ready)) as coming:
            for canvas in streaming(pictures(coming), first, start):
                yield self._answer(waiting.popleft(), canvas, evaluation)
        if source.damage:
            warnings.warn(f"{source.name}: {source.damage}", stacklevel=2)

    def _answer(self, video: VideoFrame, canvas: Tensor, evaluation: Evaluation) -> Answer:
        masks, score = [], []
        for one in canvas:  # not all at once: at full resolution a probability takes four times its mask
            probability = geometry.restore(one[None], video.frame.shape[:2])[0].numpy()
            masks.append(binarise(probability, evaluation))
            score.append(foreground_score(probability, masks[-1]))
        flow = video.picture.flow
        return Answer(video.index, video.time, video.frame, np.stack(masks), np.array(score), canvas, flow)
