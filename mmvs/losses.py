"""Segmentation and alignment terms (paper, section 3.5); Objective sums them by weight.

The terms of the authors' code are in `mmvs.published.objective`.
"""

from __future__ import annotations

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


def alignment_loss(
    prediction: Prediction, batch: Batch, form: str, temperature: float
) -> tuple[Tensor, Tensor]:
    """Cross-modal and temporal term of the multi-modal alignment loss.

    `cosine`, the paper's: 1 - cos(appearance inside the object, sentence), and the symmetric KL between
    the channel distributions of Ta and Tm. Both are zero for constant features: nothing stops a collapse.
    `contrastive`: the sentence must be closer to cells of the object than to cells of the background and
    closer to its own object than to other sentences' objects (InfoNCE, van den Oord et al. 2018); and
    the two streams must look for the sentence in the same cells (symmetric KL over cells).

    Returns (cross-modal, temporal), scalars.
    """
    h, w = prediction.appearance.shape[-2:]
    inside = F.adaptive_avg_pool2d(batch.masks[:, None], (h, w)).flatten(1)  # (N, hw) share of each cell
    sentence = F.normalize(prediction.sentence.float(), dim=1)
    appearance = prediction.appearance.float().flatten(2)  # (N, D, hw)
    motion = prediction.motion.float().flatten(2)
    looks = torch.einsum("ndc,nd->nc", F.normalize(appearance, dim=1), sentence)

    if form == "cosine":
        weight = inside / inside.sum(1, keepdim=True).clamp(min=1e-6)
        cross_modal = 1 - (looks * weight).sum(1).mean()
        return cross_modal, symmetric_kl(appearance.transpose(1, 2), motion.transpose(1, 2))

    moves = torch.einsum("ndc,nd->nc", F.normalize(motion, dim=1), sentence)
    share = (looks / temperature).log_softmax(1)
    cells = -torch.logsumexp(share + inside.clamp(min=1e-6).log(), dim=1).mean()
    objects = F.normalize(torch.einsum("ndc,nc->nd", appearance, inside), dim=1)
    scores = objects @ sentence.T / temperature  # (N objects, N sentences)
    same = (batch.words[:, None] == batch.words[None]).all(2) & ~torch.eye(
        len(scores), dtype=bool, device=scores.device
    )
    scores = scores.masked_fill(same, -torch.inf)  # the same words said elsewhere are no counter-example
    own = torch.arange(len(scores), device=scores.device)
    sentences = (F.cross_entropy(scores, own) + F.cross_entropy(scores.T, own)) / 2
    return (cells + sentences) / 2, symmetric_kl(looks / temperature, moves / temperature)


def symmetric_kl(one: Tensor, other: Tensor) -> Tensor:
    """KL(p || q) + KL(q || p) of the softmax over the last axis, halved, mean over the rest."""
    p, q = one.log_softmax(-1), other.log_softmax(-1)
    return ((p.exp() - q.exp()) * (p - q)).sum(-1).mean() / 2


class Objective(nn.Module):
    """The training loss: weighted terms of one Prediction; every term is reported by name."""

    def __init__(self, loss: Loss, alignment: bool):
        super().__init__()
        self.loss, self.alignment = loss, alignment

    def forward(self, prediction: Prediction, batch: Batch) -> dict[str, Tensor]:
        """Judge a prediction against the ground truth of its batch.

        Returns scalars: `loss` and its unweighted terms `final`, `coarse`, `decoder`
        and, with the switch `alignment`, `cross_modal`, `temporal`.
        """
        valid = batch.valid[batch.clip_of_sentence].float()
        terms = {
            "final": segmentation_loss(prediction.logits, batch.masks, valid),
            "coarse": segmentation_loss(prediction.coarse, batch.masks, valid),
            "decoder": segmentation_loss(prediction.decoder, batch.masks, valid),
        }
        if self.alignment:
            terms["cross_modal"], terms["temporal"] = alignment_loss(
                prediction, batch, self.loss.form, self.loss.temperature
            )
        weights = {"final": 1.0} | self.loss.model_dump(
            include={"coarse", "decoder", "cross_modal", "temporal"}
        )
        return {"loss": sum(weights[name] * term for name, term in terms.items())} | terms
