"""Commands `manta evaluate` and `manta compare`."""

from __future__ import annotations

from typing import Annotated, Optional

import typer

from manta.commands.app import Runs, Summary, app, write_result
from manta.errors import ConfigError
from manta.printing import line, print_comparison, print_metrics, print_rows

Evaluators = Annotated[
    Optional[str],  # noqa: UP045
    typer.Option(
        help="Names with commas (`manta list evaluators`), or all; with the run's settings or "
        "their defaults. By "
        "default the run's own, or kNN, linear probe and rank."
    ),
]


def split_names(names: str | None) -> list[str] | None:
    """Return the names in a text that separates them by commas."""
    return None if names is None else [name.strip() for name in names.split(",") if name.strip()]


def _numbers(name: str, text: str | None) -> tuple[float, ...] | None:
    """Return the numbers of an option that separates them by commas.

    Raises:
        ConfigError: a part is not a number.
    """
    try:
        return None if text is None else tuple(float(part) for part in text.split(","))
    except ValueError:
        raise ConfigError(
            f"--{name} takes three numbers, as in 0.485,0.456,0.406; not {text!r}"
        ) from None


@app.command()
def evaluate(
    model: Annotated[
        str,
        typer.Argument(
            help="A run's name or folder, a checkpoint's folder, a registered model "
            "(models:/manta-dcl-resnet10t@candidate), a saved encoder's folder, or a timm model "
            "with its pretrained "
            "weights (timm:resnet18)."
        ),
    ],
    data: Annotated[
        str,
        typer.Option(
            "--data",
            help="What to evaluate on: whatever `manta ingest` takes, or an ingested dataset.",
        ),
    ],
    bank: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(
            help="Labelled data that kNN and the linear probe learn from, such as a training "
            "split; by default 9 in 10 "
            "rows of --data, and the others are scored."
        ),
    ] = None,
    evaluators: Evaluators = None,
    size: Annotated[
        Optional[int],  # noqa: UP045
        typer.Option(
            help="Pixels that images are resized to; by default as in pretraining. Transformers "
            "take their own only."
        ),
    ] = None,
    mean: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(
            help="Of the pixels, such as 0.485,0.456,0.406; by default as in pretraining."
        ),
    ] = None,
    std: Annotated[
        str | None, typer.Option(help="Of the pixels, such as 0.229,0.224,0.225.")
    ] = None,
    target: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(
            "--out",
            help="Folder for evaluation.html; by default evaluations/MODEL-on-DATA (-from-BANK) "
            "beside the runs.",
        ),
    ] = None,
    runs: Runs = "manta-runs",
    summary: Summary = None,
) -> None:
    """Evaluate an encoder with kNN, a linear probe, effective rank and more.

    Accuracies are fractions of 1 with 95% intervals, and need labels; ranks do not. A run is
    compared with its untrained encoder. Features are computed once and kept, so that another
    evaluator only costs its own time. Writes evaluation.html, and records the metrics with the
    model in MLflow.

    Example: `manta evaluate photos --bank ./train.manta --data ./test.manta --evaluators
    knn,linear,corruptions`
    """
    import manta

    result = manta.evaluate(
        model,
        data,
        bank=bank,
        evaluators=split_names(evaluators),
        size=size,
        mean=_numbers("mean", mean),
        std=_numbers("std", std),
        out=target,
        runs=runs,
    )
    write_result(summary, result.summary)
    print_metrics(result.metrics, result.note, result.intervals)
    for name, why in result.skipped.items():
        line(f"{name} was passed over: it {why}")
    print_rows({"page": result.page})


@app.command()
def compare(
    models: Annotated[
        list[str], typer.Argument(help="Two or more, as `manta evaluate` takes them.")
    ],
    data: Annotated[str, typer.Option("--data", help="Labelled data that all are evaluated on.")],
    bank: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(
            help="Labelled data that probes learn from; by default 9 in 10 rows of --data."
        ),
    ] = None,
    evaluators: Evaluators = None,
    runs: Runs = "manta-runs",
    summary: Summary = None,
) -> None:
    """Put models side by side on the same rows, each against the first by a paired test.

    Example: `manta compare models:/photos-encoder@champion photos-2 timm:resnet18 --data
    ./labelled`
    """
    import manta

    names = split_names(evaluators) or ["knn", "linear", "rank"]
    result = manta.compare(models, data, evaluators=names, bank=bank, runs=runs)
    write_result(summary, result.summary)
    print_comparison(result.summary)
