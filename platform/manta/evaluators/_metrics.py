"""Declarations of the metrics that evaluators give.

An evaluator maps the name of each of its metrics to a `Metric`. Where there is one for every k or
every layer, the name is a pattern with placeholders, written as `str.format` takes them:

    "knn{k:d}_top1"         digits
    "finetune_{share:g}pct" a number
    "layers_{layer}_top1"   any text

Pages, consoles, model cards and studies read the declarations through
`manta.evaluators.describe_metric`, so that a new evaluator needs no edit anywhere else.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from typing import Literal

Better = Literal["higher", "lower", "near 1"]
Kind = Literal["fraction", "factor", "number", "setting"]

UNTRAINED = "random_"
"""Prefix of a metric of the untrained encoder."""

FLOOR = "floor_"
"""Prefix of a metric of features that nothing has learned, such as colour histograms."""
BESIDE = (UNTRAINED, FLOOR)
"""Prefixes of metrics that are shown beside those of the encoder that is evaluated."""

_PLACEHOLDER = re.compile(r"\{(\w+)(?::([dg]))?\}")
_FORMS = {"d": r"\d+", "g": r"[\d.e+-]+", None: r".+"}


@dataclass(frozen=True, slots=True)
class Metric:
    """Declaration of a number that an evaluator gives.

    Texts may hold the placeholders of the metric's pattern, without a form: `{k}`.

    Attributes:
        title: what people call it.
        note: a sentence on what it says.
        short: title on the axis of a figure; empty: `title`.
        better: which way a better encoder moves it; None where neither way is better.
        kind: how differences are told: "fraction" in points of a hundred, "factor" as a ratio,
            "number" as a difference; "setting" is no score but was chosen, and has none.
        health: it needs no labels and says how features lie in their space.
        one_of_many: there is one for each layer, corruption or severity; pages fold them.
        worst: what a trial without the number counts as in a study, which may then optimise it;
            None: no study optimises it.
        optimised_as: name of the metric that a study optimises in its place.
        figure: the evaluator's `MetricFigure` that shows it, by its key; empty: none.
        at: its label in that figure, such as "{k}"; empty: `short`.
        line: the line of curves that it is a point of.
    """

    title: str
    note: str = ""
    short: str = ""
    better: Better | None = None
    kind: Kind = "number"
    health: bool = False
    one_of_many: bool = False
    worst: float | None = None
    optimised_as: str = ""
    figure: str = ""
    at: str = ""
    line: str = ""

    @property
    def direction(self) -> str:
        """Which way is better, as a sentence."""
        if self.kind == "setting":
            return "A setting that was chosen, not a score."
        if self.better == "near 1":
            return "Best near 1."
        if self.better is None:
            return "Neither way is better by itself." if self.note else ""
        return f"{self.better.capitalize()} is better."

    def filled(self, values: Mapping[str, str]) -> Metric:
        """Return the same with values for the placeholders in its texts."""
        texts = {key: value.replace("_", " ") for key, value in values.items()}
        return replace(
            self,
            title=self.title.format(**texts),
            note=self.note.format(**texts),
            short=(self.short or self.title).format(**texts),
            at=(self.at or self.short or self.title).format(**texts),
            line=self.line.format(**texts),
        )


@dataclass(frozen=True, slots=True)
class MetricFigure:
    """Declaration of a figure that the page of an evaluation draws of an evaluator's numbers.

    Attributes:
        title: above the figure.
        caption: a sentence or two beneath the title.
        kind: "curves" over labels, "bars" beside each other, or "stack": parts of a whole.
        axis: of curves, what the labels are.
        fewest: numbers below which nothing is drawn.
        zero: whether the values of curves begin at 0.
        level: metric whose value a dotted line shows.
        level_note: what that line is, after "The dotted line is".
        total: of a stack, the metric that is the sum of its parts.
    """

    title: str
    caption: str
    kind: Literal["curves", "bars", "stack"] = "curves"
    axis: str = ""
    fewest: int = 2
    zero: bool = False
    level: str = ""
    level_note: str = ""
    total: str = ""


def matched(pattern: str, name: str) -> dict[str, str] | None:
    """Return the placeholders' values where `name` is of `pattern`; else None."""
    match = _compiled(pattern).fullmatch(name)
    return None if match is None else match.groupdict()


@cache
def _compiled(pattern: str) -> re.Pattern[str]:
    expression, end = "", 0
    for place in _PLACEHOLDER.finditer(pattern):
        expression += re.escape(pattern[end : place.start()])
        expression += f"(?P<{place[1]}>{_FORMS[place[2]]})"
        end = place.end()
    return re.compile(expression + re.escape(pattern[end:]))
