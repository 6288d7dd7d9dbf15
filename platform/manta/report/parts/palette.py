"""The one palette of all pages and plots, for a light and for a dark ground.

Figures are made in the colours of `LIGHT`. A page's script exchanges each for the one in the same
place of `DARK` when the reader's screen is dark, and the page's style sheet gets both as variables.
"""

from __future__ import annotations

import colorsys
from collections.abc import Iterator
from dataclasses import dataclass, fields

from manta.report.parts.samples import Array


@dataclass(frozen=True, slots=True)
class Palette:
    """Colours by role, as `#rrggbb`.

    Attributes:
        ground, card: of the page, and of the boxes on it.
        ink, quiet, faint: of text, from the most to the least visible.
        rule: lines between things, and grids.
        accent, bad, bad_ground: gains, losses, and the box that tells of a failure.
        series: lines of a figure; the first is what the run trained.
    """

    ground: str
    card: str
    ink: str
    quiet: str
    faint: str
    rule: str
    accent: str
    bad: str
    bad_ground: str
    series: tuple[str, ...]


LIGHT = Palette(
    ground="#f7f8f8",
    card="#ffffff",
    ink="#1d2329",
    quiet="#5c666f",
    faint="#7d8790",
    rule="#e3e6e8",
    accent="#0f766e",
    bad="#b3372f",
    bad_ground="#fbeeed",
    series=("#0f766e", "#b4540a", "#5b50b8", "#2f6fb3", "#a3326b"),
)
DARK = Palette(
    ground="#101417",
    card="#181d21",
    ink="#e6eaed",
    quiet="#a3adb5",
    faint="#87929b",
    rule="#2a3238",
    accent="#4cc9b8",
    bad="#f08a80",
    bad_ground="#2c1c1b",
    series=("#4cc9b8", "#e8995a", "#a79df0", "#76b0ea", "#e683b3"),
)
SCALE = ("#c9b79c", "#7fb0a6", "#13958a")
"""From poor to good. It is interpolated, so it has no dark twin: it is seen on both grounds."""

_LABELS = (
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


def dark_twins() -> dict[str, str]:
    """Return the dark colour of each light one."""
    return {light: dark for (_, light), (_, dark) in zip(_roles(LIGHT), _roles(DARK), strict=True)}


def css_variables(palette: Palette) -> str:
    """Return the palette as CSS declarations: `--ground: #f7f8f8; ... --series-4: #a3326b;`."""
    return " ".join(f"--{role}: {colour};" for role, colour in _roles(palette))


def _roles(palette: Palette) -> Iterator[tuple[str, str]]:
    for one in fields(palette):
        value = getattr(palette, one.name)
        if one.name == "series":
            yield from ((f"series-{place}", colour) for place, colour in enumerate(value))
        else:
            yield one.name.replace("_", "-"), value


def label_colour(label: int, classes: int) -> str:
    """Return the colour of a label, which counts from 0 and is seen on both grounds.

    Up to ten classes have colours that are easily told apart; more have hues a golden angle apart.
    """
    if label < 0:
        return UNLABELLED
    if classes <= len(_LABELS):
        return _LABELS[label % len(_LABELS)]
    red, green, blue = colorsys.hls_to_rgb(label * _GOLDEN_ANGLE % 1.0, 0.52, 0.5)
    return f"#{round(red * 255):02x}{round(green * 255):02x}{round(blue * 255):02x}"


def label_colours(labels: Array | None, total: int) -> list[str]:
    """Return one colour for each of `total` images; labels below 0 count as none."""
    if labels is None:
        return [UNLABELLED] * total
    classes = sorted(label for label in set(labels.tolist()) if label >= 0)
    place = {label: index for index, label in enumerate(classes)}
    return [label_colour(place.get(label, -1), len(place)) for label in labels.tolist()]
