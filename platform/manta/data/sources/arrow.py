"""Source of Arrow files: a folder of the Hugging Face library's save_to_disk, Feather, IPC."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import pyarrow as pa

from manta.data.sources._base import SOURCES
from manta.data.sources._layout import split_of
from manta.data.sources._listing import Listed
from manta.data.sources._table import BrokenTable, Table
from manta.data.sources._tables import Tables
from manta.errors import DataError
from manta.files import Place

_DICT, _STATE, _INFO = "dataset_dict.json", "state.json", "dataset_info.json"
_FILE_START = b"ARROW1"
_UNIT_ROWS = 256


@SOURCES.register("arrow")
class Arrow(Tables):
    """Folder that `datasets.save_to_disk` has written, or Arrow and Feather files.

    The parts of a saved DatasetDict are read as the parts of the dataset; `state.json` says which
    files belong to a saved Dataset.
    """

    kind = "arrow"
    noun = "Arrow"
    endings = (".arrow", ".feather", ".ipc")

    @classmethod
    def claim(cls, place: Place) -> int:
        if not place.is_glob and place.is_dir() and (place / _DICT).exists():
            return 2
        return super().claim(place)

    def list_files(self) -> list[Listed]:
        """Return the files of a saved dataset in their order, or all Arrow files of the location.

        Raises:
            DataError: a JSON file that the library has written is broken, or a file is missing.
        """
        if self.place.is_glob or not self.place.is_dir():
            return super().list_files()
        if (self.place / _DICT).exists():
            splits = _json(self.place / _DICT).get("splits")
            if not isinstance(splits, list) or not splits:
                raise DataError(f"{self.place.url}/{_DICT} lists no splits; save the dataset again")
            names = [str(name) for name in splits]
            return [file for name in names for file in _saved(self.place / name, f"{name}/", name)]
        if (self.place / _STATE).exists():
            return _saved(self.place, "", None)
        return [file for file in super().list_files() if not _is_cache(file.place)]

    @contextmanager
    def opened(self, place: Place) -> Iterator[Table]:
        with _buffer(place) as handle:
            try:
                table = _ipc(handle, is_local=place.is_local)
            except (pa.ArrowException, OSError) as error:
                raise BrokenTable(str(error).splitlines()[0]) from None
            if b"huggingface" not in (table.schema.metadata or {}):
                table.schema = _with_features(table.schema, place.parent / _INFO)
            yield table

    def spans(self, groups: list[int]) -> Iterator[tuple[int, int]]:
        """Yield runs of record batches with a few hundred rows together."""
        first = rows = 0
        for group, length in enumerate(groups):
            rows += length
            if rows >= _UNIT_ROWS or group == len(groups) - 1:
                yield first, group - first + 1
                first, rows = group + 1, 0


def _saved(folder: Place, prefix: str, split: str | None) -> list[Listed]:
    """Return the files of a saved Dataset, in its order.

    Args:
        prefix: what their names begin with, for people.
        split: its name in a DatasetDict.
    """
    if not (folder / _STATE).exists():
        raise DataError(f"{folder.url} has no {_STATE}; save the dataset again by save_to_disk")
    state = _json(folder / _STATE)
    if state.get("_indices_data_files"):
        raise DataError(
            f"{folder.url} was saved with a selection of rows beside its data, by an old version "
            "of the datasets library; save flatten_indices() of it"
        )
    entries = state.get("_data_files")
    try:
        names = [str(entry["filename"]) for entry in entries or ()]
    except (KeyError, TypeError):
        raise DataError(
            f"{folder.url}/{_STATE} lists no files; save the dataset again by save_to_disk"
        ) from None
    missing = next((name for name in names if not (folder / name).exists()), None)
    if missing is not None:
        raise DataError(f"{folder.url} lacks the file {missing} that its {_STATE} lists; copy it")
    part = split_of(split) if split else None
    return [Listed(folder / name, f"{prefix}{name}", part) for name in names]


def _json(place: Place) -> dict[str, Any]:
    try:
        content = json.loads(place.read())
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(f"{place.url} cannot be read: {' '.join(str(error).split())}") from None
    return content if isinstance(content, dict) else {}


def _with_features(schema: Any, info: Place) -> Any:
    """Return a schema with the features of `dataset_info.json`, where that is beside the file."""
    if not info.exists():
        return schema
    content = json.dumps({"info": {"features": _json(info).get("features")}})
    return schema.with_metadata({**(schema.metadata or {}), b"huggingface": content.encode()})


def _is_cache(file: Place) -> bool:
    """Return whether a file is an intermediate result that the library keeps beside the data."""
    return file.name.startswith(("cache-", "tmp")) and (file.parent / _INFO).exists()


@contextmanager
def _buffer(place: Place) -> Iterator[Any]:
    """Yield a handle of an Arrow file; a local one is mapped, so that skipping costs little."""
    if place.is_local and place.size():
        with pa.memory_map(place.url) as mapped:
            yield mapped
        return
    with place.open() as file:
        yield pa.PythonFile(file, mode="r")


def _ipc(handle: Any, *, is_local: bool) -> Table:
    start = handle.read(len(_FILE_START))
    handle.seek(0)
    if start.startswith(b"FEA1"):
        raise BrokenTable("version 1 of Feather; write it again by pyarrow.feather.write_feather")
    if start == _FILE_START:
        return _RandomAccess(handle)
    return _Stream(handle) if is_local else _RemoteStream(handle)


class _RandomAccess(Table):
    """Arrow IPC file, also Feather, whose batches are read in any order."""

    def __init__(self, handle: Any) -> None:
        self._reader = pa.ipc.open_file(handle)
        self.schema = self._reader.schema

    @property
    def groups(self) -> list[int]:
        batches = map(self._reader.get_batch, range(self._reader.num_record_batches))
        return _rows(batches)

    def batches(self, first: int, count: int, columns: list[str], rows: int) -> Iterator[Any]:
        for number in range(first, first + count):
            yield from _slices(self._reader.get_batch(number), columns, rows)


class _Stream(Table):
    """Arrow IPC stream, as save_to_disk writes it, which is read from its beginning."""

    def __init__(self, handle: Any) -> None:
        self._handle = handle
        self.schema = pa.ipc.open_stream(handle).schema

    @property
    def groups(self) -> list[int]:
        self._handle.seek(0)
        return _rows(pa.ipc.open_stream(self._handle))

    def batches(self, first: int, count: int, columns: list[str], rows: int) -> Iterator[Any]:
        self._handle.seek(0)
        for number, batch in enumerate(pa.ipc.open_stream(self._handle)):
            if number >= first + count:
                return
            if number >= first:
                yield from _slices(batch, columns, rows)


class _RemoteStream(_Stream):
    """Arrow IPC stream of an object store: one group, as each of several would read it anew."""

    @property
    def groups(self) -> list[int]:
        """Return the rows of the first batch that has some: to count all would be to read all."""
        self._handle.seek(0)
        try:
            batches = pa.ipc.open_stream(self._handle)
            return [next((batch.num_rows for batch in batches if batch.num_rows), 0)]
        except (pa.ArrowException, OSError):
            return [0]

    def batches(self, first: int, count: int, columns: list[str], rows: int) -> Iterator[Any]:
        self._handle.seek(0)
        for batch in pa.ipc.open_stream(self._handle):
            yield from _slices(batch, columns, rows)


def _rows(batches: Iterable[Any]) -> list[int]:
    """Return the rows of each batch; where the file is broken there is one of no rows, the last."""
    counts = []
    try:
        for batch in batches:
            counts.append(batch.num_rows)
    except (pa.ArrowException, OSError):
        counts.append(0)
    return counts


def _slices(batch: Any, columns: list[str], rows: int) -> Iterator[Any]:
    """Yield parts of a batch, of the columns that are needed.

    Raises:
        ArrowInvalid: it is damaged. The reader itself does not look, and reading would end the
            process.
    """
    heads = {name for path in columns for name in (path, path.partition(".")[0])}
    needed = batch.select([name for name in batch.schema.names if name in heads])
    needed.validate(full=True)
    for start in range(0, needed.num_rows, rows):
        yield needed.slice(start, rows)
