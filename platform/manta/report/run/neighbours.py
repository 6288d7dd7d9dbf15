"""The nearest neighbours of a few images, as the template of a run takes them."""

from __future__ import annotations

import math
from typing import Any

from manta.modalities import IMAGES, Noun
from manta.report.parts import embedding
from manta.report.parts.samples import Array, Samples
from manta.report.parts.tiles import Looks, Tile


def neighbour_rows(
    samples: Samples | None, noun: Noun = IMAGES, looks: Looks | None = None
) -> dict[str, Any]:
    """Return queries with their neighbours by both encoders, and how often labels agree.

    `trouble` says why there are none, and is empty without samples.
    """
    trouble = "" if samples is None else embedding.trouble(samples.features, noun.plural)
    if samples is None or trouble:
        return {"rows": [], "trouble": trouble}
    labels = samples.labels
    looks = looks or Looks(samples.thumbnails, samples.captions, samples.as_text)
    queries = embedding.queries(samples)
    sides: dict[str, Array] = {"trained": embedding.neighbours(samples.features, queries)}
    if embedding.trouble(samples.random_features) is None:
        sides["untrained"] = embedding.neighbours(samples.random_features, queries)
    agreement = {}
    if labels is not None:
        shares = {
            side: embedding.agreement(labels, queries, nearest) for side, nearest in sides.items()
        }
        agreement = shares if all(map(math.isfinite, shares.values())) else {}
    return {
        "rows": [
            _row(samples, looks, row, int(query), sides, noun) for row, query in enumerate(queries)
        ],
        "as_text": looks.as_text,
        "sounds": looks.played,
        "trouble": None,
        "sides": list(sides),
        "agreement": agreement,
        "shown": int(sides["trained"].shape[1]),
        "total": len(samples.thumbnails),
    }


def _row(
    samples: Samples, looks: Looks, row: int, query: int, sides: dict[str, Array], noun: Noun
) -> dict[str, Any]:
    label = "" if samples.labels is None else f", label {samples.named(samples.labels[query])}"
    own = looks.tile(query, f"Query {noun.singular} {row + 1}{label}")
    tiles = {side: _tiles(samples, looks, query, nearest[row]) for side, nearest in sides.items()}
    return {"query": own, "sides": tiles}


def _tiles(samples: Samples, looks: Looks, query: int, nearest: Array) -> list[Tile]:
    tiles = []
    for rank, row in enumerate(nearest.tolist(), start=1):
        alt, agrees = f"Neighbour {rank}", None
        if samples.labels is not None:
            label, other = samples.labels[row], samples.labels[query]
            alt += f", label {samples.named(label)}"
            if label >= 0 and other >= 0:
                agrees = bool(label == other)
                alt += f", {'same' if agrees else 'different'} label"
        tiles.append(looks.tile(row, alt, agrees))
    return tiles
