"""The application, and what commands share."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Optional

import typer

from manta.printing import console, say

if TYPE_CHECKING:
    from manta.evaluation.session import Observer

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
Trials = Annotated[
    Optional[int], typer.Option(min=1, help="Trials in all; the space has a default.")
]  # noqa: UP045
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]


@contextmanager
def observing() -> Iterator[Observer]:
    """Lines and bars on standard error while models are judged."""
    from manta.evaluation.session import Observer
    from manta.progress import embed_bar, ingest_bar

    with ingest_bar(console) as ingesting, embed_bar(console) as embedding:
        yield Observer(say, ingesting, embedding)


def recipe_path(name: str) -> Path:
    """A path, or the name of a recipe that ships."""
    path = Path(name)
    if path.exists() or path.suffix:
        return path
    from manta.catalogue import recipe_folder

    return recipe_folder() / f"{name}.yaml"


def space_path(name: str) -> Path:
    """A path, or the name of a search space that ships."""
    path = Path(name)
    if path.exists() or path.suffix:
        return path
    from manta.catalogue import space_folder

    return space_folder() / f"{name}.yaml"


def write_result(path: Path | None, value: dict[str, Any]) -> None:
    if path is not None:
        from manta.runs.store import write_summary

        write_summary(value, path)
