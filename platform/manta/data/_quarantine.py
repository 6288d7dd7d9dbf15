"""Samples of an ingest that cannot be used, listed with the reasons."""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa
import pyarrow.parquet as pq

from manta.files import Place

FILE = "quarantine.parquet"


def write_quarantine(dataset: Place, bad: Sequence[Sequence[str]]) -> None:
    """Write path and reason of each bad sample beside the shards."""
    names = pa.schema({"path": pa.string(), "reason": pa.string()})
    rows = [{"path": path, "reason": reason} for path, reason in bad]
    with (dataset / FILE).writing() as file:
        pq.write_table(pa.Table.from_pylist(rows, schema=names), file)
