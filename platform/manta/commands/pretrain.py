"""Commands `manta ingest` and `manta train`."""

from __future__ import annotations

import os
from dataclasses import asdict
from typing import Annotated, Any, Optional

import typer

from manta.commands.app import Runs, Summary, app, write_result
from manta.printing import line, print_lines, print_result


@app.command()
def ingest(
    source: Annotated[
        str,
        typer.Argument(
            help="A folder of images (sub-folders are classes), Parquet files, WebDataset tars, "
            "a list of files (.txt, "
            ".csv), or 'digits'. Patterns in quotes ('data/*.parquet') and URLs work too."
        ),
    ],
    target: Annotated[
        str, typer.Argument(help="Folder or URL of the dataset to write, such as photos.manta.")
    ],
    overrides: Annotated[
        Optional[list[str]],  # noqa: UP045
        typer.Argument(
            help="Further settings of the samples, with --modality: data.window=128 of series, "
            "data.encoding=latin-1 of text (`manta describe` shows all)."
        ),
    ] = None,
    max_side: Annotated[
        Optional[int],  # noqa: UP045
        typer.Option(
            help="Shrink images whose shorter side has more pixels than this, as JPEG; 0 keeps "
            "all as they are."
        ),
    ] = 512,
    split: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(
            help="Part to read of a source in parts (folders train/ and test/, files train-*.tar): "
            "train, val, test, unlabelled or all; by default the training part."
        ),
    ] = None,
    column: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(help="Column that holds the images, where a table has several."),
    ] = None,
    labels: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(
            help="Column of the labels; 'folders': the first sub-folders are classes; or 'none'. "
            "Of lines of text also 'first', 'last' or regex:PATTERN."
        ),
    ] = None,
    group: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(
            help="What rows belong together by (speaker, recording, patient): a column, 'parent' "
            "(the folder of each file) or regex:PATTERN on its path, as in 'regex:\\d+_([a-z]+)_'."
        ),
    ] = None,
    modality: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(
            help="What the samples are (`manta list modalities`); by default what the source is "
            "surely of, else images."
        ),
    ] = None,
    dry_run: Annotated[
        bool,
        typer.Option(
            "--dry-run", help="Read everything and say what it is; write nothing, DATASET neither."
        ),
    ] = False,
    summary: Summary = None,
) -> None:
    """Turn images into a dataset that training can stream: Parquet shards and a manifest.

    `train` ingests a new source by itself; use this command to do it ahead of time, on another
    machine, or once for many runs. Bad images are listed in `quarantine.parquet` with the reason.
    An interrupted ingest continues where it stopped.

    Example: `manta ingest ./photos ./photos.manta`, then `manta train photos
    data.source=./photos.manta`
    """
    import manta

    if dry_run:
        lines = manta.survey(
            source,
            split=split,
            column=column,
            labels=labels,
            group=group,
            modality=modality,
            overrides=overrides or (),
        )
        print_lines(lines)
        write_result(summary, {"understood": lines})
        return
    result = manta.ingest(
        source,
        target,
        split=split,
        column=column,
        labels=labels,
        group=group,
        modality=modality,
        overrides=overrides or (),
        max_side=max_side,
    )
    print_lines(result.understood)
    digest = result.digest[:12]
    print_lines([f"written in {result.shards} shards to {target} (digest {digest})"])
    if result.quarantined:
        print_lines([f"what was set aside: {target.rstrip('/')}/quarantine.parquet"])
    facts = asdict(result)
    write_result(summary, {"location": facts.pop("folder"), **facts})


@app.command()
def train(
    recipe: Annotated[
        str,
        typer.Argument(
            help="A recipe: a YAML file, or the name of one that ships (`manta list recipes`)."
        ),
    ],
    overrides: Annotated[
        Optional[list[str]],  # noqa: UP045
        typer.Argument(
            help="Changes to it: data.source=./photos train.epochs=3 objective.temperature=0.2 ..."
        ),
    ] = None,
    name: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(
            help="Name of the run and its folder; by default objective, encoder and time."
        ),
    ] = None,
    resume: Annotated[
        bool,
        typer.Option(
            "--resume", help="Go on with the run of this --name from its last checkpoint."
        ),
    ] = False,
    dry_run: Annotated[
        bool,
        typer.Option(
            "--dry-run",
            help="Print every setting with its value, the steps and the memory it takes; start "
            "nothing.",
        ),
    ] = False,
    runs: Runs = "manta-runs",
    summary: Summary = None,
) -> None:
    """Pretrain an encoder without labels, evaluate it, and register it in MLflow.

    The evaluation compares it with the untrained encoder. Any setting of the recipe can be changed
    as `section.key=value`; `--dry-run` lists them all. Batch sizes count images over all workers,
    image sizes are pixels, epochs may be fractions. Ctrl-C is safe.

    Examples:

    - `manta train digits --name first` needs no data of yours and takes two minutes on two cores

    - `manta train photos data.source=./photos data.image_size=96 train.epochs=50 --name
      photos`

    - `manta train photos data.source=./photos ... --name photos --resume` after it was stopped
      or killed

    Afterwards: `manta-runs/photos/report.html` is the page, `mlflow ui --backend-store-uri
    sqlite:///manta-runs/mlflow.db` shows all runs, `manta evaluate photos --data ...` tries other
    data.
    """
    import manta

    if dry_run:
        experiment = manta.load_recipe(recipe, overrides or [])
        plan = manta.estimate(experiment, runs=runs)
        write_result(summary, plan)
        line(experiment.to_yaml(), end="")
        for key, value in plan.items():
            text = _when_known(key, plan) if value is None else value
            text = "; ".join(text) if isinstance(text, list) else text
            text = text or "none" if isinstance(text, (str, dict)) else text
            line(f"# {key}: {text}")
        return
    run = manta.train(
        recipe,
        name=name,
        runs=runs,
        resume=resume,
        overrides=overrides or [],
        started=command_started(),
    )
    write_result(summary, run.summary)
    print_result(run.summary)


def command_started() -> float:
    """Return the time at which this process began, in seconds since 1970."""
    # Not the time of the call: what a user waits for includes the imports.
    import psutil

    return float(psutil.Process(os.getpid()).create_time())


def _when_known(key: str, plan: dict[str, Any]) -> str:
    """Return a text that says when a number that a dry run leaves open will be known."""
    if key in ("rows", "steps", "steps_per_epoch", "evaluation"):
        return "known once the source is ingested (manta ingest)"
    return f"known once the run has {', '.join(plan['materials'].values())}"
