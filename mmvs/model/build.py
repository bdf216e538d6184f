"""The network that a Model names."""

from __future__ import annotations

from torch import nn

from mmvs.config import Model
from mmvs.model.network import Network
from mmvs.model.published import PublishedNetwork


def build_network(model: Model, vocabulary: int) -> nn.Module:
    """A network with fresh weights: a Batch in, a Prediction out, in the steps observe, read and decide.

    vocabulary  number of word pieces of the run's tokenizer
    """
    kind = {"multimodal": Network, "published": PublishedNetwork}[model.name]
    return kind(model, vocabulary)
