"""`manta compare`: models side by side on the same rows, with a paired test."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from typing import Any

from manta.errors import ConfigError
from manta.evaluation.session import Judging, Observer, evaluators_named
from manta.evaluators import counted, interval, means, paired_gain
from manta.models.find import model_folder
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
    """Every evaluator on every model, and the gain of each over the first.

    Returns:
        models, metrics (by model), intervals (by model: 95% of each accuracy that counts queries),
        gains (by model but
        the first: gain, low, high; by a paired bootstrap over the queries), rows and settings.

    Raises:
        ConfigError: fewer than two models, or the same one twice.
        MantaError: anything else that the user can mend.
    """
    if len(set(models)) < max(len(models), 2):
        raise ConfigError("name two models or more to compare, each once")
    chosen = evaluators_named(evaluators)
    tracker = Tracker(runs_dir=default_store(runs))
    with ExitStack() as stack:
        folders = {
            model: stack.enter_context(model_folder(model, tracker, runs)) for model in models
        }
        judging = Judging.of(data, bank, runs, observer or Observer())
        judging.observer.notify(f"evaluating {', '.join(models)}")
        verdicts = {model: judging.judge(folder, chosen) for model, folder in folders.items()}
    counts = {model: counted(verdict.scores) for model, verdict in verdicts.items()}
    first, features = counts[models[0]], verdicts[models[0]].features
    return {
        "models": list(models),
        "data": data,
        "digest": judging.asked.manifest.digest,
        "metrics": {model: means(verdict.scores) for model, verdict in verdicts.items()},
        "intervals": {
            model: {key: list(interval(scores)) for key, scores in found.items()}
            for model, found in counts.items()
        },
        "gains": {
            model: {
                key: paired_gain(scores, first[key])._asdict()
                for key, scores in counts[model].items()
                if key in first
            }
            for model in models[1:]
        },
        "bank_rows": len(features.bank),
        "query_rows": len(features.queries),
        "settings": {one.config.name: one.config.model_dump(mode="json") for one in chosen},
    }
