"""What a training shows while it runs: where its curves are, and one bar from the first step to the last."""

from __future__ import annotations

import os
import sys
from typing import Any

import lightning
from tqdm.auto import tqdm

from mmvs.progress import progress_bar
from mmvs.run_folder import RunFolder
from mmvs.training.saving import SCORE

BAR = (
    "{desc}: {percentage:3.0f}%|{bar}| step {n_fmt} of {total_fmt}, "
    "{elapsed} elapsed, {remaining} left{postfix}"
)


class TrainingBar(lightning.Callback):
    """The bar of the whole training, also of one that goes on; validation shows at its end."""

    def __init__(self, folder: RunFolder):
        self.folder = folder
        self.bar: tqdm | None = None

    def on_train_start(self, trainer: lightning.Trainer, module: Any) -> None:
        """Say where the curves are; begin at the step that the training is at."""
        if not trainer.is_global_zero:
            return
        logs = os.path.relpath(self.folder.logs)
        print(f"curves: {logs}; to look at them: tensorboard --logdir {logs}", file=sys.stderr)
        extent = {"total": trainer.max_steps, "initial": trainer.global_step}
        # smoothing 0: the time left is that of the mean step, validations included
        self.bar = progress_bar(desc="training", smoothing=0, bar_format=BAR, **extent)

    def on_train_batch_end(self, trainer: lightning.Trainer, *_: Any) -> None:
        """Move on to the trainer's step."""
        if self.bar is not None:
            self.bar.update(trainer.global_step - self.bar.n)

    def on_validation_start(self, trainer: lightning.Trainer, module: Any) -> None:
        """Say why no step is made."""
        if self.bar is not None:
            self.bar.set_postfix_str("validating")

    def on_validation_end(self, trainer: lightning.Trainer, module: Any) -> None:
        """Show the score in place of that."""
        if self.bar is not None:
            score = float(trainer.callback_metrics[SCORE])
            self.bar.set_postfix_str(f"mean IoU {score:.3f} at step {trainer.global_step}")

    def on_fit_end(self, trainer: lightning.Trainer, module: Any) -> None:
        """Leave the bar as it is, and the line."""
        self._close()

    def on_exception(self, trainer: lightning.Trainer, module: Any, exception: BaseException) -> None:
        """The text of an error begins on a line of its own."""
        self._close()

    def _close(self) -> None:
        if self.bar is not None:
            self.bar.close()
