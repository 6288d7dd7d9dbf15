"""What a study may optimise, with labels and without."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from manta.config import Experiment, from_mapping
from manta.errors import ConfigError, did_you_mean


@dataclass(frozen=True, slots=True)
class Metric:
    """A number that says which of two trials is better.

    Attributes:
        name: as evaluations and logs call it.
        evaluator: that measures it; None where training itself does.
        worst: what a trial without a number counts as.
        about: one line for people.
    """

    name: str
    mode: Literal["max", "min"]
    evaluator: str | None
    needs_labels: bool
    worst: float
    about: str

    @property
    def sign(self) -> int:
        """What makes larger better."""
        return 1 if self.mode == "max" else -1


METRICS = {
    one.name: one
    for one in (
        Metric(
            "knn_top1", "max", "knn", True, 0.0, "accuracy of k nearest neighbours on held-out rows"
        ),
        Metric(
            "linear_top1", "max", "linear", True, 0.0, "accuracy of a linear probe on held-out rows"
        ),
        Metric("rankme", "max", "rank", False, 1.0, "RankMe: how many dimensions the features use"),
        Metric(
            "alpha_req_gap",
            "min",
            "alpha_req",
            False,
            10.0,
            "alpha-ReQ: how far the spectrum's decay is from 1",
        ),
        Metric(
            "lidar",
            "max",
            "lidar",
            False,
            1.0,
            "LiDAR: how many directions tell augmented samples apart",
        ),
        Metric(
            "silhouette",
            "max",
            "silhouette",
            False,
            -1.0,
            "silhouette of clusters in a UMAP of the features",
        ),
        Metric(
            "images_per_second",
            "max",
            None,
            False,
            0.0,
            "training speed; for a study of several metrics",
        ),
    )
}
REFERENCE = "knn_top1"
"""What metrics without labels are compared with."""
ALIASES = {"alpha_req": "alpha_req_gap"}
"""alpha-ReQ itself is best neither large nor small, but near 1."""


def metric(name: str) -> Metric:
    """The metric of a name, or of another name for it.

    Raises:
        ConfigError: there is none; for losses with the reason.
    """
    known = METRICS.get(ALIASES.get(name, name))
    if known is not None:
        return known
    if name == "loss" or name.startswith("loss/") or name.endswith(("_loss", "/loss")):
        raise ConfigError(
            f"{name} cannot be a study's metric: under another temperature or objective it is on another scale, and a "
            f"lower loss often means a worse encoder; use {_choice(True)}, or without labels {_choice(False)}"
        )
    raise ConfigError(f"no metric is named {name!r}{did_you_mean(name, [*METRICS, *ALIASES])}")


def metrics_for(names: Sequence[str], labelled: bool) -> list[Metric]:
    """The metrics of a study, first first.

    Raises:
        ConfigError: none or one twice, one that does not exist, or one that needs labels where
            there are none.
    """
    chosen = [metric(name) for name in names]
    if not chosen:
        raise ConfigError(f"a study needs a metric; one of {', '.join(METRICS)}")
    for place, one in enumerate(chosen):
        if one in chosen[:place]:
            raise ConfigError(f"the metric {one.name} is named twice; leave one out")
        if one.needs_labels and not labelled:
            raise ConfigError(
                f"{one.name} needs labels, which the data do not have; use {_choice(False)}"
            )
    return chosen


def with_evaluators(
    experiment: Experiment, metrics: Sequence[Metric], *, every: float | None
) -> Experiment:
    """The experiment with those evaluators that the metrics need, every `every` epochs; None: only
    at the end.

    The recipe's own settings of an evaluator are kept. Checkpoints are selected by the first metric
    of which larger is better; where there is none, by what the recipe says, which is then not
    measured, so that the newest is the best.
    """
    tree = experiment.model_dump(mode="json")
    own = {entry["name"]: entry for entry in tree["evaluation"]["evaluators"]}
    measured = [one for one in metrics if one.evaluator is not None]
    names = dict.fromkeys(one.evaluator for one in measured)
    tree["evaluation"]["evaluators"] = [
        own.get(name, {"name": name}) | {"every": every} for name in names
    ]
    select = next((one.name for one in measured if one.mode == "max"), experiment.evaluation.select)
    tree["evaluation"]["select"] = select
    return from_mapping(tree)


def kendall(trials: Sequence[Mapping[str, float]], reference: str) -> dict[str, float]:
    """Kendall's tau-b between `reference` and every metric that judges encoders without labels,
    over the trials with both: 1 where the metric ranks trials as the reference does, whether larger
    or smaller is better.

    Absent are metrics of fewer than three such trials, or without a difference between them.
    """
    from scipy.stats import kendalltau

    truth = metric(reference)
    found: dict[str, float] = {}
    for one in METRICS.values():
        if one.needs_labels or one.evaluator is None or one == truth:
            continue
        both = [
            (trial.get(one.name, math.nan), trial.get(truth.name, math.nan)) for trial in trials
        ]
        pairs = [pair for pair in both if all(map(math.isfinite, pair))]
        if len(pairs) < 3:
            continue
        tau = float(kendalltau(*zip(*pairs, strict=True)).statistic)
        if math.isfinite(tau):
            found[one.name] = one.sign * truth.sign * tau
    return found


def _choice(labelled: bool) -> str:
    """Names of the metrics that judge encoders, with labels or without."""
    return ", ".join(
        one.name
        for one in METRICS.values()
        if one.evaluator is not None and one.needs_labels == labelled
    )
