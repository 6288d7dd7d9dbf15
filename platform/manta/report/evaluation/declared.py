"""Figures that evaluators declare of their numbers."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace

from manta.evaluators import EVALUATORS, MetricFigure, describe_metric
from manta.modalities import Noun
from manta.report.evaluation.numbers import Number, shown
from manta.report.evaluation.plots import (
    add_ends,
    add_level,
    bar_figure,
    bar_trace,
    bars,
    curves,
)
from manta.report.parts.charts import Chart, real
from manta.report.parts.palette import LIGHT

_COUNTED = re.compile(r"([\d.]+(?:e[+-]?\d+)?)%?(?: .*)?")
"""Label that begins with a number, by which labels are then ordered."""


def declared_figures(known: Mapping[str, Number], noun: Noun) -> list[Chart]:
    """Return the figures that evaluators declare, in the order of the numbers.

    One with too few numbers is left out.
    """
    members: dict[tuple[str, str], list[Number]] = {}
    for name, number in known.items():
        described = describe_metric(name)
        if described.about.figure and not described.untrained:
            members.setdefault((described.evaluator, described.about.figure), []).append(number)
    charts = [
        _drawn(
            f"{evaluator}-{key}", _said(EVALUATORS[evaluator].figures[key], noun), numbers, known
        )
        for (evaluator, key), numbers in members.items()
    ]
    return [chart for chart in charts if chart is not None]


def _said(figure: MetricFigure, noun: Noun) -> MetricFigure:
    """Return a declaration in the words of the data's samples."""
    return replace(
        figure,
        title=noun.said(figure.title),
        caption=noun.said(figure.caption),
        axis=noun.said(figure.axis),
        level_note=noun.said(figure.level_note),
    )


def _drawn(
    name: str, figure: MetricFigure, numbers: Sequence[Number], known: Mapping[str, Number]
) -> Chart | None:
    if sum(number.finite for number in numbers) < figure.fewest:
        return None
    if figure.kind == "stack":
        return _stack(name, figure, numbers, known.get(figure.total))
    upright = figure.kind == "bars"
    chart = (_bars if upright else _curves)(name, figure, numbers)
    level = known.get(figure.level)
    if chart is None or level is None or not level.finite:
        return chart
    add_level(chart.figure, level.value, LIGHT.ink if upright else LIGHT.faint, upright=upright)
    if upright:
        furthest = max(level.value, *(_end(number) for number in numbers))
        chart.figure.update_xaxes(range=[0, 1.04 * furthest])
    value = shown(level.value, level.meaning.kind)
    note = f" The dotted line is {figure.level_note}, {value}."
    return replace(chart, caption=chart.caption + note)


def _curves(name: str, figure: MetricFigure, numbers: Sequence[Number]) -> Chart | None:
    series: dict[str, dict[str, Number]] = {}
    for number in _in_order(numbers):
        series.setdefault(number.meaning.line, {})[number.meaning.at] = number
    return curves(
        name,
        figure.title,
        figure.caption,
        figure.axis,
        list(series.items()),
        fewest=figure.fewest,
        zero=figure.zero,
    )


def _bars(name: str, figure: MetricFigure, numbers: Sequence[Number]) -> Chart | None:
    if figure.level:
        # Beside a level, the question is which ones fall short of it most.
        numbers = sorted(numbers, key=lambda one: -one.value if one.finite else math.inf)
    rows = [(number.meaning.at, number) for number in numbers]
    return bars(name, figure.title, figure.caption, rows)


def _stack(
    name: str, figure: MetricFigure, numbers: Sequence[Number], total: Number | None
) -> Chart:
    """Return one bar of parts, above the untrained encoder's where there is one."""
    paired = any(number.untrained is not None for number in numbers)
    rows = ["untrained", "trained"] if paired else [""]
    chart = bar_figure(len(rows) * 56 + 90)
    for place, number in enumerate(numbers):
        values = [number.untrained, number.value] if paired else [number.value]
        title, note = number.meaning.title, number.meaning.note
        colour = LIGHT.series[place % len(LIGHT.series)]
        bar = bar_trace(title, rows, values, [None] * len(rows), colour)
        bar.update(
            customdata=[f"{title} {shown(v, 'fraction')}<br>{note}" for v in values],
            text=[shown(v, "fraction") if (v or 0) > 0.03 else "" for v in values],
            textposition="inside",
            insidetextanchor="middle",
            insidetextfont={"color": LIGHT.card},
            textangle=0,
        )
        chart.add_trace(bar)
    if total is not None:
        own = {"trained" if paired else "": total.value}
        add_ends(chart, own | {"untrained": total.untrained})
    chart.update_layout(barmode="relative", legend_traceorder="normal")
    return Chart(figure.title, figure.caption, chart, wide=True, name=name)


def _in_order(numbers: Sequence[Number]) -> Sequence[Number]:
    """Return numbers in the order of their labels where those count, else as they are."""
    counts = [_COUNTED.fullmatch(number.meaning.at) for number in numbers]
    keys = [float(count[1]) for count in counts if count is not None]
    if len(keys) < len(numbers):
        return numbers
    return [numbers[place] for place in sorted(range(len(keys)), key=keys.__getitem__)]


def _end(number: Number) -> float:
    """Return how far to the right a number's bars and whiskers go."""
    reached = [
        number.value,
        number.untrained,
        *(number.interval or ()),
        *(number.untrained_interval or ()),
    ]
    return max((end for end in reached if real(end)), default=0.0)
