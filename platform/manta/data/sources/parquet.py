"""Source of Parquet files: `image: struct<bytes, path>` (Hugging Face) or a column of bytes."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import cached_property
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from manta.data.sources._base import SOURCES, Sample, Source, holds, matching
from manta.errors import DataError
from manta.files import Place

_SUFFIXES = (".parquet", ".pq")
_NAMES = ("image", "img", "jpg", "jpeg", "png", "bytes", "image_bytes", "data")
_ROWS_AT_ONCE = 64


@SOURCES.register("parquet")
class Parquet(Source):
    """Parquet file, folder or pattern; the integer column `label`, if any, has the labels."""

    kind = "parquet"

    @classmethod
    def claim(cls, place: Place) -> int:
        return 2 if holds(place, _SUFFIXES) else 0

    @cached_property
    def _files(self) -> list[Place]:
        return matching(self.place, _SUFFIXES)

    def units(self) -> Iterator[tuple[str, int, int]]:
        """Yield `(file, row group, first row of the group within the file)`, lazily by file."""
        for file in self._files:
            with file.open() as handle:
                footer = _parquet(file, handle).metadata
                first = 0
                for group in range(footer.num_row_groups):
                    yield file.url, group, first
                    first += footer.row_group(group).num_rows

    def read(self, unit: tuple[str, int, int]) -> Iterator[Sample]:
        url, group, row = unit
        file = Place(url)
        with file.open() as handle:
            table = _parquet(file, handle)
            column = _image_column(table.schema_arrow, url)
            labelled = _has_label(table.schema_arrow)
            columns = [column, "label"] if labelled else [column]
            batches = table.iter_batches(
                _ROWS_AT_ONCE, row_groups=[group], columns=columns, use_threads=False
            )
            for batch in _whole(batches):
                if isinstance(batch, str):
                    yield Sample(f"{file.name}#{row}", None, None, batch)
                    return
                labels = batch.column("label").to_pylist() if labelled else [None] * batch.num_rows
                for data, path, label in zip(
                    *_bytes_and_paths(batch.column(column)), labels, strict=True
                ):
                    name = path or f"{file.name}#{row}"
                    reason = "the image column is null" if data is None else None
                    yield Sample(name, data, label, reason)
                    row += 1

    def classes(self) -> list[str] | None:
        """Return the names of a Hugging Face ClassLabel."""
        with self._files[0].open() as handle:
            schema = _parquet(self._files[0], handle).schema_arrow
        try:
            info = json.loads((schema.metadata or {})[b"huggingface"])
            names = info["info"]["features"]["label"]["names"]
        except (KeyError, TypeError, ValueError):
            return None
        return (
            [str(name) for name in names]
            if isinstance(names, list) and _has_label(schema)
            else None
        )

    def identity(self) -> list[Any]:
        return [file.identity() for file in self._files]


def _parquet(file: Place, handle: Any) -> Any:
    try:
        return pq.ParquetFile(handle)
    except (pa.ArrowInvalid, OSError) as error:
        raise DataError(
            f"{file.url} is not a readable Parquet file: {str(error).splitlines()[0]}"
        ) from None


def _whole(batches: Iterator[Any]) -> Iterator[Any]:
    """Yield the batches; if a page is broken, the last item is the reason, as text."""
    try:
        yield from batches
    except (pa.ArrowException, OSError) as error:
        yield f"the table is broken from here: {str(error).splitlines()[0]}"


def _is_bytes(kind: Any) -> bool:
    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind))


def _image_column(schema: Any, url: str) -> str:
    fitting = [
        field.name
        for field in schema
        if _is_bytes(field.type)
        or (
            pa.types.is_struct(field.type)
            and field.type.get_field_index("bytes") >= 0
            and _is_bytes(field.type.field("bytes").type)
        )
    ]
    named = [name for name in _NAMES if name in fitting]
    if named:
        return named[0]
    if len(fitting) == 1:
        return str(fitting[0])
    raise DataError(
        f"{url} has {'no column' if not fitting else 'several columns'} of image bytes "
        f"({', '.join(fitting) or ', '.join(schema.names)}); name it 'image'"
    )


def _has_label(schema: Any) -> bool:
    return "label" in schema.names and bool(pa.types.is_integer(schema.field("label").type))


def _bytes_and_paths(column: Any) -> tuple[list[bytes | None], list[str | None]]:
    if not pa.types.is_struct(column.type):
        return column.to_pylist(), [None] * len(column)
    rows = column.to_pylist()
    return [row and row["bytes"] for row in rows], [row and row.get("path") for row in rows]
