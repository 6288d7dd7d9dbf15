"""Commands `manta tune` and `manta study`."""

from __future__ import annotations

from typing import Annotated, Optional

import typer

from manta.commands.app import Runs, Summary, Trials, app, write_result
from manta.printing import line, print_result, print_study
from manta.words import in_shell


@app.command()
def tune(
    space: Annotated[
        str,
        typer.Argument(help="A search space (YAML); `manta list spaces` shows those that ship."),
    ],
    recipe: Annotated[str, typer.Option("--recipe", help="The recipe that the space varies.")],
    overrides: Annotated[
        Optional[list[str]],  # noqa: UP045
        typer.Argument(
            help="Changes: of the recipe (data.source=./photos), or of the study "
            "(study.metric=rankme)."
        ),
    ] = None,
    name: Annotated[
        str | None, typer.Option(help="Name of the study; made up from the space if not given.")
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with the study of this --name.")
    ] = False,
    trials: Trials = None,
    register: Annotated[
        bool,
        typer.Option(
            "--register", help="Then train the winner at the recipe's budget and register it."
        ),
    ] = False,
    runs: Runs = "manta-runs",
    summary: Summary = None,
) -> None:
    """Search for the configuration that suits your data, with labels or without.

    Trial 0 is the recipe itself; the others vary what the space names, and bad ones are stopped
    early. Without labels, choose the metric to optimise: `study.metric=rankme` (or lidar,
    alpha_req, silhouette). `--resume` continues a killed study and runs no trial twice.

    Example: `manta tune temperature --recipe photos data.source=./photos --name t1 --trials
    24`

    Afterwards: `manta study t1` shows it, and `manta train manta-runs/t1/best.yaml` trains the
    winner.
    """
    import manta

    result = manta.tune(
        space,
        recipe,
        name=name,
        runs=runs,
        resume=resume,
        trials=trials,
        overrides=overrides or [],
    )
    write_result(summary, result.summary)
    print_study(result.record, result.summary)
    line(f"page        {result.page}")
    if not register:
        line(f"next        manta train {in_shell(result.recipe)}")
        return
    trained = result.train_best()
    write_result(summary, {**result.summary, "registered": trained.summary})
    print_result(trained.summary)


@app.command()
def study(
    name: Annotated[str, typer.Argument(help="Name of the study, or its folder.")],
    runs: Runs = "manta-runs",
    summary: Summary = None,
) -> None:
    """Show a study, running or not: its trials, its best, what mattered. Writes study.html anew."""
    import manta

    result = manta.Study.open(name, runs=runs)
    write_result(summary, result.summary)
    print_study(result.record, result.summary)
