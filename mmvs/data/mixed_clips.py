"""Clips of several data sets in one endless sequence, each set with its share of it.

As with one set, clip number p is a function of the seed and p alone: a run that was killed reads on where it
stopped. The sequence comes in blocks. Each block holds the same number of clips of a set, in an order that is
drawn for the block; so it is known how many clips of each set lie before clip p.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping

import numpy as np
from torch.utils.data import Dataset

from mmvs.data.clips import Clips
from mmvs.data.training_clips import Key, TrainingClips, draw_seed
from mmvs.schema import Clip

BLOCK = 10_000  # clips: shares are exact to 1/10,000 of the sequence


class MixedClips(Dataset):
    """An endless sequence of clips of several data sets, and clips of each as TrainingClips has them."""

    def __init__(
        self,
        clips: Mapping[str, Clips],
        seed: int,
        weights: Mapping[str, float] | None = None,
        **options: bool,
    ):
        """Mix the sets.

        clips    name of a data set → those of its clips to train on; their order means nothing
        weights  name → share of the sequence, times any factor; None: every clip is read equally often
        options  of TrainingClips
        """
        self.names, self.seed = sorted(clips), seed
        self.parts = {
            name: TrainingClips(one, draw_seed(seed, "set", zlib.crc32(name.encode())), **options)
            for name, one in clips.items()
        }
        shares = [len(clips[name]) if weights is None else weights[name] for name in self.names]
        self.counts = _whole(np.array(shares, float), BLOCK)  # of each set's clips in a block
        self._block: tuple[int, np.ndarray, np.ndarray] = (-1, np.empty(0, int), np.empty(0, int))

    def __getitem__(self, key: Key) -> Clip:
        """A clip of the sequence."""
        name, own = self.locate(key[0] if isinstance(key, tuple) else key)
        return self.parts[name][(own, key[1]) if isinstance(key, tuple) else own]

    def locate(self, number: int) -> tuple[str, int]:
        """The data set of a clip of the sequence, and the clip's number in the sequence of that set."""
        block, place = divmod(number, BLOCK)
        if self._block[0] != block:
            self._block = block, *self._draw(block)
        _, sets, ranks = self._block
        which = int(sets[place])
        return self.names[which], int(block * self.counts[which] + ranks[place])

    def _draw(self, block: int) -> tuple[np.ndarray, np.ndarray]:
        """The set of each clip of a block, and how many clips of that set lie before it in the block."""
        draw = np.random.default_rng(draw_seed(self.seed, "mixture", block))
        sets = draw.permutation(np.repeat(np.arange(len(self.names)), self.counts))
        ranks = np.empty_like(sets)
        for which, count in enumerate(self.counts):
            ranks[sets == which] = np.arange(count)
        return sets, ranks


def _whole(shares: np.ndarray, total: int) -> np.ndarray:
    """Whole numbers in proportion to shares, each at least 1, whose sum is `total`: by largest remainders."""
    exact = shares / shares.sum() * (total - len(shares))
    counts = np.floor(exact).astype(int)
    largest = np.argsort(counts - exact, kind="stable")[: total - len(shares) - counts.sum()]
    counts[largest] += 1
    return counts + 1
