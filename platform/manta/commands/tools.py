"""Commands `manta list` and `manta doctor`."""

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
            help="objectives, encoders, evaluators, modalities, masks, materials, schedules, "
            "sources, recipes or spaces."
        ),
    ],
    as_json: AsJson = False,
) -> None:
    """List the names that recipes and the command line accept.

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
    """Check versions, devices, Ray, the tracking store and free disk space.

    For each problem it says how to fix it. It starts nothing and writes nothing. The exit status is
    1 if something is bad.
    """
    import manta

    checks = manta.run_doctor(runs)
    if as_json:
        print(json.dumps([asdict(check) for check in checks], indent=2))
    else:
        print_checks(checks)
    if any(check.status == "bad" for check in checks):
        raise typer.Exit(1)
