"""What the columns of a CSV of series are, found by their names and by the first rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from manta.data.sources._base import Label, SourceOptions
from manta.data.sources._series import is_number
from manta.data.sources._words import LABELS, NO_LABELS, normal
from manta.errors import DataError
from manta.files import Place

_TIMES = ("time", "timestamp", "date", "datetime", "date_time", "t", "step", "ts", "epoch")
_IDS = (
    *("id", "series", "series_id", "case", "case_id", "item_id", "unique_id", "unit_id"),
    *("recording", "recording_id", "session", "session_id", "trial", "sample_id", "subject"),
)
FIRST, LAST = "first", "last"
"""What `data.labels` may say of a table without a header."""


@dataclass(frozen=True, slots=True)
class Form:
    """What the columns are.

    Attributes:
        header: names of the columns; empty: the first row is a series.
        values: places of the values; those of a wide table are all others.
        label, time, id, group: places of these columns, if there are any; -1 for the last cell.
        is_long: a row is a point in time.
        notes: lines on what was understood.
    """

    header: list[str]
    values: list[int]
    label: int | None = None
    time: int | None = None
    id: int | None = None
    group: int | None = None
    is_long: bool = False
    notes: list[str] = field(default_factory=list)

    def label_of(self, cells: Sequence[str]) -> Label:
        return None if self.label is None else _cell(cells, self.label)

    def group_of(self, cells: Sequence[str]) -> Label:
        return None if self.group is None else _cell(cells, self.group)

    def values_of(self, cells: Sequence[str]) -> list[str]:
        """Return the cells of a wide row that are its values."""
        used = [one % len(cells) for one in (self.label, self.group, self.id) if one is not None]
        return [cell for place, cell in enumerate(cells) if place not in used]


def form_of(rows: list[list[str]], options: SourceOptions, place: Place) -> Form:
    """Return what the columns of a table are.

    Args:
        rows: the first ones.

    Raises:
        DataError: it holds no numbers, or a column that was asked for is not there.
    """
    if not rows:
        raise DataError(f"{place.url} is empty")
    numeric = [sum(map(is_number, row)) / len(row) for row in rows]
    has_header = len(rows) > 1 and numeric[0] < 0.5 and max(numeric[1:]) > numeric[0]
    header = rows[0] if has_header else []
    body = rows[1:] if has_header else rows
    names = {normal(name): at for at, name in reversed(list(enumerate(header)))}
    settings = dict(options.settings)
    group = _asked(options.group_column, names, "data.group", place)
    time = _asked(settings.get("time"), names, "data.time", place)
    recording = _asked(settings.get("id"), names, "data.id", place)
    if header:
        time = _named(names, _TIMES) if time is None else time
        recording = _named(names, _IDS) if recording is None else recording
    label = _label(body, names, options, place, has_header)
    is_long = time is not None or settings.get("id") is not None
    if not is_long and label is None and header and settings.get("window") is not None:
        is_long = True  # columns are channels
    taken = {label, time, recording, group}
    values = [at for at in range(len(header)) if at not in taken and _is_numeric(body, at)]
    if is_long and not values:
        raise DataError(f"{place.url} has no column of numbers beside time and labels")
    if is_long and options.column is not None:
        asked = [name.strip() for name in options.column.split(",")]
        places = [_asked(name, names, "data.column", place) for name in asked]
        values = [at for at in places if at is not None]
    notes = _notes(header, label, time, recording, values, is_long=is_long)
    return Form(header, values, label, time, recording, group, is_long, notes)


def _label(
    body: list[list[str]],
    names: dict[str, int],
    options: SourceOptions,
    place: Place,
    has_header: bool,
) -> int | None:
    asked = options.labels
    if asked == NO_LABELS:
        return None
    if asked in (FIRST, LAST) and normal(asked) not in names:
        return 0 if asked == FIRST else -1
    if asked is not None:
        return _asked(asked, names, "data.labels", place)
    if has_header:
        return _named(names, LABELS)
    # Without names, the first or the last column whose cells are classes among measurements.
    return next((at for at in (0, -1) if _is_classes(body, at)), None)


def _is_classes(body: list[list[str]], at: int) -> bool:
    """Return whether a column holds words, or whole numbers beside columns of fractions."""
    cells = [row[at].strip() for row in body if row]
    if any(not is_number(cell) for cell in cells):
        return all(cell for cell in cells)
    distinct = {cell for cell in cells if cell}
    if len(distinct) > max(len(cells) // 2, 1) or not all(map(_is_whole, distinct)):
        return False
    others = [cell for row in body for cell in (row[1:] if at == 0 else row[:-1])]
    fractions = sum(not _is_whole(cell) for cell in others if is_number(cell))
    return fractions > len(others) // 2


def _is_whole(cell: str) -> bool:
    try:
        return float(cell).is_integer()
    except ValueError:
        return False


def _is_numeric(body: list[list[str]], at: int) -> bool:
    cells = [row[at] for row in body if len(row) > at]
    return bool(cells) and all(map(is_number, cells)) and any(cell.strip() for cell in cells)


def _named(names: dict[str, int], words: Sequence[str]) -> int | None:
    return next((names[word] for word in words if word in names), None)


def _asked(name: str | None, names: dict[str, int], setting: str, place: Place) -> int | None:
    if name is None:
        return None
    if normal(name) not in names:
        listed = ", ".join(list(names)[:8]) or "none, for there is no header"
        raise DataError(f"{setting}: {place.url} has no column {name!r} (its columns: {listed})")
    return names[normal(name)]


def _cell(cells: Sequence[str], place: int) -> str | None:
    try:
        return cells[place].strip() or None
    except IndexError:
        return None


def _notes(
    header: list[str],
    label: int | None,
    time: int | None,
    recording: int | None,
    values: list[int],
    *,
    is_long: bool,
) -> list[str]:
    def shown(place: int) -> str:
        return header[place] if header else {0: "the first", -1: "the last"}.get(place, str(place))

    notes = []
    if is_long:
        more = "" if len(values) <= 6 else f" and {len(values) - 6} more"
        notes.append(f"channels: {', '.join(header[at] for at in values[:6])}{more}")
    for what, place in (("time", time), ("recordings", recording), ("labels", label)):
        if place is not None:
            notes.append(f"{what}: column {shown(place)}")
    return notes
