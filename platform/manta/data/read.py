"""Reading and decoding of rows, in a decode task or in the calling process.

At any time it holds the encoded bytes of the requested rows, one row group, and one decoded part of
a batch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from itertools import starmap

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from manta.data.arrays import RowIndexes
from manta.data.manifest import Manifest
from manta.errors import DataError
from manta.files import Place
from manta.leaves import Columns, Layout, Stack, most_bytes
from manta.modalities import BadSample, Decoder, Draw, NoReader

PART_BYTES = 64 << 20
"""Largest decoded part, in bytes; a larger batch travels in several."""

_LEAST_BYTES = 256
"""Size of a row that is counted at least, since an empty one takes memory too."""
_REMOTE_READS = 8
"""Row groups read from an object store at a time: most of such a read is waiting."""


Draws = Callable[[int], Draw]
"""Random numbers of a row, by its index."""


@dataclass(frozen=True, slots=True)
class Encoded:
    """Encoded rows, in the order of the requested indexes."""

    data: list[bytes]
    labels: list[int | None] | None
    paths: list[str] | None


def read_labels(manifest: Manifest, indexes: RowIndexes) -> list[int | None] | None:
    """Return the labels of rows without reading images; None if the dataset has no labels."""
    return (
        read_rows(manifest, indexes, labels=True, images=False).labels
        if manifest.labelled
        else None
    )


def read_rows(
    manifest: Manifest,
    indexes: RowIndexes,
    *,
    labels: bool = False,
    paths: bool = False,
    images: bool = True,
) -> Encoded:
    """Return encoded rows, in the order of `indexes`.

    Each row group is read once, and only the requested rows of it are kept.
    """
    groups = np.searchsorted(manifest.group_starts, indexes, side="right") - 1
    touched, inverse = np.unique(groups, return_inverse=True)
    borders = np.cumsum(np.bincount(inverse))[:-1]
    # Of no rows, NumPy would make one empty group.
    by_group = np.split(np.argsort(inverse, kind="stable"), borders) if len(indexes) else []
    stem = manifest.column
    choice = {f"{stem}.bytes": images, f"{stem}.path": paths, "label": labels and manifest.labelled}
    columns = [name for name, is_chosen in choice.items() if is_chosen]
    data = [b""] * len(indexes)
    numbers: list[int | None] = [None] * len(indexes)
    names = [""] * len(indexes)

    def fetch(group: int, places: RowIndexes) -> None:
        path, number = manifest.find_group(group)
        offsets = indexes[places] - manifest.group_starts[group]
        table = _read_group(manifest.location, manifest.digest, path, number, columns)
        if not table.column_names:
            return  # labels alone, in a shard of which no row has one
        table = table.take(pa.array(offsets))
        if images:
            column = table[stem].combine_chunks().field("bytes")
            for place, value in zip(places.tolist(), column.to_pylist(), strict=True):
                data[place] = value
        if "label" in table.column_names:
            classes = manifest.class_numbers(table["label"].to_pylist())
            for place, value in zip(places.tolist(), classes, strict=True):
                numbers[place] = value
        if paths:
            column = table[stem].combine_chunks().field("path")
            for place, value in zip(places.tolist(), column.to_pylist(), strict=True):
                names[place] = value or ""

    jobs = zip(touched.tolist(), by_group, strict=True)
    if Place(manifest.location).is_local:
        for _ in starmap(fetch, jobs):
            pass
    else:
        with ThreadPoolExecutor(_REMOTE_READS) as pool:
            list(pool.map(lambda job: fetch(*job), jobs))
    return Encoded(data, numbers if "label" in columns else None, names if paths else None)


def decode_rows(
    manifest: Manifest,
    indexes: RowIndexes,
    data: list[bytes],
    decoder: Decoder,
    draws: Draws | None = None,
) -> Columns:
    """Return the leaves of decoded rows.

    Args:
        draws: random numbers of a row, for a decoder that draws; None for an evaluation, and
            for a decoder that does not.

    Raises:
        DataError: a row no longer decodes, although it did during the ingest.
    """
    stack = Stack(decoder.layout, len(data))
    place = 0
    # One `try` around all rows, and no call of our own for each: small images decode in 20 us.
    try:
        for place, encoded in enumerate(data):
            stack.add(decoder(encoded, None if draws is None else draws(int(indexes[place]))))
    except BadSample as error:
        raise _damaged(manifest, indexes[place], error) from None
    return stack.columns()


def decode_parts(
    manifest: Manifest,
    indexes: RowIndexes,
    data: list[bytes],
    decoder: Decoder,
    *,
    most_rows: int | None = None,
    draws: Draws | None = None,
) -> Iterator[tuple[slice, Columns]]:
    """Decode rows in order, in parts of about `PART_BYTES` at most.

    Args:
        data: encoded rows, which are set to nothing with the part in which they are decoded.
        most_rows: rows of a part, at most.

    Yields:
        `(places of the rows in indexes, leaves)` of each part.
    """
    layout = decoder.layout
    ragged = [name for name, leaf in layout.items() if leaf.ragged]
    row_bytes = _dense_bytes(layout)
    start, most = 0, min(rows_per_part(layout), most_rows or len(data))
    while start < len(data):
        stop, size = start, 0
        last = min(start + most, len(data))
        stack = Stack(layout, last - start)
        try:
            for stop in range(start, last):
                row = decoder(data[stop], None if draws is None else draws(int(indexes[stop])))
                stack.add(row)
                if ragged:
                    size += row_bytes + sum(row[name].nbytes for name in ragged)
                    if size >= PART_BYTES:
                        break
        except BadSample as error:
            raise _damaged(manifest, indexes[stop], error) from None
        stop += 1
        # Free the encoded bytes: the consumer may hold this generator for a long time.
        data[start:stop] = [b""] * (stop - start)
        yield slice(start, stop), stack.columns()
        start = stop


def decode_steps(
    manifest: Manifest, indexes: RowIndexes, decoder: Decoder, draws: Draws | None = None
) -> Iterator[tuple[int, RowIndexes, Columns]]:
    """Decode the rows of `[steps, batch]` indexes, in order and in parts of bounded size.

    Yields:
        `(step, row numbers, leaves)` of each part.
    """
    steps, batch = indexes.shape
    encoded = read_rows(manifest, indexes.reshape(-1)).data
    for step in range(steps):
        rows = indexes[step]
        data = encoded[step * batch : (step + 1) * batch]
        encoded[step * batch : (step + 1) * batch] = [b""] * batch
        for here, columns in decode_parts(manifest, rows, data, decoder, draws=draws):
            yield step, rows[here], columns


def rows_per_part(layout: Layout) -> int:
    """Return the largest number of decoded rows in a part; of ragged rows there may be fewer."""
    return max(1, PART_BYTES // max(_dense_bytes(layout), _LEAST_BYTES))


def _dense_bytes(layout: Layout) -> int:
    """Return the size of a row's dense leaves."""
    return most_bytes({name: leaf for name, leaf in layout.items() if not leaf.ragged})


def _damaged(manifest: Manifest, index: int, error: BadSample) -> DataError:
    """Return the error of a row that no longer decodes, although it did during the ingest."""
    if isinstance(error, NoReader):
        return DataError(f"row {index} of {manifest.location} cannot be read here: {error}")
    return DataError(
        f"row {index} of {manifest.location} was damaged after its ingest ({error}); ingest again"
    )


def _read_group(location: str, digest: str, path: str, group: int, columns: list[str]) -> pa.Table:
    place = Place(location) / path
    try:
        footer = _footer(location, digest, path)
        with place.open() as file:
            table = pq.ParquetFile(file, metadata=footer, pre_buffer=not place.is_local)
            return table.read_row_group(group, columns=columns, use_threads=False)
    except (OSError, pa.ArrowException) as error:
        raise DataError(
            f"{place.url} cannot be read: {str(error).splitlines()[0]}; is the dataset whole?"
        ) from None


@lru_cache(maxsize=256)
def _footer(location: str, digest: str, path: str) -> pq.FileMetaData:
    """Return a file's Parquet footer, cached per process."""
    # `digest` belongs to the cache's key: a new dataset may have replaced one at the same place.
    with (Place(location) / path).open() as file:
        return pq.read_metadata(file)
