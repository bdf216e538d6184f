"""Several processes on one experiment: those of `torchrun` or `srun`, and jobs that meet by chance."""

from __future__ import annotations

import ctypes
import errno
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import FileLock, Timeout

if TYPE_CHECKING:
    import torch

M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4  # of malloc.h
FIRST_PORT, PORTS = 20_000, 10_000  # of an `srun`: each job has a port of its own
_device: torch.device | None = None  # the user's choice


@contextmanager
def one_at_a_time(lock: Path, wait: bool = True) -> Iterator[None]:
    """Let one process in; the others say that they wait. A killed process leaves no lock.

    lock  a file in the folder that the block works on; in a folder that cannot be written nobody waits
    wait  False: raise BlockingIOError where another process is in
    """
    file_lock, busy = FileLock(lock), False
    with suppress(OSError):
        lock.parent.mkdir(parents=True, exist_ok=True)
        try:
            file_lock.acquire(timeout=0)
        except Timeout:
            busy = True
    if busy and not wait:
        advice = "another process is at work here: start again when it has ended"
        raise BlockingIOError(errno.EWOULDBLOCK, advice, str(lock.parent))
    if busy:
        print(f"another process is at work on {lock.parent}: waiting for it", file=sys.stderr)
        file_lock.acquire()
    try:
        yield
    finally:
        file_lock.release()  # does nothing where acquiring failed


def join_slurm_step() -> None:
    """Let the tasks of an `srun` find each other as the processes of `torchrun` do: by the same variables.

    A job of one task, and a task that `torchrun` started, stay as they are. MASTER_ADDR and MASTER_PORT may
    be set where nodes cannot be reached by their names.
    """
    tasks = int(os.environ.get("SLURM_STEP_NUM_TASKS", 1))
    if tasks == 1 or "RANK" in os.environ:
        return
    from lightning.fabric.plugins.environments import SLURMEnvironment

    nodes = int(os.environ["SLURM_STEP_NUM_NODES"])
    if tasks % nodes:
        raise ValueError(f"srun started {tasks} tasks on {nodes} nodes: give every node as many, by -n")
    job, first = int(os.environ["SLURM_JOB_ID"]), os.environ["SLURM_STEP_NODELIST"]
    os.environ.setdefault("MASTER_ADDR", SLURMEnvironment.resolve_root_node_address(first))
    os.environ.setdefault("MASTER_PORT", str(FIRST_PORT + job % PORTS))
    os.environ |= {
        "RANK": os.environ["SLURM_PROCID"],
        "WORLD_SIZE": str(tasks),
        "LOCAL_RANK": os.environ["SLURM_LOCALID"],
        "LOCAL_WORLD_SIZE": str(tasks // nodes),
        "GROUP_RANK": os.environ["SLURM_NODEID"],
        "GROUP_WORLD_SIZE": str(nodes),
        "TORCHELASTIC_RUN_ID": f"slurm-{job}",
    }


def rank() -> int:
    """Global rank under `torchrun`; 0 otherwise."""
    return int(os.environ.get("RANK", 0))


def count() -> int:
    """Number of processes that `torchrun` started, on all machines; 1 otherwise."""
    return int(os.environ.get("WORLD_SIZE", 1))


@contextmanager
def together() -> Iterator[None]:
    """Let the processes of `torchrun` exchange objects within the block; of one process, nothing happens.

    They wait for each other for days: one may write what takes hours.
    """
    if count() == 1 or place() != (0, 1):
        yield
        return
    from torch import distributed

    distributed.init_process_group("gloo", timeout=timedelta(days=7))
    try:
        yield
    finally:
        distributed.destroy_process_group()


def place() -> tuple[int, int]:
    """Number of this process and of all, within `together`; (0, 1) elsewhere."""
    from torch import distributed

    if not (distributed.is_available() and distributed.is_initialized()):
        return 0, 1
    return distributed.get_rank(), distributed.get_world_size()


def gathered(own: list[Any]) -> list[Any]:
    """What all processes give, one after the other, in every process; within `together`."""
    if place() == (0, 1):
        return own
    from torch import distributed

    parts: list[list[Any]] = [[]] * place()[1]
    distributed.all_gather_object(parts, own)
    return [item for part in parts for item in part]


def keep_freed_memory() -> None:
    """Let the C library keep what this process frees, for what it allocates next; results are the same.

    A training step on a CPU frees and allocates the same large tensors. Given back to the system, every page
    has to be cleared and mapped anew (`python -m benchmarks.training_step` shows what that costs). Where the
    C library is not glibc, nothing happens.
    """
    with suppress(OSError, AttributeError):
        libc = ctypes.CDLL(None)
        libc.mallopt(M_MMAP_MAX, 0)
        libc.mallopt(M_TRIM_THRESHOLD, -1)


def use_device(name: str) -> None:
    """Let this process compute on "cpu", "cuda", "cuda:1" or "mps"; ValueError where there is no such."""
    global _device
    import torch

    try:
        choice = torch.device(name)
    except RuntimeError:
        raise ValueError(f"unknown device '{name}': there are cpu, cuda, cuda:<number>, mps") from None
    counts = {"cpu": 1, "cuda": torch.cuda.device_count(), "mps": int(torch.backends.mps.is_available())}
    if (choice.index or 0) >= counts.get(choice.type, 0):
        there = ", ".join(f"{kind} ({count})" for kind, count in counts.items() if count)
        raise ValueError(f"device '{name}' is not there: this machine has {there}")
    _device = choice


def layout() -> dict[str, Any]:
    """Lightning's accelerator, `devices` and `num_nodes`: one device for each process of `torchrun`."""
    processes = int(os.environ.get("LOCAL_WORLD_SIZE", 1))
    nodes = {"num_nodes": int(os.environ.get("GROUP_WORLD_SIZE", 1))}
    if _device is None:
        return {"accelerator": "auto", "devices": processes} | nodes
    one = [_device.index] if _device.index is not None and processes == 1 else processes
    return {"accelerator": {"cuda": "gpu"}.get(_device.type, _device.type), "devices": one} | nodes


def devices() -> list[str]:
    """Names of the GPUs that this process may use: all, or the one that was chosen."""
    import torch

    chosen = device()
    if chosen.type != "cuda" or (_device is not None and _device.index is not None) or count() > 1:
        return [str(chosen)]
    return [f"cuda:{number}" for number in range(torch.cuda.device_count())]


def device() -> torch.device:
    """The device that `use_device` chose; else the GPU of this process, or the CPU."""
    import torch  # here: the processes that draw shapes or compute DIS flow start without it

    if _device is not None and (_device.type != "cuda" or _device.index is not None):
        return _device
    if not torch.cuda.is_available():
        return torch.device("cpu")
    return torch.device("cuda", int(os.environ.get("LOCAL_RANK", 0)))
