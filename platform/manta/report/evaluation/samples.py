"""Images of an evaluation: their map, their nearest neighbours, and what was taken for what."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from manta.modalities import IMAGES, Noun
from manta.report.parts import embedding
from manta.report.parts.embedding_map import embedding_map
from manta.report.parts.samples import Array, Samples
from manta.report.parts.tiles import Looks, Tile

_MOST = 1_500
_PAIRS, _SHOWN = 6, 8
_RIGHT, _WRONG = "var(--rule)", "var(--bad)"
_UNKNOWN = "no label"


@dataclass(frozen=True, slots=True)
class Pictures:
    """Images with their features.

    Attributes:
        thumbnails: `[S, h, w, 3]` uint8.
        features: `[S, D]` float32.
        labels, predictions: `[S]` int64, or None where they are not known; below 0 where there is
            none.
        classes: names of labels from 0.
        looks: what the images look and sound like.
    """

    thumbnails: Array
    features: Array
    labels: Array | None
    classes: list[str] | None
    predictions: Array | None
    looks: Looks

    def named(self, label: int) -> str:
        """Return a label's class, or its number."""
        if label < 0:
            return _UNKNOWN
        return self.classes[label] if self.classes and label < len(self.classes) else str(label)

    @property
    def wrong(self) -> Array | None:
        """`[S]` bool: which images were taken for another class; None where that is not known."""
        if self.labels is None or self.predictions is None:
            return None
        wrong: Array = (self.predictions != self.labels) & (self.labels >= 0)
        return wrong


def pictures(samples: Mapping[str, Any] | None, *, as_text: bool = False) -> Pictures | None:
    """Return the images to show, evenly thinned where a page cannot hold all.

    None without images or features.
    """
    if samples is None or samples.get("thumbnails") is None or samples.get("features") is None:
        return None
    thumbnails, features = np.asarray(samples["thumbnails"]), np.asarray(samples["features"])
    if not len(thumbnails) or len(thumbnails) != len(features):
        return None
    kept = np.unique(np.linspace(0, len(features) - 1, min(_MOST, len(features))).astype(np.int64))

    def part(name: str) -> Array | None:
        values = samples.get(name)
        return None if values is None else np.asarray(values).astype(np.int64)[kept]

    classes = samples.get("classes")
    names = None if classes is None else [str(name) for name in classes]
    looks = Looks.of(samples, as_text=as_text).taken(kept)
    predictions = part("predictions")
    return Pictures(looks.thumbnails, features[kept], part("labels"), names, predictions, looks)


def chart(shown: Pictures, noun: Noun = IMAGES) -> dict[str, Any]:
    """Return the map as the template of a run takes it, with the names of classes.

    `marks` holds the colours of right and wrong.
    """
    # Stands for the untrained encoder's: the map of features that are all alike is left out.
    nothing = np.zeros_like(shown.features)
    looks = shown.looks
    samples = Samples(
        shown.thumbnails,
        shown.features,
        nothing,
        shown.labels,
        shown.classes,
        looks.captions,
        looks.as_text,
    )
    context = embedding_map(samples, noun)
    if not context["maps"]:
        return context
    rows, wrong = range(context["total"]), shown.wrong
    context["labels"] = None if shown.labels is None else [_caption(shown, row) for row in rows]
    marks = None if wrong is None else [_WRONG if one else _RIGHT for one in wrong.tolist()]
    context["marks"] = marks
    return context


def neighbours(shown: Pictures, noun: Noun = IMAGES) -> dict[str, Any]:
    """Return a few images, each with the nearest others.

    `agreement` is how often those share its class.
    """
    if (trouble := embedding.trouble(shown.features, noun.plural)) is not None:
        return {"rows": [], "trouble": trouble}
    nothing = np.zeros_like(shown.features)
    chosen = embedding.queries(Samples(shown.thumbnails, shown.features, nothing, shown.labels))
    nearest = embedding.neighbours(shown.features, chosen)
    rows = [
        {
            "query": _tile(shown, query, None, noun),
            "name": _name(shown, query),
            "tiles": [_tile(shown, o, query, noun) for o in near],
        }
        for query, near in zip(chosen.tolist(), nearest.tolist(), strict=True)
    ]
    agreement = None
    if shown.labels is not None:
        share = embedding.agreement(shown.labels, chosen, nearest)
        agreement = share if math.isfinite(share) else None
    return {
        "rows": rows,
        "trouble": None,
        "agreement": agreement,
        "as_text": shown.looks.as_text,
        "shown": int(nearest.shape[1]),
        "total": len(shown.thumbnails),
    }


def mistakes(shown: Pictures) -> dict[str, Any] | None:
    """Return the pairs of classes that are taken for each other most, with images.

    None where predictions are not known.
    """
    wrong = shown.wrong
    if wrong is None or shown.labels is None or shown.predictions is None:
        return None
    rows = np.flatnonzero(wrong)
    pairs = Counter(zip(shown.labels[rows].tolist(), shown.predictions[rows].tolist(), strict=True))
    sizes = Counter(shown.labels.tolist())
    shown_pairs = []
    most_frequent = sorted(pairs.items(), key=lambda pair: (-pair[1], pair[0]))[:_PAIRS]
    for (label, taken), count in most_frequent:
        members = rows[(shown.labels[rows] == label) & (shown.predictions[rows] == taken)][:_SHOWN]
        alt = f"{shown.named(label)}, taken for {shown.named(taken)}"
        shown_pairs.append(
            {
                "label": shown.named(label),
                "taken": shown.named(taken),
                "count": count,
                "of": sizes[label],
                "tiles": [shown.looks.tile(row, alt) for row in members.tolist()],
            }
        )
    return {
        "pairs": shown_pairs,
        "kinds": len(pairs),
        "wrong": len(rows),
        "total": int((shown.labels >= 0).sum()),
    }


def _tile(shown: Pictures, row: int, query: int | None, noun: Noun) -> Tile:
    """Return an image; beside a query, with whether it has the same label."""
    agrees = None
    if query is not None and shown.labels is not None:
        label, other = shown.labels[row], shown.labels[query]
        agrees = bool(label == other) if label >= 0 and other >= 0 else None
    name = _name(shown, row)
    same = {True: ", the same class", False: ", another class", None: ""}[agrees]
    alt = f"{noun.singular.capitalize()} {name}".strip() + same
    return shown.looks.tile(row, alt, agrees)


def _name(shown: Pictures, row: int) -> str:
    return "" if shown.labels is None else shown.named(int(shown.labels[row]))


def _caption(shown: Pictures, row: int) -> str:
    name, wrong = _name(shown, row), shown.wrong
    if wrong is None or shown.predictions is None or not wrong[row]:
        return name
    return f"{name}, taken for {shown.named(int(shown.predictions[row]))}"
