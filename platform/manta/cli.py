"""The command line. Thin: parse, call one function, print."""

from __future__ import annotations

import json
import os
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, Optional

import typer

from manta.errors import MantaError
from manta.printing import (
    console,
    out,
    print_checks,
    print_components,
    print_error,
    print_metrics,
    print_result,
    print_study,
    say,
)

app = typer.Typer(
    name="manta",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    help="Pretrain image encoders without labels, find the settings that suit your data, and hand on the best one.\n\n"
    "First `manta doctor`: is this machine ready? Then `manta train digits --name first`: two minutes on two cores, no "
    "download; its page is `manta-runs/first/report.html`. Then your own: `manta train dcl-cifar10 "
    "data.source=./photos --dry-run` says what it would take.\n\n"
    "A wrong word is answered in one line, with status 2. `manta COMMAND --help` shows examples.",
)
INTERRUPTED = 130

Runs = Annotated[
    str, typer.Option("--runs", envvar="MANTA_RUNS", help="Folder or URL (s3://bucket/runs) that holds the runs.")
]
Summary = Annotated[
    Optional[Path],  # noqa: UP045
    typer.Option("--summary", help="Write the result here as JSON, accuracies as fractions of 1."),
]
Trials = Annotated[Optional[int], typer.Option(min=1, help="Trials in all; the space has a default.")]  # noqa: UP045
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]


@app.command()
def ingest(
    source: Annotated[
        str,
        typer.Argument(
            help="A folder of images (sub-folders are classes), Parquet files, WebDataset tars, a list of files (.txt, "
            ".csv), or 'digits'. Patterns in quotes ('data/*.parquet') and URLs work too."
        ),
    ],
    target: Annotated[str, typer.Argument(help="Folder or URL of the dataset to write, such as photos.manta.")],
    max_side: Annotated[
        Optional[int],  # noqa: UP045
        typer.Option(
            help="Shrink images whose shorter side has more pixels than this, as JPEG; 0 keeps all as they are."
        ),
    ] = 512,
    summary: Summary = None,
) -> None:
    """Turn images from anywhere into a dataset that training can stream: Parquet shards and a manifest.

    `train` does so by itself at its first sight of a source; this is for doing it ahead, elsewhere or once for many.
    Bad images are set aside in `quarantine.parquet` with the reason. An interrupted ingest goes on where it stopped.

    Example: `manta ingest ./photos ./photos.manta`, then `manta train dcl-cifar10 data.source=./photos.manta`
    """
    from manta.data import ingest as run_ingest
    from manta.progress import ingest_bar
    from manta.training.launch import connect

    connect()
    with ingest_bar(console) as progress:
        report = run_ingest(source, target, max_side=max_side or None, progress=progress)
    out.print(f"{report.rows:,} images in {report.shards} shards at {target} (digest {report.digest[:12]})")
    if report.quarantined:
        out.print(f"{report.quarantined:,} files set aside: see {target.rstrip('/')}/quarantine.parquet")
    _write(summary, asdict(report))


@app.command()
def train(
    recipe: Annotated[
        str, typer.Argument(help="A recipe: a YAML file, or the name of one that ships (`manta list recipes`).")
    ],
    overrides: Annotated[
        Optional[list[str]],  # noqa: UP045
        typer.Argument(help="Changes to it: data.source=./photos train.epochs=3 objective.temperature=0.2 ..."),
    ] = None,
    name: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(help="Name of the run and its folder; by default objective, encoder and time."),
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with the run of this --name from its last checkpoint.")
    ] = False,
    dry_run: Annotated[
        bool,
        typer.Option(
            "--dry-run", help="Print every setting with its value, the steps and the memory it takes; start nothing."
        ),
    ] = False,
    runs: Runs = "manta-runs",
    summary: Summary = None,
) -> None:
    """Pretrain an encoder without labels, evaluate it against the untrained one, and register it in MLflow.

    Any setting of the recipe can be changed as `section.key=value`; `--dry-run` lists them all. Batch sizes count
    images over all workers, image sizes are pixels, epochs may be fractions. Ctrl-C is safe.

    Examples:

    - `manta train digits --name first` needs no data of yours and takes two minutes on two cores

    - `manta train dcl-cifar10 data.source=./photos data.image_size=96 train.epochs=50 --name photos`

    - `manta train dcl-cifar10 data.source=./photos ... --name photos --resume` after it was stopped or killed

    Afterwards: `manta-runs/photos/report.html` is the page, `mlflow ui --backend-store-uri
    sqlite:///manta-runs/mlflow.db` shows all runs, `manta evaluate photos --data ...` tries other data.
    """
    from manta.config import load

    experiment = load(_recipe(recipe), overrides or [])
    if dry_run:
        from manta.training.estimate import estimate

        plan = estimate(experiment, runs)
        _write(summary, plan)
        out.print(experiment.to_yaml(), end="", markup=False, highlight=False)
        for key, value in plan.items():
            known = "known once the source is ingested (manta ingest)" if value is None else value
            out.print(f"# {key}: {known}", markup=False, highlight=False)
        return
    from manta.progress import ingest_bar, training_bar
    from manta.training.run import RunRequest, write_summary
    from manta.training.run import train as run_train

    with ingest_bar(console) as ingest_progress:
        found = run_train(
            RunRequest(
                experiment=experiment,
                runs=runs,
                name=name,
                resume=resume,
                started=_command_started(),
                notify=say,
                ingest_progress=ingest_progress,
                watch_folder=training_bar(console),
            )
        )
    if summary is not None:
        write_summary(found, summary)
    print_result(found)


@app.command()
def tune(
    space: Annotated[str, typer.Argument(help="A search space (YAML); `manta list spaces` shows those that ship.")],
    recipe: Annotated[str, typer.Option("--recipe", help="The recipe that the space varies.")],
    overrides: Annotated[
        Optional[list[str]],  # noqa: UP045
        typer.Argument(help="Changes: of the recipe (data.source=./photos), or of the study (study.metric=rankme)."),
    ] = None,
    name: Annotated[Optional[str], typer.Option(help="Name of the study; made up from the space if not given.")] = None,  # noqa: UP045
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the study of this --name.")] = False,
    trials: Trials = None,
    register: Annotated[
        bool, typer.Option("--register", help="Then train the winner at the recipe's budget and register it.")
    ] = False,
    runs: Runs = "manta-runs",
    summary: Summary = None,
) -> None:
    """Search for the configuration that suits your data, with labels or without.

    Trial 0 is the recipe itself; the others vary what the space names, and the bad ones are stopped early. Without
    labels say what to trust: `study.metric=rankme` (or lidar, alpha_req, silhouette). A killed study goes on by
    `--resume` and runs no trial twice.

    Example: `manta tune temperature --recipe dcl-cifar10 data.source=./photos --name t1 --trials 24`

    Afterwards: `manta study t1` shows it, and `manta train manta-runs/t1/best.yaml` trains the winner.
    """
    from manta.config import load
    from manta.progress import ingest_bar, study_bar
    from manta.tuning.driver import search
    from manta.tuning.publish import publish
    from manta.tuning.study import StudyRequest, changes_from

    changes, words = changes_from(overrides or [])
    experiment = load(_recipe(recipe), words)
    if trials is not None:
        changes["trials"] = trials
    with ingest_bar(console) as ingest_progress, study_bar(console) as watch:
        found, record = search(
            StudyRequest(
                space=_space(space),
                recipe=experiment,
                runs=runs,
                name=name,
                resume=resume,
                changes=changes,
                notify=say,
                ingest_progress=ingest_progress,
                watch=watch,
            )
        )
    result = publish(found, record, notify=say)
    _write(summary, result)
    print_study(record, result)
    best = found.folder.join("best.yaml")
    out.print(f"page        {found.folder.join('study.html')}", highlight=False, soft_wrap=True)
    if register:
        train(best, name=f"{found.folder.name}-best", runs=runs)
    else:
        out.print(f"next        manta train {best}", highlight=False, soft_wrap=True)


@app.command()
def study(
    name: Annotated[str, typer.Argument(help="Name of the study, or its folder.")],
    runs: Runs = "manta-runs",
    summary: Summary = None,
) -> None:
    """Show a study, running or not: its trials, its best, what mattered. Writes study.html anew."""
    from manta.tuning.publish import look

    record, found = look(runs, name)
    _write(summary, found)
    print_study(record, found)


@app.command()
def evaluate(
    model: Annotated[
        str,
        typer.Argument(help="A run's name or folder, or a registered model (models:/manta-dcl-resnet10t@candidate)."),
    ],
    data: Annotated[
        str, typer.Option("--data", help="What to evaluate on: whatever `manta ingest` takes, or an ingested dataset.")
    ],
    bank: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(
            help="Labelled data that kNN and the linear probe learn from, such as a training split; by default 9 in 10 "
            "rows of --data, and the others are scored."
        ),
    ] = None,
    runs: Runs = "manta-runs",
    summary: Summary = None,
) -> None:
    """Evaluate frozen features: kNN, linear probe, effective rank; beside them the untrained encoder's.

    Accuracies are fractions of 1, and need labels; ranks do not.

    Example: `manta evaluate photos --bank ./train.manta --data ./test.manta --summary test.json`
    """
    from manta.progress import ingest_bar
    from manta.training.evaluate import evaluate_model

    with ingest_bar(console) as progress:
        found = evaluate_model(model, data, bank=bank, runs=runs, notify=say, progress=progress)
    _write(summary, found)
    print_metrics(found["metrics"], found["note"])


@app.command("list")
def list_components(
    kind: Annotated[
        str, typer.Argument(help="objectives, encoders, evaluators, schedules, sources, recipes or spaces.")
    ],
    as_json: AsJson = False,
) -> None:
    """What can be named in a recipe or on the command line.

    Example: `manta list recipes`
    """
    from manta.catalogue import entries

    rows = entries(kind)
    if as_json:
        print(json.dumps(rows, indent=2))
    else:
        print_components(kind, rows)


@app.command()
def doctor(runs: Runs = "manta-runs", as_json: AsJson = False) -> None:
    """Check versions, devices, Ray, the tracking store and free disk, and say how to mend what is wrong.

    Starts nothing and writes nothing. The exit status is 1 if something is bad.
    """
    from manta.doctor import checks

    found = checks(runs)
    if as_json:
        print(json.dumps([asdict(check) for check in found], indent=2))
    else:
        print_checks(found)
    if any(check.status == "bad" for check in found):
        raise typer.Exit(1)


def main() -> None:
    """Entry point: a user's error is one line and exit status 2."""
    try:
        code = app(standalone_mode=False)  # typer returns the code of an Exit, and 130 for Ctrl-C
        if code == INTERRUPTED:
            raise KeyboardInterrupt
        sys.exit(code if isinstance(code, int) else 0)
    except MantaError as error:
        print_error(error)
        sys.exit(2)
    except (KeyboardInterrupt, typer.Abort):
        console.print("; ".join(["stopped", *_kept(sys.argv[1:])]), soft_wrap=True)
        sys.exit(INTERRUPTED)
    except _usage_errors() as error:
        error.show()
        sys.exit(error.exit_code)


def _kept(words: list[str]) -> list[str]:
    """What an interrupted command leaves, and how to go on."""
    again = "the same command with --name and --resume goes on"
    hints = {
        "train": f"the last checkpoint is kept: {again}",
        "tune": f"finished trials are kept: {again}",
        "ingest": "whole shards are kept: the same command goes on",
    }
    return [hints[word] for word in words[:1] if word in hints]


def _usage_errors() -> Any:
    import click

    try:
        from typer import _click
    except ImportError:
        return click.ClickException
    return (click.ClickException, _click.exceptions.ClickException)


def _recipe(name: str) -> Path:
    """A path, or the name of a recipe that ships."""
    path = Path(name)
    if path.exists() or path.suffix:
        return path
    from manta.catalogue import recipe_folder

    return recipe_folder() / f"{name}.yaml"


def _space(name: str) -> Path:
    """A path, or the name of a search space that ships."""
    path = Path(name)
    if path.exists() or path.suffix:
        return path
    from manta.catalogue import space_folder

    return space_folder() / f"{name}.yaml"


def _command_started() -> float:
    """When this process began, interpreter start and imports included."""
    import psutil

    return float(psutil.Process(os.getpid()).create_time())


def _write(path: Path | None, value: dict[str, Any]) -> None:
    if path is not None:
        from manta.training.run import write_summary

        write_summary(value, path)


if __name__ == "__main__":
    main()
