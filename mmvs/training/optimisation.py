"""The optimisation of one experiment, for Lightning: objective, parameter groups, schedule, scores, logs."""

from __future__ import annotations

import math
import time
from typing import Any

import lightning
import torch
from torch import Tensor, nn

from mmvs import processes
from mmvs.build import build
from mmvs.config import Experiment, Training
from mmvs.data.training_clips import draw_seed
from mmvs.metrics import SegmentationMetrics, binarise
from mmvs.model.encoders import ImageEncoder
from mmvs.model.inference import as_scored
from mmvs.model.layers import layers
from mmvs.model.norms import share_norms
from mmvs.run_folder import RunFolder
from mmvs.schema import Batch
from mmvs.training.saving import NonFiniteError, advice


class NetworkTraining(lightning.LightningModule):
    """A network with its objective, parameter groups, schedule, validation scores and logs."""

    def __init__(self, experiment: Experiment, vocabulary: int):
        """vocabulary: number of the tokenizer's word pieces."""
        super().__init__()
        self.experiment = experiment
        built = build(experiment, vocabulary)
        self.network, self.objective = built.network, built.objective
        for part in self.network.modules():
            if isinstance(part, ImageEncoder):
                part.recompute = experiment.training.recompute
        if experiment.training.shared_norms and processes.count() > 1:
            share_norms(self.network)
        self.validation = SegmentationMetrics()
        self.start: dict[str, Any] | None = None  # of a fine-tuning: the weights that it started from
        self.skipped = 0  # batches whose loss was no number
        self.seconds = 0.0  # of training, over all parts of a run that stopped and went on
        self._since = time.monotonic()

    def on_fit_start(self) -> None:
        """Fit the network to the device, which Lightning knows by now."""
        as_scored(self.network)

    def training_step(self, batch: Batch, number: int) -> Tensor | None:
        """The loss of one batch, a scalar; logs every term under its name.

        number  of the batch in this process; `training.accumulate` of them make a step

        A loss that is no number raises NonFiniteError, or leaves the batch out (`training.skip_nonfinite`).
        What a step draws (dropout) depends on its number alone, so that a resumed run draws the same.
        """
        step, place = divmod(number, self.experiment.training.accumulate)
        place = place * processes.count() + processes.rank()
        torch.manual_seed(draw_seed(self.experiment.seed, "step", step, place))
        terms = self.objective(self.network(batch), batch)
        if not torch.isfinite(terms["loss"]):
            return self._skip(batch, terms)
        self.log_dict({f"train/{name}": term for name, term in terms.items()}, batch_size=len(batch.masks))
        return terms["loss"]

    def _skip(self, batch: Batch, terms: dict[str, Tensor]) -> None:
        """Leave out a batch whose loss is no number, as often as the experiment allows."""
        self.skipped += 1
        if self.skipped > self.experiment.training.skip_nonfinite:
            of_batch = map(self.trainer.datamodule.sample, batch.samples)
            names = "; ".join(f"{s.video_id}, frame {s.frame + 1}: '{s.sentence}'" for s in of_batch)
            values = ", ".join(f"{name} {float(term.detach()):g}" for name, term in terms.items())
            folder = RunFolder.of(self.experiment).checkpoints
            raise NonFiniteError(
                f"step {self.global_step + 1}: the loss is no number ({values}) for the samples {names}; "
                f"{advice(folder)}"
            )

    def validation_step(self, batch: Batch, step: int) -> None:
        """Score a batch of held-out training videos, on the canvas."""
        prediction = self.network(batch)
        loss = self.objective(prediction, batch)["loss"]
        self.log("val/loss", loss, batch_size=len(batch.masks), sync_dist=True)
        # A distributed sampler repeats some clips: `position` lets the scores count each sample once.
        probabilities, truths = prediction.probability(), batch.masks.bool()
        for probability, truth, position in zip(probabilities, truths, batch.samples, strict=True):
            mask = binarise(probability, self.experiment.evaluation)
            self.validation.update(mask, truth, position=position)

    def on_validation_epoch_end(self) -> None:
        """Log the scores that choose the best checkpoint."""
        scores = self.validation.compute()
        self.validation.reset()
        self.log("val/mean_iou", scores["mean_iou"], prog_bar=True, sync_dist=True)
        self.log("val/overall_iou", scores["overall_iou"], sync_dist=True)

    def configure_optimizers(self) -> dict[str, Any]:
        """AdamW over the network's groups of parameters, each with its rate; warm-up, then cosine decay.

        Matrices and kernels decay; biases and normalisations do not. With `layer_decay` below 1, the last
        layer of a pretrained part learns at the part's rate, and each layer before it more slowly.
        """
        t = self.experiment.training
        below = _layers_below_the_last(self.network) if t.layer_decay < 1 else {}
        rates = {"backbones": t.backbone_rate, "language": t.language_rate, "rest": t.rate}
        rates = {name: rate * rate_factor(t) for name, rate in rates.items()}
        group_of = {p: name for name, group in self.network.parameter_groups().items() for p in group}
        groups: dict[tuple[str, int, bool], list[Tensor]] = {}
        for parameter in self.network.parameters():
            place = group_of.get(parameter, "rest"), below.get(parameter, 0), parameter.ndim > 1
            groups.setdefault(place, []).append(parameter)
        optimizer = torch.optim.AdamW(
            [
                {
                    "params": parameters,
                    "name": group + (f" -{depth}" if depth else "") + ("" if decays else " (no decay)"),
                    "lr": rates[group] * t.layer_decay**depth,
                    "weight_decay": t.weight_decay if decays else 0.0,
                }
                for (group, depth, decays), parameters in groups.items()
            ],
            fused=precision(t.precision) != "16-mixed",  # there, gradients are scaled until they are clipped
        )

        def share_of_rate(step: int) -> float:
            if step < t.warmup:
                return (step + 1) / t.warmup
            return 0.5 * (1 + math.cos(math.pi * min(1.0, (step - t.warmup) / max(1, t.steps - t.warmup))))

        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, share_of_rate)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def on_train_start(self) -> None:
        """Start the clock of this part of the training."""
        self._since = time.monotonic()

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add what the weights mean: the experiment, and the seconds of training so far."""
        now = time.monotonic()
        self.seconds, self._since = self.seconds + now - self._since, now
        checkpoint["mmvs"] = {
            "fingerprint": self.experiment.fingerprint(),
            "experiment": self.experiment.model_dump_json(),
            "seconds": self.seconds,
            "skipped": self.skipped,
            "processes": processes.count(),
            **({"start": self.start} if self.start else {}),
            "threads": torch.get_num_threads(),
        }

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Go on where the run stopped, with as many threads, which decide the last digits."""
        self.seconds = checkpoint["mmvs"]["seconds"]
        self.skipped = checkpoint["mmvs"].get("skipped", 0)
        self.start = checkpoint["mmvs"].get("start")
        torch.set_num_threads(checkpoint["mmvs"].get("threads", torch.get_num_threads()))


def _layers_below_the_last(network: nn.Module) -> dict[nn.Parameter, int]:
    """How far below the last layer of its encoder every parameter of a pretrained part lies."""
    encoders = [part.body for part in (network.appearance, network.motion) if hasattr(part, "body")]
    return {
        parameter: depth
        for encoder in [*encoders, network.language.bert]
        for depth, layer in enumerate(reversed(layers(encoder)))
        for parameter in layer
    }


def precision(setting: str) -> str:
    """`training.precision` as Lightning names it: `auto` is what the device has."""
    if setting != "auto":
        return setting
    if not torch.cuda.is_available():
        return "32-true"
    return "bf16-mixed" if torch.cuda.is_bf16_supported() else "16-mixed"


def rate_factor(training: Training) -> float:
    """What `training.scale_rate` makes of a rate that is meant for steps of one batch."""
    batches = training.accumulate * processes.count()
    return {"none": 1.0, "linear": float(batches), "sqrt": math.sqrt(batches)}[training.scale_rate]
