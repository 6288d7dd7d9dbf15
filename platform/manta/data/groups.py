"""Groups of a dataset's rows: what belongs together, such as the recordings of one speaker.

The column `group` of the shards has them by row. `groups.parquet` beside the manifest has the same
as stretches of rows of one group, so that a split needs one small read and not all shards.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from itertools import groupby

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from manta.data._group_column import Runs
from manta.data.arrays import RowIndexes
from manta.data.manifest import Manifest
from manta.errors import DataError
from manta.files import Place

FILE = "groups.parquet"


@dataclass(frozen=True, eq=False, slots=True)
class Groups:
    """Groups of a dataset.

    Attributes:
        names: of the groups, by number, in the order of their first rows.
        starts: first row of each stretch of rows of one group, `[R]` ascending from 0.
        lengths: rows of each, `[R]`.
        numbers: of each one's group, `[R]`; -1 where the rows have none.
    """

    names: list[str]
    starts: RowIndexes
    lengths: RowIndexes
    numbers: RowIndexes

    def of(self, rows: RowIndexes) -> RowIndexes:
        """Return the group's number of each row `[N]`; -1 for a row of no group."""
        return self.numbers[np.searchsorted(self.starts, rows, side="right") - 1]

    def sizes(self, rows: int) -> RowIndexes:
        """Return how many of the first `rows` rows each group has, `[G]`."""
        lengths = np.clip(rows - self.starts, 0, self.lengths)
        has_one = self.numbers >= 0
        counts = np.bincount(
            self.numbers[has_one], weights=lengths[has_one], minlength=len(self.names)
        )
        return counts.astype(np.int64)


def in_order(parts: Iterable[Runs]) -> Runs:
    """Return the stretches of all shards as one list; those of one group that meet are joined."""
    every = ((name, rows) for runs in parts for name, rows in runs)
    return [(name, sum(rows for _, rows in same)) for name, same in groupby(every, lambda r: r[0])]


def write_groups(dataset: Place, runs: Runs) -> None:
    """Write the stretches of a dataset's rows beside its shards."""
    names, lengths = [name for name, _ in runs], [rows for _, rows in runs]
    table = pa.table({"group": pa.array(names, pa.string()), "rows": pa.array(lengths, pa.int64())})
    with (dataset / FILE).writing() as file:
        pq.write_table(table, file, compression="zstd")


def open_groups(manifest: Manifest) -> Groups | None:
    """Return the groups of a dataset; None where it has none.

    Raises:
        DataError: the file that tells them is gone or broken.
    """
    return _read(manifest.location, manifest.digest) if manifest.groups else None


def group_names(manifest: Manifest, rows: RowIndexes) -> list[str | None] | None:
    """Return the name of each row's group, None for none; None where the data have no groups."""
    groups = open_groups(manifest)
    if groups is None:
        return None
    numbers = groups.of(rows).tolist()
    return [None if number < 0 else groups.names[number] for number in numbers]


@lru_cache(maxsize=4)
def _read(location: str, digest: str) -> Groups:
    # `digest` belongs to the cache's key: a new dataset may have replaced one at the same place.
    place = Place(location) / FILE
    try:
        with place.open() as file:
            table = pq.read_table(file)
    except (OSError, pa.ArrowException) as error:
        raise DataError(
            f"{place.url} cannot be read: {str(error).splitlines()[0]}; is the dataset whole?"
        ) from None
    coded = table["group"].combine_chunks().dictionary_encode()
    lengths = table["rows"].to_numpy()
    return Groups(
        names=coded.dictionary.to_pylist(),
        starts=np.cumsum(lengths) - lengths,
        lengths=lengths,
        numbers=coded.indices.fill_null(-1).to_numpy(zero_copy_only=False).astype(np.int64),
    )
