"""How soon a backbone tells looks, with every object labelled: `python -m benchmarks.looks`.

The appearance backbone of params/moving_shapes.yaml and one convolution, on frames of training clips before
compression; labels are the shape and the colour of every object's pixels. Printed are the shares of right
pixels of objects in test clips. It tells what of a training's time goes to the backbone, not to sentences.
"""

from __future__ import annotations

import argparse

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mmvs.config import Backbone, MovingShapes
from mmvs.model.encoders import AppearanceEncoder
from mmvs.shapes.clip import draw_clip, render_clip
from mmvs.shapes.scene import COLOURS, SHAPES

SETTINGS = MovingShapes()
EVERY = 4  # frames of a clip
WARMUP, DECAY = 100, 0.01


def labelled(split: str, clips: int) -> tuple[Tensor, Tensor]:
    """Frames (F, 3, H, W) uint8; labels (F, 2, H, W): shape and colour, -1 where no object is."""
    frames, labels = [], []
    for number in range(clips):
        clip = draw_clip(SETTINGS, split, number)
        rendering = render_clip(SETTINGS, split, number, clip)
        for t in range(0, SETTINGS.frames, EVERY):
            label = np.full((2, SETTINGS.height, SETTINGS.width), -1, np.int64)
            for body, masks in zip(clip.scene.bodies, rendering.masks, strict=True):
                looks = body.looks
                label[:, masks[t]] = [[SHAPES.index(looks.shape)], [COLOURS.index(looks.colour)]]
            frames.append(rendering.frames[t])
            labels.append(label)
    pictures = torch.from_numpy(np.stack(frames)).permute(0, 3, 1, 2).contiguous()
    return pictures, torch.from_numpy(np.stack(labels))


class Labeller(nn.Module):
    """A backbone's top level, and what a cell says of shape and colour."""

    def __init__(self, widths: list[int]):
        super().__init__()
        self.encoder = AppearanceEncoder(Backbone(name="narrow", weights=None, widths=widths))
        self.head = nn.Conv2d(self.encoder.widths[-1], len(SHAPES) + len(COLOURS), 1)

    def forward(self, frames: Tensor) -> tuple[Tensor, Tensor]:
        """Frames (F, 3, H, W) uint8 → logits of shapes (F, S, H, W) and of colours (F, C, H, W)."""
        logits = F.interpolate(self.head(self.encoder(frames).top), size=frames.shape[-2:], mode="bilinear")
        return logits[:, : len(SHAPES)], logits[:, len(SHAPES) :]


@torch.no_grad()
def shares_right(model: Labeller, frames: Tensor, labels: Tensor) -> list[float]:
    """Of the pixels of objects: shape right, colour right."""
    model.eval()
    right: tuple[list[Tensor], list[Tensor]] = [], []
    for part, truth in zip(frames.split(32), labels.split(32), strict=True):
        for found, logits, label in zip(right, model(part), truth.unbind(1), strict=True):
            found.append((logits.argmax(1) == label)[label >= 0])
    model.train()
    return [torch.cat(found).float().mean().item() for found in right]


def main() -> None:
    """Print a line every 250 steps."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--clips", type=int, default=400)
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--batch", type=int, default=12)
    parser.add_argument("--rate", type=float, default=0.0015)
    parser.add_argument("--widths", type=int, nargs=4, default=[24, 32, 48, 64])
    given = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    frames, labels = labelled("train", given.clips)
    test = labelled("test", 60)
    model = Labeller(given.widths)
    optimizer = torch.optim.AdamW(model.parameters(), lr=given.rate, weight_decay=DECAY)
    for step in range(given.steps + 1):
        if step % 250 == 0:
            shape, colour = shares_right(model, *test)
            print(
                f"{step:5} steps of {given.batch} frames: shape {shape:.2f}, colour {colour:.2f}", flush=True
            )
        for group in optimizer.param_groups:
            group["lr"] = given.rate * min(1, (step + 1) / WARMUP)
        some = torch.randint(len(frames), (given.batch,))
        pairs = zip(model(frames[some]), labels[some].unbind(1), strict=True)
        loss = sum(F.cross_entropy(logits, label, ignore_index=-1) for logits, label in pairs)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()


if __name__ == "__main__":
    main()
