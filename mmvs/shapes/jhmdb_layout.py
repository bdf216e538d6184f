"""Moving shapes in J-HMDB-Sentences' layout: the path from one data set to the other, without a download.

The clips are those of moving shapes' test split, one sentence and one object each, as pictures and MATLAB
files. The oddities of the real tree are there on purpose: names with brackets and signs, masks that are 255
instead of 1, masks that end before the pictures do.
"""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import numpy as np
import scipy.io
from PIL import Image

from mmvs.config import MovingShapes
from mmvs.files import whole, write_text
from mmvs.progress import progress_bar
from mmvs.shapes.clip import ShapesClip, draw_clip, render_clip

SIGNS = ("", "_", "(1)_", "@_")  # that names of real videos begin with
UNANNOTATED = 2  # last pictures of every third clip


def write(root: str | Path, settings: MovingShapes, clips: int, progress: bool = True) -> Path:
    """Write `clips` clips below `root`, less those that are there; returns the root.

    moving_shapes.json says how many clips there are. It appears last: a tree that has it is complete.
    """
    root, rows = Path(root), [("video_id", "query")]
    for index in progress_bar(range(clips), "moving shapes as J-HMDB", unit="clip", disable=not progress):
        clip = draw_clip(settings, "test", index)
        sentence = clip.sentences[0]
        action = clip.scene.bodies[sentence.target].program[0]
        video_id = f"{SIGNS[index % len(SIGNS)]}{action}_{clip.video_id}"
        _write_clip(root, action, video_id, settings, index, clip)
        rows.append((video_id, sentence.text))
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    write_text(root / "jhmdb_annotation.txt", text.getvalue())
    record = settings.model_dump() | {"jhmdb_clips": clips}
    write_text(root / "moving_shapes.json", json.dumps(record, indent=2))
    return root


def _write_clip(
    root: Path, action: str, video_id: str, settings: MovingShapes, index: int, clip: ShapesClip
) -> None:
    """Pictures first, the masks last: a clip whose masks are there is complete."""
    masks_file = root / "puppet_mask" / action / video_id / "puppet_mask.mat"
    if masks_file.exists():
        return
    rendering = render_clip(settings, "test", index, clip)
    pictures = root / "Rename_Images" / action / video_id
    for folder in (pictures, masks_file.parent):
        folder.mkdir(parents=True, exist_ok=True)
    for number, frame in enumerate(rendering.frames, 1):
        Image.fromarray(frame).save(pictures / f"{number:05d}.png")
    count = len(rendering.frames) - (UNANNOTATED if index % 3 == 2 else 0)
    mask = rendering.masks[clip.sentences[0].target, :count]  # (T, H, W)
    stored = mask.transpose(1, 2, 0).astype(np.uint8) * (255 if index % 2 else 1)
    with whole(masks_file) as partial:
        scipy.io.savemat(partial, {"part_mask": stored}, appendmat=False, do_compression=True)
