"""Reader of a finished folder of embeddings."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from manta.errors import DataError
from manta.files import Place
from manta.serving._parts import numbers_in, part_name, row_groups
from manta.words import in_shell

MANIFEST = "_manifest.json"


def read_manifest(out: str) -> dict[str, Any]:
    """Return the manifest of finished embeddings.

    Raises:
        DataError: there is none.
    """
    place = Place.of(out) / MANIFEST
    if not place.exists():
        raise DataError(
            f"{out} holds no finished embeddings; "
            f"`manta embed MODEL --data SOURCE --out {in_shell(out)}` makes them"
        )
    return dict(json.loads(place.read()))


def read_embeddings(out: str) -> Iterator[pa.Table]:
    """Yield the parts as tables, in the order of rows.

    Columns are `index: int64, path: string, embedding: fixed_size_list<float>`, and `group: string`
    where the data have groups.
    """
    for number in parts_of(out):
        yield part_table(out, number)


def parts_of(out: str) -> list[int]:
    """Return the numbers of the existing parts, ascending."""
    return numbers_in(Place.of(out))


def part_table(out: str, number: int) -> pa.Table:
    """Return one part as a table, like those of `read_embeddings`."""
    with (Place.of(out) / part_name(number)).open() as file:
        return pq.read_table(io.BytesIO(file.read()))


def part_groups(out: str, number: int) -> Iterator[pa.Table]:
    """Yield the row groups of one part without the paths, which takes little memory."""
    return row_groups(Place.of(out), number, ["index", "embedding"])
