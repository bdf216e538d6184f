"""What compressing the clip cache would cost: `python -m benchmarks.clip_codecs VIDEO ...`.

Of every video, a window of 3 frames on a canvas of 320 pixels and its flow by DIS, as `mmvs.data.clip_cache`
keeps them: bytes, and milliseconds of one thread to read them again, losslessly. It needs two libraries that
nothing else here does: `pip install hdf5plugin blosc2`.
"""

from __future__ import annotations

import argparse
import io
import time
from collections.abc import Callable
from typing import Any

import blosc2
import h5py
import hdf5plugin
import numpy as np
import pandas as pd
import torch

from mmvs.config import Flow
from mmvs.data import geometry
from mmvs.flow.estimators import estimator, flows
from mmvs.flow.store import STEPS
from mmvs.video.frames import read_frames

SIZE, FRAMES, TURNS = 320, 3, 7
Codec = tuple[Callable[[np.ndarray], Any], Callable[[Any], np.ndarray]]


def window(video: str) -> tuple[np.ndarray, np.ndarray]:
    """Frames (T, 3, h, w) uint8 and flow (T, 2, h, w) float32 of a video's start, cut to the picture."""
    frames = np.stack(list(read_frames(video, range(FRAMES))))
    flow = np.stack(list(flows(estimator(Flow()), iter(frames))))
    flow = (np.rint(flow * STEPS) / STEPS).astype(np.float32)  # as the store gives it
    size = frames.shape[1:3]
    top, left, height, width = geometry.placement(*size, SIZE)
    maps = (
        geometry.fit_frames(torch.from_numpy(frames).permute(0, 3, 1, 2), SIZE),
        geometry.fit_flow(torch.from_numpy(flow), SIZE, size),
    )
    cut = (one[..., top : top + height, left : left + width].contiguous().numpy() for one in maps)
    frames, flow = cut
    return frames, flow


def in_hdf5(**filters: Any) -> Codec:
    """A file in memory, a chunk a frame."""

    def write(maps: np.ndarray) -> bytes:
        content = io.BytesIO()
        with h5py.File(content, "w", libver="latest") as file:
            file.create_dataset("maps", data=maps, chunks=(1, *maps.shape[1:]), **filters)
        return content.getvalue()

    def read(content: bytes) -> np.ndarray:
        with h5py.File(io.BytesIO(content), "r") as file:
            return file["maps"][:]

    return write, read


def alone(codec: Any, level: int) -> Codec:
    """A frame of blosc2, with its shape."""
    options = {"codec": codec, "filters": [blosc2.Filter.SHUFFLE], "clevel": level, "nthreads": 1}
    return lambda maps: blosc2.pack_tensor(maps, cparams=options), blosc2.unpack_tensor


def main() -> None:
    """Print a row a codec: share of the bytes and milliseconds, of frames and of flow."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("videos", nargs="+", metavar="VIDEO")
    torch.set_num_threads(1)
    blosc2.set_nthreads(1)
    windows = [window(video) for video in parser.parse_args().videos]
    codecs = {
        "as they are": (np.copy, lambda maps: maps),
        "HDF5: shuffle, gzip 4": in_hdf5(shuffle=True, compression="gzip", compression_opts=4),
        "HDF5: shuffle, Blosc2 zstd 3": in_hdf5(**hdf5plugin.Blosc2(cname="zstd", clevel=3, filters=1)),
        "HDF5: bitshuffle, Blosc2 lz4 5": in_hdf5(**hdf5plugin.Blosc2(cname="lz4", clevel=5, filters=2)),
        "blosc2 alone: shuffle, zstd 3": alone(blosc2.Codec.ZSTD, 3),
        "blosc2 alone: shuffle, lz4 5": alone(blosc2.Codec.LZ4, 5),
    }
    rows = {}
    for name, (write, read) in codecs.items():
        row = rows[name] = {}
        for what, maps in zip(("frames", "flow"), zip(*windows, strict=True), strict=True):
            kept, best = [write(one) for one in maps], np.inf
            for _ in range(TURNS):
                start = time.process_time()
                back = [read(one) for one in kept]
                best = min(best, time.process_time() - start)
            assert all((a == b).all() for a, b in zip(back, maps, strict=True))
            stored = sum(one.nbytes if isinstance(one, np.ndarray) else len(one) for one in kept)
            row[f"{what}: bytes"] = f"{stored / sum(one.nbytes for one in maps):.2f}"
            row[f"{what}: ms"] = f"{1000 * best / len(maps):.1f}"
    print(pd.DataFrame(rows).T.to_string())


if __name__ == "__main__":
    main()
