"""Every frame of a video through a network: compute each thing once, keep it as long as a window needs it.

The plain way sends each frame's window of T frames through the whole network for every sentence. The
backbones then see a frame T times for each sentence. But what a network observes of a frame depends on no
sentence, and is the same in every window that holds the frame. And a sentence reads the same in every frame.
Where time enters the network late (`frame_by_frame`), what a sentence makes of a frame is the same in every
window, too. Only the decision is left for each pair of frame and sentence.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import NamedTuple

import torch
from torch import Tensor

from mmvs.model.inference import matrix_products
from mmvs.model.network import Network, Related
from mmvs.schema import Observed, Sentences
from mmvs.video.files import window


class Picture(NamedTuple):
    """A frame on the network's canvas."""

    frame: Tensor  # (3, H, W) uint8 RGB
    flow: Tensor  # (2, H, W) float32, pixels per frame


class Streaming:
    """Answers some sentences frame by frame; its memory does not grow with the length of the video."""

    def __init__(
        self,
        network: Network,
        sentences: Sentences,
        frames: int,
        stride: int,
        batch: int = 4,
        precision: torch.dtype = torch.float32,
        valid: Tensor | None = None,
    ):
        """Prepare for one video.

        sentences  N sentences as `network.read` returns them, in inference mode
        frames     T of a window, as in config.Data
        stride     of a window, in frames
        batch      number of frames to observe at once, and of (frame, sentence) pairs to decide at once
        precision  of matrix products; in bfloat16 masks differ a little
        valid      (H, W) bool, where the canvas shows the picture; None: everywhere
        """
        self.network, self.sentences, self.batch, self.precision = network, sentences, batch, precision
        self.frames, self.stride, self.valid = frames, stride, valid
        self.before = stride * (frames // 2)  # frames that a window needs before its target, and after it
        self.after = stride * (frames - 1 - frames // 2)
        # Frame → its tops (D, h, w), or what each sentence makes of them (N, ...): while a window needs them.
        self.tops: dict[int, list[Tensor]] = {}
        self.relates = getattr(network, "frame_by_frame", False)
        self.levels: dict[int, list[Tensor]] = {}  # frame → levels, until its masks are decided
        self.size = torch.Size()

    def __call__(self, pictures: Iterable[Picture], first: int = 0, start: int = 0) -> Iterator[Tensor]:
        """Yield foreground probabilities (N, H, W), float32 on the CPU, of every frame from `start` on.

        first  index of the first of the pictures: at most `start - before`, or 0
        """
        coming, count, target = iter(pictures), first, start
        while chunk := list(islice(coming, self.batch)):
            self._observe(chunk, count)
            count += len(chunk)
            ready = max(target, count - self.after)  # windows of frames before it are complete
            yield from self._decide_in_turn(range(target, ready), count)
            target = ready
        yield from self._decide_in_turn(range(target, count), count)

    @torch.inference_mode()
    def _observe(self, chunk: list[Picture], first: int) -> None:
        device = self.sentences.words.device
        frames, flow = (torch.stack(part).to(device) for part in zip(*chunk, strict=True))
        with matrix_products(device, self.precision):
            observed = self.network.observe(frames, flow, valid=self.valid)
            tops = observed.tops
            if self.relates:
                groups = [self.network.relate(tops, part) for part in self._groups()]
                tops = [torch.cat(parts).transpose(0, 1) for parts in zip(*groups, strict=True)]
        self.size = observed.size
        for i in range(len(chunk)):  # copies: a view would keep the whole batch alive
            self.tops[first + i] = [top[i].clone() for top in tops]
            self.levels[first + i] = [level[i].clone() for level in observed.levels]

    def _groups(self) -> Iterator[Sentences]:
        """At most `batch` sentences at once."""
        whole = self.sentences
        for begin in range(0, len(whole.words), self.batch):
            some = slice(begin, begin + self.batch)
            yield Sentences(whole.words[some], whole.summary[some], whole.mask[some])

    def _decide_in_turn(self, targets: range, count: int) -> Iterator[Tensor]:
        """Yield (N, H, W) of frames whose windows are complete, and drop what no later window needs.

        count  of the video's frames so far
        """
        at_once = max(1, self.batch // len(self.sentences.words))
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
        """(B, N, H, W) probabilities of B targets, at most `batch` sentences at once."""
        windows = [window(target, self.frames, self.stride, count) for target in targets]
        tops = [
            torch.stack([torch.stack([self.tops[i][k] for i in indices]) for indices in windows])
            for k in range(len(self.tops[windows[0][0]]))
        ]
        levels = [torch.stack(maps) for maps in zip(*(self.levels[t] for t in targets), strict=True)]
        clips, done, answers = len(targets), 0, []
        for group in self._groups():
            asked = len(group.words)
            repeated = (
                x.repeat(clips, *[1] * (x.ndim - 1)) for x in (group.words, group.summary, group.mask)
            )
            part = Sentences(*repeated)
            of_clip = torch.arange(clips, device=part.words.device).repeat_interleave(asked)
            with matrix_products(part.words.device, self.precision):
                if self.relates:
                    # (B, T, N, ...) → (B * n, T, ...)
                    related = (top[:, :, done : done + asked].transpose(1, 2).flatten(0, 1) for top in tops)
                    chosen = [level[of_clip] for level in levels]
                    logits = self.network.segment_related(
                        Related(*related), chosen, part, self.size, self.frames // 2
                    )
                else:
                    observed = Observed(tops, levels, self.size)
                    logits = self.network.segment(observed, part, of_clip, self.frames // 2)
            done += asked
            answers.append(torch.sigmoid(logits[:, 0].float()).unflatten(0, (clips, -1)).cpu())
        return torch.cat(answers, dim=1)
