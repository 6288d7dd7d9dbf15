"""What sources of series have in common: rows of numbers as samples, and windows of recordings."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from manta.data.sources._base import Label, Sample, SourceOptions
from manta.data.sources._listing import Files
from manta.errors import DataError
from manta.modalities import BadSample
from manta.modalities.series.packing import pack

Values = npt.NDArray[np.float64]
_GAPS = frozenset(("", "?", "nan", "na", "n/a", "null", "none", "-", "."))
"""What people write, in lower case, where a value is missing."""


class SeriesFiles(Files):
    """Source of series in files."""

    modality = "series"


@dataclass(frozen=True, slots=True)
class Windows:
    """How recordings are cut.

    Attributes:
        length: of a window; None: a recording is one row.
        stride: from one window to the next.
    """

    length: int | None
    stride: int

    @classmethod
    def of(cls, options: SourceOptions) -> Windows:
        settings = dict(options.settings)
        length = settings.get("window")
        return cls(length, settings.get("stride") or length or 1)

    def cut(self, length: int) -> Iterator[slice]:
        """Yield the windows of a recording; one that is shorter than a window is one row."""
        if self.length is None or length <= self.length:
            yield slice(0, length)
            return
        for start in range(0, length - self.length + 1, self.stride):
            yield slice(start, start + self.length)


def number(cell: str) -> float:
    """Return the number of a cell, NaN where it is missing.

    Raises:
        ValueError: it is none.
    """
    text = cell.strip()
    if text.lower() in _GAPS:
        return math.nan
    return float(text)


def numbers(cells: Sequence[str]) -> Values:
    """Return the numbers of cells, without missing ones after the last.

    Raises:
        BadSample: a cell holds something else.
    """
    try:
        values = np.array([number(cell) for cell in cells], dtype=np.float64)
    except ValueError:
        wrong = next(cell for cell in cells if not is_number(cell))
        raise BadSample(f"holds {wrong.strip()[:40]!r} where a number is expected") from None
    there = np.flatnonzero(~np.isnan(values))
    return values[: there[-1] + 1] if len(there) else values[:0]


def is_number(cell: str) -> bool:
    """Return whether a cell holds a number, or says that it is missing."""
    try:
        number(cell)
    except ValueError:
        return False
    return True


def sample(
    path: str,
    values: Any,
    label: Label = None,
    *,
    names: Sequence[str] = (),
    group: Label = None,
    channels: int | None = None,
) -> Sample:
    """Return the sample of a series `[T, C]` or `[T]`.

    Args:
        channels: that every row of the source has; another number is a reason to leave it out.
    """
    try:
        array = np.asarray(values, dtype=np.float64)
        array = array[:, None] if array.ndim == 1 else array
        if channels is not None and array.ndim == 2 and array.shape[1] != channels:
            reason = f"has {array.shape[1]} channels, where the first row has {channels}"
            return Sample(path, None, label, reason, group)
        return Sample(path, pack(array, names), label, None, group)
    except (BadSample, ValueError, TypeError) as error:
        return Sample(path, None, label, str(error) or "not numbers", group)


def windows_of(
    path: str, values: Values, labels: Sequence[Label], windows: Windows, **facts: Any
) -> Iterator[Sample]:
    """Yield the windows of a recording `[T, C]`, each with the label that most of its rows have.

    Args:
        labels: of every row; empty where there are none.
        facts: further arguments of `sample`.
    """
    for part in windows.cut(len(values)):
        label = _commonest(labels[part]) if labels else None
        is_whole = part.start == 0 and part.stop == len(values)
        name = path if is_whole else f"{path}@{part.start}"
        yield sample(name, values[part], label, **facts)


def reading(place: Any, error: Exception) -> DataError:
    """Return the error of a file that cannot be read."""
    return DataError(f"{place.url} cannot be read: {getattr(error, 'strerror', None) or error}")


def _commonest(labels: Sequence[Label]) -> Label:
    there = [label for label in labels if label is not None]
    return max(sorted(set(there), key=str), key=there.count) if there else None
