"""Fitted clips on disk: the first epoch decodes, fits and keeps them, all later ones and runs only read.

    <cache_root>/<digest of the settings>/<video id>/<frame>.safetensors   frames, flow, masks on the canvas

Loading a clip is mostly decoding video and inflating flow, and the same at every epoch: `python -m
benchmarks.rehearsal` shows how much. What is kept is the window on the canvas, to the bit and before
any augmentation, cut to the picture. Files are not compressed: read again and again, they cost no processor.

A file says what it was made of (size and time of the video, of its flow and of its masks), and is made anew
where that has changed. It can be deleted at any time. Where it cannot be written, clips are cut as ever.
"""

from __future__ import annotations

import hashlib
import json
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from mmvs.config import Data, resolve
from mmvs.data import geometry
from mmvs.data.annotated_videos import AnnotatedVideos
from mmvs.files import whole
from mmvs.flow.store import FlowStore
from mmvs.video.frames import frame_files

FORMAT = 1  # raised when the same sources and settings give another file
FACTS = "clip"  # key of a file's metadata


@dataclass
class Fitted:
    """A window on the canvas, before any augmentation."""

    frames: Tensor  # (T, 3, size, size) uint8 RGB
    flow: Tensor  # (T, 2, size, size) float32, pixels of the canvas per frame
    masks: Tensor | None  # (N, size, size) bool; None: not known
    original_size: tuple[int, int]  # (H, W) of the video


class ClipCache:
    """The fitted windows of one data set, at one canvas and window."""

    def __init__(self, samples: AnnotatedVideos, flow: FlowStore, data: Data):
        """Nothing is read or written yet."""
        self.samples, self.flow, self.data = samples, flow, data
        self.root = resolve(data.cache_root)
        self._writes = True

    def window(self, positions: Sequence[int], make: Callable[[], Fitted]) -> Fitted:
        """The window of samples that share a frame: from its file; else made, and kept for the next time."""
        try:
            path, made_of = self._path(positions[0]), self._made_of(positions)
        except OSError:  # a source is missing: who reads it says what to do
            return make()
        fitted = self._read(path, made_of)
        if fitted is None:
            fitted = make()
            if self._writes:
                self._write(path, made_of, fitted)
        return fitted

    def _path(self, i: int) -> Path:
        sample = self.samples[i]
        video = self.samples.video_path(sample.video_id)
        settings = {
            "format": FORMAT,
            "videos": str(video.parent.resolve()),
            "flow": self.flow.identity,
            **{name: getattr(self.data, name) for name in ("size", "frames", "stride")},
        }
        digest = hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:16]
        return self.root / digest / sample.video_id / f"{sample.frame:06d}.safetensors"

    def _made_of(self, positions: Sequence[int]) -> str:
        """What decides a clip besides the settings; OSError where a file is missing."""
        first = self.samples[positions[0]]
        sources = [
            *frame_files(self.samples.video_path(first.video_id)),
            self.flow.path(first.video_id),
            *([self.samples.annotation_path(positions[0])] if self.samples.truth_is_known else []),
        ]
        states = [(source.name, (state := source.stat()).st_size, state.st_mtime_ns) for source in sources]
        instances = [self.samples[i].instance_id for i in positions]
        return hashlib.sha256(json.dumps([states, instances]).encode()).hexdigest()

    def _read(self, path: Path, made_of: str) -> Fitted | None:
        """What a file holds; None where there is none, where it is of other sources, or torn."""
        try:
            with safe_open(path, framework="pt") as file:
                facts = json.loads((file.metadata() or {}).get(FACTS, "{}"))
                if facts.get("made_of") != made_of:
                    return None
                original = tuple(facts["original_size"])
                place = geometry.placement(*original, self.data.size)
                maps = {name: _placed(file.get_tensor(name), place, self.data.size) for name in file.keys()}  # noqa: SIM118
        except (OSError, SafetensorError, KeyError, ValueError):  # the last two: of somebody else's file
            return None
        return Fitted(maps["frames"], maps["flow"], maps.get("masks"), original)

    def _write(self, path: Path, made_of: str, fitted: Fitted) -> None:
        top, left, height, width = geometry.placement(*fitted.original_size, self.data.size)
        maps = {"frames": fitted.frames, "flow": fitted.flow, "masks": fitted.masks}
        pictures = {
            name: one[..., top : top + height, left : left + width].contiguous()
            for name, one in maps.items()
            if one is not None
        }
        facts = {"made_of": made_of, "original_size": fitted.original_size}
        try:
            with whole(path) as partial:  # save_file would let nobody else read it
                partial.write_bytes(save(pictures, {FACTS: json.dumps(facts)}))
        except (OSError, SafetensorError) as error:
            self._writes = False
            warnings.warn(
                f"{path}: cannot be kept ({error}): clips are read from their videos from now on. Make room, "
                "set data: {cache_root: ...} to another disk, or data: {cache: false}",
                stacklevel=2,
            )


def _placed(picture: Tensor, place: tuple[int, int, int, int], size: int) -> Tensor:
    """A picture (..., h, w) on the canvas (..., size, size), with zeros around it, as `geometry` has it."""
    top, left, height, width = place
    canvas = picture.new_zeros(*picture.shape[:-2], size, size)
    canvas[..., top : top + height, left : left + width] = picture
    return canvas
