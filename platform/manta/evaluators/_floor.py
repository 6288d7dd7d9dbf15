"""Metrics beside their floor: what features give that nothing has learned."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, TypeVar

from manta.evaluators._base import EncoderEvaluator, Evaluator
from manta.evaluators._lookup import describe_metric
from manta.evaluators._metrics import BESIDE, FLOOR

N = TypeVar("N")


def of_floor(evaluator: Evaluator[Any]) -> bool:
    """Return whether it says something of features that nothing has learned.

    Not where it tries an encoder or augmented views, and where all that it tells is how healthy
    features are.
    """
    if isinstance(evaluator, EncoderEvaluator) or evaluator.required_views() is not None:
        return False
    return not evaluator.metrics or not all(one.health for one in evaluator.metrics.values())


def of_encoder(name: str, numbers: Mapping[str, N]) -> dict[str, N]:
    """Return an encoder's numbers by the names that they have among all: `<name>_` before them.

    Floors that an evaluator gives by itself (`floor_*`) depend on no encoder, and are those of the
    one without a name.
    """
    if not name:
        return dict(numbers)
    own = {key: value for key, value in numbers.items() if not key.startswith(FLOOR)}
    return {f"{name}_{key}": value for key, value in own.items()}


def lost_to_floor(metrics: Mapping[str, float]) -> list[str]:
    """Return the names of metrics by which the floor is the better one.

    Left out are those of which there are many, one for each layer or severity, those of which
    neither way is better, and deviations (`_std`): what scores badly everywhere deviates little.
    """
    lost = []
    for name, value in metrics.items():
        floor = metrics.get(f"{FLOOR}{name}")
        if name.startswith(BESIDE) or floor is None:
            continue
        about = describe_metric(name).about
        if about.one_of_many or name.endswith("_std") or about.better not in ("higher", "lower"):
            continue
        if math.isfinite(floor) and math.isfinite(value):
            ahead = floor - value if about.better == "higher" else value - floor
            lost += [name] if ahead > 0 else []
    return lost
