"""Figures of an evaluation. One without numbers is left out."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from manta.report.evaluation.declared import declared_figures
from manta.report.evaluation.numbers import Number
from manta.report.evaluation.plots import bars, curves
from manta.report.parts.charts import Chart, paired_up

Known = Mapping[str, Number]
_WHISKERS = (
    "Whiskers are 95% intervals: how far other images of the same kind would move a number. "
    "What another training run would change is not in them."
)


def figures(
    known: Known, settings: Mapping[str, Mapping[str, Any]], bank_rows: int | None
) -> list[Chart]:
    """Return every figure that has numbers.

    Args:
        settings: of each evaluator, by its name.
        bank_rows: to which the k of nearest neighbours is clipped.
    """
    drawn = [
        _accuracies(known),
        _neighbours(known, settings.get("knn") or {}, bank_rows),
        *declared_figures(known),
    ]
    return paired_up([one for one in drawn if one is not None])


def _accuracies(known: Known) -> Chart | None:
    names = [n for n in known if re.search(r"_top\d+$", n) and not re.match(r"knn\d", n)]
    rows = [known[name] for name in names if not known[name].meaning.one_of_many]
    caption = "Share of images that were named correctly." + (
        f" {_WHISKERS}" if any(row.interval for row in rows) else ""
    )
    return bars(
        "accuracies", "Accuracies", caption, [(row.meaning.short, row) for row in rows], wide=True
    )


def _neighbours(known: Known, settings: Mapping[str, Any], bank_rows: int | None) -> Chart | None:
    stated: Any = settings.get("k")
    base: Any = stated[0] if isinstance(stated, list | tuple) and stated else stated
    at: dict[int, dict[int, Number]] = {1: {}, 5: {}}
    for name, number in known.items():
        if (match := re.fullmatch(r"knn(\d*)_top([15])", name)) and (
            match[1] or isinstance(base, int)
        ):
            k = int(match[1] or base)
            at[int(match[2])][min(k, bank_rows) if bank_rows else k] = number
    series = [
        (f"top-{top}", {str(k): found[k] for k in sorted(found)}) for top, found in at.items()
    ]
    caption = "Where classes lie apart, little is lost as more neighbours vote."
    return curves(
        "neighbours",
        "Accuracy over the number of neighbours",
        caption,
        "neighbours that vote",
        series,
    )
