"""A trained network's answers to samples: probabilities, coarse masks, the words' attention.

`mmvs.evaluation` scores them, and 05_qualitative shows them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset
from transformers import PreTrainedTokenizerBase

from mmvs import processes
from mmvs.data import catalogue
from mmvs.data.clips import Clips, collate
from mmvs.data.geometry import restore
from mmvs.data.words import readable_pieces
from mmvs.metrics import binarise
from mmvs.model.inference import matrix_products
from mmvs.progress import progress_bar
from mmvs.schema import Batch, Example, Prediction
from mmvs.segmenter import Segmenter
from mmvs.trained import TrainedNetwork


@dataclass
class Answer:
    """The network's answer to one sample, at the video's resolution."""

    index: int  # position in the data set
    probability: np.ndarray  # (H, W) float32
    coarse: np.ndarray  # (H, W) float32, probability of M0
    attention: np.ndarray  # (L, h, w) float32, sums to 1 over L
    words: list[str]  # L tokens


def answers(
    trained: TrainedNetwork, clips: Dataset, progress: bool = False
) -> Iterator[tuple[Batch, list[Answer]]]:
    """Put clips through the network; yield each batch with its N answers.

    clips  as mmvs.data.clips.Clips gives them

    Within `processes.together` each process has its share of the batches, which are those of one process.

    Raises DataError, VideoError or FlowError on a broken file, which its text names.
    """
    experiment = trained.experiment
    to_batch = collate(trained.tokenizer, experiment.model.language.max_words)
    size, workers = experiment.evaluation.batch, experiment.data.workers
    on_gpu = trained.device.type == "cuda"
    precision = getattr(torch, experiment.evaluation.precision)
    own, count = processes.place()
    starts = range(own * size, len(clips), count * size)
    batches = [range(start, min(start + size, len(clips))) for start in starts]
    options = {"num_workers": workers, "collate_fn": to_batch, "pin_memory": on_gpu}
    loader = DataLoader(clips, batch_sampler=batches, **options)
    for batch in progress_bar(loader, desc="evaluating", unit="batch", disable=not progress, leave=False):
        with torch.inference_mode(), matrix_products(trained.device, precision):
            prediction = trained.network(batch.to(trained.device, non_blocking=on_gpu))
        yield batch, _answers_of(batch, prediction, trained.tokenizer)


def _answers_of(batch: Batch, prediction: Prediction, tokenizer: PreTrainedTokenizerBase) -> list[Answer]:
    probability = prediction.probability().cpu()
    coarse = torch.sigmoid(prediction.coarse.float()).cpu()
    batch_answers = []
    for n, index in enumerate(batch.samples):
        original = batch.original_sizes[int(batch.clip_of_sentence[n])]
        length = int(batch.words_mask[n].sum())
        answer = Answer(
            index=index,
            probability=restore(probability[n : n + 1], original)[0].numpy(),
            coarse=restore(coarse[n : n + 1], original)[0].numpy(),
            attention=prediction.attention[n, :length].float().cpu().numpy(),
            words=readable_pieces(tokenizer, batch.words[n, :length].tolist()),
        )
        batch_answers.append(answer)
    return batch_answers


def examples(trained: TrainedNetwork, name: str, indices: list[int]) -> list[Example]:
    """Answer samples of a data set, with everything that a figure shows of them, in the order of `indices`.

    name     of the data set in the catalogue
    indices  positions in the data set

    Raises as `answers` does.
    """
    source = catalogue.open(name, trained.experiment)
    samples, flow = source.samples, source.flow
    clips = Clips(samples, flow, trained.experiment.data, only=indices)
    by_index = {}
    for _, batch_answers in answers(trained, clips):
        for answer in batch_answers:
            sample, truth = samples[answer.index], samples.mask(answer.index)
            mask = binarise(answer.probability, trained.experiment.evaluation)
            video = samples.video_path(sample.video_id)
            by_index[answer.index] = Example(
                video_id=sample.video_id,
                frame_index=sample.frame,
                sentence=sample.sentence,
                kind=sample.kind,
                words=answer.words,
                frame=samples.window(answer.index, 1)[1][0],
                flow=flow.read(sample.video_id, video, [sample.frame])[0],
                attention=answer.attention,
                coarse=answer.coarse,
                probability=answer.probability,
                mask=mask,
                truth=truth,
                iou=intersection_over_union(mask, truth),
            )
    return [by_index[i] for i in indices]


def track(trained: TrainedNetwork, name: str, index: int) -> tuple[np.ndarray, np.ndarray]:
    """Segment every frame of a sample's video by the sample's sentence, as the Segmenter does for any video.

    name   of the data set in the catalogue
    index  of the sample in the data set

    Returns frames (F, H, W, 3) uint8 RGB and foreground probabilities (F, H, W) float32.
    """
    samples = catalogue.open(name, trained.experiment).samples
    sample = samples[index]
    stream = Segmenter(trained).segment(samples.video_path(sample.video_id), sample.sentence, cut=True)
    every = list(islice(stream, samples.frame_count(sample.video_id)))
    return np.stack([one.frame for one in every]), np.concatenate([one.probability for one in every])


def intersection_over_union(mask: np.ndarray, truth: np.ndarray) -> float:
    """(I + 1e-6) / (U + 1e-6) of two bool masks (H, W)."""
    return float(((mask & truth).sum() + 1e-6) / ((mask | truth).sum() + 1e-6))
