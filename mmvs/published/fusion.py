"""The published fusion of one pyramid level, and the features that the alignment terms compare."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mmvs.published.places import CHANNELS, places


class PublishedFusion(nn.Module):
    """The sentence weighs the channels of both streams, each stream gates the other, and they become one.

    A convolution over concatenated maps is the sum of convolutions over each. What appearance, motion and
    places contribute does not depend on the sentence, and is computed once (`observe`).
    """

    def __init__(self, appearance: int, motion: int, width: int, gate_from_appearance: bool):
        super().__init__()
        self.gate_from_appearance = gate_from_appearance
        self.appearance, self.motion = nn.Conv2d(appearance, width, 1), nn.Conv2d(motion, width, 1)
        self.language = nn.Linear(width, width)
        self.enhance_appearance, self.enhance_motion = (
            nn.Conv2d(2 * width + CHANNELS, width, 3, padding=1) for _ in range(2)
        )
        self.gate_appearance, self.gate_motion = (nn.Conv2d(width, 1, 1) for _ in range(2))
        self.fuse = nn.Conv2d(2 * width, width, 3, padding=1)
        self.out = nn.ModuleList(nn.Conv2d(width, width, 3, padding=1) for _ in range(2))

    def observe(self, appearance: Tensor, motion: Tensor) -> Tensor:
        """What the level contributes whatever is asked: (F, Ca, h, w), (F, Cm, h, w) → (F, 2D, h, w)."""
        return torch.cat(
            [
                _own_share(appearance, self.appearance, self.enhance_appearance),
                _own_share(motion, self.motion, self.enhance_motion),
            ],
            dim=1,
        )

    def forward(self, observed: Tensor, sentence: Tensor, coarser: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Fuse one level.

        observed  (N, 2D, h, w)    of `observe`
        sentence  (N, D)           projected [CLS]
        coarser   (N, D, h', w')   result of the level above

        Returns appearance and motion as the sentence weighs them, and the result: each (N, D, h, w).
        """
        width = coarser.shape[1]
        above = resized(coarser, observed.shape[-2:])
        weights = [
            layer.weight[:, width : 2 * width] for layer in (self.enhance_appearance, self.enhance_motion)
        ]
        enhanced = observed + F.conv2d(above, torch.cat(weights), padding=1)
        weighed = self.language(sentence).repeat(1, 2)[..., None, None] * enhanced
        appearance, motion = weighed.split(width, dim=1)
        by_appearance = torch.sigmoid(self.gate_appearance(appearance))
        # A slip of the authors' code, which their weights were trained with: both gates read appearance.
        by_motion = torch.sigmoid(self.gate_motion(appearance if self.gate_from_appearance else motion))
        fused = self.fuse(torch.cat([appearance * (1 + by_motion), motion * (1 + by_appearance)], dim=1))
        return appearance, motion, fused + self.out[1](F.relu(self.out[0](F.relu(fused))))


class Contrast(nn.Module):
    """Both streams of all levels, and the sentence, in one space: what the alignment terms compare."""

    def __init__(self, levels: int, width: int, language: int):
        super().__init__()
        half = width // 2
        self.appearance, self.motion = (
            nn.ModuleList(nn.Conv2d(width, half, 1) for _ in range(levels)) for _ in range(2)
        )
        self.project_appearance, self.project_motion = (nn.Conv2d(levels * half, half, 1) for _ in range(2))
        self.project_language = nn.Linear(language, half)

    def forward(
        self, appearance: list[Tensor], motion: list[Tensor], language: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """appearance, motion: fine to coarse, each (N, D, h_k, w_k); language (N, C) BERT's state of [CLS].

        Returns appearance and motion (N, D/2, h_0, w_0) and the sentence (N, D/2), all of length 1.
        """
        streams = (
            _joined(appearance, self.appearance, self.project_appearance),
            _joined(motion, self.motion, self.project_motion),
            self.project_language(language),
        )
        return tuple(F.normalize(x, dim=1) for x in streams)


def resized(maps: Tensor, size: torch.Size) -> Tensor:
    """Bilinear, corners not aligned."""
    if maps.shape[-2:] == size:
        return maps
    return F.interpolate(maps, size=size, mode="bilinear", align_corners=False)


def _own_share(level: Tensor, project: nn.Conv2d, enhance: nn.Conv2d) -> Tensor:
    """What a 3 x 3 convolution makes of a projected level and of the places, and its bias."""
    width = project.out_channels
    kernel, of_places = enhance.weight[:, :width], enhance.weight[:, 2 * width :]
    where = places(level)[None]
    if project.in_channels > width:
        share = F.conv2d(project(level), kernel, padding=1)
        return share + F.conv2d(where, of_places, enhance.bias, padding=1)
    # Two convolutions in a row are one. On the padding the bias of the first is lost: it is a map, as places.
    both = torch.einsum("odyx,dc->ocyx", kernel, project.weight[:, :, 0, 0])
    of_bias = torch.einsum("odyx,d->oyx", kernel, project.bias)[:, None]
    ones = torch.ones_like(where[:, :1])
    rest = F.conv2d(torch.cat([where, ones], 1), torch.cat([of_places, of_bias], 1), enhance.bias, padding=1)
    return F.conv2d(level, both, padding=1) + rest


def _joined(levels: list[Tensor], parts: nn.ModuleList, project: nn.Conv2d) -> Tensor:
    """The projection of all levels, enlarged and concatenated: projected first, the same and cheaper."""
    shares = reversed(project.weight.split(parts[0].out_channels, dim=1))  # as published: coarse to fine
    projected = [
        F.conv2d(F.relu(part(x)), share, dilation=project.dilation)
        for x, part, share in zip(levels, parts, shares, strict=True)
    ]
    return sum(resized(x, levels[0].shape[-2:]) for x in projected) + project.bias[:, None, None]
