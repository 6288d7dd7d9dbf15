"""Figures of an evaluation. One without numbers is left out."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from manta.modalities import IMAGES, Noun
from manta.report.evaluation.declared import declared_figures
from manta.report.evaluation.numbers import Number
from manta.report.evaluation.plots import bars, curves
from manta.report.parts.charts import Chart, paired_up

Numbers = Mapping[str, Number]
_WHISKERS = (
    "Whiskers are 95% intervals: how far other images of the same kind would move a number. "
    "What another training run would change is not in them."
)


def figures(
    numbers: Numbers,
    settings: Mapping[str, Mapping[str, Any]],
    bank_rows: int | None,
    noun: Noun = IMAGES,
) -> list[Chart]:
    """Return every figure that has numbers.

    Args:
        settings: of each evaluator, by its name.
        bank_rows: to which the k of nearest neighbours is clipped.
    """
    charts = [
        _accuracies(numbers, noun),
        _neighbours(numbers, settings.get("knn") or {}, bank_rows),
        *declared_figures(numbers, noun),
    ]
    return paired_up([chart for chart in charts if chart is not None])


def _accuracies(numbers: Numbers, noun: Noun) -> Chart | None:
    names = [n for n in numbers if re.search(r"_top\d+$", n) and not re.match(r"knn\d", n)]
    rows = [numbers[name] for name in names if not numbers[name].meaning.one_of_many]
    caption = "Share of images that were named correctly." + (
        f" {_WHISKERS}" if any(row.interval for row in rows) else ""
    )
    return bars(
        "accuracies",
        "Accuracies",
        noun.said(caption),
        [(row.meaning.short, row) for row in rows],
        wide=True,
    )


def _neighbours(
    numbers: Numbers, settings: Mapping[str, Any], bank_rows: int | None
) -> Chart | None:
    set_to: Any = settings.get("k")
    first: Any = set_to[0] if isinstance(set_to, list | tuple) and set_to else set_to
    by_top: dict[int, dict[int, Number]] = {1: {}, 5: {}}
    for name, number in numbers.items():
        match = re.fullmatch(r"knn(\d*)_top([15])", name)
        # The first k that is set stands in no name.
        if match and (match[1] or isinstance(first, int)):
            k = int(match[1] or first)
            by_top[int(match[2])][min(k, bank_rows) if bank_rows else k] = number
    series = [
        (f"top-{top}", {str(k): points[k] for k in sorted(points)})
        for top, points in by_top.items()
    ]
    caption = "Where classes lie apart, little is lost as more neighbours vote."
    return curves(
        "neighbours",
        "Accuracy over the number of neighbours",
        caption,
        "neighbours that vote",
        series,
    )
