"""What training reads: an endless sequence of augmented clips, each a function of the seed and its number.

So a run that was killed reads on where it stopped, whatever the number of loader processes.
"""

from __future__ import annotations

import zlib
from dataclasses import replace

import numpy as np
import torch
from torch.utils.data import Dataset
from torchvision.transforms import v2

from mmvs.data.clips import Clips
from mmvs.data.csv_files import DataError
from mmvs.data.mosaics import mosaic, partners
from mmvs.data.words import mirror
from mmvs.schema import Clip

# A clip by its number, from 0; and where in its window the annotated frame stands, if not in the middle.
Key = int | tuple[int, int]

SMALLEST_SHARE = 40  # the largest step of a shift is this part of the canvas: 8 of 320 pixels a frame


class TrainingClips(Dataset):
    """Clip after clip of all clips in random order, then of all in another order, without end."""

    def __init__(self, clips: Clips, seed: int, shift: bool = False):
        """Augment clips.

        clips  those to train on; DataError where nobody knows their masks
        shift  let single pictures, which repeat in a window, move by a drawn step a frame
        """
        clips.samples.require_truth("training")
        if not len(clips):
            raise DataError(
                "no clip is left to train on: every video with a truth is held out for validation; train on "
                "more videos"
            )
        self.clips, self.data, self.seed = clips, clips.data, seed
        jitter = self.data.jitter
        self.shift = shift and clips.samples.is_still
        self.jitter = v2.ColorJitter(jitter, jitter, jitter / 2) if jitter else None
        self._order: tuple[int, np.ndarray] = (-1, np.empty(0, int))  # of the round that was read last

    def __getitem__(self, key: Key) -> Clip:
        """A clip of the sequence. It draws from torch's generator, which is left as it was."""
        number, target = key if isinstance(key, tuple) else (key, self.data.frames // 2)
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(draw_seed(self.seed, "clip", number))
            item = self._item(number)
            if self.data.mosaic and torch.rand(()) < self.data.mosaic:
                return self._augment(replace(self._mosaic(item, target), target=target))
            window = self._window(item, target)
            clip = self.clips[item] if window is None else self.clips.cut(item, window)
            clip = replace(clip, target=target)
            return self._augment(shifted(clip, *self._step(), self.data.stride) if self.shift else clip)

    def _item(self, number: int) -> int:
        """Which of the clips it is."""
        round_, place = divmod(number, len(self.clips))
        if self._order[0] != round_:
            draw = np.random.default_rng(draw_seed(self.seed, "order", round_))
            self._order = round_, draw.permutation(len(self.clips))
        return int(self._order[1][place])

    def _mosaic(self, item: int, target: int) -> Clip:
        """Draw a clip of another video to stand in the same frame, and which of the two is first."""
        others = partners(self.clips, item)
        partner = others[int(torch.randint(len(others), ()))]
        windows = [self._window(one, target) for one in (item, partner)]
        return mosaic(self.clips, item, partner, bool(torch.rand(()) < 0.5), *windows)

    def _window(self, item: int, target: int) -> list[int] | None:
        """Frames of a window that has the annotated one at position `target`, clamped to the video.

        With `data.gap`, neighbours are 1 to `gap` frames apart, drawn: the authors' code trains on such
        windows. None: the window that the clip has by itself.
        """
        count = self.data.frames
        if not self.data.gap and target == count // 2:
            return None
        sample = self.clips.samples[self.clips.positions[item][0]]
        last = self.clips.samples.frame_count(sample.video_id) - 1
        gaps = torch.randint(1, self.data.gap + 1, (count - 1,)).tolist() if self.data.gap else None
        places = np.cumsum([0, *(gaps or [self.data.stride] * (count - 1))])
        return np.clip(sample.frame + places - places[target], 0, last).tolist()

    def _step(self) -> list[int]:
        """Draw a step (right, down) of whole pixels of the canvas."""
        largest = max(1, self.data.size // SMALLEST_SHARE)
        return torch.randint(-largest, largest + 1, (2,)).tolist()

    def _augment(self, clip: Clip) -> Clip:
        """Draw sentences; flip picture, flow, mask and words together; jitter colours, never flow."""
        order = torch.randperm(len(clip.samples))[: self.data.sentences_per_clip].tolist()
        clip = replace(
            clip,
            masks=clip.masks[order],
            sentences=[clip.sentences[i] for i in order],
            samples=[clip.samples[i] for i in order],
        )
        if torch.rand(()) < self.data.flip:
            clip = mirrored(clip)
        return replace(clip, frames=self.jitter(clip.frames)) if self.jitter else clip


def shifted(clip: Clip, right: int, down: int, stride: int = 1) -> Clip:
    """A clip whose every frame shows the same picture, as if that moved; the target frame stays.

    right, down  pixels of the canvas from one frame of the video to the next
    stride       frames of the video between neighbours of the window

    What comes in at an edge is the edge's own colour. The flow is that of the picture, edges included.
    """
    rows, columns = (clip.valid.any(side).nonzero()[:, 0] for side in (1, 0))
    frames = clip.frames.clone()
    for t in range(len(frames)):
        steps = stride * (t - clip.target)
        y = (rows - down * steps).clamp(rows[0], rows[-1])
        x = (columns - right * steps).clamp(columns[0], columns[-1])
        frames[t, :, rows[:, None], columns] = clip.frames[t][:, y[:, None], x]
    step = clip.flow.new_tensor([right, down]).view(2, 1, 1)
    return replace(clip, frames=frames, flow=(step * clip.valid).expand_as(clip.flow).contiguous())


def mirrored(clip: Clip) -> Clip:
    """The clip in a mirror: u of its flow changes sign, left and right of its sentences change places."""
    return replace(
        clip,
        frames=clip.frames.flip(-1),
        flow=clip.flow.flip(-1) * clip.flow.new_tensor([-1, 1]).view(2, 1, 1),
        masks=clip.masks.flip(-1),
        valid=clip.valid.flip(-1),
        sentences=[mirror(sentence) for sentence in clip.sentences],
    )


def draw_seed(seed: int, purpose: str, *numbers: int) -> int:
    """64 bits for a generator: of an experiment's seed, of what is drawn, and of which one it is."""
    entropy = [seed, zlib.crc32(purpose.encode()), *numbers]
    return int(np.random.SeedSequence(entropy).generate_state(1, np.uint64)[0])
