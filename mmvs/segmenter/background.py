"""A background thread makes items ahead of time, while the caller uses those before them."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")
_END = object()


def ahead(items: Iterable[T], count: int) -> Iterator[T]:
    """Yield the same items in the same order, while a thread makes the next ones.

    items  an iterable, often a generator; only the thread goes through it
    count  of items that wait for the caller, at most; one more is in the making

    An error of the iterable reaches the caller after the items before it. A caller that stops early ends the
    thread and closes the generator. A thread pays where making an item releases Python's lock, as decoding,
    OpenCV and torch do.
    """
    source = iter(items)
    worker = ThreadPoolExecutor(max_workers=1, thread_name_prefix="mmvs ahead")
    coming = deque(worker.submit(next, source, _END) for _ in range(count + 1))
    try:
        while (item := coming.popleft().result()) is not _END:
            coming.append(worker.submit(next, source, _END))
            yield item
    finally:
        worker.shutdown(cancel_futures=True)  # waits for the item in the making
        if hasattr(items, "close"):
            items.close()
