"""The batches of one experiment: which clips train, which validate, and how they come together."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import lightning
import numpy as np
import torch
from torch.utils.data import DataLoader, DistributedSampler, Sampler, SequentialSampler
from transformers import PreTrainedTokenizerBase

from mmvs import processes
from mmvs.config import Experiment
from mmvs.data.annotated_videos import AnnotatedVideos
from mmvs.data.catalogue import Source
from mmvs.data.clips import Clips, collate
from mmvs.data.csv_files import DataError
from mmvs.data.training_clips import TrainingClips


class Loaders(lightning.LightningDataModule):
    """Batches of clips for training, and of held-out training videos for validation."""

    def __init__(self, experiment: Experiment, source: Source, words: PreTrainedTokenizerBase):
        """source: the data set that is trained on; words: the run's tokenizer."""
        super().__init__()
        self.experiment, self.source = experiment, source
        training, validation = split(source.samples, experiment.training.validation_clips)
        self.training = TrainingClips(self._clips(training), experiment.seed)
        self.validation = self._clips(validation)
        workers = experiment.data.workers
        self.options: dict[str, Any] = {
            "collate_fn": collate(words, experiment.model.language.max_words),
            "num_workers": workers,
            "persistent_workers": workers > 0,
            "pin_memory": torch.cuda.is_available(),
        }

    def train_dataloader(self) -> DataLoader:
        """One batch a step, from the step at which the training stopped."""
        first = self.trainer.fit_loop.epoch_loop.batch_progress.current.ready  # 0, or of the checkpoint
        t = self.experiment.training
        return DataLoader(self.training, batch_sampler=Batches(first, t.steps, t.batch), **self.options)

    def val_dataloader(self) -> DataLoader:
        """Clips as they are, in order; each process of `torchrun` has its share of them."""
        sampler: Sampler = SequentialSampler(self.validation)
        if processes.count() > 1:
            sampler = DistributedSampler(self.validation, processes.count(), processes.rank(), shuffle=False)
        batch = self.experiment.training.batch
        return DataLoader(self.validation, batch, sampler=sampler, **self.options)

    def _clips(self, positions: list[int]) -> Clips:
        return Clips(self.source.samples, self.source.flow, self.experiment.data, only=positions)


class Batches(Sampler[range]):
    """Which clips of the training sequence each step reads; the processes of `torchrun` read side by side."""

    def __init__(self, first: int, steps: int, size: int):
        """first: the step to begin with; steps: of the whole training; size: clips a step and process."""
        self.first, self.steps, self.size = first, steps, size

    def __iter__(self) -> Iterator[range]:
        for step in range(self.first, self.steps):
            start = (step * processes.count() + processes.rank()) * self.size
            yield range(start, start + self.size)

    def __len__(self) -> int:
        """Steps of the whole training, also where the first of them are done: Lightning counts from 0."""
        return self.steps


def split(samples: AnnotatedVideos, validation_clips: int) -> tuple[list[int], list[int]]:
    """Positions for training and for validation; no video is in both.

    validation_clips  how many videos are held out at most: never more than a fifth of all
    """
    per_video = _by_video(samples)
    if not per_video:
        raise DataError("there is no sample to train on: every sentence is about nothing in its video")
    videos = sorted(per_video)
    held_out = min(validation_clips, max(1, len(videos) // 5))
    order = torch.randperm(len(videos), generator=torch.Generator().manual_seed(0)).tolist()
    validation = [i for v in order[:held_out] for i in per_video[videos[v]]]
    training = [i for v in sorted(order[held_out:]) for i in per_video[videos[v]]]
    return training, validation


def _by_video(samples: AnnotatedVideos) -> dict[str, list[int]]:
    """Positions of the samples that may train, by video; made of arrays, as there can be millions."""
    positions, videos = samples.training_positions(), samples.videos
    of_video = samples.places()[0][positions]
    order = np.argsort(of_video, kind="stable")
    numbers, starts = np.unique(of_video[order], return_index=True)
    groups = np.split(positions[order], starts[1:]) if len(numbers) else []
    return {videos[number]: group.tolist() for number, group in zip(numbers, groups, strict=True)}
