"""The batches of one experiment: which clips train, which validate, and how they come together."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import lightning
import numpy as np
import torch
from torch.utils.data import (
    ConcatDataset,
    DataLoader,
    Dataset,
    DistributedSampler,
    Sampler,
    SequentialSampler,
)
from transformers import PreTrainedTokenizerBase

from mmvs import processes
from mmvs.config import Experiment, Training
from mmvs.data.annotated_videos import AnnotatedVideos
from mmvs.data.catalogue import Source
from mmvs.data.clips import Clips, collate
from mmvs.data.csv_files import DataError
from mmvs.data.mixed_clips import MixedClips
from mmvs.data.mosaics import FixedMosaics
from mmvs.data.training_clips import Key, TrainingClips, draw_seed
from mmvs.schema import Batch, Sample


class Loaders(lightning.LightningDataModule):
    """Batches of clips for training, and of held-out training videos for validation."""

    def __init__(self, experiment: Experiment, sources: Mapping[str, Source], words: PreTrainedTokenizerBase):
        """sources: the data sets that are trained on, by name; words: the run's tokenizer."""
        super().__init__()
        self.experiment, self.sources = experiment, sources
        parts = split_all({name: source.samples for name, source in sources.items()}, experiment.training)
        if kinds := experiment.data.kinds:
            parts = {name: of_kinds(sources[name].samples, kinds, *part) for name, part in parts.items()}
        training = {name: self._clips(name, own) for name, (own, _) in parts.items()}
        shift = experiment.flow.stills == "shift"
        if len(training) == 1:
            self.training: Dataset = TrainingClips(*training.values(), experiment.seed, shift)
        else:
            weights = experiment.data.train_on if isinstance(experiment.data.train_on, dict) else None
            self.training = MixedClips(training, experiment.seed, weights, shift=shift)
        validation = [self._clips(name, held_out) for name, (_, held_out) in parts.items()]
        if experiment.data.mosaic:
            validation = [FixedMosaics(clips) for clips in validation]
        self.validation = ConcatDataset(validation)
        workers = experiment.data.workers
        self.options: dict[str, Any] = {
            "collate_fn": collate(words, experiment.model.language.max_words),
            "num_workers": workers,
            "persistent_workers": workers > 0,
            "pin_memory": torch.cuda.is_available(),
        }

    def train_dataloader(self) -> DataLoader:
        """The batches of every step, from the step at which the training stopped."""
        first = self.trainer.fit_loop.epoch_loop.batch_progress.current.ready  # 0, or of the checkpoint
        t = self.experiment.training
        target = self.target if self.experiment.data.targets == "all" else None
        batches = Batches(first, t.steps * t.accumulate, t.batch, target)
        return DataLoader(self.training, batch_sampler=batches, **self.options)

    def target(self, batch: int) -> int:
        """Where in their windows the annotated frames of a batch stand; drawn, one for all of a step."""
        step = batch // self.experiment.training.accumulate
        return draw_seed(self.experiment.seed, "target", step) % self.experiment.data.frames

    def val_dataloader(self) -> DataLoader:
        """Clips as they are, in order; each process of `torchrun` has its share of them."""
        sampler: Sampler = SequentialSampler(self.validation)
        if processes.count() > 1:
            sampler = DistributedSampler(self.validation, processes.count(), processes.rank(), shuffle=False)
        batch = self.experiment.training.batch
        return DataLoader(self.validation, batch, sampler=sampler, **self.options)

    def transfer_batch_to_device(self, batch: Batch, device: torch.device, dataloader_idx: int) -> Batch:
        """Move a batch; to a GPU without waiting: it is pinned. Lightning itself would wait."""
        return batch.to(device, non_blocking=device.type == "cuda")

    def sample(self, position: int) -> Sample:
        """The sample that a batch names by its position: data sets count on from one to the next."""
        for source in self.sources.values():
            if position < len(source.samples):
                return source.samples[position]
            position -= len(source.samples)
        raise IndexError(f"there are {-position} samples less")

    def _clips(self, name: str, positions: list[int]) -> Clips:
        source, names = self.sources[name], list(self.sources)
        offset = sum(len(self.sources[before].samples) for before in names[: names.index(name)])
        return Clips(source.samples, source.flow, self.experiment.data, positions, offset)


class Batches(Sampler[Sequence[Key]]):
    """Which clips of the training sequence each batch has; the processes of `torchrun` read side by side.

    So two processes read in a step what one process reads that accumulates two batches.
    """

    def __init__(self, first: int, batches: int, size: int, target: Callable[[int], int] | None = None):
        """Name the clips of the batches that are left.

        first    the batch to begin with
        batches  of the whole training, of each process
        size     clips
        target   number of a batch → where in their windows its annotated frames stand; None: in the middle
        """
        self.first, self.batches, self.size, self.target = first, batches, size, target

    def __iter__(self) -> Iterator[Sequence[Key]]:
        for number in range(self.first, self.batches):
            start = (number * processes.count() + processes.rank()) * self.size
            clips = range(start, start + self.size)
            yield clips if self.target is None else [(clip, self.target(number)) for clip in clips]

    def __len__(self) -> int:
        """Batches of the whole training, also where the first are done: Lightning counts from 0."""
        return self.batches


def split_all(
    data_sets: Mapping[str, AnnotatedVideos], training: Training
) -> dict[str, tuple[list[int], list[int]]]:
    """Positions for training and for validation, of several data sets; each gives its part of the validation.

    Some show the same pictures, as RefCOCO and RefCOCOg do: what validates one of them trains none.
    """
    share = max(1, training.validation_clips // len(data_sets))
    if training.hold_out == "frames":
        return {name: split_frames(samples, share) for name, samples in data_sets.items()}
    parts = {name: split(samples, share, training.share) for name, samples in data_sets.items()}
    if not any(own for own, _ in parts.values()):
        raise DataError(
            f"{', '.join(data_sets)}: one video alone cannot both train and validate: set training: "
            "{hold_out: frames}, or add videos"
        )
    if len(parts) == 1:
        return parts
    held_out = {
        samples.video_path(video_id).resolve()
        for name, samples in data_sets.items()
        for video_id in {samples[i].video_id for i in parts[name][1]}
    }
    for name, samples in data_sets.items():
        shared = {one for one in samples.videos if samples.video_path(one).resolve() in held_out}
        own, validation = parts[name]
        parts[name] = [i for i in own if samples[i].video_id not in shared], validation
    return parts


def split(samples: AnnotatedVideos, validation_clips: int, share: float = 1.0) -> tuple[list[int], list[int]]:
    """Positions for training and for validation; no video is in both.

    validation_clips  how many videos are held out at most: never more than a fifth of all
    share             of the other videos that train; a smaller share is a part of a larger one
    """
    per_video = _by_video(samples)
    if not per_video:
        raise DataError("there is no sample to train on: every sentence is about nothing in its video")
    videos = sorted(per_video)
    held_out = min(validation_clips, max(1, len(videos) // 5))
    order = torch.randperm(len(videos), generator=torch.Generator().manual_seed(0)).tolist()
    validation = [i for v in order[:held_out] for i in per_video[videos[v]]]
    trained = order[held_out:]
    trained = trained[: max(1, round(share * len(trained)))]
    training = [i for v in sorted(trained) for i in per_video[videos[v]]]
    return training, validation


def of_kinds(
    samples: AnnotatedVideos, kinds: Sequence[str], training: list[int], validation: list[int]
) -> tuple[list[int], list[int]]:
    """Positions of sentences of some kinds; DataError, with the kinds that there are, where none is left."""
    kept = tuple([i for i in part if samples[i].kind in kinds] for part in (training, validation))
    for part, use in zip(kept, ("train on", "validate on"), strict=True):
        if not part:
            there = sorted({samples[i].kind or "no kind" for i in training})
            raise DataError(
                f"data.kinds: {samples.layout} has no sentence of {', '.join(kinds)} to {use}; there are: "
                f"{', '.join(there)}"
            )
    return kept[0], kept[1]


def split_frames(samples: AnnotatedVideos, validation_clips: int) -> tuple[list[int], list[int]]:
    """Positions for training and for validation, which has the last labelled frames of each video.

    validation_clips  how many frames are held out in all, about: at most a fifth of a video's, rounded up;
                      none of a video that has but one
    """
    frames: dict[str, set[int]] = {}
    positions = samples.training_positions().tolist()
    for i in positions:
        frames.setdefault(samples[i].video_id, set()).add(samples[i].frame)
    share = -(-validation_clips // len(frames))
    first = {}  # frame of a video from which on it is held out
    for video_id, own in frames.items():
        count = min(share, -(-len(own) // 5), len(own) - 1)
        first[video_id] = sorted(own)[len(own) - count] if count else max(own) + 1
    training, validation = [], []
    for i in positions:
        held_out = samples[i].frame >= first[samples[i].video_id]
        (validation if held_out else training).append(i)
    if not validation:
        raise DataError(f"{samples.layout}: training needs a video with two labelled frames: label more")
    return training, validation


def _by_video(samples: AnnotatedVideos) -> dict[str, list[int]]:
    """Positions of the samples that may train, by video; made of arrays, as there can be millions."""
    positions, videos = samples.training_positions(), samples.videos
    of_video = samples.places()[0][positions]
    order = np.argsort(of_video, kind="stable")
    numbers, starts = np.unique(of_video[order], return_index=True)
    groups = np.split(positions[order], starts[1:]) if len(numbers) else []
    return {videos[number]: group.tolist() for number, group in zip(numbers, groups, strict=True)}
