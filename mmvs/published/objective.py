"""The published training loss: four binary cross-entropies, one of them over all pairs of cells."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mmvs.config import PublishedLoss
from mmvs.schema import Batch, Prediction

HALF_PI = 3.141592 / 2  # as published: with the true pi the tangent of 1 changes its sign in float32
PAIRS = 2**21  # of cells that are compared at a time: 8 MiB a map


def tangent(cosine: Tensor, limit: float) -> Tensor:
    """A cosine as logits: tan(x pi / 2), unbounded at 1; `limit` below 1 cuts it, and its gradient, there."""
    return torch.tan(HALF_PI * cosine.clamp(-limit, limit))


class PairEntropy(torch.autograd.Function):
    """Mean of softplus(-tan(k x)) over all pairs of cells without the map of all pairs; x is a pair's cosine.

    Rows are taken in chunks; of each chunk only its share of the loss and of the gradient is kept: with z =
    tan(k x) the gradient of a pair by x is -sigmoid(-z) (1 + z^2) k.
    """

    @staticmethod
    def forward(ctx, appearance: Tensor, motion: Tensor, limit: float) -> Tensor:
        """appearance, motion (N, K, P) → scalar."""
        n, _, cells = appearance.shape
        rows, count = max(1, PAIRS // cells), n * cells * cells
        needed = any(ctx.needs_input_grad[:2])
        by_appearance, by_motion = torch.zeros_like(appearance), torch.zeros_like(motion)
        total = torch.zeros((), device=appearance.device)
        for i in range(n):
            for start in range(0, cells, rows):
                part = slice(start, start + rows)
                cosine = appearance[i, :, part].T @ motion[i]  # (rows, P)
                wrong = tangent(cosine, limit).neg_()
                total += F.softplus(wrong).sum()
                if needed:
                    slope = wrong.sigmoid().mul_(wrong.square_().add_(1)).mul_(-HALF_PI / count)
                    if limit < 1:
                        slope.masked_fill_(cosine.abs_() > limit, 0)
                    by_appearance[i, :, part] = motion[i] @ slope.T
                    by_motion[i] += appearance[i, :, part] @ slope
        if needed:
            ctx.save_for_backward(by_appearance, by_motion)
        return (total / count).to(appearance.dtype)

    @staticmethod
    def backward(ctx, by_loss: Tensor) -> tuple[Tensor | None, ...]:
        """The kept gradients, scaled."""
        by_appearance, by_motion = ctx.saved_tensors
        return by_loss * by_appearance, by_loss * by_motion, None


def pair_entropy(appearance: Tensor, motion: Tensor, inside: Tensor, limit: float = 1.0) -> Tensor:
    """Cells of one kind (object or background) shall be alike, cells of different kinds not.

    appearance, motion  (N, K, h, w), of length 1 over K
    inside              (N, h, w) in {0, 1}
    limit               where cosines are cut

    Returns a scalar, the mean over all pairs (appearance cell, motion cell), in float32.
    """
    with torch.autocast(appearance.device.type, enabled=False):
        # The tangent is odd: where a pair is of different kinds, its logit changes sign with one feature.
        sign = inside.float().flatten(1)[:, None] * 2 - 1
        pair = (x.float().flatten(2) * sign for x in (appearance, motion))
        return PairEntropy.apply(*pair, limit)


class PublishedObjective(nn.Module):
    """The published loss of a Prediction of PublishedNetwork: equal weights, padding counts as background."""

    def __init__(self, loss: PublishedLoss, alignment: bool):
        """loss: where cosines are cut, 1 as published; alignment: with the three terms beside the mask's."""
        super().__init__()
        self.limit, self.alignment = loss.limit, alignment

    def forward(self, prediction: Prediction, batch: Batch) -> dict[str, Tensor]:
        """Judge a prediction against the ground truth of its batch.

        Returns scalars: `loss`, the sum of `final` and, with `alignment`, `appearance_language`,
        `motion_language` and `appearance_motion`.
        """
        terms = {"final": F.binary_cross_entropy_with_logits(prediction.logits.float(), batch.masks)}
        if self.alignment:
            size = prediction.appearance.shape[-2:]
            inside = F.interpolate(batch.masks[:, None], size=size, mode="nearest-exact")[:, 0]
            for name, stream in {"appearance": prediction.appearance, "motion": prediction.motion}.items():
                cosine = torch.einsum("nkhw,nk->nhw", stream.float(), prediction.sentence.float())
                logits = tangent(cosine, self.limit)
                terms[f"{name}_language"] = F.binary_cross_entropy_with_logits(logits, inside)
            terms["appearance_motion"] = pair_entropy(
                prediction.appearance, prediction.motion, inside, self.limit
            )
        return {"loss": sum(terms.values())} | terms
