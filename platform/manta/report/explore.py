"""explore.html: a map of embeddings with the images behind them, their neighbours and clusters; one
offline page."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from manta.data import decode, open_dataset
from manta.data.read import read_rows
from manta.errors import DataError
from manta.report.parts.embedding import neighbours, normalise, project, trouble
from manta.report.parts.images import data_uri, sheet
from manta.report.parts.palette import label_colour
from manta.report.parts.template import render
from manta.serving.embeddings import part_table, parts_of, read_manifest

IMAGES = 2_000
"""Rows shown at most, drawn from all parts of the data."""
MOST_PARTS = 64
"""Parts that are read, of however many."""
SIDE, CLUSTERS, SHOWN, NEAREST = 48, 12, 16, 12
Vectors = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Sample:
    """Rows that are shown: where they are from, their features, and thumbnails `[S, 48, 48, 3]`
    uint8."""

    index: npt.NDArray[np.int64]
    paths: list[str]
    vectors: Vectors
    images: npt.NDArray[np.uint8]
    labels: list[str] | None


def write_explorer(out: str, page: Path, *, images: int = IMAGES) -> Path:
    """Write the page about the embeddings in `out`; returns its path.

    Raises:
        DataError: there are no finished embeddings, or too few rows to look at.
    """
    facts = read_manifest(out)
    sample = draw_sample(out, facts["dataset"], facts["digest"], images)
    if (why := trouble(sample.vectors)) is not None:
        raise DataError(f"the embeddings in {out} cannot be looked at: {why}")
    page.parent.mkdir(parents=True, exist_ok=True)
    page.write_text(render("explore.html", _context(out, facts, sample)), encoding="utf-8")
    return page


def draw_sample(out: str, dataset: str, digest: str, images: int) -> Sample:
    """Rows from evenly spaced parts, evenly spaced in each, and their pictures from the dataset."""
    numbers = parts_of(out)
    chosen = [
        numbers[i]
        for i in np.unique(
            np.linspace(0, len(numbers) - 1, min(MOST_PARTS, len(numbers))).astype(int)
        )
    ]
    each = -(-images // max(len(chosen), 1))
    taken = pa.concat_tables(_evenly(part_table(out, number), each) for number in chosen)
    index = np.asarray(taken["index"])
    manifest = open_dataset(dataset)
    if manifest.digest != digest:
        raise DataError(
            f"{dataset} has changed since {out} was made of it, and shows other images; embed it again"
        )
    encoded = read_rows(manifest, index, labels=True)
    pictures = np.stack([decode(data, SIDE) for data in encoded.data])
    names = None
    if encoded.labels is not None:
        classes = manifest.classes
        names = [
            "" if value is None else classes[value] if classes else str(value)
            for value in encoded.labels
        ]
    vectors = np.stack(taken["embedding"].to_numpy()).astype(np.float32)
    return Sample(index, taken["path"].to_pylist(), vectors, pictures, names)


def _evenly(table: pa.Table, rows: int) -> pa.Table:
    return table.take(
        np.unique(np.linspace(0, max(len(table) - 1, 0), min(rows, len(table))).astype(np.int64))
    )


def _context(out: str, facts: dict[str, Any], sample: Sample) -> dict[str, Any]:
    total = len(sample.index)
    columns = int(np.ceil(np.sqrt(total)))
    rows = [list(sample.images[start : start + columns]) for start in range(0, total, columns)]
    near = neighbours(sample.vectors, np.arange(total), NEAREST)
    clusters, sheets = _clusters(sample)
    names = sorted(set(sample.labels)) if sample.labels else []
    label_place = {name: place for place, name in enumerate(names)}
    colours = {
        "cluster": [label_colour(int(cluster), len(sheets)) for cluster in clusters],
        "label": [label_colour(label_place[name], len(names)) for name in sample.labels]
        if sample.labels
        else None,
    }
    return {
        "name": out.rstrip("/").rsplit("/", 1)[-1],
        "model": facts["model"],
        "facts": [
            {
                "title": "Rows",
                "value": f"{facts['embedded']:,}",
                "note": f"{total:,} of them on this page",
            },
            {
                "title": "Numbers a row",
                "value": f"{facts['width']:,}",
                "note": facts["layer"] or "pooled embedding",
            },
            {
                "title": "Set aside",
                "value": f"{facts['unreadable']:,}",
                "note": "unreadable images",
            },
            {"title": "Data", "value": facts["digest"][:12], "note": "digest"},
        ],
        "sheets": sheets,
        "legend": [(name, label_colour(place, len(names))) for name, place in label_place.items()][
            :40
        ],
        "data": {
            "sheet": data_uri(sheet(rows, SIDE, gap=0), longest=columns * SIDE),
            "columns": columns,
            "side": SIDE,
            "points": [
                [round(float(x), 4), round(float(y), 4)] for x, y in project(sample.vectors)
            ],
            "near": near.tolist(),
            "cosines": _cosines(sample.vectors, near),
            "paths": sample.paths,
            "labels": sample.labels,
            "clusters": clusters.tolist(),
            "colours": colours,
        },
    }


def _cosines(vectors: Vectors, near: npt.NDArray[np.int64]) -> list[list[float]]:
    unit = normalise(vectors)
    return [
        [round(float(unit[row] @ unit[other]), 3) for other in others]
        for row, others in enumerate(near)
    ]


def _clusters(sample: Sample) -> tuple[npt.NDArray[np.int64], list[dict[str, Any]]]:
    """k-means of normalised features: the cluster of each row; of each cluster, the rows nearest to
    its centre."""
    from sklearn.cluster import KMeans

    unit = normalise(sample.vectors)
    count = min(CLUSTERS, max(len(unit) // 8, 2))
    fitted = KMeans(count, n_init=4, random_state=0).fit(unit)
    order = np.argsort(
        -np.bincount(fitted.labels_, minlength=count), kind="stable"
    )  # the largest first
    place = np.empty(count, dtype=np.int64)
    place[order] = np.arange(count)
    sheets = []
    for old in order:
        members = np.flatnonzero(fitted.labels_ == old)
        distance = np.linalg.norm(unit[members] - fitted.cluster_centers_[old], axis=1)
        shown = members[np.argsort(distance, kind="stable")[:SHOWN]]
        common = None
        if sample.labels is not None:
            values, counts = np.unique([sample.labels[row] for row in members], return_counts=True)
            common = f"{counts.max() / len(members):.0%} {values[counts.argmax()]}"
        colour = label_colour(int(place[old]), count)
        sheets.append(
            {"rows": shown.tolist(), "size": len(members), "common": common, "colour": colour}
        )
    return place[fitted.labels_], sheets
