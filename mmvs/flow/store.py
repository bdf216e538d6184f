"""The flow store: one HDF5 file per video, read frame by frame, never read when half-written or stale.

Flow is kept as int16 in 1/32 pixel, a chunk per frame, shuffled and deflated. Rounding is off by at most
1/64 px, a tenth or less of what the estimators are off by; 1/64 px steps would cost 40 % more bytes,
float16 five times as many, and differences between neighbours do not compress better
(`python -m benchmarks.flow` prints bytes and times). Deflate's own checksum guards every chunk.

The fingerprint in a file names its sources: estimator, resolution and video. `read` is the hot path of
training: it compares all but the video's content, of which it only checks the size in bytes. `compute`
compares the content too, and the checksums, and computes anew what does not fit; what it has compared once
it leaves alone until size or time of a file change (`stamps`).
"""

from __future__ import annotations

import hashlib
import io
import json
import multiprocessing
import os
import shutil
import signal
from collections.abc import Generator, Iterator, Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from multiprocessing.queues import SimpleQueue
from pathlib import Path
from typing import Any

import cv2
import h5py
import numpy as np

from mmvs.files import regular, whole
from mmvs.flow.estimators import Estimator, FlowError, flows
from mmvs.flow.stamps import Stamps
from mmvs.progress import progress_bar
from mmvs.video.files import VideoError
from mmvs.video.frames import frame_count, frame_files, frame_size, read_frames

STEPS = 32  # per pixel
LARGEST = np.iinfo(np.int16).max / STEPS  # pixels
BLOCK = 32  # frames decoded at once: 7 MB at 320x240
DEFLATE = {"shuffle": True, "compression": "gzip", "compression_opts": 4}
DEFLATED = 0.4  # bytes on disk per byte of int16, at most: 0.12 to 0.26 measured
REMEDY = "run `python -m mmvs prepare params/<run>.yaml`, or notebooks/02_compute_flow.ipynb"


@dataclass
class Summary:
    """What `compute` did, in numbers of videos; `failed` gives the reasons by video id."""

    computed: int = 0
    skipped: int = 0
    failed: dict[str, str] = field(default_factory=dict)
    bytes: int = 0  # on disk, of all good files

    def raise_failures(self) -> None:
        """FlowError naming every video that failed; nothing when none did."""
        if self.failed:
            reasons = "\n".join(f"  {video_id}: {reason}" for video_id, reason in self.failed.items())
            others = self.computed + self.skipped
            raise FlowError(f"no flow for {len(self.failed)} videos ({others} others are kept):\n{reasons}")


class FlowStore:
    """Flow of many videos under one folder, by one estimator at one resolution."""

    def __init__(self, root: str | Path, estimator: Estimator, height: int | None = None):
        """Prepare a store; nothing is read or written yet.

        root       folder of the files
        estimator  computes what is missing
        height     pixels of the flow: frames are scaled to it and keep their aspect; None: the videos' own
        """
        self.root = Path(root)
        self.estimator = estimator
        self.height = height

    @classmethod
    def beside_others(cls, root: str | Path, estimator: Estimator, height: int | None = None) -> FlowStore:
        """The store at `root`, or beside it where `root` holds flow of another estimator or height.

        Flow that took days is not replaced because a params file was copied and changed.
        """
        store = cls(root, estimator, height)
        for path in sorted(store.root.glob("*.h5"))[:5]:  # the first that can be read tells of all
            try:
                with _open(path) as (old, _):
                    own = {name: value for name, value in store.identity.items() if name != "video"}
                    if all(old.get(name) == value for name, value in own.items()):
                        return store
                    digest = hashlib.sha256(json.dumps(own, sort_keys=True).encode()).hexdigest()[:8]
                    return cls(store.root.with_name(f"{store.root.name}-{digest}"), estimator, height)
            except FlowError:
                continue
        return store

    @property
    def identity(self) -> dict[str, Any]:
        """What decides the flow of every video, besides the video."""
        return self._fingerprint({})

    def path(self, video_id: str) -> Path:
        """The file of one video's flow; FlowError where the id would lead out of the store."""
        path = self.root / f"{video_id}.h5"
        if not video_id or "\0" in video_id or Path(video_id).is_absolute() or ".." in Path(video_id).parts:
            raise FlowError(f"{self.root}: '{video_id}' is not a video id: it would lead out of the folder")
        return path

    def read(self, video_id: str, video_path: str | Path, indices: Sequence[int]) -> np.ndarray:
        """Flow of the frames at `indices` (0-based, any order, repeats allowed).

        Returns float32 (n, 2, h, w), in pixels of the stored resolution per frame.
        Raises FlowError when the file is missing, stale, corrupt, or too short.
        """
        path = self.path(video_id)
        try:
            size = sum(os.stat(file).st_size for file in frame_files(video_path))
        except OSError as error:
            raise FlowError(f"{video_path}: the video of {path} is missing ({error.strerror})") from None
        with _open(path) as (fingerprint, flow):
            self._compare(path, fingerprint, {"bytes": size})
            outside = [i for i in indices if not 0 <= i < len(flow)]
            if outside:
                raise FlowError(f"{path}: has flow of frames 0 to {len(flow) - 1}, not of {outside}")
            frames = {i: flow[i] for i in set(indices)}
            steps = np.stack([frames[i] for i in indices]) if frames else np.empty((0, *flow.shape[1:]))
        return steps.astype(np.float32) / STEPS

    def compute(self, videos: Mapping[str, str | Path], workers: int = 1, progress: bool = True) -> Summary:
        """Compute the flow of every video (id → path) that has none, or a stale or corrupt one.

        workers  processes; 1: this one alone. A network has one a GPU, at most

        A video that fails does not stop the others. An interrupt loses no finished video. Raises FlowError
        before it starts where the estimator cannot be built or the disk is too small.
        """
        self.root.mkdir(parents=True, exist_ok=True)
        stamps, summary = Stamps(self.root, self.identity), Summary()
        todo = {name: video for name, video in videos.items() if not self._is_stamped(stamps, name, video)}
        for video_id in videos.keys() - todo.keys():
            self._count(summary, video_id, computed=False)
        if not todo:
            return summary
        self._need_disk(todo)
        self.estimator.model  # noqa: B018  fails here once, not once for every video
        devices = self.estimator.devices(min(workers, len(todo)))
        results = self._in_processes(todo, devices) if len(devices) > 1 else self._one_by_one(todo)
        name, done = f"flow ({self.estimator.name})", len(videos) - len(todo)
        bar = progress_bar(total=len(videos), initial=done, desc=name, unit="video", disable=not progress)
        try:
            # An interrupt closes `results`: the running videos end, the rest is dropped.
            with closing(results), bar:
                for video_id, result in results:
                    bar.update()
                    stamps.drop(video_id)
                    if isinstance(result, Exception):
                        summary.failed[video_id] = str(result) or type(result).__name__
                        continue
                    self._count(summary, video_id, computed=result)
                    stamps.add(video_id, self.path(video_id), todo[video_id])
        finally:
            stamps.write()
        return summary

    def _is_stamped(self, stamps: Stamps, video_id: str, video_path: str | Path) -> bool:
        try:
            return stamps.fits(video_id, self.path(video_id), video_path)
        except (FlowError, VideoError):
            return False  # reported with its reason when its turn comes

    def _count(self, summary: Summary, video_id: str, computed: bool) -> None:
        summary.computed += computed
        summary.skipped += not computed
        summary.bytes += self.path(video_id).stat().st_size

    def is_good(self, video_id: str, video_path: str | Path) -> bool:
        """Is the flow there, whole, and of this very video? Reads all of it."""
        path = self.path(video_id)
        try:
            with _open(path) as (fingerprint, flow):
                self._compare(path, fingerprint, _identity(video_path))
                for t in range(len(flow)):
                    flow[t]
        except FlowError:
            return False
        return True

    def ensure(self, video_id: str, video_path: str | Path) -> bool:
        """Compute one video's flow unless a good one is there; returns whether it did. Raises FlowError."""
        if self.is_good(video_id, video_path):
            return False
        content = self._content(Path(video_path))
        path = self.path(video_id)
        try:
            with whole(path) as partial:
                partial.write_bytes(content.getbuffer())
        except OSError as error:
            raise FlowError(f"{path}: cannot be written ({error.strerror}); is the disk full?") from error
        return True

    def _content(self, video_path: Path) -> io.BytesIO:
        """The file of one video, in memory (1/6 of its decoded frames): HDF5 crashes when a disk fills up."""
        video = _identity(video_path)
        count = frame_count(video_path)
        if not count:
            raise FlowError(f"{video_path}: holds no frames; replace the file")
        content = io.BytesIO()
        with h5py.File(content, "w", libver="latest") as file:
            stored = None
            for t, flow in enumerate(flows(self.estimator, self._frames(video_path, count))):
                if not np.abs(flow).max() <= LARGEST:  # also catches what is not a number
                    raise FlowError(
                        f"{video_path}: flow of frame {t} is not finite or beyond {LARGEST:.0f} px; "
                        "check flow.weights, or store at a smaller flow.height"
                    )
                if stored is None:
                    layout = {"shape": (count, *flow.shape), "chunks": (1, *flow.shape), "dtype": np.int16}
                    stored = file.create_dataset("flow", **layout, **DEFLATE)
                stored[t] = np.rint(flow * STEPS).astype(np.int16)
            # Bytes of fixed length stand behind a checksum; text would lie in a heap without one, of which
            # damage can keep HDF5 busy for ever.
            file.attrs["fingerprint"] = np.bytes_(json.dumps(self._fingerprint(video)))
        return content

    def _frames(self, video_path: Path, count: int) -> Iterator[np.ndarray]:
        for start in range(0, count, BLOCK):
            for frame in read_frames(video_path, range(start, min(start + BLOCK, count))):
                height, width = self._stored_size(*frame.shape[:2])
                yield cv2.resize(frame, (width, height), interpolation=cv2.INTER_AREA)  # same size: a copy

    def _stored_size(self, height: int, width: int) -> tuple[int, int]:
        if self.height is None:
            return height, width
        return self.height, max(1, round(width * self.height / height))

    def _fingerprint(self, video: dict[str, Any]) -> dict[str, Any]:
        return {
            "estimator": self.estimator.fingerprint,
            "height": self.height,
            "steps_per_pixel": STEPS,
            "video": video,
        }

    def _compare(self, path: Path, old: dict[str, Any], video: dict[str, Any]) -> None:
        """FlowError where the fingerprint in a file is not that of this store and video."""
        new = self._fingerprint(video)
        if "blake2b" not in video:
            old = {**old, "video": {"bytes": old["video"]["bytes"]}}
        if old != new:
            changes = [f"{key}: {old.get(key)} -> {new[key]}" for key in new if old.get(key) != new[key]]
            raise FlowError(f"{path}: stale flow ({', '.join(changes)}); {REMEDY}")

    def _need_disk(self, videos: Mapping[str, str | Path]) -> None:
        need = 0
        for video_id, video_path in videos.items():
            if self.path(video_id).exists():
                continue
            try:
                height, width = self._stored_size(*frame_size(video_path))
                need += int(frame_count(video_path) * height * width * 4 * DEFLATED)
            except (VideoError, OSError):
                continue  # reported with its reason when its turn comes
        free = shutil.disk_usage(self.root).free
        if need > free:
            raise FlowError(
                f"{self.root}: flow may take {need / 1e9:.1f} GB, {free / 1e9:.1f} GB are left; free some, "
                "set flow.root to another disk, or store at a smaller flow.height"
            )

    def _one_by_one(
        self, videos: Mapping[str, str | Path]
    ) -> Generator[tuple[str, bool | Exception], None, None]:
        for video_id, video_path in videos.items():
            try:
                yield video_id, self.ensure(video_id, video_path)
            except Exception as error:  # noqa: BLE001  whatever is wrong with one video, the others go on
                yield video_id, error

    def _in_processes(
        self, videos: Mapping[str, str | Path], devices: Sequence[str]
    ) -> Generator[tuple[str, bool | Exception], None, None]:
        # "spawn", as a forked child of a process that has used CUDA or OpenMP can hang
        context = multiprocessing.get_context("spawn")
        free = context.SimpleQueue()
        for device in devices:
            free.put(device)
        pool = ProcessPoolExecutor(len(devices), context, _start, (self, free))
        try:
            futures: dict[Future[bool], str] = {pool.submit(_ensure, *one): one[0] for one in videos.items()}
            for future in as_completed(futures):
                error = future.exception()
                yield futures[future], future.result() if error is None else error
        finally:
            pool.shutdown(cancel_futures=True)


@contextmanager
def _open(path: Path) -> Iterator[tuple[dict[str, Any], h5py.Dataset]]:
    """A stored file's fingerprint and flow; FlowError when it is missing, or corrupt wherever it is read."""
    try:
        # no lock: a file never changes under its name, and network file systems often cannot lock
        with h5py.File(regular(path), "r", locking=False) as file:
            yield json.loads(file.attrs["fingerprint"]), file["flow"]
    except FlowError:
        raise
    except FileNotFoundError:
        raise FlowError(f"{path}: no flow stored; {REMEDY}") from None
    except (OSError, KeyError, ValueError) as error:
        raise FlowError(f"{path}: corrupt flow file ({error}); {REMEDY}") from error


def _identity(video_path: str | Path) -> dict[str, Any]:
    """A video's size and a hash of its content; of a folder of pictures, of all of them in their order."""
    digest, size = hashlib.blake2b(digest_size=16), 0
    for path in frame_files(video_path):
        with open(path, "rb") as file:
            while block := file.read(1 << 20):
                digest.update(block)
            size += file.tell()
    return {"bytes": size, "blake2b": digest.hexdigest()}


_store: FlowStore | None = None  # of a worker process: its model is built once, not for every video


def _start(store: FlowStore, free: SimpleQueue[str]) -> None:
    """Set a worker up; free: devices that no worker has taken."""
    global _store
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides: a video that has begun is finished
    store.estimator.settle(free.get())
    _store = store


def _ensure(video_id: str, video_path: str | Path) -> bool:
    assert _store is not None
    return _store.ensure(video_id, video_path)
