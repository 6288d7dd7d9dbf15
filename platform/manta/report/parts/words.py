"""Numbers and states in plain words."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable
from typing import Any

TITLES = {
    "knn_top1": "kNN top-1 accuracy",
    "knn_top5": "kNN top-5 accuracy",
    "linear_top1": "Linear probe top-1 accuracy",
    "linear_top5": "Linear probe top-5 accuracy",
    "rankme": "Effective rank",
    "feature_std": "Feature spread",
    "alpha_req": "Decay of the spectrum",
    "alpha_req_gap": "Spectrum's decay from 1",
    "lidar": "LiDAR rank",
    "silhouette": "Silhouette of clusters",
    "feature_rank": "Effective rank in a training batch",
    "loss": "Loss",
    "lr": "Learning rate",
    "weight_decay": "Weight decay",
    "gradient_norm": "Gradient norm",
    "images_per_second": "Images per second",
    "input_wait_fraction": "Fraction of time waiting for input",
}

NOTES = {
    "rankme": "RankMe: how many dimensions the features use",
    "alpha_req": "alpha-ReQ: best near 1",
    "alpha_req_gap": "alpha-ReQ: how far the decay is from 1",
    "lidar": "how many directions tell augmented samples apart",
    "silhouette": "in a UMAP of the features",
    "feature_std": "1 is even over the sphere, 0 is collapsed",
}

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
        "A loss or gradient was no longer a finite number. What usually helps: a smaller optimizer.lr, a longer "
        "warm-up, train.clip=1.0, or train.precision=float32.",
    ),
    (
        ("collapse", "rank", "std"),
        "The features collapsed: every image was given nearly the same vector, so there was nothing left to learn. "
        "What usually helps: a smaller optimizer.lr, a larger train.batch_size, stronger views, or for a momentum "
        "teacher a momentum closer to 1.",
    ),
]


def title(metric: str) -> str:
    """A metric's name for people; names that are not known stand as they are."""
    known = TITLES.get(metric)
    return known or metric.removeprefix("schedule/").removeprefix("loss/").replace("_", " ")


def is_fraction(metric: str) -> bool:
    """Whether differences are told in points of a hundred: accuracies."""
    return bool(re.search(r"(_top\d+|accuracy|_map|_nmi|_ari)$", metric))


def number(value: float | None, metric: str = "") -> str:
    """Three decimals for a fraction, else about three significant digits."""
    if value is None:
        return "–"
    if not math.isfinite(value):
        return "not finite"
    if is_fraction(metric):
        return f"{value:.3f}"
    if value == int(value) and abs(value) < 1e6:
        return f"{int(value):,}"
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def change(trained: float | None, untrained: float | None, metric: str) -> str:
    """What training did to a metric: points for fractions, a factor otherwise."""
    if (
        trained is None
        or untrained is None
        or not (math.isfinite(trained) and math.isfinite(untrained))
    ):
        return ""
    if is_fraction(metric):
        return f"{signed(100 * (trained - untrained))} points"
    return f"× {trained / untrained:.3g}" if untrained > 0 else signed(trained - untrained)


def signed(value: float) -> str:
    """One decimal with a typographic sign; `21.0` is `+21`."""
    text = f"{abs(value):.1f}".removesuffix(".0")
    return text if float(text) == 0 else f"{'+' if value > 0 else '−'}{text}"


def duration(seconds: float | None) -> str:
    if seconds is None:
        return ""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60:02d} min"


def count(value: Any) -> str:
    """Millions as `4.9 M`, thousands grouped."""
    if not isinstance(value, int | float):
        return "–"
    return f"{value / 1e6:.3g} M" if value >= 1e6 else f"{int(value):,}"


def explain(diagnosis: str | None) -> str:
    """What a diagnosis means and what usually helps."""
    words = (diagnosis or "").lower()
    for keys, meaning in _DIAGNOSES:
        if any(key in words for key in keys):
            return meaning
    return ""


def setting(value: Any) -> str:
    """A configuration value in a table; numbers that a search drew keep four significant digits."""
    if isinstance(value, list | tuple):
        return " ".join(map(setting, value))
    if value is None or isinstance(value, bool):
        return {None: "off", True: "yes", False: "no"}[value]
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def short_paths(paths: Iterable[str], longest: int = 24) -> dict[str, str]:
    """Dotted path -> its last two parts, or as many as tell it from the others; cut at the front
    beyond `longest`."""
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
