"""Nearest neighbours and the embedding map, as the page's template takes them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from manta.report.parts import embedding, images
from manta.report.parts.palette import label_colour, label_colours
from manta.report.parts.samples import Array, Samples

_TILE = 40
_MOST_LEGEND = 12


@dataclass(frozen=True, slots=True)
class Tile:
    """One image among the neighbours. `agrees` is None where there are no labels."""

    image: str
    alt: str
    agrees: bool | None


def neighbour_rows(samples: Samples | None) -> dict[str, Any]:
    """Queries with their nearest neighbours under both encoders, and how often labels agree."""
    trouble = "" if samples is None else embedding.trouble(samples.features)
    if samples is None or trouble:
        return {"rows": [], "trouble": trouble}
    labels = samples.labels
    chosen = embedding.queries(samples)
    sides: dict[str, Array] = {"trained": embedding.neighbours(samples.features, chosen)}
    if embedding.trouble(samples.random_features) is None:
        sides["untrained"] = embedding.neighbours(samples.random_features, chosen)
    rows = []
    for row, query in enumerate(chosen.tolist()):
        named = "" if labels is None else f", label {labels[query]}"
        tiles = {side: _tiles(samples, query, found[row]) for side, found in sides.items()}
        image = images.data_uri(samples.thumbnails[query])
        rows.append({"query": Tile(image, f"Query image {row + 1}{named}", None), "sides": tiles})
    agreement = (
        {}
        if labels is None
        else {s: embedding.agreement(labels, chosen, f) for s, f in sides.items()}
    )
    shown = int(sides["trained"].shape[1])
    return {
        "rows": rows,
        "trouble": None,
        "sides": list(sides),
        "agreement": agreement,
        "shown": shown,
        "total": len(samples.thumbnails),
    }


def _tiles(samples: Samples, query: int, found: Array) -> list[Tile]:
    tiles = []
    for rank, index in enumerate(found.tolist(), start=1):
        alt, agrees = f"Neighbour {rank}", None
        if samples.labels is not None:
            agrees = bool(samples.labels[index] == samples.labels[query])
            alt += f", label {samples.labels[index]}, {'same' if agrees else 'different'} label"
        tiles.append(Tile(images.data_uri(samples.thumbnails[index]), alt, agrees))
    return tiles


def embedding_map(samples: Samples | None) -> dict[str, Any]:
    """Points of both maps in a 100 x 100 square, one sheet of all thumbnails for the hover, a
    legend."""
    trouble = "" if samples is None else embedding.trouble(samples.features)
    if samples is None or trouble:
        return {"maps": [], "trouble": trouble}
    total = len(samples.thumbnails)
    colours = label_colours(samples.labels, total)
    maps = []
    for side, features in (("trained", samples.features), ("untrained", samples.random_features)):
        if embedding.trouble(features) is None:
            where = 3 + 94 * embedding.project(features)
            points = [
                (round(x, 1), round(100 - y, 1), c)
                for (x, y), c in zip(where.tolist(), colours, strict=True)
            ]
            maps.append({"side": side, "points": points})
    columns = math.ceil(math.sqrt(total))
    tiles = list(samples.thumbnails)
    sheet = images.sheet([tiles[i : i + columns] for i in range(0, total, columns)], _TILE, gap=0)
    return {
        "maps": maps,
        "trouble": None,
        "sheet": images.data_uri(sheet, longest=max(sheet.shape)),
        "columns": columns,
        "rows": math.ceil(total / columns),
        "labels": None if samples.labels is None else samples.labels.tolist(),
        "legend": _legend(samples.labels),
        "total": total,
    }


def _legend(labels: Array | None) -> list[tuple[int, str]]:
    """Labels with their colours; none where there are too many to tell apart."""
    known = [] if labels is None else sorted(label for label in set(labels.tolist()) if label >= 0)
    if not 0 < len(known) <= _MOST_LEGEND:
        return []
    return [(label, label_colour(place, len(known))) for place, label in enumerate(known)]
