"""Every frame of a video through a network, each thing computed once and kept as long as a window needs it.

Plainly, each frame's window of T frames goes through the whole network for every sentence: T times the
backbones, and once more for the next sentence. But what a network observes of a frame depends on no sentence
and is the same in every window that holds it; and a sentence reads the same in every frame. What is left for
each (frame, sentence) is to decide.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext
from itertools import islice
from typing import NamedTuple

import torch
from torch import Tensor

from mmvs.model.network import Network
from mmvs.schema import Observed, Sentences
from mmvs.video.files import window


class Picture(NamedTuple):
    """A frame on the network's canvas."""

    frame: Tensor  # (3, H, W) uint8 RGB
    flow: Tensor  # (2, H, W) float32, pixels per frame


class Streaming:
    """Answers to some sentences, frame by frame; what it keeps does not grow with the length of the video."""

    def __init__(
        self,
        network: Network,
        said: Sentences,
        frames: int,
        stride: int,
        batch: int = 4,
        precision: torch.dtype = torch.float32,
        valid: Tensor | None = None,
    ):
        """said: what `network.read` made of N sentences, in inference mode
        frames, stride: of a window, as in config.Data
        batch: frames observed at once, and (frame, sentence) pairs decided at once
        precision: of matrix products; in bfloat16 masks differ a little
        valid: (H, W) bool, where the canvas shows the picture; None: everywhere"""
        self.network, self.said, self.batch, self.precision = network, said, batch, precision
        self.frames, self.stride, self.valid = frames, stride, valid
        self.before = stride * (frames // 2)  # frames that a window needs before its target, and after it
        self.after = stride * (frames - 1 - frames // 2)
        self.tops: dict[int, list[Tensor]] = {}  # frame → tops, as long as any window needs them
        self.levels: dict[int, list[Tensor]] = {}  # frame → levels, until it is decided
        self.size = torch.Size()

    def __call__(self, pictures: Iterable[Picture], first: int = 0, start: int = 0) -> Iterator[Tensor]:
        """Foreground probabilities (N, H, W), float32 on the CPU, of every frame from `start` on.

        first  index of the first of the pictures: at most `start - before`, or 0
        """
        coming, seen, asked = iter(pictures), first, start
        while chunk := list(islice(coming, self.batch)):
            self._observe(chunk, seen)
            seen += len(chunk)
            ready = max(asked, seen - self.after)  # windows of frames before it are complete
            yield from self._decided(range(asked, ready), seen)
            asked = ready
        yield from self._decided(range(asked, seen), seen)

    @torch.inference_mode()
    def _observe(self, chunk: list[Picture], first: int) -> None:
        device = self.said.words.device
        frames, flow = (torch.stack(part).to(device) for part in zip(*chunk, strict=True))
        with self._precision(device):
            observed = self.network.observe(frames, flow, valid=self.valid)
        self.size = observed.size
        for i in range(len(chunk)):  # copies: a view would keep the whole batch alive
            self.tops[first + i] = [top[i].clone() for top in observed.tops]
            self.levels[first + i] = [level[i].clone() for level in observed.levels]

    def _decided(self, targets: range, count: int) -> Iterator[Tensor]:
        """Answers of frames whose windows are complete, `count` being known; what has served is dropped."""
        sentences = len(self.said.words)
        at_once = max(1, self.batch // sentences)
        for begin in range(targets.start, targets.stop, at_once):
            group = range(begin, min(begin + at_once, targets.stop))
            answers = self._decide(group, count)
            for target in group:
                self.levels.pop(target)
            for frame in [f for f in self.tops if f < group.stop - self.before]:
                self.tops.pop(frame), self.levels.pop(frame, None)  # levels: of frames before `start`
            yield from answers

    @torch.inference_mode()
    def _decide(self, targets: range, count: int) -> Tensor:
        """(B, N, H, W) of B targets, at most `batch` sentences at once."""
        windows = [window(target, self.frames, self.stride, count) for target in targets]
        seen = Observed(
            tops=[
                torch.stack([torch.stack([self.tops[i][k] for i in indices]) for indices in windows])
                for k in range(len(self.tops[windows[0][0]]))
            ],
            levels=[torch.stack(maps) for maps in zip(*(self.levels[t] for t in targets), strict=True)],
            size=self.size,
        )
        clips, answers = len(targets), []
        for begin in range(0, len(self.said.words), self.batch):
            some = slice(begin, begin + self.batch)
            words, summary, mask = (
                x[some].repeat(clips, *[1] * (x.ndim - 1))
                for x in (self.said.words, self.said.summary, self.said.mask)
            )
            of_clip = torch.arange(clips, device=words.device).repeat_interleave(len(words) // clips)
            with self._precision(words.device):
                logits = self.network.segment(
                    seen, Sentences(words, summary, mask), of_clip, self.frames // 2
                )
            answers.append(torch.sigmoid(logits[:, 0].float()).unflatten(0, (clips, -1)).cpu())
        return torch.cat(answers, dim=1)

    def _precision(self, device: torch.device) -> AbstractContextManager:
        if self.precision == torch.float32:
            return nullcontext()
        return torch.autocast(device.type, self.precision)
