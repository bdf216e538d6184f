"""Train a network with Lightning: `fit(experiment)` loads a finished run, and goes on with a broken one."""

from __future__ import annotations

import errno
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

import lightning
import pandas as pd
import torch
from lightning.pytorch.callbacks import LearningRateMonitor
from lightning.pytorch.plugins.environments import LightningEnvironment
from lightning.pytorch.utilities import rank_zero_only
from torch import nn
from transformers import PreTrainedTokenizerBase

from mmvs import processes
from mmvs.build import keep_architectures
from mmvs.config import ConfigError, Experiment
from mmvs.data import catalogue
from mmvs.data.loaders import Loaders
from mmvs.data.words import keep_words, tokenizer
from mmvs.files import remove_partial, write_json, write_text
from mmvs.processes import one_at_a_time
from mmvs.run_folder import RunFolder, TrainingEnd
from mmvs.trained import TrainedNetwork
from mmvs.training import starting
from mmvs.training.optimisation import NetworkTraining, precision
from mmvs.training.progress import TrainingBar
from mmvs.training.saving import CheckpointFiles, Checkpoints, latest
from mmvs.training.tracking import loggers

ADVICE = (  # of Lightning and torch, about what is meant to be so
    "LeafSpec",
    "does not have many workers",
    "exists and is not empty",
    "not resumable",
    "in eval mode",  # of frozen normalisations
    "GPU available but not used",
    "srun",  # of SLURM, where somebody starts a job without it
)


def fit(experiment: Experiment, progress: bool = True) -> TrainedNetwork:
    """Train, go on training, or load the finished training: whichever `reports/<run>` needs.

    A run of other parameters moves aside (`checkpoints-<its fingerprint>`); nothing overwrites it. Under
    `torchrun` every process trains on its share of the clips, with `training.batch` of them a step.
    A second call on the same folder waits for the first, and then loads the result of the first.

    Raises DataError or FlowError, naming the file, where data are missing: `catalogue.prepare` brings them;
    ConfigError where `training.start_from` does not fit; NonFiniteError where a loss is no number;
    TrainingStopped after SIGTERM or SIGINT, with the step saved; CheckpointError where checkpoints are there
    and none of them can be read; OSError where the disk is full.
    """
    if experiment.training.skip_nonfinite and processes.count() > 1:
        raise ConfigError("training.skip_nonfinite works on one process: set it to 0")
    starting.refuse_itself(experiment)
    folder = RunFolder.of(experiment)
    checkpoints = folder.checkpoints
    if experiment.training.threads:
        torch.set_num_threads(experiment.training.threads)

    sources = {name: catalogue.open(name, experiment) for name in experiment.data.training_sets}
    for name, source in sources.items():
        source.samples.require_truth(f"training on {name}")
    with one_at_a_time(folder.lock):
        _set_aside_other_run(experiment, folder)
        start = starting.source(experiment, checkpoints)
        sentences = set().union(*(source.samples.distinct_sentences() for source in sources.values()))
        words = tokenizer(experiment.model.language, checkpoints.vocabulary, sentences)
        if experiment.model.language.name != "small":  # whose vocabulary is these words
            keep_words(words, sentences)
    alone = processes.count() == 1  # of several, the others would train on while the first waits
    with one_at_a_time(folder.training_lock, wait=alone) if processes.rank() == 0 else nullcontext():
        if not folder.is_trained():
            _train(experiment, folder, Loaders(experiment, sources, words), words, start, progress)
    return TrainedNetwork.from_checkpoint(checkpoints.best, experiment)


def _train(
    experiment: Experiment,
    folder: RunFolder,
    loaders: Loaders,
    words: PreTrainedTokenizerBase,
    start: TrainedNetwork | None,
    progress: bool,
) -> None:
    """Train from the last checkpoint, or from the start, to the last step."""
    if processes.rank() == 0:
        remove_partial(folder.checkpoints.path)  # of a job that was killed
    processes.keep_freed_memory()
    lightning.seed_everything(experiment.seed, verbose=False)
    module = NetworkTraining(experiment, len(words))
    if start is not None:
        module.start = starting.load(module.network, start, experiment)
    _keep_vocabulary(folder.checkpoints.vocabulary, words, module.network)
    saving = Checkpoints(folder.checkpoints)
    with _plain_messages(folder):
        trainer = _trainer(experiment, folder, saving, progress)
        try:
            trainer.fit(module, loaders, ckpt_path=latest(folder.checkpoints))
        finally:
            saving.restore_handlers()
            if torch.distributed.is_available() and torch.distributed.is_initialized():
                torch.distributed.destroy_process_group()  # from here on every process is on its own again
            if trainer.is_global_zero:
                _join_curves(folder)
    if trainer.is_global_zero:
        end = TrainingEnd(
            fingerprint=experiment.fingerprint(),
            steps=trainer.global_step,
            seconds=module.seconds,
            skipped=module.skipped,
            processes=processes.count(),
        )
        write_json(folder.checkpoints.finished, end.model_dump())


def _trainer(
    experiment: Experiment, folder: RunFolder, saving: Checkpoints, progress: bool
) -> lightning.Trainer:
    t = experiment.training
    # A run that goes on must not overwrite its curves.
    part = f"part-{len(list(folder.logs.glob('part-*'))):03d}"
    return lightning.Trainer(
        max_steps=t.steps,
        max_epochs=-1,
        accumulate_grad_batches=t.accumulate,
        val_check_interval=min(t.validate_every, t.steps) * t.accumulate,
        check_val_every_n_epoch=None,
        num_sanity_val_steps=0,
        use_distributed_sampler=False,  # the loaders give every process its share
        deterministic=t.deterministic,
        benchmark=not t.deterministic,  # clips have one size: cuDNN looks for its fastest kernels once
        gradient_clip_val=t.clip,
        precision=precision(t.precision),
        **processes.layout(),
        strategy=_strategy(experiment),
        log_every_n_steps=min(10, t.steps),
        logger=loggers(experiment, folder, part),
        # Lightning's environment of SLURM would take SLURM's signals.
        plugins=[CheckpointFiles(), *([LightningEnvironment()] if processes.count() == 1 else [])],
        enable_checkpointing=False,  # of Lightning's own
        callbacks=[
            *([TrainingBar(folder)] if progress else []),
            saving,
            LearningRateMonitor("step"),
        ],
        enable_progress_bar=False,  # Lightning's is a bar an epoch
        enable_model_summary=False,
    )


def _strategy(experiment: Experiment) -> str:
    """Several processes wait for the gradient of every parameter, unless told that some get none.

    Those are of the authors' network, without the loss that alone reads them.
    """
    alone = processes.count() == 1
    return "auto" if alone or experiment.model.alignment else "ddp_find_unused_parameters_true"


@contextmanager
def _plain_messages(folder: RunFolder) -> Iterator[None]:
    """Silence Lightning's advice before and between the steps; say what to do about a full disk."""
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
    with warnings.catch_warnings():
        for message in ADVICE:
            warnings.filterwarnings("ignore", message=f".*{message}.*")
        try:
            yield
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
                raise
            advice = "too little disk; make room and call fit again, it goes on from last.ckpt"
            raise OSError(error.errno, f"{error.strerror}: {advice}", str(folder.path)) from error


@rank_zero_only
def _keep_vocabulary(folder: Path, words: PreTrainedTokenizerBase, network: nn.Module) -> None:
    """Write what opening a checkpoint needs, so that it needs no download."""
    if not (folder / "config.json").exists():
        words.save_pretrained(folder)
        keep_architectures(network, folder)


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
    if not mark.exists():
        write_text(mark, experiment.fingerprint())


def _join_curves(folder: RunFolder) -> None:
    """Write one metrics.csv from all parts of a run that stopped and went on; later parts win."""
    files = sorted(folder.logs.glob("part-*/metrics.csv"))
    parts = [pd.read_csv(file) for file in files if file.stat().st_size]  # a killed part can be empty
    if parts:
        pd.concat(parts).groupby("step", as_index=False).last().to_csv(folder.curves, index=False)
