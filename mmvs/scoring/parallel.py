"""Work in several processes, with one bar over all of it."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from typing import Any, TypeVar

import cv2
from tqdm.auto import tqdm

from mmvs.data.csv_files import DataError

Result = TypeVar("Result")

FRAMES_PER_PROCESS = 1000  # a process is worth starting for as many masks: it takes a second or two


def workers_for(frames: int) -> int:
    """How many processes pay for a number of masks: at most one a core."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(cores, frames // FRAMES_PER_PROCESS))


def in_parallel(
    work: Callable[..., Result],
    shared: tuple[Any, ...],
    jobs: Sequence[Sequence[int]],
    workers: int,
    unit: str,
    progress: bool = True,
) -> list[Result]:
    """work(*shared, job) of every job, in the order of the jobs.

    work    a function of a module
    shared  what every process gets once, when it starts
    jobs    each a sequence: the bar counts its elements
    unit    of these elements, for the bar
    """
    results: list[Any] = [None] * len(jobs)
    bar = tqdm(total=sum(map(len, jobs)), desc="scoring", unit=unit, disable=None if progress else True)
    with bar:
        if workers == 1 or len(jobs) == 1:
            for number, job in enumerate(jobs):
                results[number] = work(*shared, job)
                bar.update(len(job))
            return results
        # "spawn", as a forked child of a process that has used CUDA or OpenMP can hang
        pool = ProcessPoolExecutor(
            min(workers, len(jobs)), multiprocessing.get_context("spawn"), _start, (work, shared)
        )
        try:
            futures = {pool.submit(_run, job): number for number, job in enumerate(jobs)}
            for future in as_completed(futures):
                results[futures[future]] = future.result()
                bar.update(len(jobs[futures[future]]))
        except BrokenProcessPool:
            raise DataError("a process died, perhaps for want of memory: use fewer --workers") from None
        finally:
            pool.shutdown(cancel_futures=True)
    return results


_work: tuple[Callable[..., Any], tuple[Any, ...]] | None = None  # of a worker process


def _start(work: Callable[..., Any], shared: tuple[Any, ...]) -> None:
    global _work
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides
    cv2.setNumThreads(1)
    _work = work, shared


def _run(job: Sequence[int]) -> Any:
    assert _work is not None
    work, shared = _work
    return work(*shared, job)
