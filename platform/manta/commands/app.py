"""Application of the command line, with the options and helpers that several commands share."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Optional

import typer

app = typer.Typer(
    name="manta",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    help="Pretrain image encoders without labels, find the settings that suit your data, and "
    "hand on the best one.\n\n"
    "First `manta doctor`: is this machine ready? Then `manta train digits --name first`: two "
    "minutes on two cores, no "
    "download; its page is `manta-runs/first/report.html`. Then your own: `manta train dcl-cifar10 "
    "data.source=./photos --dry-run` says what it would take.\n\n"
    "A wrong word is answered in one line, with status 2. `manta COMMAND --help` shows examples.",
)

Runs = Annotated[
    str,
    typer.Option(
        "--runs", envvar="MANTA_RUNS", help="Folder or URL (s3://bucket/runs) that holds the runs."
    ),
]
Summary = Annotated[
    Optional[Path],  # noqa: UP045
    typer.Option("--summary", help="Write the result here as JSON, accuracies as fractions of 1."),
]
Trials = Annotated[int | None, typer.Option(min=1, help="Trials in all; the space has a default.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]


def write_result(path: Path | None, value: Mapping[str, Any]) -> None:
    """Write a result to the file of `--summary`; do nothing without the option."""
    if path is not None:
        from manta.runs.store import write_summary

        write_summary(dict(value), path)
