"""The map of images by their features, as the templates of pages take it."""

from __future__ import annotations

import math
from typing import Any

from manta.modalities import IMAGES, Noun
from manta.report.parts import embedding, images
from manta.report.parts.palette import label_colour, label_colours
from manta.report.parts.samples import Array, Samples

_TILE = 40
_MOST_LEGEND = 12


def embedding_map(samples: Samples | None, noun: Noun = IMAGES) -> dict[str, Any]:
    """Return the maps by the trained and by the untrained encoder, in a 100 x 100 square.

    With them stand one sheet of all thumbnails, which the page shows under the pointer, and a
    legend. `trouble` says why there is no map, and is empty without samples.
    """
    trouble = "" if samples is None else embedding.trouble(samples.features, noun.plural)
    if samples is None or trouble:
        return {"maps": [], "trouble": trouble}
    total, labels = len(samples.thumbnails), samples.labels
    columns = math.ceil(math.sqrt(total))
    tiles = list(samples.thumbnails)
    rows = [tiles[start : start + columns] for start in range(0, total, columns)]
    sheet = images.sheet(rows, _TILE, gap=0)
    return {
        "maps": _maps(samples),
        "trouble": None,
        "sheet": images.data_uri(sheet, longest=max(sheet.shape)),
        "columns": columns,
        "rows": len(rows),
        "labels": None if labels is None else list(map(samples.named, labels.tolist())),
        "captions": samples.captions,
        "as_text": samples.as_text,
        "legend": [(samples.named(label), colour) for label, colour in _legend(samples.labels)],
        "total": total,
    }


def _maps(samples: Samples) -> list[dict[str, Any]]:
    """Return one map for each encoder whose features can be shown."""
    colours = label_colours(samples.labels, len(samples.thumbnails))
    encoders = {"trained": samples.features, "untrained": samples.random_features}
    maps = []
    for side, features in encoders.items():
        if embedding.trouble(features) is None:
            # The margin keeps points whole; y goes up on a map and down on a page.
            places = (3 + 94 * embedding.project(features)).tolist()
            points = [
                (round(x, 1), round(100 - y, 1), colour)
                for (x, y), colour in zip(places, colours, strict=True)
            ]
            maps.append({"side": side, "points": points})
    return maps


def _legend(labels: Array | None) -> list[tuple[int, str]]:
    """Return labels with their colours; none where there are too many to tell apart."""
    named = [] if labels is None else sorted(one for one in set(labels.tolist()) if one >= 0)
    if not 0 < len(named) <= _MOST_LEGEND:
        return []
    return [(label, label_colour(place, len(named))) for place, label in enumerate(named)]
