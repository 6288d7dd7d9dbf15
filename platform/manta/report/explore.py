"""explore.html: a map of embeddings with the images behind them, their neighbours and clusters."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from manta.data import open_dataset
from manta.data.read import read_rows
from manta.data.samples import modality_of
from manta.errors import DataError
from manta.files import Place
from manta.modalities import Noun, noun_of
from manta.report.parts.embedding import neighbours, normalise, project, trouble
from manta.report.parts.facts import Fact
from manta.report.parts.images import data_uri, sheet
from manta.report.parts.palette import label_colour
from manta.report.parts.template import render
from manta.serving.embeddings import part_table, parts_of, read_manifest

IMAGES = 2_000
"""Rows shown at most, drawn from all parts of the data."""
MOST_PARTS = 64
"""Parts that are read, of however many."""
SIDE, CLUSTERS, SHOWN, NEAREST = 48, 12, 16, 12
_MOST_LEGEND = 40
_ROWS_A_CLUSTER = 8
Vectors = npt.NDArray[np.float32]
Rows = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class EmbeddedImages:
    """The rows that are shown.

    Attributes:
        index: `[S]`, of the rows in the dataset.
        paths: where the images came from.
        vectors: `[S, D]`, their embeddings.
        images: `[S, 48, 48, 3]` uint8, as thumbnails.
        labels: names of the classes, or None without labels.
        noun: what the rows are called.
        captions: what is said of each; None where nothing is.
        as_text: captions stand in place of pictures.
    """

    index: Rows
    paths: list[str]
    vectors: Vectors
    images: npt.NDArray[np.uint8]
    labels: list[str] | None
    noun: Noun
    captions: list[str] | None = None
    as_text: bool = False


def write_explorer(out: str, page: Path, *, images: int = IMAGES) -> Path:
    """Write the page about the embeddings in `out` and return its path.

    Args:
        out: where `manta embed` wrote the embeddings; may be in a bucket.
        page: the file to write, with its folder where there is none.
        images: rows shown at most.

    Raises:
        DataError: there are no finished embeddings, or too few rows to show.
    """
    manifest = read_manifest(out)
    shown = draw_sample(out, manifest["dataset"], manifest["digest"], images)
    if (why := trouble(shown.vectors, shown.noun.plural)) is not None:
        raise DataError(f"the embeddings in {out} cannot be looked at: {why}")
    Place.of(page).write(render("explore.html", _context(out, manifest, shown)).encode())
    return page


def draw_sample(out: str, dataset: str, digest: str, images: int) -> EmbeddedImages:
    """Return rows of evenly spaced parts, evenly spaced in each, with their pictures.

    Raises:
        DataError: the dataset has changed since it was embedded.
    """
    parts = parts_of(out)
    chosen = [parts[place] for place in _evenly(len(parts), MOST_PARTS)]
    each = -(-images // max(len(chosen), 1))
    tables = (part_table(out, number) for number in chosen)
    rows = pa.concat_tables(table.take(_evenly(len(table), each)) for table in tables)
    manifest = open_dataset(dataset)
    noun = noun_of(manifest.modality)
    if manifest.digest != digest:
        raise DataError(
            f"{dataset} has changed since {out} was made of it, and shows other {noun.plural}; "
            "embed it again"
        )
    index = np.asarray(rows["index"])
    encoded = read_rows(manifest, index, labels=True)
    modality = modality_of(manifest)
    shown = [modality.picture_of(data, SIDE) for data in encoded.data]
    pictures = np.stack([one.pixels for one in shown])
    captions = [one.caption for one in shown] if any(one.caption for one in shown) else None
    vectors = np.stack(rows["embedding"].to_numpy()).astype(np.float32)
    labels = None
    if encoded.labels is not None:
        labels = [_class_name(value, manifest.classes) for value in encoded.labels]
    as_text = modality.captioned and captions is not None
    paths = rows["path"].to_pylist()
    return EmbeddedImages(index, paths, vectors, pictures, labels, noun, captions, as_text)


def _evenly(length: int, count: int) -> Rows:
    """Return at most `count` places of `length`, evenly spaced, the first and the last included."""
    return np.unique(np.linspace(0, max(length - 1, 0), min(count, length)).astype(np.int64))


def _class_name(label: int | None, classes: Any) -> str:
    if label is None or label < 0:
        return ""
    return str(classes[label]) if classes else str(label)


def _context(out: str, manifest: dict[str, Any], shown: EmbeddedImages) -> dict[str, Any]:
    names = sorted(set(shown.labels)) if shown.labels else []
    colours = {name: label_colour(place, len(names)) for place, name in enumerate(names)}
    clusters = cluster_rows(shown.vectors)
    sheets = [_sheet(shown, clusters, number) for number in range(int(clusters.cluster.max()) + 1)]
    return {
        "name": out.rstrip("/").rsplit("/", 1)[-1],
        "model": manifest["model"],
        "noun": shown.noun,
        "facts": _facts(manifest, len(shown.index), shown.noun),
        "sheets": sheets,
        "legend": list(colours.items())[:_MOST_LEGEND],
        "data": _data(shown)
        | {
            "clusters": clusters.cluster.tolist(),
            "colours": {
                "cluster": [label_colour(int(one), len(sheets)) for one in clusters.cluster],
                "label": [colours[name] for name in shown.labels] if shown.labels else None,
            },
        },
    }


def _facts(manifest: dict[str, Any], total: int, noun: Noun) -> list[Fact]:
    return [
        Fact("Rows", f"{manifest['embedded']:,}", f"{total:,} of them on this page"),
        Fact("Numbers a row", f"{manifest['width']:,}", manifest["layer"] or "pooled embedding"),
        Fact("Set aside", f"{manifest['unreadable']:,}", f"unreadable {noun.plural}"),
        Fact("Data", manifest["digest"][:12], "digest"),
    ]


def _data(shown: EmbeddedImages) -> dict[str, Any]:
    """Return what the page's script knows of each row, and one picture with all thumbnails."""
    total = len(shown.index)
    columns = int(np.ceil(np.sqrt(total)))
    rows = [list(shown.images[start : start + columns]) for start in range(0, total, columns)]
    nearest = neighbours(shown.vectors, np.arange(total), NEAREST)
    places = project(shown.vectors)
    return {
        "sheet": data_uri(sheet(rows, SIDE, gap=0), longest=columns * SIDE),
        "columns": columns,
        "side": SIDE,
        "points": [[round(float(x), 4), round(float(y), 4)] for x, y in places],
        "near": nearest.tolist(),
        "cosines": _cosines(shown.vectors, nearest),
        "paths": shown.paths,
        "labels": shown.labels,
        "captions": shown.captions,
        "words": shown.as_text,
    }


def _cosines(vectors: Vectors, nearest: Rows) -> list[list[float]]:
    """Return the cosine of each row with each of its neighbours, `[S, k]`."""
    unit = normalise(vectors)
    return [
        [round(float(unit[row] @ unit[other]), 3) for other in others]
        for row, others in enumerate(nearest)
    ]


@dataclass(frozen=True, slots=True)
class Clusters:
    """Clusters of the rows, the largest first.

    Attributes:
        cluster: `[S]`, the number of each row's cluster.
        distance: `[S]`, from the centre of it.
    """

    cluster: Rows
    distance: npt.NDArray[np.float64]


def cluster_rows(vectors: Vectors) -> Clusters:
    """Return the clusters of k-means over the normalised rows: at most twelve of about eight."""
    from sklearn.cluster import KMeans

    unit = normalise(vectors)
    count = min(CLUSTERS, max(len(unit) // _ROWS_A_CLUSTER, 2))
    fitted = KMeans(count, n_init=4, random_state=0).fit(unit)
    order = np.argsort(-np.bincount(fitted.labels_, minlength=count), kind="stable")
    place = np.empty(count, dtype=np.int64)
    place[order] = np.arange(count)
    distance = np.linalg.norm(unit - fitted.cluster_centers_[fitted.labels_], axis=1)
    return Clusters(place[fitted.labels_], distance)


def _sheet(shown: EmbeddedImages, clusters: Clusters, number: int) -> dict[str, Any]:
    """Return a cluster's size, its most common label, and the rows nearest to its centre."""
    members = np.flatnonzero(clusters.cluster == number)
    nearest = members[np.argsort(clusters.distance[members], kind="stable")[:SHOWN]]
    common = None
    if shown.labels is not None:
        values, counts = np.unique([shown.labels[row] for row in members], return_counts=True)
        common = f"{counts.max() / len(members):.0%} {values[counts.argmax()]}"
    return {
        "rows": nearest.tolist(),
        "size": len(members),
        "common": common,
        "colour": label_colour(number, int(clusters.cluster.max()) + 1),
    }
