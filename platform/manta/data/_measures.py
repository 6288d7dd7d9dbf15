"""What an ingest measures of the samples: of each shard, and of all of them together."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any, Protocol

import numpy as np
import pyarrow as pa

from manta.data.manifest import SIZE_EDGES
from manta.data.sources import Source
from manta.errors import DataError
from manta.modalities import Inspector, Modality, default_modality
from manta.modalities.image.inspect import MOMENTS, ImageInspector

Measures = dict[str, dict[str, float]]
"""Rows, sum, least and most of each measure, by its name."""


class Measured(Protocol):
    """Measures of a shard, in its record."""

    @property
    def sizes(self) -> list[int]: ...
    @property
    def moments(self) -> list[float]: ...
    @property
    def moment_rows(self) -> int: ...
    @property
    def stats(self) -> Measures: ...


def modality_of(source: Source, modality: Modality[Any] | None) -> Modality[Any] | None:
    """Return what the samples of a source are; None stands for images.

    Args:
        modality: as it was given; None: not at all.

    Raises:
        DataError: the source has others.
    """
    if modality is None:
        if source.modality == "image":
            return None
        return default_modality(source.modality)
    if source.modality not in ("image", name_of(modality)):
        raise DataError(
            f"{source.place.url} holds {source.modality}; set data.modality={source.modality}"
        )
    return modality


def name_of(modality: Modality[Any] | None) -> str:
    """Return the name of a modality; None stands for images."""
    return "image" if modality is None else str(modality.data.modality)


def inspector_of(modality: Modality[Any] | None, limits: Any) -> Inspector:
    """Return the inspector of a modality's samples; None stands for images."""
    if modality is None or name_of(modality) == "image":
        return ImageInspector(limits.max_side, limits.max_pixels)
    return modality.inspector()


def mark_of(modality: Modality[Any] | None) -> str:
    """Return what distinguishes datasets of one source by modality; "image" for images."""
    if modality is None or name_of(modality) == "image":
        return "image"
    return f"{name_of(modality)}: {modality.inspector()!r}"


def of_shard(good: pa.Table, column: str) -> dict[str, Any]:
    """Return the measures of a shard's rows, by the names of a record's fields."""
    measured = [json.loads(row) for row in good["measures"].to_pylist() if row is not None]
    if column != ImageInspector.column:
        stats = merged({key: _of_row(number) for key, number in row.items()} for row in measured)
        return {"sizes": [], "moments": [], "moment_rows": 0, "stats": stats}
    moments = [[row[name] for name in MOMENTS] for row in measured]
    short = np.searchsorted(SIZE_EDGES, good["length"].to_numpy(), side="right") - 1
    return {
        "sizes": np.bincount(short, minlength=len(SIZE_EDGES)).tolist(),
        "moments": np.sum(np.array(moments).reshape(-1, len(MOMENTS)), axis=0).tolist(),
        "moment_rows": len(moments),
    }


def of_dataset(done: Sequence[Measured], inspector: Inspector, modality: str) -> dict[str, Any]:
    """Return the measures of all shards, by the names of the manifest's fields."""
    if modality != "image":
        stats = merged(item.stats for item in done)
        fields = {"modality": modality, "column": inspector.column, "stats": stats, "version": 2}
        return {"sizes": {}, "mean": [], "std": [], "moment_rows": 0, **fields}
    moment_rows = sum(item.moment_rows for item in done)
    sums = np.sum([item.moments for item in done], axis=0) / moment_rows
    mean, std = sums[:3], np.sqrt(np.maximum(sums[3:] - sums[:3] ** 2, 0.0))
    counts = np.sum([item.sizes for item in done], axis=0).tolist()
    return {
        "sizes": {"edges": list(SIZE_EDGES), "counts": counts},
        "mean": mean.tolist(),
        "std": std.tolist(),
        "moment_rows": moment_rows,
    }


def merged(parts: Iterable[Measures]) -> Measures:
    """Return the measures of all parts together."""
    out: Measures = {}
    for part in parts:
        for name, here in part.items():
            so_far = out.get(name)
            out[name] = dict(here) if so_far is None else _joined(so_far, here)
    return out


def _of_row(number: float) -> dict[str, float]:
    return {"rows": 1, "sum": number, "least": number, "most": number}


def _joined(one: dict[str, float], other: dict[str, float]) -> dict[str, float]:
    return {
        "rows": one["rows"] + other["rows"],
        "sum": one["sum"] + other["sum"],
        "least": min(one["least"], other["least"]),
        "most": max(one["most"], other["most"]),
    }
