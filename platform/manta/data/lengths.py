"""Lengths of a dataset's rows, as an ingest measured them: a table that is mapped into memory.

They are in the modality's own unit: values over time of series, milliseconds of clips. Images have
none.
"""

from __future__ import annotations

import io
from functools import lru_cache
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from manta.data.manifest import Manifest
from manta.errors import ConfigError, DataError
from manta.files import Place

FILE = "lengths.npy"
Lengths: TypeAlias = npt.NDArray[np.int32]
_TYPE = np.dtype("<i4")


def write_part(dataset: Place, shard: int, lengths: npt.NDArray[Any]) -> None:
    """Write the lengths of a shard's rows, for `write_lengths`."""
    _part(dataset, shard).write(np.minimum(lengths, 2**31 - 1).astype(_TYPE).tobytes())


def write_lengths(dataset: Place, shards: int, rows: int) -> None:
    """Write the lengths of all rows beside the shards, from those of each.

    None are written where a part of the ingest was done by an earlier version, which kept none.
    """
    parts = [_part(dataset, shard) for shard in range(shards)]
    if not all(part.exists() for part in parts):
        return
    with (dataset / FILE).writing() as file:
        form = {"descr": _TYPE.str, "fortran_order": False, "shape": (rows,)}
        np.lib.format.write_array_header_1_0(file, form)
        for part in parts:
            file.write(part.read())


def open_lengths(manifest: Manifest) -> Lengths:
    """Return the length of each row, `[N]`: mapped into memory; of a store, 4 bytes a row of it.

    Raises:
        ConfigError: the rows are images.
        DataError: there is no such table.
    """
    if manifest.modality == "image":
        raise ConfigError(
            "data.buckets sorts rows by their lengths, and images have none; set it to false"
        )
    lengths = _opened(manifest.location, manifest.digest)
    if len(lengths) != manifest.rows:
        raise DataError(
            f"{manifest.location}/{FILE} has {len(lengths)} rows, not {manifest.rows}; is the "
            "dataset whole?"
        )
    return lengths


@lru_cache(maxsize=4)
def _opened(location: str, digest: str) -> Lengths:
    # `digest` belongs to the cache's key: a new dataset may have replaced one at the same place.
    place = Place(location) / FILE
    try:
        if place.is_local:
            lengths: Lengths = np.load(place.path, mmap_mode="r")
            return lengths
        remote: Lengths = np.load(io.BytesIO(place.read()))
        return remote
    except FileNotFoundError:
        raise DataError(
            f"{location} has no {FILE}, which data.buckets needs: an earlier version made it; "
            "ingest again, or set data.buckets=false"
        ) from None
    except (OSError, ValueError) as error:
        raise DataError(f"{place.url} cannot be read: {str(error).splitlines()[0]}") from None


def _part(dataset: Place, shard: int) -> Place:
    return dataset / "progress" / f"{shard:05d}.lengths"
