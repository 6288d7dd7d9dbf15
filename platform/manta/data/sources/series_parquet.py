"""Source of series in Parquet: columns of lists of numbers, a series a row."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from manta.data.sources._base import SOURCES, Label, Sample
from manta.data.sources._listing import Listed, claimed
from manta.data.sources._series import SeriesFiles, Windows, reading, windows_of
from manta.data.sources._values import labels as labels_in
from manta.data.sources._words import LABELS, NO_LABELS, normal
from manta.errors import DataError
from manta.files import Place

_ROWS = 256


@dataclass(frozen=True, slots=True)
class Unit:
    """A row group of a file.

    Attributes:
        row: its first row in the file.
        columns: of the channels, in their order.
        label, group: columns of these, if there are any.
    """

    file: Listed
    number: int
    row: int
    columns: tuple[str, ...]
    label: str | None
    group: str | None


@SOURCES.register("series_parquet")
class SeriesParquet(SeriesFiles):
    """Parquet whose cells are lists of numbers, one column a channel, or lists of such lists.

    `data.column` names the columns, with commas between them; without it all columns of lists are
    channels.
    """

    kind = "series_parquet"
    endings = (".parquet", ".pq", ".parq")
    has_columns = True

    @classmethod
    def claim(cls, place: Place) -> int:
        return 1 if claimed(place, cls.endings) else 0  # images may be in such files too

    def units(self) -> Iterator[Unit]:
        for file in self.chosen_files():
            with file.place.open() as handle:
                try:
                    table = pq.ParquetFile(handle)
                except (pa.ArrowException, OSError) as error:
                    raise reading(file.place, error) from None
                columns, label = self._columns(table.schema_arrow, file.place)
                row = 0
                for number in range(table.num_row_groups):
                    group = self.options.group_column
                    yield Unit(file, number, row, columns, label, group)
                    row += table.metadata.row_group(number).num_rows

    def read(self, unit: Unit) -> Iterator[Sample]:
        wanted = [*unit.columns, *(one for one in (unit.label, unit.group) if one is not None)]
        names = unit.columns if len(unit.columns) > 1 else ()
        row, channels = unit.row, None
        try:
            with unit.file.place.open() as handle:
                batches = pq.ParquetFile(handle).iter_batches(
                    _ROWS, row_groups=[unit.number], columns=wanted, use_threads=False
                )
                for batch in batches:
                    labels = _values(batch, unit.label)
                    groups = _values(batch, unit.group)
                    cells = [batch.column(name).to_pylist() for name in unit.columns]
                    for place, of_row in enumerate(zip(*cells, strict=True)):
                        path = f"{unit.file.name}#{row + place}"
                        facts: dict[str, Any] = {"group": groups[place], "names": names}
                        array = _array(of_row)
                        if isinstance(array, str):
                            yield Sample(path, None, labels[place], array, groups[place])
                            continue
                        channels = channels or array.shape[1]
                        windows = Windows.of(self.options)
                        named = [labels[place]] * len(array)
                        facts["channels"] = channels
                        yield from windows_of(path, array, named, windows, **facts)
                    row += batch.num_rows
        except (pa.ArrowException, OSError) as error:
            reason = f"the table is broken from here: {str(error).splitlines()[0]}"
            yield Sample(f"{unit.file.name}#{row}", None, None, reason)

    def _columns(self, schema: Any, place: Place) -> tuple[tuple[str, ...], str | None]:
        """Return the columns of the channels, and that of the labels.

        Raises:
            DataError: there are no lists of numbers, or a column that was asked for is not there.
        """
        names = list(schema.names)
        asked = [name.strip() for name in (self.options.column or "").split(",") if name.strip()]
        for name in (*asked, *filter(None, (self.options.group_column,))):
            if name not in names:
                raise DataError(f"{place.url} has no column {name!r}, but {', '.join(names)}")
        lists = asked or [field.name for field in schema if _holds_numbers(field.type)]
        if not lists:
            raise DataError(
                f"{place.url} has no column of lists of numbers; write a series as a list a row"
            )
        return tuple(lists), self._label(names, lists)

    def _label(self, names: list[str], lists: list[str]) -> str | None:
        wanted = self.options.labels
        if wanted == NO_LABELS:
            return None
        if wanted is not None and wanted not in names:
            raise DataError(f"data.labels: there is no column {wanted!r}, but {', '.join(names)}")
        others = {normal(name): name for name in names if name not in lists}
        return wanted or next((others[word] for word in LABELS if word in others), None)


def _holds_numbers(kind: Any) -> bool:
    is_list = pa.types.is_list(kind) or pa.types.is_large_list(kind)
    if not is_list and not pa.types.is_fixed_size_list(kind):
        return False
    inner = kind.value_type
    return pa.types.is_floating(inner) or pa.types.is_integer(inner) or _holds_numbers(inner)


def _values(batch: Any, column: str | None) -> list[Label]:
    return [None] * batch.num_rows if column is None else labels_in(batch.column(column))


def _array(cells: tuple[Any, ...]) -> Any:
    """Return the series of a row, `[T, C]`, or in a few words why there is none."""
    if any(cell is None for cell in cells):
        return "has no value"
    try:
        if len(cells) == 1 and cells[0] and isinstance(cells[0][0], list):
            inner = np.array(cells[0], dtype=np.float64)
            return inner.T if inner.shape[0] < inner.shape[1] else inner
        lengths = sorted({len(cell) for cell in cells})
        if len(lengths) > 1:
            return f"has channels of {lengths[0]} to {lengths[-1]} values"
        return np.array(cells, dtype=np.float64).T
    except (ValueError, TypeError):
        return "its lists are not numbers of equal lengths"
