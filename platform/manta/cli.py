"""The command line. Thin: parse, call one function, print."""

from __future__ import annotations

import json
import os
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, Optional

import typer
from rich.console import Console
from rich.table import Table

from manta.errors import MantaError

app = typer.Typer(
    name="manta",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    help="Self-supervised pretraining and tuning on Ray.\n\n"
    "Start with `manta doctor`, then `manta train jobs/recipes/digits.yaml`.",
)
console = Console(stderr=True)
out = Console()
INTERRUPTED = 130

Runs = Annotated[str, typer.Option("--runs", envvar="MANTA_RUNS", help="Folder or URL that holds the runs.")]
Summary = Annotated[Optional[Path], typer.Option("--summary", help="Write the result here as JSON.")]  # noqa: UP045
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@app.command()
def ingest(
    source: Annotated[str, typer.Argument(help="Image folder, Parquet, WebDataset tars, a file list, or 'digits'.")],
    target: Annotated[str, typer.Argument(help="Folder or URL for the dataset, such as photos.manta.")],
    max_side: Annotated[
        Optional[int],  # noqa: UP045
        typer.Option(help="Shrink images whose shorter side is larger (re-encoded as JPEG); 0 keeps all as they are."),
    ] = 512,
    summary: Summary = None,
) -> None:
    """Turn any source into shuffled-ready Parquet shards and a manifest.

    Bad images are set aside in `quarantine.parquet` with the reason. An interrupted ingest goes on where it stopped.
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
    recipe: Annotated[str, typer.Argument(help="A recipe (YAML); `manta list recipes` shows those that ship.")],
    overrides: Annotated[
        Optional[list[str]],  # noqa: UP045
        typer.Argument(help="Changes to it: data.source=./photos train.epochs=3 objective.temperature=0.2 ..."),
    ] = None,
    name: Annotated[Optional[str], typer.Option(help="Name of the run; made up from the recipe if not given.")] = None,  # noqa: UP045
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the run of this --name.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print what would be done, and start nothing.")] = False,
    runs: Runs = "manta-runs",
    summary: Summary = None,
) -> None:
    """Pretrain an encoder without labels, evaluate it, and register it.

    Any field of the recipe can be overridden as `section.key=value`. Ctrl-C is safe: `--resume` goes on from the last
    checkpoint.
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
                notify=_say,
                ingest_progress=ingest_progress,
                watch_folder=training_bar(console),
            )
        )
    if summary is not None:
        write_summary(found, summary)
    _print_result(found)


@app.command()
def evaluate(
    model: Annotated[str, typer.Argument(help="A run's name or folder, or a registered model (models:/name@alias).")],
    data: Annotated[str, typer.Option("--data", help="What to evaluate on: any source, or an ingested dataset.")],
    bank: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(help="Labelled data that probes learn from; without it, 9 in 10 rows of --data."),
    ] = None,
    runs: Runs = "manta-runs",
    summary: Summary = None,
) -> None:
    """Evaluate frozen features: kNN, linear probe, effective rank; beside them the untrained encoder's."""
    from manta.progress import ingest_bar
    from manta.training.evaluate import evaluate_model

    with ingest_bar(console) as progress:
        found = evaluate_model(model, data, bank=bank, runs=runs, notify=_say, progress=progress)
    _write(summary, found)
    _print_metrics(found["metrics"], found["note"])


@app.command("list")
def list_components(
    kind: Annotated[str, typer.Argument(help="objectives, encoders, evaluators, schedules, sources or recipes.")],
    as_json: AsJson = False,
) -> None:
    """What can be named in a recipe."""
    from manta.catalogue import entries

    rows = entries(kind)
    if as_json:
        print(json.dumps(rows, indent=2))
        return
    if not rows:
        out.print(f"no {kind} found here")
        return
    table = Table(*rows[0], box=None, header_style="bold")
    for row in rows:
        table.add_row(*(", ".join(map(str, v)) if isinstance(v, list) else str(v or "") for v in row.values()))
    out.print(table)


@app.command()
def doctor(runs: Runs = "manta-runs", as_json: AsJson = False) -> None:
    """Check versions, devices, Ray, the tracking store and free disk, and say how to mend what is wrong."""
    from manta.doctor import checks

    found = checks(runs)
    if as_json:
        print(json.dumps([asdict(check) for check in found], indent=2))
    else:
        table = Table("", "check", "found", "mend", box=None, header_style="bold")
        marks = {"ok": "[green]ok[/]", "warn": "[yellow]warn[/]", "bad": "[red]bad[/]"}
        for check in found:
            table.add_row(marks[check.status], check.name, check.found, check.mend or "")
        out.print(table)
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
        console.print(f"[bold red]error:[/] {_plain(error)}", soft_wrap=True)
        sys.exit(2)
    except (KeyboardInterrupt, typer.Abort):
        console.print("stopped; the last checkpoint is kept: the same command with --name and --resume goes on")
        sys.exit(INTERRUPTED)
    except _usage_errors() as error:
        error.show()
        sys.exit(error.exit_code)


def _usage_errors() -> Any:
    import click

    try:
        from typer import _click
    except ImportError:
        return click.ClickException
    return (click.ClickException, _click.exceptions.ClickException)


def _plain(error: Exception) -> str:
    from rich.markup import escape

    return escape(" ".join(str(error).split()))


def _recipe(name: str) -> Path:
    """A path, or the name of a recipe that ships."""
    path = Path(name)
    if path.exists() or path.suffix:
        return path
    from manta.catalogue import recipe_folder

    return recipe_folder() / f"{name}.yaml"


def _command_started() -> float:
    """When this process began, interpreter start and imports included."""
    import psutil

    return float(psutil.Process(os.getpid()).create_time())


def _say(message: str) -> None:
    console.print(f"[dim]{time.strftime('%H:%M:%S')}[/] {message}", highlight=False)


def _write(path: Path | None, value: dict[str, Any]) -> None:
    if path is not None:
        from manta.training.run import write_summary

        write_summary(value, path)


def _print_metrics(metrics: dict[str, float], note: str) -> None:
    table = Table("", "trained", "untrained", box=None, header_style="bold")
    for name, value in metrics.items():
        if not name.startswith("random_"):
            other = metrics.get(f"random_{name}")
            table.add_row(name, f"{value:.4g}", "" if other is None else f"{other:.4g}")
    out.print(table)
    if note:
        out.print(f"[dim]{note}[/]", highlight=False)


def _print_result(found: dict[str, Any]) -> None:
    _print_metrics(found["metrics"], "")
    rows = {
        "checkpoint": found["checkpoint"],
        "model": found["model_uri"],
        "report": found["report"],
        "images/s": f"{found['images_per_second']:.0f}" if found["images_per_second"] else None,
    }
    for key, value in rows.items():
        if value:
            out.print(f"{key:<11} {value}", highlight=False, soft_wrap=True)
    if found.get("metrics_pending"):
        out.print(
            f"{found['metrics_pending']} metric points did not reach the tracking server; they are kept in "
            f"{Path(found['report']).parent / 'metrics.jsonl'}",
            soft_wrap=True,
        )


if __name__ == "__main__":
    main()
