"""Description of an ingested dataset: `manifest.json` beside its Parquet shards."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass, field, fields
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from manta.data.sources import is_builtin
from manta.data.understanding import Understanding
from manta.errors import DataError
from manta.files import Place

VERSION, OTHER_VERSION = 1, 2
"""Version of a dataset of images, and of one of another modality."""
FILE = "manifest.json"
_LATER = frozenset(
    ("values", "labelled_rows", "understood", "groups", "modality", "column", "stats")
)
"""Fields that datasets of earlier versions lack."""
SIZE_EDGES = (1, 16, 32, 64, 96, 128, 192, 256, 384, 512, 768, 1024, 1536, 2048, 4096)
"""Lower edges in pixels of the histogram of shorter sides; the last bin has no upper edge."""


@dataclass(frozen=True, slots=True)
class Shard:
    """Entry of the manifest for one Parquet file.

    Attributes:
        path: relative to the dataset.
        row_groups: number of rows of each row group.
        bytes: size of the encoded images alone.
    """

    path: str
    rows: int
    row_groups: list[int]
    bytes: int


@dataclass(frozen=True, eq=False)
class Manifest:
    """Description of an ingested dataset, in which row `i` always has `index == i`.

    Attributes:
        location: path or URL of the dataset; not stored in the file, so that it can be moved.
        labelled: some rows have a label.
        classes: names of the classes by number, or None.
        sizes: histogram of the shorter sides: `{"edges": [...], "counts": [...]}`, with
            `SIZE_EDGES`.
        mean, std: per channel in [0, 1], over `moment_rows` rows spread over the data; every image
            has the same weight.
        source, kind: what was ingested, and by which adapter.
        quarantined: number of bad images, which `quarantine.parquet` lists.
        digest: SHA-256 of bytes, paths and labels of all rows in order.
        bytes: size of the encoded images.
        options: source, state and limits of the ingest.
        values: labels as they are stored, as text, by class number; None: a stored label is its
            class number.
        labelled_rows: number of rows with a label; None in datasets of earlier versions, where a
            dataset has labels if every row has one.
        understood: what the ingest understood: `manta.data.understanding.Understanding`.
        modality: what a sample is.
        column: of the shards, that holds the samples.
        stats: rows, sum, least and most of what was measured of the samples of another modality,
            and what was learnt of all of them.
        groups: number of groups; of some, `manta.data.groups.open_groups` tells the rows.
    """

    location: str
    rows: int
    labelled: bool
    classes: list[str] | None
    shards: list[Shard]
    sizes: dict[str, list[int]]
    mean: list[float]
    std: list[float]
    moment_rows: int
    source: str
    kind: str
    quarantined: int
    digest: str
    bytes: int
    version: int = VERSION
    options: dict[str, Any] = field(default_factory=dict)
    values: list[str] | None = None
    labelled_rows: int | None = None
    understood: dict[str, Any] = field(default_factory=dict)
    groups: int = 0
    modality: str = "image"
    column: str = "image"
    stats: dict[str, Any] = field(default_factory=dict)

    def to_json(self) -> str:
        content = asdict(self)
        del content["location"]
        if not self.groups:
            del content["groups"]  # as earlier versions wrote it
        if self.modality == "image":
            del content["modality"], content["column"], content["stats"]  # likewise
        return json.dumps(content, indent=1)

    def said(self) -> list[str]:
        """Return lines on what the ingest understood; none for a dataset of an earlier version."""
        return self.understanding.lines() if self.understood else []

    @property
    def understanding(self) -> Understanding:
        """Return what the ingest understood; of an earlier version's, what can still be told."""
        if self.understood:
            return Understanding.from_json({**self.understood, "modality": self.modality})
        classes = self.classes if self.labelled and self.classes else []
        notes = [f"classes: {', '.join(classes[:6])}{', ...' * (len(classes) > 6)}"]
        return Understanding(self.rows, notes=notes if classes else [], modality=self.modality)

    @cached_property
    def group_starts(self) -> npt.NDArray[np.int64]:
        """Return the first row of each of `G` row groups, then the number of rows: `[G + 1]`."""
        rows = np.concatenate(
            [np.asarray(shard.row_groups, dtype=np.int64) for shard in self.shards]
        )
        return np.concatenate([np.zeros(1, dtype=np.int64), np.cumsum(rows)])

    @cached_property
    def shard_starts(self) -> npt.NDArray[np.int64]:
        """Return the first row group of each of `S` shards, then their number: `[S + 1]`."""
        return np.cumsum([0, *(len(shard.row_groups) for shard in self.shards)], dtype=np.int64)

    @cached_property
    def _number_of(self) -> dict[str, int]:
        return {value: number for number, value in enumerate(self.values or ())}

    def class_numbers(self, stored: list[Any]) -> list[int | None]:
        """Return the class number of each label as it is stored; None where there is none."""
        if self.values is None:
            return stored
        return [None if label is None else self._number_of.get(str(label)) for label in stored]

    def find_group(self, group: int) -> tuple[str, int]:
        """Return `(path of the shard, row group in it)` of a row group of the whole dataset."""
        shard = int(np.searchsorted(self.shard_starts, group, side="right")) - 1
        return self.shards[shard].path, group - int(self.shard_starts[shard])


def open_dataset(location: str | os.PathLike[str]) -> Manifest:
    """Return the manifest of an ingested dataset.

    Raises:
        DataError: there is none, or this version cannot read it.
    """
    place = Place.of(location)
    try:
        content = json.loads((place / FILE).read())
    except (FileNotFoundError, NotADirectoryError):
        raise DataError(
            f"{place.url} is not an ingested dataset; run `manta ingest SOURCE {place.url}`"
        ) from None
    except (OSError, ValueError) as error:
        raise DataError(f"{place.url}/{FILE} cannot be read: {error}; ingest again") from None
    known = (VERSION, OTHER_VERSION)
    if not isinstance(content, dict) or content.get("version") not in known:
        raise DataError(f"{place.url}/{FILE} is not of version {VERSION}; ingest again")
    names = {item.name for item in fields(Manifest)} - {"location"}
    if missing := names - _LATER - content.keys():
        raise DataError(f"{place.url}/{FILE} lacks {', '.join(sorted(missing))}; ingest again")
    names &= content.keys()
    shards = [Shard(**shard) for shard in content.pop("shards")]
    return Manifest(
        location=place.url, shards=shards, **{key: content[key] for key in names - {"shards"}}
    )


def is_dataset(location: str | os.PathLike[str]) -> bool:
    """Return whether `location` holds a completely ingested dataset."""
    place = Place.of(location)
    return not place.is_glob and (place / FILE).exists()


def is_ingested(source: str | os.PathLike[str]) -> bool:
    """Return whether a source is a dataset, and not the name of data that an adapter brings."""
    return not is_builtin(os.fspath(source)) and is_dataset(source)


def refuse_dataset(source: str | os.PathLike[str]) -> None:
    """Refuse to ingest what has been ingested, before anything is started for it.

    Raises:
        DataError: the source is a dataset.
    """
    if is_ingested(source):
        raise DataError(f"{source} is an ingested dataset already; use it as data.source={source}")
