"""Source of series in NumPy's files: `.npz` with arrays and labels, or `.npy`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from manta.data.sources._base import SOURCES, Label, Sample
from manta.data.sources._layout import TRAIN, split_of
from manta.data.sources._listing import claimed
from manta.data.sources._series import SeriesFiles, Windows, reading, windows_of
from manta.data.sources._words import LABELS, NO_LABELS, normal
from manta.errors import DataError
from manta.files import Place

_ROWS = 256
_VALUES = ("x", "data", "values", "series", "samples", "windows", "signals", "arr_0")
_LABELS = ("y", *LABELS, "arr_1")


@dataclass(frozen=True, slots=True)
class Array:
    """An array of series in a file.

    Attributes:
        name: of the array within an archive; empty in a file of one.
        labels: name of the array of labels, or the file that holds them.
        part: of the data, if its name tells one.
    """

    place: Place
    name: str
    labels: str | Place | None
    part: str | None


Unit = tuple[Array, int, int]
"""An array, and the first and last row of a part of it."""


@SOURCES.register("series_numpy")
class SeriesNumPy(SeriesFiles):
    """Series as `[N, T]`, `[N, C, T]` or `[N, T, C]`, the longer of the last two being time.

    An array of one axis is one recording.

    In an archive `X` and `y`, or `X_train`, `y_train`, `X_test` and so on; beside `X.npy` the
    labels are in `y.npy`. `data.column` names another array.
    """

    kind = "series_numpy"
    endings = (".npz", ".npy")

    @classmethod
    def claim(cls, place: Place) -> int:
        return 1 if claimed(place, cls.endings) else 0  # images may be in such files too

    def parts(self) -> dict[str, list[str]]:
        parts: dict[str, list[str]] = {}
        for array in self._arrays:
            if array.part is not None:
                shown = f"{array.place.name} {array.name}".strip()
                parts.setdefault(array.part, []).append(shown)
        return parts if len(parts) > 1 or self.options.split is not None else {}

    def units(self) -> Iterator[Unit]:
        part = self.chosen_part()
        for array in self._arrays:
            if part in (None, array.part):
                count = len(_rows_of(array))
                for start in range(0, count, _ROWS):
                    yield array, start, min(start + _ROWS, count)

    def read(self, unit: Unit) -> Iterator[Sample]:
        array, first, last = unit
        values = _rows_of(array)
        labels = self._labels(array, len(values))
        windows = Windows.of(self.options)
        stem = f"{array.place.name}:{array.name}" if array.name else array.place.name
        for row in range(first, last):
            series = np.asarray(values[row])
            if series.ndim == 2 and series.shape[0] < series.shape[1]:
                series = series.T
            series = series.reshape(-1, 1) if series.ndim < 2 else series
            label = None if labels is None else labels[row]
            named = [label] * len(series)
            yield from windows_of(f"{stem}#{row}", series, named, windows)

    @cached_property
    def _arrays(self) -> list[Array]:
        arrays: list[Array] = []
        for file in self.listed:
            if file.place.name.lower().endswith(".npy"):
                if not _is_labels(file.place.name):
                    beside = _beside(file.place)
                    arrays.append(Array(file.place, "", beside, file.part))
                continue
            arrays += self._of_archive(file.place, file.part)
        if not arrays:
            raise DataError(
                f"{self.place.url} has no array of series ({', '.join(_VALUES[:4])}); name it by "
                "data.column"
            )
        if any(array.part for array in arrays):
            return [Array(a.place, a.name, a.labels, a.part or TRAIN) for a in arrays]
        return arrays

    def _of_archive(self, place: Place, part: str | None) -> list[Array]:
        names = _names(place)
        asked = self.options.column
        if asked is not None:
            if asked not in names:
                raise DataError(f"{place.url} has no array {asked!r}, but {', '.join(names)}")
            chosen = [asked]
        else:
            chosen = [name for name in names if _role(name) in _VALUES]
        return [
            Array(place, name, self._labels_name(names, name), _part_in(name) or part)
            for name in chosen
        ]

    def _labels_name(self, names: list[str], values: str) -> str | None:
        """Return the array of labels that belongs to one of values."""
        asked = self.options.labels
        if asked == NO_LABELS:
            return None
        wanted = _LABELS if asked is None else (normal(asked),)
        fitting = [one for one in names if _part_in(one) == _part_in(values) and one != values]
        return next((one for word in wanted for one in fitting if _role(one) == word), None)

    def _labels(self, array: Array, count: int) -> list[Label] | None:
        if array.labels is None or self.options.labels == NO_LABELS:
            return None
        if isinstance(array.labels, Place):
            found = _load(array.labels, "")
        else:
            found = _load(array.place, array.labels)
        flat = np.asarray(found).reshape(-1)
        return flat.tolist() if len(flat) == count else None


def _rows_of(array: Array) -> Any:
    """Return the rows of an array; one axis is one recording.

    Raises:
        DataError: it cannot be read, or holds no real numbers.
    """
    values = _load(array.place, array.name)
    if values.ndim == 0 or values.dtype.kind not in "fiub":
        raise DataError(
            f"{array.place.url} {array.name} holds {values.dtype} of shape {values.shape}, and "
            "series are numbers [N, T], [N, C, T] or [N, T, C]"
        )
    return values[None] if values.ndim == 1 else values


def _load(place: Place, name: str) -> Any:
    """Return an array; it never runs what a pickle holds.

    Raises:
        DataError: it cannot be read.
    """
    try:
        if not name and place.is_local:
            return np.load(place.url, mmap_mode="r", allow_pickle=False)
        with place.open() as file:
            loaded = np.load(file, allow_pickle=False)
            return loaded[name] if name else loaded
    except (OSError, ValueError, KeyError, EOFError) as error:
        if "allow_pickle" in str(error) or "Python objects" in str(error):
            raise DataError(
                f"{place.url} holds Python objects, which are not loaded; save plain numbers, or "
                "series of unequal lengths as Parquet with a column of lists"
            ) from None
        raise reading(place, error) from None


def _names(place: Place) -> list[str]:
    try:
        with place.open() as file:
            return list(np.load(file, allow_pickle=False).files)
    except (OSError, ValueError, AttributeError, EOFError) as error:
        raise reading(place, error) from None


def _role(name: str) -> str:
    """Return an array's name without the word for its part: `X_train` is `x`."""
    words = [word for word in normal(name).split("_") if split_of(word) is None]
    return "_".join(words)


def _part_in(name: str) -> str | None:
    parts = {split_of(word) for word in normal(name).split("_")} - {None}
    return parts.pop() if len(parts) == 1 else None


def _is_labels(name: str) -> bool:
    return _role(name.rpartition(".")[0]) in _LABELS


def _beside(place: Place) -> Place | None:
    """Return the file of labels beside one of values: `y_train.npy` beside `X_train.npy`."""
    stem = place.name.rpartition(".")[0]
    for word in ("x", "X", "data", "values", "series"):
        if word in stem:
            for label in ("y", "Y", "labels", "label", "targets"):
                other = place.parent / f"{stem.replace(word, label)}.npy"
                if other.url != place.url and other.exists():
                    return other
    return None
