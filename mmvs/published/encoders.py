"""What the published network makes of each modality: words, and maps that know where their cells lie."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torchvision.models.resnet import BasicBlock
from torchvision.models.segmentation.deeplabv3 import ASPP

from mmvs.published.places import CHANNELS, places


class PublishedLanguage(nn.Module):
    """BERT, and its words projected to the model's width."""

    def __init__(self, bert: nn.Module, width: int, frozen: str = "none"):
        """frozen: "all" keeps BERT in eval mode."""
        super().__init__()
        self.bert, self.frozen = bert, frozen
        self.project = nn.Linear(bert.config.hidden_size, width)
        self.norm = nn.BatchNorm1d(width)
        self.train()

    def train(self, mode: bool = True) -> PublishedLanguage:
        """As of any module; a frozen BERT stays in eval mode."""
        super().train(mode)
        if self.frozen == "all":
            self.bert.eval()
        return self

    def forward(self, words: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Read the sentences.

        words  (N, L) int64 token ids, [CLS] first
        mask   (N, L) bool, False for padding, which counts in the normalisation (as published)

        Returns words (N, L, D) and BERT's own state of [CLS], (N, C).
        """
        states = self.bert(input_ids=words, attention_mask=mask.long()).last_hidden_state
        return self.norm(self.project(states).transpose(1, 2)).transpose(1, 2), states[:, 0]


class Context(nn.Module):
    """A backbone's top level, at several scales (ASPP, Chen et al. 2017), with places of its cells."""

    def __init__(self, channels: int, width: int):
        super().__init__()
        self.aspp = ASPP(channels, [3, 5, 7], width)
        self.place = nn.Sequential(
            nn.Conv2d(width + CHANNELS, width, 3, padding=1),
            nn.ReLU(inplace=True),
            nn.Conv2d(width, width, 1),
        )

    def forward(self, top: Tensor) -> Tensor:
        """top (F, C, h, w) → (F, D, h, w)."""
        context = self.aspp(top)
        return self.place(torch.cat([context, places(context).expand(len(context), -1, -1, -1)], dim=1))


def hold_resolution(layer: nn.Module, partly: bool) -> None:
    """Let the last level of a ResNet of basic blocks keep the resolution of the level before: dilate it.

    partly  as in the authors' code: the first convolution is dilated and none behind it; otherwise all behind
            the stride that is taken out (Chen et al. 2017)

    A layer without a stride (of bottlenecks, which torchvision dilates itself, or of a narrow backbone) is
    changed only by `partly`. Raises ValueError where that is asked of bottlenecks.
    """
    first = layer[0] if isinstance(layer, nn.Sequential) else layer  # a narrow backbone's level is one block
    if not isinstance(first, BasicBlock):
        if partly:
            raise ValueError("quirks: dilation is a slip of basic blocks: take resnet18, resnet34 or narrow")
        return
    strided = first.conv1.stride != (1, 1)
    if strided:
        first.conv1.stride = first.downsample[0].stride = (1, 1)
    behind = [c for c in layer.modules() if isinstance(c, nn.Conv2d) and c.kernel_size == (3, 3)][1:]
    for convolution in [first.conv1] if partly else behind if strided else []:
        convolution.dilation = convolution.padding = (2, 2)
