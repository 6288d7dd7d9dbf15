"""Application of the command line, with the options and helpers that several commands share."""

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Optional

import typer

from manta.errors import ConfigError

app = typer.Typer(
    name="manta",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    help="Pretrain encoders without labels, find the settings that suit your data, and "
    "hand on the best one.\n\n"
    "First `manta doctor`: is this machine ready? Then `manta train digits --name first`: two "
    "minutes on two cores, no "
    "download; its page is `manta-runs/first/report.html`. Then your own: `manta train photos "
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
    typer.Option(
        "--summary",
        help="Write the result here as JSON, accuracies as fractions of 1.",
        callback=lambda path: _writable(path),
    ),
]
Trials = Annotated[int | None, typer.Option(min=1, help="Trials in all; the space has a default.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]


def _writable(path: Path | None) -> Path | None:
    """Return the file of `--summary`, if a result can be written there once there is one.

    Raises:
        ConfigError: it cannot.
    """
    if path is None:
        return None
    path = path.expanduser()
    above = path.absolute().parent
    problem = None
    if path.is_dir():
        problem = f"is a folder; name a file in it, such as {path / 'summary.json'}"
    elif not above.is_dir():
        problem = f"has no folder to be in; `mkdir -p {shlex.quote(str(above))}` makes it"
        if above.exists():
            problem = f"cannot be written, since {above} is a file; choose another place"
    elif not os.access(path if path.exists() else above, os.W_OK):
        problem = "cannot be written by you; choose another place"
    if problem is not None:
        raise ConfigError(f"--summary: {path} {problem}")
    return path


def write_result(path: Path | None, value: Mapping[str, Any]) -> None:
    """Write a result to the file of `--summary`; do nothing without the option."""
    if path is not None:
        from manta.runs.store import write_summary

        write_summary(dict(value), path)
