"""What a metric's name stands for, by the declarations of all evaluators."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from manta.evaluators._base import EVALUATORS
from manta.evaluators._metrics import FLOOR, UNTRAINED, Metric, matched

# Names of metrics that nobody declares, which are accuracies or other fractions of 1.
_FRACTION = re.compile(r".*(_top\d+|accuracy|_map|_nmi|_ari)")


@dataclass(frozen=True, slots=True)
class DescribedMetric:
    """A metric by its name.

    Attributes:
        name: without the prefix of the untrained encoder or of the floor.
        untrained: the name has the prefix of the untrained encoder.
        evaluator: registry name of the evaluator that gives it; empty where none does.
        about: its declaration, placeholders filled; of an undeclared metric, what its name tells.
        values: of the placeholders in its pattern.
        declared: an evaluator declares it.
        floor: the name has the prefix of the floor.
    """

    name: str
    untrained: bool
    evaluator: str
    about: Metric
    values: dict[str, str]
    declared: bool
    floor: bool = False

    @property
    def whose(self) -> str:
        """Whose number it is, in a word: "untrained", "floor"; empty: the encoder's itself."""
        return "untrained" if self.untrained else "floor" if self.floor else ""


def describe_metric(name: str) -> DescribedMetric:
    """Return what the metric `name` is.

    `random_<name>` is the untrained encoder's, `floor_<name>` of features that nothing has learned.

    A name that no evaluator declares is taken for a fraction where it ends like one (`_top1`,
    `accuracy`), and given to the evaluator with whose name it begins.
    """
    untrained, floor = name.startswith(UNTRAINED), name.startswith(FLOOR)
    bare = name.removeprefix(UNTRAINED).removeprefix(FLOOR)
    # Exact names come first: `layers_best_top1` is no layer named "best".
    for evaluator, kind in EVALUATORS.items():
        if bare in kind.metrics:
            about = kind.metrics[bare].filled({})
            return DescribedMetric(
                bare, untrained, evaluator, about, {}, declared=True, floor=floor
            )
    for evaluator, kind in EVALUATORS.items():
        for pattern, metric in kind.metrics.items():
            if (values := matched(pattern, bare)) is not None:
                about = metric.filled(values)
                return DescribedMetric(
                    bare, untrained, evaluator, about, values, declared=True, floor=floor
                )
    fraction = _FRACTION.fullmatch(bare) is not None
    about = Metric(
        bare.replace("_", " "),
        better="higher" if fraction else None,
        kind="fraction" if fraction else "number",
    ).filled({})
    return DescribedMetric(bare, untrained, _owner(bare), about, {}, declared=False, floor=floor)


def declared_metrics() -> Iterator[tuple[str, str, Metric]]:
    """Yield evaluator, name and declaration of every metric with a fixed name."""
    for evaluator, kind in EVALUATORS.items():
        for name, metric in kind.metrics.items():
            if "{" not in name:
                yield evaluator, name, metric


def describe_evaluator(name: str) -> tuple[str, str]:
    """Return an evaluator's title and a sentence on it, which may be empty."""
    if name not in EVALUATORS:
        return name.replace("_", " "), ""
    kind = EVALUATORS[name]
    return kind.title or name.replace("_", " "), kind.about


def _owner(metric: str) -> str:
    names = [name for name in EVALUATORS if re.match(rf"{re.escape(name)}(\d|_|$)", metric)]
    return max(names, key=len, default="")
