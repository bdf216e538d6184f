"""Do masks in bfloat16 agree with those in float32? `python -m benchmarks.precision`.

The embedded model on test clips of moving shapes, all their sentences, in both precisions: IoU of the masks,
and CPU seconds. Whether bfloat16 could be the default is asked by the worst mask, not by the mean.
"""

from __future__ import annotations

import argparse
import time

import numpy as np
import torch

from mmvs.config import EMBEDDED
from mmvs.segmenter import Segmenter
from mmvs.shapes.clip import draw_clip, render_clip

AGREE = 0.99  # IoU


def main() -> None:
    """Print one line of agreement, and the seconds of both."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--clips", type=int, default=60)
    clips = parser.parse_args().clips
    torch.set_num_threads(1)
    segmenter = Segmenter.from_run(EMBEDDED)
    settings = segmenter.experiment.data.moving_shapes
    seconds, ious = {"float32": 0.0, "bfloat16": 0.0}, []
    for number in range(clips):
        clip = draw_clip(settings, "test", number)
        frames = render_clip(settings, "test", number, clip).frames
        sentences = list(dict.fromkeys(sentence.text for sentence in clip.sentences))
        masks = []
        for precision in seconds:
            start = time.process_time()
            masks.append(
                np.stack([a.masks for a in segmenter.segment(frames, sentences, precision=precision)])
            )
            seconds[precision] += time.process_time() - start
        one, other = masks
        union = (one | other).sum((2, 3))
        ious.extend(np.where(union, (one & other).sum((2, 3)) / np.maximum(union, 1), 1.0).ravel())
    found = np.array(ious)
    print(
        f"{len(found)} masks: IoU {found.mean():.4f} in the mean, {AGREE} or more in "
        f"{(found >= AGREE).mean():.3f}, "
        f"{found.min():.3f} at worst"
    )
    print(*(f"{name}: {taken:.1f} s of CPU" for name, taken in seconds.items()), sep="\n")


if __name__ == "__main__":
    main()
