"""`manta compare`: models side by side on the same rows, with a paired test."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from typing import Any

from manta.errors import ConfigError
from manta.evaluation.own_rows import Training, scored_rows
from manta.evaluation.session import EvaluationSession, Observer, evaluators_named
from manta.evaluators import counted, interval, means, paired_gain
from manta.models.find import model_folder
from manta.models.samples import Taken
from manta.runs.store import default_store
from manta.tracking import Tracker


def compare_models(
    models: Sequence[str],
    data: str,
    *,
    evaluators: Sequence[str] = ("knn", "linear", "rank"),
    bank: str | None = None,
    runs: str = "manta-runs",
    observer: Observer | None = None,
) -> dict[str, Any]:
    """Run every evaluator on every model, and return the gain of each over the first.

    Returns:
        models, metrics (by model), intervals (by model: 95% of each accuracy that counts queries),
        gains (by model but the first: gain, low, high; by a paired bootstrap over the queries),
        rows, scored (a sentence on them) and settings.

    Raises:
        ConfigError: fewer than two models, or the same one twice.
        MantaError: anything else that the user can mend.
    """
    if len(set(models)) < max(len(models), 2):
        raise ConfigError("name two models or more to compare, each once")
    chosen = evaluators_named(evaluators)
    tracker = Tracker(runs_dir=default_store(runs))
    with ExitStack() as stack:
        # Every model is found before the first is evaluated: a wrong name is told at once.
        folders = {
            model: stack.enter_context(model_folder(model, tracker, runs)) for model in models
        }
        trainings = [Training.of(model, runs) for model in models]
        session = EvaluationSession.start(
            data,
            bank,
            runs,
            observer or Observer(),
            trainings=trainings,
            taken=Taken.by(folders[models[0]]),
        )
        session.check(chosen)
        session.observer.notify(f"evaluating {', '.join(models)}")
        results = {model: session.evaluate(folder, chosen) for model, folder in folders.items()}
    per_query = {model: counted(result.scores) for model, result in results.items()}
    first, features = per_query[models[0]], results[models[0]].features
    return {
        "models": list(models),
        "data": data,
        "digest": session.queries.manifest.digest,
        "metrics": {model: means(result.scores) for model, result in results.items()},
        "intervals": {
            model: {name: list(interval(one)) for name, one in scores.items()}
            for model, scores in per_query.items()
        },
        "gains": {
            model: {
                name: paired_gain(one, first[name])._asdict()
                for name, one in per_query[model].items()
                if name in first
            }
            for model in models[1:]
        },
        "bank_rows": len(features.bank),
        "query_rows": len(features.queries),
        "scored": scored_rows(session.queries, len(features.queries)),
        "settings": {one.config.name: one.config.model_dump(mode="json") for one in chosen},
    }
