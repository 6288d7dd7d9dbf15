"""An iterator that runs ahead in a thread, and ends when it should."""

from __future__ import annotations

import gc
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from manta.data._prefetch import Prefetched
from manta.errors import DataError


def eventually(condition: Callable[[], bool]) -> bool:
    limit = time.monotonic() + 10
    while not condition() and time.monotonic() < limit:
        time.sleep(0.01)
    return condition()


class Source:
    """Numbers from 0 on, and what became of them."""

    def __init__(self, count: int = 10**9, error: Exception | None = None) -> None:
        self.count, self.error = count, error
        self.made = 0
        self.closed_in: threading.Thread | None = None

    def __call__(self) -> Iterator[int]:
        try:
            for number in range(self.count):
                self.made += 1
                yield number
            if self.error is not None:
                raise self.error
        finally:
            self.closed_in = threading.current_thread()


def test_items_come_in_order_and_only_so_many_ahead() -> None:
    source = Source()
    with Prefetched(source, 3) as items:
        assert eventually(lambda: source.made == 4), "three wait and one is in hand"
        time.sleep(0.15)
        assert source.made == 4
        assert [next(items) for _ in range(5)] == [0, 1, 2, 3, 4]
    assert source.closed_in is not None
    assert source.closed_in is not threading.current_thread()
    assert list(items) == [], "closed is closed"


def test_the_end_comes_after_the_last_item() -> None:
    items = Prefetched(Source(5), 2)
    assert list(items) == [0, 1, 2, 3, 4]
    assert list(items) == []


def test_an_error_surfaces_where_its_item_would_have() -> None:
    items = Prefetched(Source(2, DataError("row 2 is damaged")), 8)
    assert [next(items), next(items)] == [0, 1]
    with pytest.raises(DataError, match="row 2 is damaged"):
        next(items)
    with pytest.raises(StopIteration):
        next(items)


def test_an_error_before_the_first_item() -> None:
    def broken() -> Iterator[int]:
        raise ValueError("no source")

    with pytest.raises(ValueError, match="no source"):
        next(Prefetched(broken, 1))


def test_a_forgotten_iterator_stops_its_thread() -> None:
    source = Source()
    items = Prefetched(source, 1)
    assert next(items) == 0
    del items
    gc.collect()
    assert eventually(lambda: source.closed_in is not None)
    made = source.made
    time.sleep(0.15)
    assert source.made == made
