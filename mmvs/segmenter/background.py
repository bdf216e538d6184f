"""Work done ahead in a background thread, so that it overlaps with what its results are used for."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator
from queue import Empty, Full, Queue
from typing import TypeVar

T = TypeVar("T")
_END = object()


def ahead(items: Iterable[T], count: int) -> Iterator[T]:
    """The same items, made by a thread that is at most `count` of them ahead.

    What the items' maker raises is raised here, after the items before it. Stopping early ends the thread.
    It pays where making an item leaves Python's lock alone: decoding, OpenCV and torch do.
    """
    made: Queue = Queue(count)
    stop = threading.Event()

    def put(item: object) -> bool:
        while not stop.is_set() and threading.main_thread().is_alive():  # not at the program's end either
            try:
                made.put(item, timeout=0.1)
                return True
            except Full:
                continue
        return False

    def work() -> None:
        try:
            for item in items:
                if not put((item, None)):
                    break
            else:
                put((_END, None))
        except BaseException as error:  # noqa: BLE001  all of it belongs to whoever waits for the items
            put((_END, error))
        finally:
            if hasattr(items, "close"):
                items.close()

    worker = threading.Thread(target=work, name="mmvs ahead")
    worker.start()
    try:
        while True:
            try:
                item, error = made.get(timeout=0.5)
            except Empty:
                if not worker.is_alive() and made.empty():
                    raise RuntimeError("the background thread ended without a word") from None
                continue
            if error is not None:
                raise error
            if item is _END:
                return
            yield item
    finally:
        stop.set()
        worker.join()
