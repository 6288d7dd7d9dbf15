"""One attempt at reading a whole source: into shards, or only counting, for a dry run.

The driver handles references and row counts, never an image.
"""

from __future__ import annotations

import pickle
from collections import Counter, deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

import pyarrow as pa
import ray

from manta.data import _shards
from manta.data._shards import Limits, Written
from manta.data.engine import cluster_cpus, generate, require_cpu
from manta.data.sources import Source
from manta.data.stream import Executor
from manta.data.understanding import Understanding, by_reason
from manta.files import Place
from manta.modalities import Inspector

IngestProgress = Callable[[int, int], None]
"""Callback that takes the number of rows written and of samples quarantined so far."""


@runtime_checkable
class NamingProgress(Protocol):
    """Such a callback that names the samples.

    Attributes:
        noun: what they are called, in the plural; an ingest sets it before its first call.
    """

    noun: str

    def __call__(self, rows: int, quarantined: int) -> None: ...


_WRITES_AT_ONCE = 4
"""Shards being written, at most: each holds its images in memory while it is written."""
_LIST_CPUS = _WRITE_CPUS = 0.25


@dataclass(frozen=True, slots=True)
class IngestReport:
    """Result of an ingest.

    Attributes:
        resumed_rows: rows that an interrupted ingest had already written; all rows if the dataset
            was complete.
        understood: what was understood of the source; None for a dataset of an earlier version.
    """

    location: str
    rows: int
    quarantined: int
    shards: int
    digest: str
    seconds: float
    resumed_rows: int
    understood: Understanding | None = None


@dataclass
class Counted:
    """What a dry run has counted.

    Attributes:
        labels: rows by label, as text.
        bad: bad images by reason.
        example: path and reason of the first bad image.
        groups: rows by group.
        path: that of the first row.
    """

    rows: int = 0
    labels: Counter[str] = field(default_factory=Counter)
    bad: Counter[str] = field(default_factory=Counter)
    example: tuple[str, str] | None = None
    groups: Counter[str] = field(default_factory=Counter)
    path: str | None = None


@dataclass
class IngestJob:
    """One pass over a source, on the cluster or in this process."""

    source: Source
    inspector: Inspector
    limits: Limits
    executor: Executor
    progress: IngestProgress | None

    def write(self, out: Place, done: list[Written]) -> list[Written]:
        """Write the shards that `done` lacks; return their records in order."""
        return _Writer(self, out, done).run()

    def survey(self) -> Counted:
        """Return the counts of the whole source; write nothing."""
        counted = Counted()
        for one in self.each(_shards.survey, self.blocks(0, 0)):
            for parcel in one[1]:
                counted.rows += parcel["good"]
                counted.labels.update(parcel["labels"])
                counted.groups.update(parcel["groups"])
                counted.path = counted.path or parcel["path"]
                counted.bad += by_reason(bad["reason"] for bad in parcel["bad"])
                if counted.example is None and parcel["bad"]:
                    first = parcel["bad"][0]
                    counted.example = first["path"], first["reason"]
            if self.progress:
                self.progress(counted.rows, counted.bad.total())
        return counted

    def blocks(self, unit: int, taken: int) -> Iterator[Any]:
        """Yield blocks of parcels in order, from after the first `taken` samples of a unit on.

        On a cluster they are references.
        """
        source, inspector, limits = self.source, self.inspector, self.limits
        names = source.classes()
        declared = None if names is None else len(names)
        if self.executor == "local":
            for row in _shards.list_units(source, unit):
                number = int(row["number"][0])
                skip = taken if number == unit else 0
                packed = pickle.loads(row["unit"][0])
                yield from _shards.read_unit(
                    source, number, packed, inspector, limits, skip, declared
                )
            return

        # Listing resumes at the unit in which the last shard ended, and reading after the samples
        # of it that are in that shard.
        def listed(_: Any) -> Iterator[Any]:
            yield from _shards.list_units(source, unit)

        def read(batch: dict[str, Any]) -> Iterator[Any]:
            for number, packed in zip(batch["number"].tolist(), batch["unit"], strict=True):
                skip = taken if number == unit else 0
                work = pickle.loads(packed)
                yield from _shards.read_unit(
                    source, number, work, inspector, limits, skip, declared
                )

        require_cpu(read_cpus())
        units = generate([{"start": unit}], listed, block_bytes=1, cpus=_LIST_CPUS, tasks=1)
        parcels = units.map_batches(read, batch_size=None, num_cpus=read_cpus())
        # Listing and reading request different numbers of CPUs, which keeps Ray Data from fusing
        # them: everything would then be read in the single task that lists.
        for bundle in parcels.iter_internal_ref_bundles():
            for entry in bundle.blocks:
                yield entry.ref

    def each(
        self, count: Callable[[pa.Table], Any], blocks: Iterator[Any]
    ) -> Iterator[tuple[Any, Any]]:
        """Yield each block with what `count` says of it."""
        if self.executor == "local":
            yield from ((block, count(block)) for block in blocks)
            return
        # A task reads the block: fetching it would bring the images to the driver.
        ask = ray.remote(num_cpus=0)(count)
        yield from ((ref, ray.get(ask.remote(ref))) for ref in blocks)


def read_cpus() -> float:
    """Return the CPUs of a read task: one, or half of one where nothing else would fit."""
    return 1.0 if cluster_cpus() >= 2 else 0.5


@dataclass
class _Writer:
    """Writing of the shards of one attempt, after those that earlier attempts have committed."""

    job: IngestJob
    out: Place
    done: list[Written]
    # `(block, row of the block)` of the parcels that are not in a shard yet.
    waiting: list[tuple[Any, int]] = field(default_factory=list)
    writes: deque[Any] = field(default_factory=deque)
    rows: int = 0
    size: int = 0

    def run(self) -> list[Written]:
        """Write the shards that are missing; return their records in order."""
        limits, last = self.job.limits, self.done[-1] if self.done else None
        number = len(self.done)
        first = last.first + last.shard.rows if last else 0
        good, bad = first, sum(len(item.bad) for item in self.done)
        written: list[Written] = []
        blocks = self.job.blocks(last.unit, last.taken) if last else self.job.blocks(0, 0)
        for block, parcels in self.job.each(_shards.facts, blocks):
            for row, parcel in enumerate(parcels):
                rows, size = self.rows + parcel["good"], self.size + parcel["size"]
                if self.waiting and (rows > limits.shard_rows or size > limits.shard_bytes):
                    first += self._write(number, first)
                    number += 1
                self.waiting.append((block, row))
                self.rows += parcel["good"]
                self.size += parcel["size"]
                good, bad = good + parcel["good"], bad + parcel["bad"]
            while len(self.writes) > _WRITES_AT_ONCE:
                written.append(self._result(self.writes.popleft()))
            if self.job.progress:
                self.job.progress(good, bad)
        if self.waiting:
            self._write(number, first)
        return written + [self._result(write) for write in self.writes]

    def _write(self, number: int, first: int) -> int:
        """Start writing the waiting parcels as a shard; return its number of rows."""
        # By identity: a table has no hash.
        blocks: dict[int, Any] = {}
        positions: dict[int, int] = {}
        parcels = []
        for block, row in self.waiting:
            positions.setdefault(id(block), len(positions))
            blocks.setdefault(id(block), block)
            parcels.append((positions[id(block)], row))
        arguments = (self.out, number, first, parcels, self.job.limits, *blocks.values())
        column = self.job.inspector.column
        if self.job.executor == "local":
            self.writes.append(_shards.write_shard(*arguments, column=column))
        else:
            write = ray.remote(num_cpus=_WRITE_CPUS)(_shards.write_shard)
            self.writes.append(write.remote(*arguments, column=column))
        rows, self.rows, self.size, self.waiting = self.rows, 0, 0, []
        return rows

    def _result(self, write: Any) -> Written:
        is_local = self.job.executor == "local"
        return write if is_local else ray.get(write)  # type: ignore[no-any-return]
