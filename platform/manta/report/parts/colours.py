"""Colours for labels that read on a light and on a dark page."""

from __future__ import annotations

import colorsys

from manta.report.parts.samples import Array

_TEN = (
    "#3b82c4",
    "#e07b39",
    "#2f9e72",
    "#c94f7c",
    "#8168c9",
    "#b8962e",
    "#4fa8b5",
    "#a65f46",
    "#7f9a3c",
    "#8a8f98",
)
UNLABELLED = "#3f8f8a"
_GOLDEN_ANGLE = 0.38196601125


def colour_of(label: int, classes: int) -> str:
    """A colour for a label from 0; ten that are easily told apart, or hues a golden angle apart."""
    if label < 0:
        return UNLABELLED
    if classes <= len(_TEN):
        return _TEN[label % len(_TEN)]
    red, green, blue = colorsys.hls_to_rgb(label * _GOLDEN_ANGLE % 1.0, 0.52, 0.5)
    return f"#{round(red * 255):02x}{round(green * 255):02x}{round(blue * 255):02x}"


def label_colours(labels: Array | None, total: int) -> list[str]:
    """One colour for each of `total` images."""
    if labels is None:
        return [UNLABELLED] * total
    known = sorted(set(labels.tolist()))
    place = {label: index for index, label in enumerate(label for label in known if label >= 0)}
    return [colour_of(place.get(label, -1), len(place)) for label in labels.tolist()]
