"""Description of an ingested dataset: `manifest.json` beside its Parquet shards."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass, field, fields
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from manta.errors import DataError
from manta.files import Place

VERSION = 1
FILE = "manifest.json"
SIZE_EDGES = (1, 16, 32, 64, 96, 128, 192, 256, 384, 512, 768, 1024, 1536, 2048, 4096)
"""Bins of the histogram of shorter sides, in pixels; the last is open."""


@dataclass(frozen=True, slots=True)
class Shard:
    """A Parquet file.

    Attributes:
        path: relative to the dataset.
        row_groups: rows of each.
        bytes: encoded images alone.
    """

    path: str
    rows: int
    row_groups: list[int]
    bytes: int


@dataclass(frozen=True, eq=False)
class Manifest:
    """Facts of an ingested dataset. Row `i` of the whole has `index == i`, for ever.

    Attributes:
        location: where the dataset lies; not in the file, so that a dataset can be moved.
        labelled: every row has a label.
        classes: names of the labels, or None.
        sizes: shorter sides of the source images: `{"edges": [...], "counts": [...]}` of
            `SIZE_EDGES`.
        mean, std: per channel in [0, 1], over `moment_rows` rows spread over the data; every image
            weighs the same.
        source, kind: what was ingested, and by which adapter.
        quarantined: bad images, listed in `quarantine.parquet`.
        digest: SHA-256 over bytes, paths and labels of all rows in order.
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

    def to_json(self) -> str:
        content = asdict(self)
        del content["location"]
        return json.dumps(content, indent=1)

    @cached_property
    def group_starts(self) -> npt.NDArray[np.int64]:
        """Return `[G + 1]`: the first row of each row group, then the number of rows."""
        rows = np.concatenate(
            [np.asarray(shard.row_groups, dtype=np.int64) for shard in self.shards]
        )
        return np.concatenate([np.zeros(1, dtype=np.int64), np.cumsum(rows)])

    @cached_property
    def shard_starts(self) -> npt.NDArray[np.int64]:
        """Return `[S + 1]`: the first row group of each shard, then the number of row groups."""
        return np.cumsum([0, *(len(shard.row_groups) for shard in self.shards)], dtype=np.int64)

    def find_group(self, group: int) -> tuple[str, int]:
        """Return `(path of the shard, row group in it)` of a row group of the whole dataset."""
        shard = int(np.searchsorted(self.shard_starts, group, side="right")) - 1
        return self.shards[shard].path, group - int(self.shard_starts[shard])


def open_dataset(location: str | os.PathLike[str]) -> Manifest:
    """Return the manifest of an ingested dataset.

    Raises:
        DataError: there is none, or it is not one that this version reads.
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
    if not isinstance(content, dict) or content.get("version") != VERSION:
        raise DataError(f"{place.url}/{FILE} is not of version {VERSION}; ingest again")
    names = {item.name for item in fields(Manifest)} - {"location"}
    if missing := names - content.keys():
        raise DataError(f"{place.url}/{FILE} lacks {', '.join(sorted(missing))}; ingest again")
    shards = [Shard(**shard) for shard in content.pop("shards")]
    return Manifest(
        location=place.url, shards=shards, **{key: content[key] for key in names - {"shards"}}
    )


def is_dataset(location: str | os.PathLike[str]) -> bool:
    """Return whether an ingest was finished there."""
    place = Place.of(location)
    return not place.is_glob and (place / FILE).exists()
