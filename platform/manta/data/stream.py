"""Batches of a plan for one rank: a Ray Dataset over the slices that the plan names, or the same
work in process.

    items (epoch, segment, steps) -> one decode task each -> parts of batches -> prefetch thread ->
    RankBatch

Items are chained in legs, each one Ray Dataset of up to 128 items whatever the epochs. The next leg
is started while the last two items of this one are on their way, so nothing stalls between epochs.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeVar

import numpy as np

from manta.data import _blocks
from manta.data._prefetch import Prefetched
from manta.data.arrays import Images, RowIndexes, as_tensor
from manta.data.cache import DecodedCache
from manta.data.engine import default_tasks, generate, require_cpu
from manta.data.manifest import Manifest, open_dataset
from manta.data.plan import Plan
from manta.data.read import decode_steps, rows_per_part

if TYPE_CHECKING:
    from torch import Tensor

Executor = Literal["ray", "local"]
ITEMS_PER_LEG = 128
"""Ray Data is slow to start on thousands: 1,000 items cost a second or two."""
CACHED_AHEAD = 2
"""Batches ahead of a cache: copying one is quick, and every trial of a study holds its own."""
_ITEM_BYTES = 256 << 20
"""Decoded bytes of an item; a task of more would keep its first batch waiting and the store
full."""
T_co = TypeVar("T_co", covariant=True)
Part = tuple[int, RowIndexes, Images]  # global step, indexes, pixels
Parts = Generator[Part, None, None]


class Closing(Iterator[T_co], Protocol[T_co]):
    """An iterator that frees what it holds when it is closed."""

    def close(self) -> None: ...


@dataclass(frozen=True, slots=True)
class RankBatch:
    """One rank's part of a global batch.

    Attributes:
        step: of the whole run.
        images: `[b, 3, size, size]` uint8, contiguous and the caller's own.
        index: `[b]` int64.
    """

    step: int
    images: Tensor
    index: Tensor


@dataclass(frozen=True, slots=True)
class Item:
    """Work of one decode task: steps `first` to `stop` of an epoch, within one segment."""

    epoch: int
    segment: int
    first: int
    stop: int


def stream(
    dataset: str | Manifest,
    plan: Plan,
    *,
    rank: int = 0,
    world: int = 1,
    size: int,
    start_step: int = 0,
    stop_step: int,
    executor: Executor = "ray",
    cache: Literal["none", "memory"] | DecodedCache = "none",
    tasks: int | None = None,
    cpus_per_task: float = 0.5,
    prefetch: int = 4,
) -> Closing[RankBatch]:
    """Return batches of the steps `start_step` to `stop_step` of a run, the same whatever the
    executor, cache or tasks.

    Work starts at once. Close the iterator, or exhaust it.

    Args:
        dataset: location of an ingested dataset, or its manifest.
        size: side of the decoded square.
        cache: "memory" keeps decoded row groups of this process; a `DecodedCache` is shared with
            others.
        tasks: decode tasks at a time; None takes half of the cluster's CPUs, shared among ranks.
        prefetch: batches ready ahead.

    Raises:
        ResourceError: no CPU is free for a decode task; raised where the first batch would come.
        DataError: a shard cannot be read any more; raised where its batch would come.
    """
    manifest = dataset if isinstance(dataset, Manifest) else open_dataset(dataset)
    plan.lanes(world)  # refuses a batch that ranks cannot share before any work starts
    items = partial(_items, plan, world, size, start_step, stop_step)
    if cache == "memory":
        epoch, _ = plan.locate(start_step)
        cache = DecodedCache(
            manifest, plan, size=size, epoch=epoch, tasks=tasks, cpus_per_task=cpus_per_task
        )
    if isinstance(cache, DecodedCache):
        return Prefetched(
            partial(_from_cache, cache, plan, rank, world, items), min(prefetch, CACHED_AHEAD)
        )
    decode = partial(_decode_item, manifest, plan, rank, world, size)
    if executor == "local":
        return _batches(
            (part for item in items() for part in decode(item)), plan.batch_size // world, size
        )

    def make() -> Iterator[RankBatch]:
        require_cpu(cpus_per_task)
        parts_per_step = -(-plan.batch_size // world // rows_per_part(size))
        run = _Legs(decode, size, parts_per_step, tasks or default_tasks(world), cpus_per_task)
        return _batches(run.parts(items()), plan.batch_size // world, size)

    return Prefetched(make, prefetch)


def _items(plan: Plan, world: int, size: int, start_step: int, stop_step: int) -> Iterator[Item]:
    """Yield the items of the steps: whole segments, or as much of one as a task may decode."""
    most = max(1, _ITEM_BYTES // (plan.batch_size // world * 3 * size * size))
    step = start_step
    while step < stop_step:
        epoch, first = plan.locate(step)
        segment = plan.segment_of(first)
        stop = min(plan.segment_start(segment + 1), first + most, first + stop_step - step)
        yield Item(epoch, segment, first, stop)
        step += stop - first


def _steps(plan: Plan, rank: int, world: int, item: Item) -> tuple[int, RowIndexes]:
    """Return `(first step of the whole run, [steps, b] indexes)` of an item."""
    segment = plan.segment(item.epoch, item.segment, rank=rank, world=world)
    rows = segment.indexes[item.first - segment.first_step : item.stop - segment.first_step]
    return item.epoch * plan.steps_per_epoch + item.first, rows


def _decode_item(
    manifest: Manifest, plan: Plan, rank: int, world: int, size: int, item: Item
) -> Parts:
    first, rows = _steps(plan, rank, world, item)
    for step, indexes, images in decode_steps(manifest, rows, size):
        yield first + step, indexes, images


def _from_cache(
    cache: DecodedCache, plan: Plan, rank: int, world: int, items: Callable[[], Iterator[Item]]
) -> Iterator[RankBatch]:
    for item in items():
        first, rows = _steps(plan, rank, world, item)
        for step, (indexes, images) in enumerate(
            zip(rows, cache.steps(rows), strict=True), start=first
        ):
            yield RankBatch(step, as_tensor(images), as_tensor(indexes))


def _batches(parts: Parts, batch: int, size: int) -> Generator[RankBatch, None, None]:
    """Yield batches put together of parts, copied out of the object store into their own memory."""
    with closing(parts):
        for step, rows, images in parts:
            index = np.empty(batch, dtype=np.int64)
            pixels = np.empty((batch, 3, size, size), dtype=np.uint8)
            done = 0
            while True:
                index[done : done + len(rows)] = rows
                pixels[done : done + len(rows)] = images
                done += len(rows)
                if done == batch:
                    break
                _, rows, images = next(parts)
            yield RankBatch(step, as_tensor(pixels), as_tensor(index))


@dataclass(frozen=True, slots=True)
class _Legs:
    """Ray Datasets end to end."""

    decode: Callable[[Item], Parts]
    size: int
    parts_per_step: int
    tasks: int
    cpus: float

    def parts(self, items: Iterator[Item]) -> Parts:
        leg = list(islice(items, ITEMS_PER_LEG))
        running = self._run(leg) if leg else None
        with ThreadPoolExecutor(1, thread_name_prefix="manta-leg") as starter:
            upcoming: Future[Parts] | None = None
            try:
                while running is not None:
                    left = sum(item.stop - item.first for item in leg) * self.parts_per_step
                    late = sum(item.stop - item.first for item in leg[-2:]) * self.parts_per_step
                    for part in running:
                        if left == late:
                            leg = list(islice(items, ITEMS_PER_LEG))
                            upcoming = starter.submit(self._started, leg) if leg else None
                        left -= 1
                        yield part
                    running = upcoming.result() if upcoming is not None else None
                    upcoming = None
            finally:
                for open_leg in (running, upcoming.result() if upcoming is not None else None):
                    if open_leg is not None:
                        open_leg.close()

    def _started(self, leg: list[Item]) -> Parts:
        """Return the leg with its first part there already."""
        parts = self._run(leg)
        first = next(parts)

        def chained() -> Parts:
            with closing(parts):
                yield first
                yield from parts

        return chained()

    def _run(self, leg: list[Item]) -> Parts:
        decode = self.decode

        def work(batch: dict[str, Any]) -> Iterator[Any]:
            columns = (batch[name].tolist() for name in Item.__slots__)
            for item in map(Item, *columns):
                for step, rows, images in decode(item):
                    yield _blocks.pack(step, rows, images)

        items = [{name: getattr(item, name) for name in Item.__slots__} for item in leg]
        data = generate(items, work, block_bytes=1, cpus=self.cpus, tasks=self.tasks)
        for block in data.iter_batches(batch_size=None, batch_format="pyarrow", prefetch_batches=1):
            for row in range(block.num_rows):
                yield _blocks.unpack(block, row, self.size)
