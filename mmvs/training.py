"""Train a Network with Lightning: `fit(experiment)` loads a finished run, resumes a broken one."""

from __future__ import annotations

import errno
import logging
import warnings
from pathlib import Path

import lightning
import pandas as pd
import torch
from lightning.pytorch.callbacks import LearningRateMonitor, ModelCheckpoint, TQDMProgressBar
from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger
from lightning.pytorch.utilities import rank_zero_only
from torch import nn
from torch.utils.data import DataLoader, RandomSampler
from transformers import PreTrainedTokenizerBase

from mmvs import processes
from mmvs.config import Experiment
from mmvs.data import catalogue
from mmvs.data.clips import Clips, collate, draw_apart
from mmvs.data.words import tokenizer
from mmvs.files import write_json, write_text
from mmvs.optimisation import NetworkTraining
from mmvs.processes import one_at_a_time
from mmvs.run_folder import RunFolder, TrainingEnd
from mmvs.trained import TrainedNetwork


def fit(experiment: Experiment, progress: bool = True) -> TrainedNetwork:
    """Train, or go on training, or load what is trained: whichever `reports/<run>` still needs.

    A run made with other parameters is moved aside (`checkpoints-<its fingerprint>`), never overwritten.
    Under `torchrun` every process trains on its share of the clips, with `training.batch` of them a step.
    Raises DataError or FlowError, naming the file, where data are missing: `catalogue.prepare` makes them.
    """
    folder, t = RunFolder.of(experiment), experiment.training
    checkpoints = folder.checkpoints
    if t.threads:
        torch.set_num_threads(t.threads)

    source = catalogue.open(experiment.data.train_on, experiment)
    samples, flow = source.samples, source.flow
    samples.require_truth(f"training on {experiment.data.train_on}")
    sentences = {samples[i].sentence for i in range(len(samples))}
    with one_at_a_time(folder.lock):
        _set_aside_other_run(experiment, folder)
        words = tokenizer(experiment.model.language, checkpoints.vocabulary, sentences)
    if folder.is_trained():
        return TrainedNetwork.from_checkpoint(checkpoints.best, experiment)

    lightning.seed_everything(experiment.seed, verbose=False)
    training, validation = _split(samples, experiment)
    together = collate(words, experiment.model.language.max_words)
    loader = {
        "collate_fn": together,
        "num_workers": experiment.data.workers,
        "persistent_workers": experiment.data.workers > 0,
        "pin_memory": torch.cuda.is_available(),
    }
    drawing = experiment.seed + 100_000 * processes.rank()  # what is augmented how
    clips = Clips(samples, flow, experiment.data, training=True, seed=drawing, only=training)
    drawn = RandomSampler(clips, generator=torch.Generator().manual_seed(experiment.seed))
    whole = len(clips) >= t.batch * processes.count()
    train_loader = DataLoader(
        clips, t.batch, sampler=drawn, drop_last=whole, worker_init_fn=draw_apart, **loader
    )
    held_out = Clips(samples, flow, experiment.data, only=validation)
    val_loader = DataLoader(held_out, t.batch, **loader)

    # a resumed run must not overwrite its curves
    part = f"part-{len(list(folder.logs.glob('part-*'))):03d}"
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)  # no advice between the progress bars
    module = NetworkTraining(experiment, len(words))
    _keep_vocabulary(checkpoints.vocabulary, words, module.network)
    trainer = lightning.Trainer(
        max_steps=t.steps,
        max_epochs=-1,
        val_check_interval=min(t.validate_every, t.steps),
        check_val_every_n_epoch=None,
        num_sanity_val_steps=0,
        gradient_clip_val=t.clip,
        precision=_precision(t.precision),
        **processes.layout(),
        log_every_n_steps=min(10, t.steps),
        logger=[kind(folder.logs, name=None, version=part) for kind in (CSVLogger, TensorBoardLogger)],
        callbacks=[
            ModelCheckpoint(
                checkpoints.path, "best", "val/mean_iou", mode="max", enable_version_counter=False
            ),
            # not `save_last`: it writes at a new best only, and a killed run would go back to that one
            ModelCheckpoint(checkpoints.path, "last", enable_version_counter=False),
            LearningRateMonitor("step"),
            *([TQDMProgressBar(refresh_rate=10)] if progress else []),
        ],
        enable_progress_bar=progress,
        enable_model_summary=False,
    )
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*LeafSpec.*")
        warnings.filterwarnings("ignore", message=".*does not have many workers.*")
        warnings.filterwarnings("ignore", message=".*exists and is not empty.*")
        resumed = checkpoints.last if checkpoints.last.exists() else None
        try:
            trainer.fit(module, train_loader, val_loader, ckpt_path=resumed, weights_only=False)
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
                raise
            advice = (
                f"{error.strerror}: too little disk; make room and call fit again, it goes on from last.ckpt"
            )
            raise OSError(error.errno, advice, str(folder.path)) from error
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()  # from here on every process is on its own again
    if trainer.is_global_zero:
        _join_curves(folder)
    if trainer.interrupted:
        raise KeyboardInterrupt(f"training stopped at step {trainer.global_step}; call fit again to go on")
    if trainer.is_global_zero:
        end = TrainingEnd(
            fingerprint=experiment.fingerprint(), steps=trainer.global_step, seconds=module.seconds
        )
        write_json(checkpoints.finished, end.model_dump())
    return TrainedNetwork.from_checkpoint(checkpoints.best, experiment)


@rank_zero_only
def _keep_vocabulary(folder: Path, words: PreTrainedTokenizerBase, network: nn.Module) -> None:
    """What a checkpoint needs to be opened without a download."""
    if not (folder / "config.json").exists():
        words.save_pretrained(folder)
        network.language.bert.config.save_pretrained(folder)


def _split(samples, experiment: Experiment) -> tuple[list[int], list[int]]:
    """Positions for training and for validation; no video is in both."""
    per_video: dict[str, list[int]] = {}
    for i in range(len(samples)):
        per_video.setdefault(samples[i].video_id, []).append(i)
    videos = sorted(per_video)
    held = min(experiment.training.validation_clips, max(1, len(videos) // 5))
    order = torch.randperm(len(videos), generator=torch.Generator().manual_seed(0)).tolist()
    validation = [i for v in order[:held] for i in per_video[videos[v]]]
    training = [i for v in sorted(order[held:]) for i in per_video[videos[v]]]
    return training, validation


def _set_aside_other_run(experiment: Experiment, folder: RunFolder) -> None:
    checkpoints, mark = folder.checkpoints.path, folder.checkpoints.fingerprint
    if mark.exists() and (old := mark.read_text().strip()) != experiment.fingerprint():
        aside = checkpoints.with_name(f"checkpoints-{old}")
        warnings.warn(f"{checkpoints} holds a run with other parameters: moved to {aside.name}", stacklevel=3)
        number = 1
        while aside.exists():
            aside, number = checkpoints.with_name(f"checkpoints-{old}-{number}"), number + 1
        checkpoints.rename(aside)
        if folder.logs.exists():
            folder.logs.rename(aside / folder.logs.name)
    checkpoints.mkdir(parents=True, exist_ok=True)
    write_text(mark, experiment.fingerprint())


def _join_curves(folder: RunFolder) -> None:
    """One metrics.csv from all parts of a run that was broken and resumed; later parts win."""
    parts = [pd.read_csv(file) for file in sorted(folder.logs.glob("part-*/metrics.csv"))]
    if parts:
        pd.concat(parts).groupby("step", as_index=False).last().to_csv(folder.curves, index=False)


def _precision(wanted: str) -> str:
    if wanted != "auto":
        return wanted
    if not torch.cuda.is_available():
        return "32-true"
    return "bf16-mixed" if torch.cuda.is_bf16_supported() else "16-mixed"
