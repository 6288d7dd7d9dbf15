"""`manta tune` and `manta study`."""

from __future__ import annotations

from typing import Annotated, Optional

import typer

from manta.commands.app import Runs, Summary, Trials, app, recipe_path, space_path, write_result
from manta.printing import console, out, print_result, print_study, say


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
            help="Changes: of the recipe (data.source=./photos), or of the study (study.metric=rankme)."
        ),
    ] = None,
    name: Annotated[
        Optional[str], typer.Option(help="Name of the study; made up from the space if not given.")
    ] = None,  # noqa: UP045
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

    Trial 0 is the recipe itself; the others vary what the space names, and the bad ones are stopped
    early. Without labels say what to trust: `study.metric=rankme` (or lidar, alpha_req,
    silhouette). A killed study goes on by `--resume` and runs no trial twice.

    Example: `manta tune temperature --recipe dcl-cifar10 data.source=./photos --name t1 --trials
    24`

    Afterwards: `manta study t1` shows it, and `manta train manta-runs/t1/best.yaml` trains the
    winner.
    """
    from manta.config import load
    from manta.progress import ingest_bar, study_bar, training_bar
    from manta.tuning.publish import publish
    from manta.tuning.study.study import StudyRequest, changes_from
    from manta.tuning.trials.driver import search

    changes, words = changes_from(overrides or [])
    experiment = load(recipe_path(recipe), words, notify=say)
    if trials is not None:
        changes["trials"] = trials
    with ingest_bar(console) as ingest_progress, study_bar(console) as watch:
        found, record = search(
            StudyRequest(
                space=space_path(space),
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
    write_result(summary, result)
    print_study(record, result)
    out.print(f"page        {found.folder.url}/study.html", highlight=False, soft_wrap=True)
    if not register:
        out.print(
            f"next        manta train {found.folder.url}/best.yaml", highlight=False, soft_wrap=True
        )
        return
    from manta.tuning.register import register_winner

    with ingest_bar(console) as ingest_progress:
        trained = register_winner(
            found,
            record,
            runs=runs,
            notify=say,
            ingest_progress=ingest_progress,
            watch_folder=training_bar(console),
        )
    write_result(summary, result | {"registered": trained})
    print_result(trained)


@app.command()
def study(
    name: Annotated[str, typer.Argument(help="Name of the study, or its folder.")],
    runs: Runs = "manta-runs",
    summary: Summary = None,
) -> None:
    """Show a study, running or not: its trials, its best, what mattered. Writes study.html anew."""
    from manta.tuning.publish import look

    record, found = look(runs, name)
    write_result(summary, found)
    print_study(record, found)
