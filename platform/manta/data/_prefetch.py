"""Iterator that prepares its next items in a background thread."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Generic, TypeVar

from manta.failures import own_error

T = TypeVar("T")
_DONE = object()


class Prefetched(Generic[T]):
    """Iterator over `make()` that keeps up to `depth` items ready.

    Work starts at once. An error is raised in place of the item that caused it.

    To end early, call `close`, leave the `with` block or drop the last reference. The iterator that
    `make` returned is closed in the thread that ran it.
    """

    def __init__(self, make: Callable[[], Iterator[T]], depth: int) -> None:
        self._queue: queue.Queue[object] = queue.Queue(maxsize=depth)
        self._stop = threading.Event()
        self._over = False
        # The thread holds the queue and the event but not `self`, so that an iterator which nobody
        # refers to any more is garbage-collected, and `__del__` stops the thread.
        self._thread = threading.Thread(
            target=_fill, args=(make, self._queue, self._stop), name="manta-prefetch", daemon=True
        )
        self._thread.start()

    def __iter__(self) -> Prefetched[T]:
        return self

    def __next__(self) -> T:
        if self._over:
            raise StopIteration
        item = self._queue.get()
        if item is _DONE or isinstance(item, _Failure):
            self.close()
            if isinstance(item, _Failure):
                raise (own_error(item.error) or item.error) from None
            raise StopIteration
        return item  # type: ignore[return-value]

    def close(self) -> None:
        """Stop the thread and the work in it; calling it again does nothing."""
        self._over = True
        self._stop.set()
        # Empty the queue: it would keep batches in memory for as long as this iterator lives.
        while not self._queue.empty():
            self._queue.get_nowait()
        # At most 30 s: the thread may be within a read that hangs, and it is a daemon anyway.
        if self._thread is not threading.current_thread():
            self._thread.join(timeout=30)

    def __enter__(self) -> Prefetched[T]:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def __del__(self) -> None:
        self._stop.set()


class _Failure:
    """Queue item for an error that `make` or its iterator raised."""

    def __init__(self, error: BaseException) -> None:
        self.error = error


def _fill(
    make: Callable[[], Iterator[T]], ready: queue.Queue[object], stop: threading.Event
) -> None:
    """Move the items of `make()` into the queue; the last entry is `_DONE` or a `_Failure`."""
    last: object = _DONE
    try:
        items = make()
        try:
            for item in items:
                if not _put(ready, item, stop):
                    return
        finally:
            if hasattr(items, "close"):
                items.close()
    except BaseException as error:
        last = _Failure(error)
    _put(ready, last, stop)


def _put(ready: queue.Queue[object], item: object, stop: threading.Event) -> bool:
    """Put an item into the queue; return False if `stop` was set before there was room."""
    # Short waits: a put without a timeout would never notice `stop` once the reader is gone.
    while not stop.is_set():
        try:
            ready.put(item, timeout=0.1)
            return True
        except queue.Full:
            continue
    return False
