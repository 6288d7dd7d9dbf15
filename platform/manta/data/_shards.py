"""Tasks of an ingest: read and verify samples, group them into parcels, write Parquet shards.

A parcel is a bounded Arrow table of consecutive samples, good and bad. It travels as one row of a
Ray Data block (as Arrow IPC bytes): Ray Data never splits a row, so the borders of parcels depend
on the source's order alone.
"""

from __future__ import annotations

import json
import pickle
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from manta.data._digest import digest_of
from manta.data._group_column import Runs, count_groups, group_rule, runs_of
from manta.data._label_column import count_labels, with_stored_labels
from manta.data._measures import Measures, of_shard
from manta.data.labels import as_text, within
from manta.data.lengths import write_part
from manta.data.manifest import Shard
from manta.data.names import shown
from manta.data.sources import Sample, Source
from manta.errors import DataError
from manta.files import Place
from manta.modalities import BadSample, Inspector
from manta.modalities.image.inspect import ImageInspector

PARCEL_ROWS = 256
PARCEL_BYTES = 16 << 20
_MEASURED_ROWS = 32
"""Rows of each parcel that are measured, where that takes time."""
_FACTS = ["unit", "taken", "good", "bad", "size"]
"""Columns of a block of parcels beside the parcels themselves."""

_PARCEL = pa.schema(
    {
        "bytes": pa.large_binary(),
        "path": pa.string(),
        "label": pa.string(),
        "group": pa.string(),
        "reason": pa.string(),
        "length": pa.int64(),
        "measures": pa.string(),
    }
)


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of an ingest's output.

    Attributes:
        max_side: images with a longer shorter side are shrunk to it and re-encoded; None stores
            every image unchanged.
        max_pixels: larger images are rejected as decompression bombs.
        shard_bytes, shard_rows: largest shard; whichever limit is reached first cuts it.
        group_bytes, group_rows: largest row group of a shard, likewise.
    """

    max_side: int | None = 512
    max_pixels: int = 178_956_970
    shard_bytes: int = 64 << 20
    shard_rows: int = 16_384
    group_bytes: int = 8 << 20
    group_rows: int = 128


@dataclass(frozen=True, slots=True)
class Written:
    """Record of a finished shard, from which an interrupted ingest continues.

    Attributes:
        shard: its entry in the manifest.
        first: index of its first row in the dataset.
        unit, taken: the position in the source after this shard: everything up to and including
            the first `taken` samples of unit number `unit` is in this shard or an earlier one.
        labels: number of rows that have each label, as text.
        bad: `[path, reason]` of each quarantined image.
        sizes: histogram of shorter sides, by the bins of `SIZE_EDGES`.
        moments: sums over `moment_rows` images of the channels' means, then of their mean squares.
        digest: SHA-256 of the rows.
        stats: measures of the rows of another modality, by name.
        groups: group and length of each stretch of rows of one group; empty: there are no groups.
    """

    shard: Shard
    first: int
    unit: int
    taken: int
    labels: dict[str, int]
    bad: list[list[str]]
    sizes: list[int]
    moments: list[float]
    moment_rows: int
    digest: str
    groups: Runs = field(default_factory=list)
    stats: Measures = field(default_factory=dict)

    def to_json(self) -> bytes:
        return json.dumps(asdict(self)).encode()

    @classmethod
    def from_json(cls, text: bytes) -> Written | None:
        """Return the record that a file holds; None if an earlier version wrote it."""
        content = json.loads(text)
        if "labels" not in content:
            return None
        return cls(shard=Shard(**content.pop("shard")), **content)


def list_units(source: Source, skip: int) -> Iterator[dict[str, Any]]:
    """Yield `(unit number, unit)` rows from unit `skip` on, while the source is being listed."""
    try:
        for number, unit in enumerate(source.units()):
            if number >= skip:
                yield {
                    "number": np.array([number]),
                    "unit": np.array([pickle.dumps(unit)], dtype=object),
                }
    except OSError as error:
        raise DataError(f"{source.place.url} cannot be listed: {error}") from None


def read_unit(
    source: Source,
    number: int,
    unit: Any,
    inspector: Inspector,
    limits: Limits,
    skip: int,
    declared: int | None = None,
) -> Iterator[pa.Table]:
    """Yield one table per parcel of a unit, leaving out the unit's first `skip` samples.

    `declared` is the number of classes that the source declares, or None.

    Its columns are `unit`, `taken` (samples of the unit so far), `good`, `bad`, `size` (bytes) and
    `parcel`.
    """
    most_rows = min(PARCEL_ROWS, limits.shard_rows)
    most_bytes = min(PARCEL_BYTES, limits.shard_bytes)
    rows: list[dict[str, Any]] = []
    size = taken = measured = 0
    name_group = group_rule(source.options)
    for sample in source.read(unit):
        taken += 1
        if taken <= skip:
            continue
        row = _verified(sample, inspector, measure=measured < _MEASURED_ROWS)
        if sample.data is None and sample.reason:
            row["reason"] = source.called.said(sample.reason)
        if source.options.labels != "none":
            label = sample.label
            row["label"] = as_text(label) if declared is None else within(label, declared)
        row["group"] = name_group(sample)
        measured += row["measures"] is not None
        size += len(row["bytes"] or b"")
        rows.append(row)
        if len(rows) >= most_rows or size >= most_bytes:
            yield _parcel(rows, number, taken, size)
            rows, size, measured = [], 0, 0
    if rows:
        yield _parcel(rows, number, taken, size)


def _verified(sample: Sample, inspector: Inspector, *, measure: bool) -> dict[str, Any]:
    row: dict[str, Any] = dict.fromkeys(_PARCEL.names)
    row |= {"path": shown(sample.path)}
    if sample.data is None:
        return row | {"reason": sample.reason or "cannot be read"}
    try:
        kept = inspector(sample.data, measure=measure)
    except BadSample as error:
        return row | {"reason": str(error)}
    except Exception as error:
        # One sample never ends the ingest of the others.
        return row | {"reason": f"broken: {type(error).__name__}: {error}"[:200]}
    measures = None if kept.measures is None else json.dumps(dict(kept.measures))
    return row | {"bytes": kept.data, "length": kept.length, "measures": measures}


def _parcel(rows: list[dict[str, Any]], number: int, taken: int, size: int) -> pa.Table:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, _PARCEL) as writer:
        writer.write_table(pa.Table.from_pylist(rows, schema=_PARCEL))
    buffer = sink.getvalue()
    offsets = pa.py_buffer(np.array([0, buffer.size], dtype=np.int64))
    good = sum(row["reason"] is None for row in rows)
    return pa.table(
        {
            "unit": [number],
            "taken": [taken],
            "good": [good],
            "bad": [len(rows) - good],
            "size": [size],
            "parcel": pa.LargeBinaryArray.from_buffers(
                pa.large_binary(), 1, [None, offsets, buffer]
            ),
        }
    )


def facts(block: pa.Table) -> list[dict[str, int]]:
    """Return the counts that the driver needs of each parcel in a block, without the images.

    A block without parcels, as a task gives that has nothing left to read, has no columns either.
    """
    if block.num_rows == 0:
        return []
    return block.select(_FACTS).to_pylist()  # type: ignore[no-any-return]


def write_shard(
    out: Place,
    number: int,
    first: int,
    parcels: list[tuple[int, int]],
    limits: Limits,
    *blocks: pa.Table,
    column: str = "image",
) -> Written:
    """Write a shard, then its record under `progress/`; return the record.

    Args:
        first: index of the shard's first row.
        parcels: `(block, row of the block)` of each parcel, in order.
        blocks: the blocks that `parcels` refers to.
        column: that holds the samples.
    """
    picked = [blocks[block].column("parcel")[row].as_buffer() for block, row in parcels]
    table = pa.concat_tables(
        pa.ipc.open_stream(buffer).read_all() for buffer in picked
    ).combine_chunks()
    last_block, last_row = parcels[-1]
    end = blocks[last_block].slice(last_row, 1).to_pylist()[0]
    good, bad = _divided(table)
    labels = count_labels(good)
    good = with_stored_labels(good, labels)
    name = f"shard-{number:05d}.parquet"
    groups, size = _write_parquet(out / name, good, first, limits, column)
    written = Written(
        shard=Shard(name, good.num_rows, groups, size),
        first=first,
        unit=int(end["unit"]),
        taken=int(end["taken"]),
        labels=labels,
        bad=[[row["path"], row["reason"]] for row in bad],
        digest=digest_of(good),
        groups=runs_of(good),
        **of_shard(good, column),
    )
    if column != ImageInspector.column:
        write_part(out, number, good["length"].to_numpy())
    # Written after the shard: a resumed ingest trusts every shard that has a record, and a kill
    # between the two writes only costs writing this shard again.
    (out / "progress" / f"{number:05d}.json").write(written.to_json())
    return written


def survey(block: pa.Table) -> list[dict[str, Any]]:
    """Return what a dry run counts of each parcel in a block: good rows, labels, bad images."""
    counted = []
    for row in range(block.num_rows):
        buffer = block.column("parcel")[row].as_buffer()
        good, bad = _divided(pa.ipc.open_stream(buffer).read_all())
        labels, groups = count_labels(good), count_groups(runs_of(good))
        path = good["path"][0].as_py() if good.num_rows else None
        counted.append(
            {"good": good.num_rows, "labels": labels, "bad": bad, "groups": groups, "path": path}
        )
    return counted


def _divided(table: pa.Table) -> tuple[pa.Table, list[dict[str, str]]]:
    """Return the good rows of a parcel, and path and reason of the bad ones."""
    is_good = pa.compute.is_null(table["reason"])
    bad = table.filter(pa.compute.invert(is_good)).select(["path", "reason"]).to_pylist()
    return table.filter(is_good), bad


def _write_parquet(
    place: Place, table: pa.Table, first: int, limits: Limits, column: str
) -> tuple[list[int], int]:
    """Write a Parquet file; return the rows of each row group, and the bytes of all images.

    No file is written for an empty table.
    """
    if table.num_rows == 0:
        return [], 0
    sizes = pa.compute.binary_length(table["bytes"]).to_numpy()
    cuts = _cuts(sizes, limits)
    # Plain binary where the images fit into its 32-bit offsets, large binary otherwise.
    encoded = (
        table["bytes"].combine_chunks().cast(pa.binary()) if sizes.sum() < 2**31 else table["bytes"]
    )
    sample = pa.StructArray.from_arrays([_plain(encoded), _plain(table["path"])], ["bytes", "path"])
    columns = {"index": np.arange(first, first + table.num_rows, dtype=np.int64), column: sample}
    if table["label"].null_count < table.num_rows:
        columns["label"] = table["label"]
    if table["group"].null_count < table.num_rows:
        columns["group"] = table["group"]
    rows = pa.table(columns)
    with (
        place.writing() as file,
        pq.ParquetWriter(
            file,
            rows.schema,
            compression="zstd",
            compression_level=1,
            use_dictionary=False,
            write_statistics=["index"],
        ) as writer,
    ):
        for start, stop in pairwise(cuts):
            writer.write_table(rows.slice(start, stop - start), row_group_size=stop - start)
    return np.diff(cuts).tolist(), int(sizes.sum())


def _plain(column: Any) -> Any:
    return column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column


def _cuts(sizes: Any, limits: Limits) -> list[int]:
    """Return the borders of row groups within the limits; a larger image gets a group of its own.

    `n + 1` row numbers for `n` groups, from 0 to the number of rows.
    """
    cuts, size = [0], 0
    for row, length in enumerate(sizes.tolist()):
        if row > cuts[-1] and (
            row - cuts[-1] >= limits.group_rows or size + length > limits.group_bytes
        ):
            cuts.append(row)
            size = 0
        size += length
    return [*cuts, len(sizes)]
