"""Ingest of any source into Parquet shards and a manifest, as a Ray Data job that can be resumed.

    units (listed while they are read) -> read + verify + shrink -> parcels -> shards ->
    manifest.json

The driver handles references and row counts, never an image. Where shards and row groups are cut
depends on the source and the limits alone, so the same source gives the same dataset on any cluster
and after any number of interruptions.
"""

from __future__ import annotations

import hashlib
import json
import os
import pickle
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import ray

from manta.data import _shards
from manta.data._shards import Limits, Written
from manta.data.engine import cluster_cpus, generate, require_cpu
from manta.data.manifest import FILE, SIZE_EDGES, Manifest, is_dataset, open_dataset
from manta.data.sources import Source, open_source
from manta.errors import DataError
from manta.failures import one_line_errors
from manta.files import Place

IngestProgress = Callable[[int, int], None]
"""Callback that takes the number of rows written and of images quarantined so far."""
_WRITES_AT_ONCE = 4
"""Shards being written, at most: each holds its images in memory while it is written."""
_LIST_CPUS = _WRITE_CPUS = 0.25


@dataclass(frozen=True, slots=True)
class IngestReport:
    """Result of an ingest.

    Attributes:
        resumed_rows: rows that an interrupted ingest had already written; all rows if the dataset
            was complete.
    """

    location: str
    rows: int
    quarantined: int
    shards: int
    digest: str
    seconds: float
    resumed_rows: int


def ingest(
    source: str | os.PathLike[str],
    out: str | os.PathLike[str],
    *,
    max_side: int | None = 512,
    limits: Limits | None = None,
    progress: IngestProgress | None = None,
) -> IngestReport:
    """Write the dataset `out` from `source`, or finish an interrupted ingest of it.

    Args:
        max_side: larger images are stored as JPEG (quality 95) with this shorter side; None keeps
            every byte.
        limits: bounds of shards and row groups; the argument `max_side` overrides its own.
        progress: called with rows and quarantined images so far.

    Raises:
        DataError: the source cannot be read, every image in it is bad, or `out` holds something
            else.
    """
    began = time.monotonic()
    place, adapter = Place.of(out), open_source(source)
    bounds = Limits(**(asdict(limits or Limits()) | {"max_side": max_side}))
    identity = {
        "source": adapter.place.url,
        "kind": adapter.kind,
        "state": _state(adapter),
        "limits": asdict(bounds),
    }
    if is_dataset(place.url):
        finished = open_dataset(place.url)
        _refuse_other(place, finished.options, identity)
        return _report(finished, began, finished.rows)
    done = _committed(place, identity)
    resumed = sum(item.shard.rows for item in done)
    if progress and done:
        progress(resumed, sum(len(item.bad) for item in done))
    with one_line_errors(f"the ingest of {adapter.place.url}"):
        done += _Job(adapter, place, bounds, done, progress).run()
    manifest = _finish(place, adapter, identity, done)
    return _report(manifest, began, resumed)


def prepare(
    source: str | os.PathLike[str],
    cache_dir: str | os.PathLike[str],
    progress: IngestProgress | None = None,
) -> str:
    """Return the location of the dataset for `source`, ingesting it under `cache_dir` if needed.

    A `source` that is a dataset already is its own location.
    """
    location = prepared(source, cache_dir)
    return (
        location if is_dataset(location) else ingest(source, location, progress=progress).location
    )


def prepared(source: str | os.PathLike[str], cache_dir: str | os.PathLike[str]) -> str:
    """Return the location at which `prepare` puts the dataset, whether or not it exists yet.

    The folder's name contains a hash of the source's URL and of its state (`Source.identity`), so
    that a changed source is ingested again.
    """
    text = os.fspath(source)
    if is_dataset(text):
        return Place.of(text).url
    adapter = open_source(text)
    mark = hashlib.sha256(f"{adapter.place.url}\n{_state(adapter)}".encode()).hexdigest()[:12]
    stem = "".join(
        letter if letter.isalnum() or letter in "-_" else "-" for letter in adapter.place.name
    ).strip("-")
    return (Place.of(cache_dir) / f"{stem or adapter.kind}-{mark}.manta").url


@dataclass
class _Job:
    """One attempt at an ingest, which skips what earlier attempts have committed."""

    source: Source
    out: Place
    limits: Limits
    done: list[Written]
    progress: IngestProgress | None
    # `(block, row of the block)` of the parcels that are not in a shard yet.
    waiting: list[tuple[Any, int]] = field(default_factory=list)
    writes: deque[Any] = field(default_factory=deque)
    rows: int = 0
    size: int = 0

    @property
    def read_cpus(self) -> float:
        """Return the CPUs of a read task: one, or half of one where nothing else would fit."""
        return 1.0 if cluster_cpus() >= 2 else 0.5

    def run(self) -> list[Written]:
        """Write the shards that are missing; return their records in order."""
        require_cpu(self.read_cpus)
        number = len(self.done)
        first = self.done[-1].first + self.done[-1].shard.rows if self.done else 0
        good, bad = first, sum(len(item.bad) for item in self.done)
        # A task reads the counts of a block: fetching it would bring the images to the driver.
        ask = ray.remote(num_cpus=0)(_shards.facts)
        written: list[Written] = []
        for ref in self._blocks():
            for row, parcel in enumerate(ray.get(ask.remote(ref))):
                rows, size = self.rows + parcel["good"], self.size + parcel["size"]
                if self.waiting and (
                    rows > self.limits.shard_rows or size > self.limits.shard_bytes
                ):
                    first += self._write(number, first)
                    number += 1
                self.waiting.append((ref, row))
                self.rows += parcel["good"]
                self.size += parcel["size"]
                good, bad = good + parcel["good"], bad + parcel["bad"]
            while len(self.writes) > _WRITES_AT_ONCE:
                written.append(ray.get(self.writes.popleft()))
            if self.progress:
                self.progress(good, bad)
        if self.waiting:
            self._write(number, first)
        return written + [ray.get(ref) for ref in self.writes]

    def _blocks(self) -> Iterator[Any]:
        source, limits = self.source, self.limits
        unit, taken = (self.done[-1].unit, self.done[-1].taken) if self.done else (0, 0)

        # Listing resumes at the unit in which the last shard ended, and reading after the samples
        # of it that are in that shard.
        def listed(_: Any) -> Iterator[Any]:
            yield from _shards.list_units(source, unit)

        def read(batch: dict[str, Any]) -> Iterator[Any]:
            for number, packed in zip(batch["number"].tolist(), batch["unit"], strict=True):
                skip = taken if number == unit else 0
                yield from _shards.read_unit(source, number, pickle.loads(packed), limits, skip)

        units = generate([{"start": unit}], listed, block_bytes=1, cpus=_LIST_CPUS, tasks=1)
        parcels = units.map_batches(read, batch_size=None, num_cpus=self.read_cpus)
        # Listing and reading request different numbers of CPUs, which keeps Ray Data from fusing
        # them: everything would then be read in the single task that lists.
        for bundle in parcels.iter_internal_ref_bundles():
            for entry in bundle.blocks:
                yield entry.ref

    def _write(self, number: int, first: int) -> int:
        """Start writing the waiting parcels as a shard; return its number of rows."""
        refs = list(dict.fromkeys(ref for ref, _ in self.waiting))
        places = {ref: position for position, ref in enumerate(refs)}
        parcels = [(places[ref], row) for ref, row in self.waiting]
        write = ray.remote(num_cpus=_WRITE_CPUS)(_shards.write_shard)
        self.writes.append(write.remote(self.out, number, first, parcels, self.limits, *refs))
        rows, self.rows, self.size, self.waiting = self.rows, 0, 0, []
        return rows


def _state(source: Source) -> str:
    return hashlib.sha256(json.dumps(source.identity()).encode()).hexdigest()[:16]


def _refuse_other(out: Place, theirs: dict[str, Any], ours: dict[str, Any]) -> None:
    """Check that a folder was begun from the same source with the same limits.

    Raises:
        DataError: it was not.
    """
    for key, what in (
        ("source", "another source"),
        ("kind", "another kind"),
        ("limits", "other limits"),
    ):
        if theirs.get(key) != ours[key]:
            raise DataError(
                f"{out.url} holds {what} ({theirs.get(key)}, not {ours[key]}); give another "
                "folder or remove it"
            )
    if theirs.get("state") != ours["state"]:
        raise DataError(
            f"{ours['source']} changed since {out.url} was begun; give another folder or remove it"
        )


def _committed(out: Place, identity: dict[str, Any]) -> list[Written]:
    """Return the records of the shards that an interrupted ingest has committed.

    Only those before the first gap count: several shards are written at a time. A new or empty
    folder is marked as this ingest's.

    Raises:
        DataError: the folder holds something else.
    """
    marker = out / "ingest.json"
    if not marker.exists():
        if out.exists() and (not out.is_dir() or next(out.entries(), None) is not None):
            raise DataError(f"{out.url} exists and is not a Manta dataset; give a new folder")
        (out / "progress").make()
        marker.write(json.dumps(identity).encode())
        return []
    _refuse_other(out, json.loads(marker.read()), identity)
    (out / "progress").make()
    present = {name for name, _ in (out / "progress").entries()}
    done: list[Written] = []
    while (name := f"{len(done):05d}.json") in present:
        done.append(Written.from_json((out / "progress" / name).read()))
    return done


def _finish(out: Place, source: Source, identity: dict[str, Any], done: list[Written]) -> Manifest:
    """Write the quarantine and the manifest; return the manifest."""
    # The manifest comes last of all files: a folder that has one is a complete dataset.
    bad = [row for item in done for row in item.bad]
    rows = sum(item.shard.rows for item in done)
    names = pa.schema({"path": pa.string(), "reason": pa.string()})
    table = pa.Table.from_pylist(
        [{"path": path, "reason": reason} for path, reason in bad], schema=names
    )
    with (out / "quarantine.parquet").writing() as file:
        pq.write_table(table, file)
    if rows == 0:
        example = f", as in {bad[0][0]}: {bad[0][1]}" if bad else ""
        raise DataError(
            f"none of the {len(bad)} files of {source.place.url} is an image that can be read"
            f"{example}"
        )
    moment_rows = sum(item.moment_rows for item in done)
    sums = np.sum([item.moments for item in done], axis=0) / moment_rows
    mean, std = sums[:3], np.sqrt(np.maximum(sums[3:] - sums[:3] ** 2, 0.0))
    labelled = sum(item.labelled for item in done) == rows
    manifest = Manifest(
        location=out.url,
        rows=rows,
        labelled=labelled,
        classes=source.classes() if labelled else None,
        shards=[item.shard for item in done if item.shard.rows],
        sizes={
            "edges": list(SIZE_EDGES),
            "counts": np.sum([item.sizes for item in done], axis=0).tolist(),
        },
        mean=mean.tolist(),
        std=std.tolist(),
        moment_rows=moment_rows,
        source=source.place.url,
        kind=source.kind,
        quarantined=len(bad),
        digest=hashlib.sha256("".join(item.digest for item in done).encode()).hexdigest(),
        bytes=sum(item.shard.bytes for item in done),
        options=identity,
    )
    (out / FILE).write(manifest.to_json().encode())
    # After the manifest: a kill in between leaves some needless files, not a dataset to redo.
    (out / "progress").remove()
    out.sweep()
    return manifest


def _report(manifest: Manifest, began: float, resumed: int) -> IngestReport:
    return IngestReport(
        location=manifest.location,
        rows=manifest.rows,
        quarantined=manifest.quarantined,
        shards=len(manifest.shards),
        digest=manifest.digest,
        seconds=time.monotonic() - began,
        resumed_rows=resumed,
    )
