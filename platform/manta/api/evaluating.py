"""`manta.evaluate` and `manta.compare`."""

from __future__ import annotations

import os
from collections.abc import Sequence

from manta.api.arguments import PathLike, data_word, model_word
from manta.api.evaluation_result import Comparison, Evaluation
from manta.api.reporting import reporting


def evaluate(
    model: PathLike,
    data: PathLike,
    *,
    bank: PathLike | None = None,
    evaluators: Sequence[str] | None = None,
    size: int | None = None,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    out: PathLike | None = None,
    runs: PathLike = "manta-runs",
    progress: bool = True,
) -> Evaluation:
    """Evaluate an encoder on data, write `evaluation.html`, and return the numbers.

    Features are computed once and kept, so that further evaluators cost what they cost themselves.
    MLflow's record of the model gets the numbers and the page.

    Args:
        model: a `Run`, a run's name or folder, a checkpoint's folder, a registered model
            (`models:/NAME@candidate`), a saved encoder's folder, or a timm model with its
            pretrained weights (`timm:resnet18`). Beside a run's numbers are the untrained
            encoder's.
        data: whatever `manta.ingest` takes, or an ingested dataset.
        bank: data that probes learn from; None: 9 in 10 rows of `data`, and the others are scored.
        evaluators: names (`manta.list_evaluators()`), or `["all"]`; None: the run's own, or kNN,
            linear probe and rank.
        size: pixels that images are resized to; None: as in pretraining.
        mean, std: of the pixels, three numbers in 0..1; None: as in pretraining.
        out: folder for the page; None: `evaluations/MODEL-on-DATA[-from-BANK]` beside the runs.
        runs: folder or URL that holds the runs.
        progress: whether notes and bars are shown.

    Returns:
        Accuracies as fractions of 1 with 95% intervals, where there are labels; ranks.

    Raises:
        ConfigError: there is no such evaluator, or the preparation of images cannot work.
        DataError: the data cannot be read.
        RunError: there is no such model.
    """
    from manta.evaluation.evaluate import evaluate_model
    from manta.serving.adapt import Preparation

    preparation = Preparation(size, _three(mean), _three(std))
    with reporting(progress) as reporter:
        summary = evaluate_model(
            model_word(model, runs, reporter.notify),
            data_word(data, reporter.notify),
            bank=None if bank is None else data_word(bank, reporter.notify),
            evaluators=evaluators,
            runs=os.fspath(runs),
            out=None if out is None else os.fspath(out),
            preparation=preparation,
            observer=reporter.observer,
        )
    return Evaluation.of(summary)


def compare(
    models: Sequence[PathLike],
    data: PathLike,
    *,
    bank: PathLike | None = None,
    evaluators: Sequence[str] = ("knn", "linear", "rank"),
    runs: PathLike = "manta-runs",
    progress: bool = True,
) -> Comparison:
    """Evaluate models on the same rows, and return their numbers and the gains over the first.

    Args:
        models: two or more, as `manta.evaluate` takes them.
        data, bank, runs, progress: as `manta.evaluate` takes them; `data` has labels.
        evaluators: names; each has its default settings.

    Returns:
        Metrics by model, and each model's gain over the first with its 95% interval, by a paired
        bootstrap over the queries.

    Raises:
        ConfigError: fewer than two models, one twice, or there is no such evaluator.
        RunError: there is no such model.
        DataError: the data cannot be read.
    """
    from manta.evaluation.compare import compare_models

    with reporting(progress) as reporter:
        summary = compare_models(
            [model_word(model, runs, reporter.notify) for model in models],
            data_word(data, reporter.notify),
            evaluators=evaluators,
            bank=None if bank is None else data_word(bank, reporter.notify),
            runs=os.fspath(runs),
            observer=reporter.observer,
        )
    return Comparison.of(summary)


def _three(numbers: Sequence[float] | None) -> tuple[float, ...] | None:
    return None if numbers is None else tuple(float(number) for number in numbers)
