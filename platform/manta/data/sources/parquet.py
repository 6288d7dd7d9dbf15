"""Source of Parquet files, with images as Hugging Face, Spark and pandas write them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from manta.data.sources._base import SOURCES
from manta.data.sources._table import BrokenTable, Table
from manta.data.sources._tables import Tables
from manta.files import Place


@SOURCES.register("parquet")
class Parquet(Tables):
    """Parquet file, pattern or folder of them, nested ones too.

    Images are bytes of any type, structs of bytes and paths, lists of them, base64 or paths;
    `data.column` chooses among several columns, and `data.labels` the labels.
    """

    kind = "parquet"
    noun = "Parquet"
    endings = (".parquet", ".pq", ".parq")

    @contextmanager
    def opened(self, place: Place) -> Iterator[Table]:
        with place.open() as handle:
            try:
                file = pq.ParquetFile(handle)
            except (pa.ArrowException, OSError) as error:
                raise BrokenTable(str(error).splitlines()[0]) from None
            yield _File(file)


class _File(Table):
    def __init__(self, file: Any) -> None:
        self._file = file
        self.schema = file.schema_arrow

    @property
    def groups(self) -> list[int]:
        footer = self._file.metadata
        return [footer.row_group(group).num_rows for group in range(footer.num_row_groups)]

    def batches(self, first: int, count: int, columns: list[str], rows: int) -> Iterator[Any]:
        groups = list(range(first, first + count))
        yield from self._file.iter_batches(
            rows, row_groups=groups, columns=columns, use_threads=False
        )
