"""Numbers, metrics and states in plain words."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from manta.evaluators import DescribedMetric, Kind

UNTRAINED = "random_"
"""Prefix of the untrained encoder's metrics: `manta.evaluators.UNTRAINED`, without PyTorch."""

FLOOR = "floor_"
"""Prefix of the metrics of features that nothing has learned: `manta.evaluators.FLOOR`."""
BESIDE = (UNTRAINED, FLOOR)

HEADLINES = ("knn_top1", "linear_top1")
"""Metrics that a page opens with where they are known."""

LOGGED = {
    "feature_rank": "Effective rank in a training batch",
    "loss": "Loss",
    "lr": "Learning rate",
    "weight_decay": "Weight decay",
    "gradient_norm": "Gradient norm",
    "images_per_second": "Images per second",
    "input_wait_fraction": "Fraction of time waiting for input",
}
"""Titles of what training logs. What evaluators measure, they describe themselves."""

STATES = {
    "finished": ("good", "finished"),
    "running": ("plain", "running"),
    "scheduled": ("plain", "running"),
    "stopped": ("bad", "stopped by the watch"),
    "failed": ("bad", "failed"),
    "killed": ("bad", "killed"),
    "interrupted": ("bad", "interrupted"),
}

_DIAGNOSES = [
    (
        ("finite", "nan", "inf", "diverge"),
        "A loss or gradient was no longer a finite number. What usually helps: a smaller "
        "optimizer.lr, a longer warm-up, train.clip=1.0, or train.precision=float32.",
    ),
    (
        ("collapse", "rank", "std"),
        "The features collapsed: every image was given nearly the same vector, so there was "
        "nothing left to learn. What usually helps: a smaller optimizer.lr, a larger "
        "train.batch_size, stronger views, or for a momentum teacher a momentum closer to 1.",
    ),
]


def about(metric: str) -> DescribedMetric:
    """Return what a metric is: see `manta.evaluators.describe_metric`."""
    # Imported here: it takes PyTorch along, a second that pages without metrics need not spend.
    from manta.evaluators import describe_metric

    return describe_metric(metric)


def title(metric: str) -> str:
    """Return a metric's name for people; the end of an unknown name stands as it is."""
    if metric in LOGGED:
        return LOGGED[metric]
    described = about(metric)
    if described.declared:
        return ", ".join(filter(None, [described.about.title, described.whose]))
    return metric.removeprefix("schedule/").removeprefix("loss/").replace("_", " ")


def is_fraction(metric: str) -> bool:
    """Return whether differences are told in points of a hundred, as those of accuracies."""
    return about(metric).about.kind == "fraction"


def number(value: float | None, metric: str = "") -> str:
    """Return a metric's value as text: three decimals for fractions, else three digits."""
    return formatted(value, fraction=bool(metric) and is_fraction(metric))


def formatted(value: float | None, *, fraction: bool = False) -> str:
    """Return three decimals for a fraction, else about three significant digits."""
    if value is None:
        return "–"
    if not math.isfinite(value):
        return "not finite"
    if fraction:
        return f"{value:.3f}"
    if value == int(value) and abs(value) < 1e6:
        return f"{int(value):,}"
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def change(value: float | None, reference: float | None, metric: str) -> str:
    """Return how far a metric is from `reference`, by its kind; by a factor if undeclared."""
    described = about(metric)
    known = described.declared or described.about.kind == "fraction"
    return difference(value, reference, described.about.kind if known else "factor")


def difference(value: float | None, reference: float | None, kind: Kind) -> str:
    """Return points of a hundred for fractions, a factor, or a difference.

    Empty for settings, and where either value is missing or not finite.
    """
    if value is None or reference is None or kind == "setting":
        return ""
    if not (math.isfinite(value) and math.isfinite(reference)):
        return ""
    if kind == "fraction":
        points = signed(100 * (value - reference))
        return f"{points} point{'' if points in ('+1', '−1') else 's'}"
    if kind == "factor" and value > 0 and reference > 0:
        return f"× {value / reference:.3g}"
    rounded = float(f"{value - reference:.2g}")
    sign = "−" if rounded < 0 else "+" if rounded > 0 else ""
    return f"{sign}{formatted(abs(rounded))}"


def most_telling(metrics: Sequence[str]) -> str | None:
    """Return the metric that a page opens with: an accuracy, or else a rank of the features.

    None where there is none but settings.
    """
    described = {name: about(name).about for name in metrics}
    scores = [name for name, one in described.items() if one.kind != "setting"]
    ranked = [
        *(name for name in HEADLINES if name in described),
        *(name for name in scores if name.endswith("_top1") and not described[name].one_of_many),
        *(name for name in scores if described[name].health and described[name].kind == "factor"),
        *scores,
    ]
    return next(iter(ranked), None)


def signed(value: float) -> str:
    """Return one decimal with a typographic sign; `21.0` is `+21`."""
    text = f"{abs(value):.1f}".removesuffix(".0")
    return text if float(text) == 0 else f"{'+' if value > 0 else '−'}{text}"


def duration(seconds: float | None) -> str:
    """Return a time in seconds, minutes or hours; empty for None."""
    if seconds is None:
        return ""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60:02d} min"


def count(value: Any) -> str:
    """Return millions as `4.9 M`, and thousands grouped."""
    if not isinstance(value, int | float):
        return "–"
    return f"{value / 1e6:.3g} M" if value >= 1e6 else f"{int(value):,}"


def explain(diagnosis: str | None) -> str:
    """Return what a diagnosis means and what usually helps; empty where that is not known."""
    text = (diagnosis or "").lower()
    for keys, meaning in _DIAGNOSES:
        if any(key in text for key in keys):
            return meaning
    return ""


def setting(value: Any) -> str:
    """Return a configuration value for a table; floats keep four significant digits."""
    if isinstance(value, list | tuple):
        return " ".join(map(setting, value))
    if value is None or isinstance(value, bool):
        return {None: "off", True: "yes", False: "no"}[value]
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def short_paths(paths: Iterable[str], longest: int = 24) -> dict[str, str]:
    """Return for each dotted path its last two parts, or as many as tell it from the others.

    What is longer than `longest` is cut at the front.
    """
    parts = {path: path.split(".") for path in sorted(set(paths))}
    short: dict[str, str] = {}
    for kept in range(2, 1 + max(2, *map(len, parts.values()), 0)):
        repeated = Counter(short.values())
        short = {
            path: short[path] if repeated[short.get(path, "")] == 1 else ".".join(names[-kept:])
            for path, names in parts.items()
        }
    cut = {
        path: name if len(name) <= longest else "…" + name[1 - longest :]
        for path, name in short.items()
    }
    repeated = Counter(cut.values())
    return {path: name if repeated[name] == 1 else short[path] for path, name in cut.items()}
