"""Segmentation and alignment terms; Objective sums them by weight.

The terms of the authors' code are in `mmvs.published.objective`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mmvs.config import Loss
from mmvs.schema import Batch, Prediction


def segmentation_loss(logits: Tensor, masks: Tensor, valid: Tensor) -> Tensor:
    """Binary cross-entropy plus Dice (Milletari et al. 2016), mean over sentences; padding does not count.

    logits  (N, H, W)
    masks   (N, H, W) in {0, 1}
    valid   (N, H, W) in {0, 1}, 0 on padding

    Returns a scalar; undecided logits cost ln 2 in the first part.
    """
    logits = logits.float()
    entropy = F.binary_cross_entropy_with_logits(logits, masks, reduction="none")
    entropy = (entropy * valid).sum((1, 2)) / valid.sum((1, 2))
    shares = torch.sigmoid(logits) * valid
    overlap = (shares * masks).sum((1, 2))
    dice = 1 - (2 * overlap + 1) / (shares.sum((1, 2)) + masks.sum((1, 2)) + 1)
    return (entropy + dice).mean()


def symmetric_kl(one: Tensor, other: Tensor) -> Tensor:
    """KL(p || q) + KL(q || p) of the softmax over the last axis, halved, mean over the rest."""
    p, q = one.log_softmax(-1), other.log_softmax(-1)
    return ((p.exp() - q.exp()) * (p - q)).sum(-1).mean() / 2


def cosines(maps: Tensor, language: Tensor) -> Tensor:
    """Cosine of every cell of maps (N, D, hw) with language (N, D) of length 1 → (N, hw)."""
    return torch.einsum("ndc,nd->nc", F.normalize(maps, dim=1), language)


@dataclass
class Judgement:
    """A prediction beside its ground truth, with what more than one term compares."""

    prediction: Prediction
    batch: Batch
    loss: Loss

    @cached_property
    def valid(self) -> Tensor:
        """(N, H, W) in {0, 1}, 0 on padding."""
        return self.batch.valid[self.batch.clip_of_sentence].float()

    @cached_property
    def streams(self) -> tuple[Tensor, Tensor]:
        """Appearance and motion, each (N, D, hw)."""
        return self.prediction.appearance.float().flatten(2), self.prediction.motion.float().flatten(2)

    @cached_property
    def aligned(self) -> tuple[Tensor, Tensor]:
        """What the cross-modal term compares: appearance (N, D, hw), and language (N, D) of length 1."""
        encoded = self.loss.aligned == "encoded"
        language = self.prediction.words if encoded else self.prediction.sentence
        appearance = self.prediction.encoded.float().flatten(2) if encoded else self.streams[0]
        return appearance, F.normalize(language.float(), dim=1)

    @cached_property
    def inside(self) -> Tensor:
        """(N, hw) the object's share of each cell."""
        h, w = self.prediction.appearance.shape[-2:]
        return F.adaptive_avg_pool2d(self.batch.masks[:, None], (h, w)).flatten(1)


def cross_modal_loss(judgement: Judgement) -> Tensor:
    """The cross-modal term of the alignment loss, a scalar.

    `loss.aligned` says of what: `encoded`, as the method does, of Za and the mean word of Zl; `temporal`, of
    Ta and the sentence's summary. `cosine`, the method's: 1 - cos(appearance inside the object, language).
    `contrastive`: the sentence must be closer to cells of the object than to cells of the background and
    closer to its own object than to other sentences' objects (InfoNCE, van den Oord et al. 2018).
    """
    (appearance, language), inside = judgement.aligned, judgement.inside
    cosine = cosines(appearance, language)
    if judgement.loss.form == "cosine":
        weight = inside / inside.sum(1, keepdim=True).clamp(min=1e-6)
        return 1 - (cosine * weight).sum(1).mean()

    temperature, words = judgement.loss.temperature, judgement.batch.words
    share = (cosine / temperature).log_softmax(1)
    cells = -torch.logsumexp(share + inside.clamp(min=1e-6).log(), dim=1).mean()
    objects = F.normalize(torch.einsum("ndc,nc->nd", appearance, inside), dim=1)
    scores = objects @ language.T / temperature  # (N objects, N sentences)
    own = torch.arange(len(scores), device=scores.device)
    others = ~torch.eye(len(scores), dtype=bool, device=scores.device)
    same = (words[:, None] == words[None]).all(2) & others
    scores = scores.masked_fill(same, -torch.inf)  # a sentence of the same words is no counter-example
    sentences = (F.cross_entropy(scores, own) + F.cross_entropy(scores.T, own)) / 2
    return (cells + sentences) / 2


def temporal_loss(judgement: Judgement) -> Tensor:
    """The temporal term of the alignment loss, a scalar: the symmetric KL of Ta and Tm.

    `cosine`, the method's: of their channel distributions in every cell; zero for constant features, so that
    nothing stops a collapse. `contrastive`: both streams must look for the sentence in the same cells.
    """
    if judgement.loss.form == "cosine":
        appearance, motion = (stream.transpose(1, 2) for stream in judgement.streams)
    else:
        sentence = F.normalize(judgement.prediction.sentence.float(), dim=1)
        appearance, motion = (
            cosines(stream, sentence) / judgement.loss.temperature for stream in judgement.streams
        )
    return symmetric_kl(appearance, motion)


def _of_mask(name: str) -> Callable[[Judgement], Tensor]:
    """The segmentation loss of one of a prediction's maps of logits."""
    return lambda judgement: segmentation_loss(
        getattr(judgement.prediction, name), judgement.batch.masks, judgement.valid
    )


# Every term by its name in the logs. A new one is a line here and a weight of the same name in config.Loss,
# which `Experiment.fingerprint` drops at its default: else every finished run would be trained anew.
TERMS: dict[str, Callable[[Judgement], Tensor]] = {
    "final": _of_mask("logits"),  # of weight 1
    "coarse": _of_mask("coarse"),
    "decoder": _of_mask("decoder"),
    "cross_modal": cross_modal_loss,
    "temporal": temporal_loss,
}
ALIGNMENT = ("cross_modal", "temporal")  # the terms of the switch `alignment`


class Objective(nn.Module):
    """The training loss: weighted terms of one Prediction; every term is reported by name."""

    def __init__(self, loss: Loss, alignment: bool):
        super().__init__()
        self.loss = loss
        self.terms = {name: term for name, term in TERMS.items() if alignment or name not in ALIGNMENT}

    def forward(self, prediction: Prediction, batch: Batch) -> dict[str, Tensor]:
        """Judge a prediction against the ground truth of its batch.

        Returns scalars: `loss`, and its unweighted terms by their names in TERMS.
        """
        judgement = Judgement(prediction, batch, self.loss)
        terms = {name: term(judgement) for name, term in self.terms.items()}
        weights = {name: 1.0 if name == "final" else getattr(self.loss, name) for name in terms}
        return {"loss": sum(weights[name] * term for name, term in terms.items())} | terms
