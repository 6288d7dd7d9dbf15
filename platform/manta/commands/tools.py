"""`manta list` and `manta doctor`."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Annotated

import typer

from manta.commands.app import AsJson, Runs, app
from manta.printing import print_checks, print_components


@app.command("list")
def list_components(
    kind: Annotated[
        str,
        typer.Argument(
            help="objectives, encoders, evaluators, schedules, sources, recipes or spaces."
        ),
    ],
    as_json: AsJson = False,
) -> None:
    """List what can be named in a recipe or on the command line.

    Example: `manta list recipes`
    """
    from manta.api.listing import list_kind

    rows = list_kind(kind).rows
    if as_json:
        print(json.dumps(rows, indent=2))
    else:
        print_components(kind, rows)


@app.command()
def doctor(runs: Runs = "manta-runs", as_json: AsJson = False) -> None:
    """Check versions, devices, Ray, the tracking store and free disk, and say how to mend what is
    wrong.

    Starts nothing and writes nothing. The exit status is 1 if something is bad.
    """
    import manta

    checks = manta.run_doctor(runs)
    if as_json:
        print(json.dumps([asdict(check) for check in checks], indent=2))
    else:
        print_checks(checks)
    if any(check.status == "bad" for check in checks):
        raise typer.Exit(1)
