"""Sources of texts in Parquet and Arrow files: columns of strings."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pyarrow as pa

from manta.data.sources._base import SOURCES, SourceOptions
from manta.data.sources._columns import Columns, choose, is_text, plain, text_column
from manta.data.sources._listing import claimed
from manta.data.sources._tables import Tables
from manta.data.sources._text import NO_TEXT
from manta.data.sources._values import Cell
from manta.data.sources.arrow import Arrow
from manta.data.sources.parquet import Parquet
from manta.files import Place


class _OfTexts(Tables):
    """Table of which a column of strings is read, as it is."""

    modality = "text"
    what = "text"

    @classmethod
    def claim(cls, place: Place) -> int:
        return 1 if claimed(place, cls.endings) else 0  # images may be in such files too

    def columns_of(self, schema: Any, options: SourceOptions, where: str) -> Columns:
        return choose(schema, options, where, text_column)

    def cells_of(self, column: Any) -> Iterator[list[Cell]]:
        return _texts(column)


@SOURCES.register("text_parquet")
class TextParquet(_OfTexts, Parquet):
    """Parquet file, pattern or folder of them with a column of strings, which `data.column` names.

    Labels, groups and parts are those of other Parquet files.
    """

    kind = "text_parquet"


@SOURCES.register("text_arrow")
class TextArrow(_OfTexts, Arrow):
    """Folder that `datasets.save_to_disk` has written, or Arrow files, with a column of strings."""

    kind = "text_arrow"


def _texts(column: Any) -> Iterator[list[Cell]]:
    """Yield the text of each row as it is stored, whether or not it is UTF-8."""
    if plain(column.type) != column.type:
        column = pa.array([scalar.as_py() for scalar in column])
    if is_text(column.type):
        column = column.cast(pa.large_binary())
    for data in column.to_pylist():
        yield [Cell(data) if data and data.strip() else Cell(reason=NO_TEXT)]
