"""Stream of a plan's batches for one rank, decoded by Ray Data tasks or in the calling process.

    items (epoch, segment, steps) -> one decode task each -> parts of batches -> prefetch thread ->
    RankBatch

Items are grouped into legs. A leg is one Ray Dataset of up to 128 items, and may span epochs. The
next leg is started while the last two items of the current one are still being delivered, so that
nothing stalls between epochs.
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
"""Items of one Ray Dataset. Ray Data starts slowly on many: 1,000 items cost a second or two."""
CACHED_AHEAD = 2
"""Batches prepared ahead from a cache. Copying one is quick, and every trial of a study holds its
own."""
_ITEM_BYTES = 256 << 20
"""Largest decoded size of an item, in bytes. A larger task would delay its first batch and fill the
object store."""
T_co = TypeVar("T_co", covariant=True)
Part = tuple[int, RowIndexes, Images]  # global step, indexes, pixels
Parts = Generator[Part, None, None]


class Closing(Iterator[T_co], Protocol[T_co]):
    """Iterator that must be closed to free the resources it holds."""

    def close(self) -> None:
        """Stop the work behind the iterator, and free its resources."""
        ...


@dataclass(frozen=True, slots=True)
class RankBatch:
    """One rank's part of a global batch.

    Attributes:
        step: number of the step within the whole run.
        images: `[b, 3, size, size]` uint8, contiguous, in memory that the caller may change.
        index: row numbers `[b]` int64.
    """

    step: int
    images: Tensor
    index: Tensor


@dataclass(frozen=True, slots=True)
class Item:
    """Work of one decode task: steps `first` to `stop - 1` of an epoch, within one segment."""

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
    """Return the batches of the steps `start_step` to `stop_step - 1` of a run.

    They are the same for every executor, cache and number of tasks. Work starts at once. The caller
    must close the iterator or exhaust it.

    Args:
        dataset: location of an ingested dataset, or its manifest.
        size: side of the decoded square, in pixels.
        cache: "memory" keeps decoded row groups for this stream alone; a `DecodedCache` can be
            shared with other processes.
        tasks: decode tasks at a time; None takes half of the cluster's CPUs, shared among ranks.
        prefetch: number of batches to keep ready.

    Raises:
        ResourceError: no CPU is free for a decode task; raised in place of the first batch.
        DataError: a shard can no longer be read; raised in place of its batch.
    """
    manifest = dataset if isinstance(dataset, Manifest) else open_dataset(dataset)
    plan.lanes(world)  # raises before any work starts if the ranks cannot share a batch equally
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
    """Yield the items of the steps: whole segments, or as much of one as one task may decode."""
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
    """Yield the decoded parts of an item."""
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
    """Yield batches assembled from their parts."""
    # Copies: views would pin blocks in the object store for as long as somebody holds the batch.
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
    """Sequence of Ray Datasets, one after the other, as one stream of parts."""

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
                    # Parts of this leg still to come, and how many of them its last two items make.
                    left = sum(item.stop - item.first for item in leg) * self.parts_per_step
                    late = sum(item.stop - item.first for item in leg[-2:]) * self.parts_per_step
                    for part in running:
                        # Start the next leg now: a Ray Dataset takes a while to its first part.
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
        """Return the parts of a leg; wait here for the first one, which starts the execution."""
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
        # Blocks of one part each, so that a part is delivered as soon as it is decoded.
        data = generate(items, work, block_bytes=1, cpus=self.cpus, tasks=self.tasks)
        for block in data.iter_batches(batch_size=None, batch_format="pyarrow", prefetch_batches=1):
            for row in range(block.num_rows):
                yield _blocks.unpack(block, row, self.size)
