"""Part files of a folder of embeddings, written atomically and read a row group at a time."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from manta.files import Place

GROUP_BYTES = 32 << 20
"""Size of a row group's embeddings: a writer or reader holds about so much of a part in memory."""
Aside = list[tuple[int, str, str]]
"""`(index, path, reason)` of each row that does not decode."""


@dataclass(frozen=True, slots=True)
class EmbeddedRows:
    """Rows of a part: numbers `[B]`, paths and vectors `[B, D]`, and those that do not decode.

    Attributes:
        groups: name of each row's group, None for none; None where the data have no groups.
    """

    index: npt.NDArray[np.int64]
    paths: list[str]
    vectors: npt.NDArray[np.float32]
    aside: Aside
    groups: list[str | None] | None = None


@dataclass(frozen=True, slots=True)
class Footer:
    """Facts from a part's metadata: its rows, an embedding's width, rows that do not decode."""

    rows: int
    width: int
    aside: Aside


def part_name(number: int) -> str:
    return f"part-{number:08d}.parquet"


def numbers_in(place: Place) -> list[int]:
    """Return the numbers of the existing parts, ascending."""
    names = [name for name, _ in place.entries()] if place.exists() else []
    return sorted(
        int(name[5:13]) for name in names if name.startswith("part-") and name.endswith(".parquet")
    )


def write_part(
    place: Place, width: int, batches: Iterable[EmbeddedRows], *, grouped: bool = False
) -> None:
    """Write batches into a part as they come.

    Its columns are `index: int64`, `path: string`, `embedding: fixed_size_list<float>[width]`.

    Args:
        grouped: whether a column `group: string` is written too.
    """
    width = max(width, 1)
    vector = pa.list_(pa.field("item", pa.float32()), width)
    columns = [("index", pa.int64()), ("path", pa.string()), ("embedding", vector)]
    schema = pa.schema([*columns, *([("group", pa.string())] if grouped else [])])
    aside: Aside = []
    with place.writing() as file, pq.ParquetWriter(file, schema, compression="zstd") as writer:
        for group in _groups(batches, max(GROUP_BYTES // (4 * width), 1)):
            writer.write_table(
                pa.Table.from_batches([_columns(batch, schema) for batch in group], schema)
            )
            aside += [row for batch in group for row in batch.aside]
        # Unreadable rows are kept in the part that would have held them, so that a single rename
        # commits both.
        writer.add_key_value_metadata({"unreadable": json.dumps(aside)})


def read_footer(place: Place, number: int) -> Footer | None:
    """Return the facts about a part of the folder `place`; None if there is no such part."""
    try:
        with (place / part_name(number)).open() as file:
            metadata = pq.read_metadata(file)
    except FileNotFoundError:
        return None
    width = metadata.schema.to_arrow_schema().field("embedding").type.list_size
    aside: Aside = [tuple(row) for row in json.loads(metadata.metadata[b"unreadable"])]
    return Footer(metadata.num_rows, width, aside)


def row_groups(place: Place, number: int, columns: list[str]) -> Iterator[pa.Table]:
    """Yield the row groups of a part of the folder `place`, in order."""
    with (place / part_name(number)).open() as file:
        opened = pq.ParquetFile(file)
        for group in range(opened.num_row_groups):
            yield opened.read_row_group(group, columns=columns)


def _groups(batches: Iterable[EmbeddedRows], rows: int) -> Iterator[list[EmbeddedRows]]:
    """Yield groups of consecutive batches, each of at least `rows` rows except the last."""
    held: list[EmbeddedRows] = []
    for batch in batches:
        held.append(batch)
        if sum(len(one.index) for one in held) >= rows:
            yield held
            held = []
    if held:
        yield held


def _columns(batch: EmbeddedRows, schema: pa.Schema) -> pa.RecordBatch:
    width = schema.field("embedding").type.list_size
    vectors = pa.FixedSizeListArray.from_arrays(pa.array(batch.vectors.reshape(-1)), width)
    columns = [pa.array(batch.index, pa.int64()), pa.array(batch.paths, pa.string()), vectors]
    if "group" in schema.names:
        groups = batch.groups or [None] * len(batch.index)
        columns.append(pa.array(groups, pa.string()))
    return pa.record_batch(columns, schema)
