"""How fine has optical flow to be? `python -m benchmarks.flow_size [MODEL]`; docs/scale.md has an answer.

Test clips of moving shapes, enlarged to 12 times their size, are segmented with flow of several sizes. Mean
IoU is with the true masks; agreement is the mean IoU with the masks that flow at the video's own size gives.
Milliseconds are wall time a frame of the whole segmentation, on one thread.
"""

from __future__ import annotations

import sys
import time

import cv2
import numpy as np
import pandas as pd
import torch

from mmvs.answers import intersection_over_union
from mmvs.config import EMBEDDED, MovingShapes
from mmvs.segmenter import Segmenter, intake
from mmvs.shapes.clip import draw_clip, render_clip

CLIPS, ENLARGED = 8, 12
SIZES = {"the video's own": 1_000, "4 canvases": 4, "2 canvases": 2, "1 canvas": 1}


def enlarged(frames: np.ndarray) -> np.ndarray:
    """(T, H, W, 3) → (T, ENLARGED * H, ENLARGED * W, 3)."""
    size = (ENLARGED * frames.shape[2], ENLARGED * frames.shape[1])
    return np.stack([cv2.resize(frame, size, interpolation=cv2.INTER_CUBIC) for frame in frames])


def main(model: str = str(EMBEDDED)) -> None:
    """Print the table."""
    torch.set_num_threads(1)
    segmenter, settings = Segmenter.from_run(model), MovingShapes()
    kept, rows = {}, {}
    for size, canvases in SIZES.items():
        intake.FLOW_IN_CANVASES = canvases
        true, agreement, seconds, frames = [], [], 0.0, 0
        for number in range(CLIPS):
            clip = draw_clip(settings, "test", number)
            drawn = render_clip(settings, "test", number, clip)
            video, sentences = enlarged(drawn.frames), [sentence.text for sentence in clip.sentences]
            start = time.perf_counter()
            answers = list(segmenter.segment(video, sentences))
            seconds, frames = seconds + time.perf_counter() - start, frames + len(answers)
            masks = np.stack([answer.masks[:, ::ENLARGED, ::ENLARGED] for answer in answers])
            own = kept.setdefault(number, masks)
            for n, sentence in enumerate(clip.sentences):
                truth = drawn.masks[sentence.target]
                pairs = list(zip(masks[:, n], own[:, n], truth, strict=True))
                true += [intersection_over_union(mask, right) for mask, _, right in pairs]
                agreement += [intersection_over_union(mask, same) for mask, same, _ in pairs]
        ms = 1000 * seconds / frames
        rows[size] = {"mean IoU": np.mean(true), "agreement": np.mean(agreement), "ms a frame": ms}
    print(pd.DataFrame(rows).T.round({"mean IoU": 3, "agreement": 3, "ms a frame": 0}).to_string())


if __name__ == "__main__":
    main(*sys.argv[1:])
