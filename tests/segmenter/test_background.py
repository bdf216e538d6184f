"""ahead: the same items in the same order, errors included, and no thread left behind."""

import threading
import time

import pytest

from mmvs.segmenter.background import ahead


def workers() -> int:
    return sum(thread.name.startswith("mmvs ahead") for thread in threading.enumerate())


def test_the_same_items_in_the_same_order():
    assert list(ahead(range(100), 3)) == list(range(100))
    assert list(ahead([], 1)) == []
    assert workers() == 0


def test_it_is_ahead_by_what_was_asked_and_no_more():
    results = []

    def items():
        for i in range(50):
            results.append(i)
            yield i

    coming = ahead(items(), 4)
    assert next(coming) == 0
    deadline = time.monotonic() + 5
    while len(results) < 6 and time.monotonic() < deadline:
        time.sleep(0.01)
    time.sleep(0.05)
    assert len(results) == 6  # one taken, four that wait, one in the worker's hand
    coming.close()
    assert workers() == 0


def test_an_error_comes_after_the_items_before_it():
    def items():
        yield from (1, 2)
        raise KeyError("third")

    coming = ahead(items(), 8)
    assert [next(coming), next(coming)] == [1, 2]
    with pytest.raises(KeyError, match="third"):
        next(coming)
    assert workers() == 0


def test_stopping_early_closes_the_maker():
    closed = []

    def items():
        try:
            while True:
                yield 0
        finally:
            closed.append(True)

    coming = ahead(items(), 2)
    next(coming)
    assert workers() == 1
    coming.close()
    assert closed == [True] and workers() == 0
