"""What training leaves on disk, and how it ends: checkpoints, signals, a loss that is no number."""

from __future__ import annotations

import os
import signal
import threading
import warnings
from pathlib import Path
from types import FrameType
from typing import Any

import lightning
import torch
from lightning.fabric.plugins import TorchCheckpointIO
from torch import nn

from mmvs import checkpoints, processes
from mmvs.checkpoints import CheckpointError
from mmvs.run_folder import CheckpointFolder

SCORE = "val/mean_iou"  # chooses the best checkpoint


class TrainingStopped(RuntimeError):
    """A signal stopped the training; the text says what is kept, `signal` is its number."""

    def __init__(self, last: Path, step: int, steps: int, number: int):
        """last: the checkpoint; step: of it, 0 where there is none yet; steps: of the whole training."""
        kept = f"{os.path.relpath(last)} keeps step {step:,} of {steps:,}, the same call goes on from there"
        nothing = "before anything was saved, the same call begins anew"
        super().__init__(f"training stopped: {kept if step else nothing}")
        self.step, self.signal = step, number


class NonFiniteError(ValueError):
    """The loss or the weights are no numbers any more; the text says since when, and what to do."""


class CheckpointFiles(TorchCheckpointIO):
    """Lightning's reads and writes, by `mmvs.checkpoints`."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        """Whole or not at all."""
        checkpoints.write(checkpoint, path)

    def load_checkpoint(
        self, path: Any, map_location: Any = None, weights_only: Any = None
    ) -> dict[str, Any]:
        """Refused where it is damaged; nothing but tensors and plain values is unpickled."""
        return checkpoints.read(path, mmap=False)


class Checkpoints(lightning.Callback):
    """last.ckpt after every validation and at a signal, best.ckpt at every best score.

    The checkpoint before the last is kept as well: a disk that damages one does not cost the run.
    """

    def __init__(self, folder: CheckpointFolder):
        self.folder = folder
        self.best: float | None = None
        self.validated = 0  # the step of the last validation
        self.saved = 0  # the step of last.ckpt
        self.steps = 0  # of the whole training
        self.signal: int | None = None
        self._handlers: dict[int, Any] = {}

    def state_dict(self) -> dict[str, Any]:
        """The best score, to compare with wherever the folder lies then; the step of the last validation."""
        return {"best": self.best, "validated": self.validated}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take the best score of the part before, and the step of its last validation."""
        self.best, self.validated = state["best"], state.get("validated", 0)

    def on_load_checkpoint(self, trainer: lightning.Trainer, module: Any, checkpoint: dict[str, Any]) -> None:
        """Checkpoints of earlier versions keep the score in a callback of Lightning's."""
        for state in checkpoint.get("callbacks", {}).values():
            if isinstance(state, dict) and state.get("monitor") == SCORE and self.best is None:
                score = state.get("best_model_score")
                self.best = None if score is None else float(score)

    def on_validation_end(self, trainer: lightning.Trainer, module: nn.Module) -> None:
        """Save, unless the weights are no numbers: then nothing is overwritten, and training ends."""
        broken = [name for name, weights in module.network.state_dict().items() if not _finite(weights)]
        if broken:
            raise NonFiniteError(
                f"step {trainer.global_step}: {len(broken)} weights are no numbers any more, the first is "
                f"{broken[0]}; {advice(self.folder)}"
            )
        score, self.validated = float(trainer.callback_metrics[SCORE]), trainer.global_step
        if self.best is None or score > self.best:
            self.best = score
            trainer.save_checkpoint(self.folder.best)
        self._save_last(trainer)

    def on_train_start(self, trainer: lightning.Trainer, module: nn.Module) -> None:
        """From here on SIGTERM and SIGINT let the step end and be saved; a second SIGINT stops at once."""
        self.saved, self.steps = trainer.global_step, trainer.max_steps
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGTERM, signal.SIGINT):
                self._handlers[number] = signal.signal(number, self._note)
        step = trainer.global_step
        every = trainer.val_check_batch // trainer.accumulate_grad_batches
        if step % every == 0 and step != self.validated:
            _validate(trainer)  # a signal came between this step and its validation

    def on_train_end(self, trainer: lightning.Trainer, module: nn.Module) -> None:
        """Validate the last step, where that is not one of every `validate_every`."""
        if trainer.global_step != self.validated:
            _validate(trainer)

    def on_train_batch_end(self, trainer: lightning.Trainer, *of_batch: Any) -> None:
        """At a signal: save this step, and stop; after the last step, training ends anyway."""
        *_, number = of_batch
        if (number + 1) % trainer.accumulate_grad_batches:
            return  # the step has batches to come
        stop = self.signal is not None and trainer.global_step < trainer.max_steps
        if processes.count() > 1:  # all together: who saves waits for the others
            stop = trainer.strategy.reduce_boolean_decision(stop, all=False)
        if stop:
            self._save_last(trainer)
            raise self._stopped(self.signal or signal.SIGTERM)

    def restore_handlers(self) -> None:
        """Leave signals as they were before training; Lightning's own teardown may have done so already."""
        while self._handlers:
            number, handler = self._handlers.popitem()
            if signal.getsignal(number) == self._note:
                signal.signal(number, handler)

    def _note(self, number: int, frame: FrameType | None) -> None:
        if number == signal.SIGINT and self.signal is not None:
            raise self._stopped(number)
        self.signal = number

    def _stopped(self, number: int) -> TrainingStopped:
        return TrainingStopped(self.folder.last, self.saved, self.steps, number)

    def _save_last(self, trainer: lightning.Trainer) -> None:
        if trainer.is_global_zero and self.folder.last.exists():
            keep_beside(self.folder.last, self.folder.previous)
        trainer.save_checkpoint(self.folder.last)
        self.saved = trainer.global_step


def _validate(trainer: lightning.Trainer) -> None:
    """Validate at once, as Lightning does between two steps."""
    loop = trainer.fit_loop.epoch_loop.val_loop
    loop.restarting = False
    loop.run()
    trainer.training = True


def keep_beside(path: Path, beside: Path) -> None:
    """Let a file stay under a second name, in place of what has that name; its own may then be written."""
    try:
        beside.unlink(missing_ok=True)
        os.link(path, beside)
    except OSError:  # a file system without links
        os.replace(path, beside)


def latest(folder: CheckpointFolder) -> Path | None:
    """The checkpoint to go on from: the last that can be read; None where there is none yet.

    A damaged last one is renamed, with a warning that says from where training goes on. Raises
    CheckpointError where there are checkpoints and none of them can be read.
    """
    errors = []
    for path in (folder.last, folder.previous, folder.best):
        try:
            step = checkpoints.read(path)["global_step"]
        except FileNotFoundError:
            continue
        except CheckpointError as error:
            errors.append(str(error))
            continue
        if errors:
            warnings.warn(
                f"{'; '.join(errors)}: training goes on from {path.name}, step {step}", stacklevel=3
            )
            if folder.last.exists():
                folder.last.rename(folder.last.with_name("last.damaged.ckpt"))
        return path
    if errors:
        raise CheckpointError(f"{'; '.join(errors)}: move {folder.path} away to train anew")
    return None


def advice(folder: CheckpointFolder) -> str:
    """What to do where numbers have become none."""
    step = next(
        (checkpoints.read(path)["global_step"] for path in (folder.last, folder.previous) if path.exists()),
        None,
    )
    kept = f"{folder.last} is of step {step}, before it" if step is not None else "no checkpoint is kept yet"
    return f"{kept}. Lower training.rate, try precision: 32-true, or set training.skip_nonfinite: 1"


def _finite(weights: torch.Tensor) -> bool:
    return not weights.is_floating_point() or bool(torch.isfinite(weights).all())
