"""What a trained Network answers to samples: probabilities, coarse masks, the words' attention.

From here come the numbers of `mmvs.evaluation` and the pictures of 05_qualitative.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset
from tqdm.auto import tqdm

from mmvs.data import catalogue
from mmvs.data.clips import Clips, collate
from mmvs.data.geometry import restore
from mmvs.metrics import binarise
from mmvs.schema import Batch, Example
from mmvs.segmenter import Segmenter
from mmvs.trained import TrainedNetwork


@dataclass
class Answer:
    """What the model answered to one sample, at the video's resolution."""

    index: int  # position in the data set
    probability: np.ndarray  # (H, W) float32
    coarse: np.ndarray  # (H, W) float32, probability of M0
    attention: np.ndarray  # (L, h, w) float32
    words: list[str]  # L tokens


def answers(
    trained: TrainedNetwork, clips: Dataset, progress: bool = False
) -> Iterator[tuple[Batch, list[Answer]]]:
    """Run the model over clips; yields each batch with its N answers. A broken file stops it here."""
    experiment = trained.experiment
    loader = DataLoader(
        clips, experiment.evaluation.batch, num_workers=experiment.data.workers,
        collate_fn=collate(trained.tokenizer, experiment.model.language.max_words),
    )  # fmt: skip
    for batch in tqdm(loader, desc="evaluating", unit="batch", disable=not progress, leave=False):
        with torch.inference_mode():
            prediction = trained.network(_moved(batch, trained.device))
        probability = prediction.probability().cpu()
        coarse = torch.sigmoid(prediction.coarse.float()).cpu()
        made = []
        for n, index in enumerate(batch.samples):
            original = batch.original_sizes[int(batch.clip_of_sentence[n])]
            length = int(batch.words_mask[n].sum())
            made.append(
                Answer(
                    index=index,
                    probability=restore(probability[n : n + 1], original)[0].numpy(),
                    coarse=restore(coarse[n : n + 1], original)[0].numpy(),
                    attention=prediction.attention[n, :length].float().cpu().numpy(),
                    words=trained.tokenizer.convert_ids_to_tokens(batch.words[n, :length].tolist()),
                )
            )
        yield batch, made


def examples(trained: TrainedNetwork, name: str, indices: list[int]) -> list[Example]:
    """Samples of a data set with everything a figure shows of them, in the order of `indices`."""
    source = catalogue.open(name, trained.experiment)
    samples, flow = source.samples, source.flow
    clips = Clips(samples, flow, trained.experiment.data, only=indices)
    found = {}
    for _, made in answers(trained, clips):
        for answer in made:
            sample, truth = samples[answer.index], samples.mask(answer.index)
            mask = binarise(answer.probability, trained.experiment.evaluation)
            video = samples.video_path(sample.video_id)
            found[answer.index] = Example(
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
    return [found[i] for i in indices]


def track(trained: TrainedNetwork, name: str, index: int) -> tuple[np.ndarray, np.ndarray]:
    """Ask a sample's sentence of every frame of its video, as any video is asked.

    Returns frames (F, H, W, 3) uint8 and foreground probabilities (F, H, W) float32.
    """
    samples = catalogue.open(name, trained.experiment).samples
    video, sentence = samples.video_path(samples[index].video_id), samples[index].sentence
    answers = Segmenter(trained).segment(video, sentence, cut=True)
    every = list(islice(answers, samples.frame_count(samples[index].video_id)))
    return np.stack([one.frame for one in every]), np.concatenate([one.probability for one in every])


def intersection_over_union(mask: np.ndarray, truth: np.ndarray) -> float:
    """(I + 1e-6) / (U + 1e-6) of two bool masks (H, W)."""
    return float(((mask & truth).sum() + 1e-6) / ((mask | truth).sum() + 1e-6))


def _moved(batch: Batch, device: torch.device) -> Batch:
    return Batch(**{k: v.to(device) if isinstance(v, torch.Tensor) else v for k, v in vars(batch).items()})
