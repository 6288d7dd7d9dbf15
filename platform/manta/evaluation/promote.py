"""`manta register` and `manta promote`: from a run to a version that an alias names."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from manta.errors import ConfigError, DataError
from manta.evaluation.session import EvaluationSession, Observer
from manta.evaluators import (
    EVALUATORS,
    Evaluator,
    Features,
    build,
    counted,
    describe_metric,
    evaluate_all,
)
from manta.models.find import model_folder
from manta.models.samples import Taken
from manta.runs.store import default_store
from manta.tracking import Evidence, ModelAnswers, Tracker, promote
from manta.tracking.promotion import CHAMPION
from manta.tracking.registry import CANDIDATE


def promote_model(
    name: str,
    data: str,
    *,
    metric: str = "knn_top1",
    alias: str = CHAMPION,
    challenger: str = CANDIDATE,
    min_gain: float = 0.0,
    bank: str | None = None,
    runs: str = "manta-runs",
    observer: Observer | None = None,
) -> Evidence:
    """Give `alias` to the challenger if it is surely better on `data` than who has it now.

    Args:
        challenger: a version's number, or an alias.
        min_gain: in points: 0.5 asks for half a hundredth of the queries.
        bank: data that the probe learns from, all of it; with None, `data` is split and 9 in 10
            rows are the bank.

    Raises:
        PromotionRefused: the evidence does not suffice.
        MantaError: anything else that the user can mend.
    """
    tracker = Tracker(runs_dir=default_store(runs))

    def evaluate(models: Sequence[str], metric: str) -> ModelAnswers:
        return _evaluate(
            models, metric, tracker, data, bank, runs=runs, observer=observer or Observer()
        )

    return promote(
        tracker,
        name,
        evaluate,
        metric=metric,
        alias=alias,
        challenger=challenger,
        min_gain=min_gain / 100,
    )


def _evaluate(
    models: Sequence[str],
    metric: str,
    tracker: Tracker,
    data: str,
    bank: str | None,
    *,
    runs: str,
    observer: Observer,
) -> ModelAnswers:
    """Return which queries each model answers correctly, all on the same rows."""
    evaluator = _evaluator(metric)
    with model_folder(models[0], tracker, runs) as folder:
        taken = Taken.by(folder)
    session = EvaluationSession.start(data, bank, runs, observer, taken=taken)
    for rows in (session.bank, session.queries):
        if not rows.manifest.labelled:
            raise DataError(
                f"{rows.manifest.source} has no labels, and a promotion compares accuracies; "
                "give labelled data"
            )
    session.check([evaluator])
    observer.notify(f"evaluating {' and '.join(models)}")
    correct: dict[str, Tensor] = {}
    bank_rows = 0
    for model in models:
        with model_folder(model, tracker, runs) as folder:
            features = session.features(folder)
        correct[model] = _answers(evaluator, features, metric, model)
        bank_rows = len(features.bank)
    digest = session.queries.manifest.digest
    return ModelAnswers(correct, data, digest, bank_rows, evaluator.config.model_dump(mode="json"))


def _evaluator(metric: str) -> Evaluator[Any]:
    """Return the evaluator that gives `metric`, with its defaults: the same for every model."""
    described = describe_metric(metric)
    kind = EVALUATORS[described.evaluator] if described.evaluator else None
    if kind is None or not kind.counts_queries or described.about.better != "higher":
        raise ConfigError(
            f"{metric!r} is not counted by queries; promote by an accuracy, "
            "such as knn_top1 or linear_top1"
        )
    return build(kind.Config.model_validate({"name": described.evaluator}))


def _answers(evaluator: Evaluator[Any], features: Features, metric: str, model: str) -> Tensor:
    """Return which queries with a label are answered correctly, `[Q]`."""
    correct = counted(evaluate_all([evaluator], features))
    if metric not in correct:
        has = ", ".join(correct) or "nothing, since features are not finite"
        raise ConfigError(
            f"{model} has no {metric!r} on these data; {evaluator.config.name} gives {has}"
        )
    return correct[metric]
