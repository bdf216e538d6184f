"""The batches of one experiment: which clips train, which validate, and how they come together."""

from __future__ import annotations

from typing import Any

import lightning
import torch
from torch.utils.data import DataLoader, RandomSampler
from transformers import PreTrainedTokenizerBase

from mmvs import processes
from mmvs.config import Experiment
from mmvs.data.annotated_videos import AnnotatedVideos
from mmvs.data.catalogue import Source
from mmvs.data.clips import Clips, collate, draw_apart


class Loaders(lightning.LightningDataModule):
    """Batches of clips for training, and of held-out training videos for validation."""

    def __init__(self, experiment: Experiment, source: Source, words: PreTrainedTokenizerBase):
        """source: the data set that is trained on; words: the run's tokenizer."""
        super().__init__()
        self.experiment, self.source = experiment, source
        self.training, self.validation = split(source.samples, experiment.training.validation_clips)
        workers = experiment.data.workers
        self.options: dict[str, Any] = {
            "batch_size": experiment.training.batch,
            "collate_fn": collate(words, experiment.model.language.max_words),
            "num_workers": workers,
            "persistent_workers": workers > 0,
            "pin_memory": torch.cuda.is_available(),
        }

    def train_dataloader(self) -> DataLoader:
        """Augmented clips in random order; every process of `torchrun` draws augmentations of its own."""
        seed, batch = self.experiment.seed, self.experiment.training.batch
        clips = self._clips(self.training, training=True, seed=seed + 100_000 * processes.rank())
        return DataLoader(
            clips,
            sampler=RandomSampler(clips, generator=torch.Generator().manual_seed(seed)),
            drop_last=len(clips) >= batch * processes.count(),
            worker_init_fn=draw_apart,
            **self.options,
        )

    def val_dataloader(self) -> DataLoader:
        """Clips as they are, in order."""
        return DataLoader(self._clips(self.validation), **self.options)

    def _clips(self, positions: list[int], **options: Any) -> Clips:
        return Clips(self.source.samples, self.source.flow, self.experiment.data, only=positions, **options)


def split(samples: AnnotatedVideos, validation_clips: int) -> tuple[list[int], list[int]]:
    """Positions for training and for validation; no video is in both.

    validation_clips  how many videos are held out at most: never more than a fifth of all
    """
    per_video: dict[str, list[int]] = {}
    for i in range(len(samples)):
        per_video.setdefault(samples[i].video_id, []).append(i)
    videos = sorted(per_video)
    held_out = min(validation_clips, max(1, len(videos) // 5))
    order = torch.randperm(len(videos), generator=torch.Generator().manual_seed(0)).tolist()
    validation = [i for v in order[:held_out] for i in per_video[videos[v]]]
    training = [i for v in sorted(order[held_out:]) for i in per_video[videos[v]]]
    return training, validation
