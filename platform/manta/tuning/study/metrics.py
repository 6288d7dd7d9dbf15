"""Metrics that a study may optimise, with labels and without."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from manta.config import Experiment
from manta.errors import ConfigError, did_you_mean
from manta.evaluators import (
    EVALUATORS,
    EncoderEvaluator,
    LabelCounts,
    build,
    declared_metrics,
    describe_metric,
)


@dataclass(frozen=True, slots=True)
class StudyMetric:
    """Number by which a study tells which of two trials is better.

    Attributes:
        name: as evaluations and logs call it.
        evaluator: registry name of the evaluator that measures it; None where training itself does.
        worst: what a trial without the number counts as.
    """

    name: str
    mode: Literal["max", "min"]
    evaluator: str | None
    needs_labels: bool
    worst: float

    @property
    def sign(self) -> int:
        """What makes larger better."""
        return 1 if self.mode == "max" else -1


REFERENCE = "knn_top1"
"""Metric that those without labels are compared with."""

SPEED = StudyMetric("images_per_second", "max", None, needs_labels=False, worst=0.0)
"""Training speed; for a study of several metrics."""


def study_metrics() -> dict[str, StudyMetric]:
    """Return all metrics that a study may optimise, by name.

    These are the metrics of a fixed name whose evaluator declares a direction and a worst value,
    and the training speed. Evaluators of the encoder itself run only after training, so a study has
    nothing of theirs to compare on the way.
    """
    metrics = {}
    for evaluator, name, declared in declared_metrics():
        kind = EVALUATORS[evaluator]
        if declared.worst is None or declared.better not in ("higher", "lower"):
            continue
        if not issubclass(kind, EncoderEvaluator):
            mode: Literal["max", "min"] = "max" if declared.better == "higher" else "min"
            labels = kind.needs_labels
            metrics[name] = StudyMetric(name, mode, evaluator, labels, declared.worst)
    return metrics | {SPEED.name: SPEED}


def metric(name: str) -> StudyMetric:
    """Return the metric of a name, or the one that a study optimises in its place.

    Raises:
        ConfigError: there is none; for losses, settings and others with the reason.
    """
    metrics = study_metrics()
    described = describe_metric(name)
    optimised = described.about.optimised_as or name
    if optimised in metrics:
        return metrics[optimised]
    if name == "loss" or name.startswith("loss/") or name.endswith(("_loss", "/loss")):
        raise ConfigError(
            f"{name} cannot be a study's metric: under another temperature or objective it is on "
            "another scale, and a lower loss often means a worse encoder; "
            f"use {_choice(True)}, or without labels {_choice(False)}"
        )
    if described.declared:
        raise ConfigError(
            f"{name} cannot be a study's metric: evaluator {described.evaluator!r} declares no "
            f"worst value for it; use {_choice(True)}, or without labels {_choice(False)}"
        )
    raise ConfigError(f"no metric is named {name!r}{did_you_mean(name, metrics)}")


def metrics_for(names: Sequence[str], labelled: bool) -> list[StudyMetric]:
    """Return the metrics of a study; the first is primary.

    Raises:
        ConfigError: none or one twice, one that does not exist, or one that needs labels where
            there are none.
    """
    chosen = [metric(name) for name in names]
    if not chosen:
        raise ConfigError(f"a study needs a metric; one of {', '.join(study_metrics())}")
    for place, one in enumerate(chosen):
        if one in chosen[:place]:
            raise ConfigError(f"the metric {one.name} is named twice; leave one out")
        if one.needs_labels and not labelled:
            raise ConfigError(
                f"{one.name} needs labels, which the data do not have; use {_choice(False)}"
            )
    return chosen


def check_labels(
    metrics: Sequence[StudyMetric], recipe: Experiment, counts: LabelCounts | None
) -> None:
    """Check that the rows of a study's evaluations have the labels that its metrics need.

    Args:
        counts: rows of each class; None: not known.

    Raises:
        ConfigError: they do not.
    """
    own = {config.name: config for config in recipe.evaluation.evaluators}
    for one in metrics:
        if one.evaluator is None or counts is None:
            continue
        config = own.get(one.evaluator) or EVALUATORS[one.evaluator].Config(name=one.evaluator)
        if (missing := build(config).missing_labels(counts)) is not None:
            raise ConfigError(
                f"study.metric {one.name} needs {missing}; label more rows, or use {_choice(False)}"
            )


def with_evaluators(
    experiment: Experiment, metrics: Sequence[StudyMetric], *, every: float | None
) -> Experiment:
    """Return the experiment with just the evaluators that the metrics need.

    They run every `every` epochs; None: only at the end. The recipe's own settings of an evaluator
    are kept. The best checkpoint is selected by the first metric of which larger is better;
    otherwise by what the recipe says, which is then not measured, so that the newest checkpoint
    counts as the best.
    """
    own = {config.name: config for config in experiment.evaluation.evaluators}
    measured = [one for one in metrics if one.evaluator is not None]
    evaluators = []
    for name in dict.fromkeys(one.evaluator for one in measured if one.evaluator is not None):
        config = own[name] if name in own else EVALUATORS[name].Config(name=name)
        # Validated again, since not every evaluator may run during training. The experiment as a
        # whole is not: nothing else depends on its evaluators.
        settings = config.model_dump() | {"every": every}
        evaluators.append(type(config).model_validate(settings))
    select = next((one.name for one in measured if one.mode == "max"), experiment.evaluation.select)
    evaluation = experiment.evaluation.model_copy(
        update={"evaluators": evaluators, "select": select}
    )
    return experiment.model_copy(update={"evaluation": evaluation})


def kendall(trials: Sequence[Mapping[str, float]], reference: str) -> dict[str, float]:
    """Return Kendall's tau-b between `reference` and every metric that needs no labels.

    It is taken over the trials with both numbers, and is 1 where the metric ranks trials as the
    reference does, whether larger or smaller is better. Absent are metrics of fewer than three such
    trials, or without a difference between them.
    """
    from scipy.stats import kendalltau

    truth = metric(reference)
    taus: dict[str, float] = {}
    for one in study_metrics().values():
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
            taus[one.name] = one.sign * truth.sign * tau
    return taus


def _choice(labelled: bool) -> str:
    """Return the names of the metrics that evaluate encoders, with labels or without."""
    return ", ".join(
        one.name
        for one in study_metrics().values()
        if one.evaluator is not None and one.needs_labels == labelled
    )
