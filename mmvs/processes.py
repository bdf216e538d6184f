"""Several processes on one experiment: those that `torchrun` starts, and jobs that meet by chance."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from filelock import FileLock, Timeout

if TYPE_CHECKING:
    import torch


@contextmanager
def one_at_a_time(lock: Path) -> Iterator[None]:
    """Let one process in; the others wait, say so, and then find its work done. A killed one leaves no lock.

    lock  a file beside what is worked on; where it cannot be made nothing else can, and nobody waits
    """
    held = FileLock(lock)
    with suppress(OSError):
        lock.parent.mkdir(parents=True, exist_ok=True)
        try:
            held.acquire(timeout=0)
        except Timeout:
            print(f"another process is at work on {lock.parent}: waiting for it", file=sys.stderr)
            held.acquire()
    try:
        yield
    finally:
        held.release()  # nothing where it could not be made


def rank() -> int:
    """Of this process among those of `torchrun`, on all machines; 0 alone."""
    return int(os.environ.get("RANK", 0))


def layout() -> dict[str, int]:
    """Lightning's `devices` and `num_nodes`: one device for each process of `torchrun`; alone, one."""
    devices, nodes = os.environ.get("LOCAL_WORLD_SIZE", 1), os.environ.get("GROUP_WORLD_SIZE", 1)
    return {"devices": int(devices), "num_nodes": int(nodes)}


def device() -> torch.device:
    """The GPU of this process, or the CPU."""
    import torch  # here: the processes that draw shapes or compute DIS flow start without it

    if not torch.cuda.is_available():
        return torch.device("cpu")
    return torch.device("cuda", int(os.environ.get("LOCAL_RANK", 0)))
