"""Stream of a plan's batches for one rank, decoded by Ray Data tasks or in the calling process.

    items (epoch, segment, steps) -> one decode task each -> parts of batches -> prefetch thread ->
    RankBatch

Items are grouped into legs. A leg is one Ray Dataset of up to 128 items, and may span epochs. The
next leg is started while the last two items of the current one are still being delivered, so that
nothing stalls between epochs.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeVar

import numpy as np

from manta.data import _blocks
from manta.data._prefetch import Prefetched
from manta.data.arrays import RowIndexes, as_tensor, as_tensors
from manta.data.cache import DecodedCache
from manta.data.engine import default_tasks, generate, require_cpu
from manta.data.manifest import Manifest, open_dataset
from manta.data.plan import Plan
from manta.data.read import decode_steps
from manta.leaves import Columns, Gathered, Layout, most_bytes
from manta.modalities import Decoder, Draw

if TYPE_CHECKING:
    from torch import Tensor

    from manta.ragged import Data

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
Part = tuple[int, RowIndexes, Columns]  # global step, indexes, leaves
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
        data: the leaves of b rows by name, contiguous, in memory that the caller may change.
        index: row numbers `[b]` int64.
    """

    step: int
    data: Mapping[str, Data]
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
    decoder: Decoder,
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
        decoder: of the rows; one that draws does so by the plan's seed, the epoch and the row.
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
    layout = decoder.layout
    items = partial(_items, plan, world, most_bytes(layout), start_step, stop_step)
    if cache == "memory":
        epoch, _ = plan.locate(start_step)
        cache = DecodedCache(
            manifest, plan, decoder=decoder, epoch=epoch, tasks=tasks, cpus_per_task=cpus_per_task
        )
    if isinstance(cache, DecodedCache):
        return Prefetched(
            partial(_from_cache, cache, plan, rank, world, items), min(prefetch, CACHED_AHEAD)
        )
    decode = partial(_decode_item, manifest, plan, rank, world, decoder)
    batch = plan.batch_size // world
    if executor == "local":
        return _batches((part for item in items() for part in decode(item)), batch, layout)

    def make() -> Iterator[RankBatch]:
        require_cpu(cpus_per_task)
        run = _Legs(decode, layout, batch, tasks or default_tasks(world), cpus_per_task)
        return _batches(run.parts(items()), batch, layout)

    return Prefetched(make, prefetch)


def _items(
    plan: Plan, world: int, row_bytes: int, start_step: int, stop_step: int
) -> Iterator[Item]:
    """Yield the items of the steps: whole segments, or as much of one as one task may decode."""
    most = max(1, _ITEM_BYTES // (plan.batch_size // world * max(row_bytes, 1)))
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
    manifest: Manifest, plan: Plan, rank: int, world: int, decoder: Decoder, item: Item
) -> Parts:
    """Yield the decoded parts of an item."""
    first, rows = _steps(plan, rank, world, item)
    draws = partial(Draw, plan.seed, item.epoch) if decoder.draws else None
    for step, indexes, data in decode_steps(manifest, rows, decoder, draws):
        yield first + step, indexes, data


def _from_cache(
    cache: DecodedCache, plan: Plan, rank: int, world: int, items: Callable[[], Iterator[Item]]
) -> Iterator[RankBatch]:
    for item in items():
        first, rows = _steps(plan, rank, world, item)
        decoded = zip(rows, cache.steps(rows), strict=True)
        for step, (indexes, data) in enumerate(decoded, start=first):
            yield RankBatch(step, as_tensors(data), as_tensor(indexes))


def _batches(parts: Parts, batch: int, layout: Layout) -> Generator[RankBatch, None, None]:
    """Yield batches assembled from their parts."""
    # Copies: views would pin blocks in the object store for as long as somebody holds the batch.
    with closing(parts):
        for step, rows, data in parts:
            index = np.empty(batch, dtype=np.int64)
            whole = Gathered(layout, batch)
            done = 0
            while True:
                index[done : done + len(rows)] = rows
                whole.add(data)
                done += len(rows)
                if done == batch:
                    break
                _, rows, data = next(parts)
            yield RankBatch(step, as_tensors(whole.columns()), as_tensor(index))


@dataclass(frozen=True, slots=True)
class _Legs:
    """Sequence of Ray Datasets, one after the other, as one stream of parts."""

    decode: Callable[[Item], Parts]
    layout: Layout
    rows_per_step: int
    tasks: int
    cpus: float

    def parts(self, items: Iterator[Item]) -> Parts:
        leg = list(islice(items, ITEMS_PER_LEG))
        running = self._run(leg) if leg else None
        with ThreadPoolExecutor(1, thread_name_prefix="manta-leg") as starter:
            upcoming: Future[Parts] | None = None
            try:
                while running is not None:
                    # Rows of this leg still to come, and how many of them its last two items hold.
                    left = sum(item.stop - item.first for item in leg) * self.rows_per_step
                    late = sum(item.stop - item.first for item in leg[-2:]) * self.rows_per_step
                    for part in running:
                        # Start the next leg now: a Ray Dataset takes a while to its first part.
                        if left == late:
                            leg = list(islice(items, ITEMS_PER_LEG))
                            upcoming = starter.submit(self._started, leg) if leg else None
                        left -= len(part[1])
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
                for step, rows, leaves in decode(item):
                    yield _blocks.pack(step, rows, leaves)

        items = [{name: getattr(item, name) for name in Item.__slots__} for item in leg]
        # Blocks of one part each, so that a part is delivered as soon as it is decoded.
        data = generate(items, work, block_bytes=1, cpus=self.cpus, tasks=self.tasks)
        for block in data.iter_batches(batch_size=None, batch_format="pyarrow", prefetch_batches=1):
            for row in range(block.num_rows):
                yield _blocks.unpack(block, row, self.layout)
