"""`manta.tune`."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import TYPE_CHECKING

from manta.api.arguments import Overrides, PathLike, load_recipe, override_words, space_path
from manta.api.reporting import reporting
from manta.api.study_result import Study

if TYPE_CHECKING:
    from manta.config import Experiment


def tune(
    space: PathLike,
    recipe: PathLike | Experiment,
    *,
    data: PathLike | None = None,
    name: str | None = None,
    runs: PathLike = "manta-runs",
    resume: bool = False,
    trials: int | None = None,
    register: bool = False,
    overrides: Overrides = (),
    progress: bool = True,
) -> Study:
    """Search for the configuration that suits the data, and return the study.

    It works with labels or without; without, name the metric to trust (`study.metric=rankme`).
    Trial 0 is the recipe itself; the others vary what the space names, and the bad ones are stopped
    early. A study that was killed goes on with `resume=True` and runs no trial twice.

    Args:
        space: name of a search space that ships (`manta.list_spaces()`), or path of a YAML file.
        recipe, data: as `manta.train` takes them.
        name: of the study and its folder; made up from the space if not given.
        runs: folder or URL that holds runs and studies.
        resume: go on with the study of this `name`.
        trials: in all; the space has a default.
        register: train the best configuration at the recipe's budget afterwards and register it.
        overrides: of the recipe, and of the study: `{"study.metric": "rankme"}`.
        progress: whether notes, a line a trial and a bar are shown.

    Returns:
        The study; `best` is its best trial, `registered` the run that `register` trained.

    Raises:
        ConfigError: the space, a key or a value cannot work.
        RunError: the name is taken, there is nothing to resume, or no trial came to its end.
        ResourceError: a trial wants more than there can be.
        TrackingError: MLflow's store does not answer.
    """
    from manta.training.opening import naming_resume
    from manta.tuning.publish import publish
    from manta.tuning.study.study import STUDY, StudyRequest, changes_from
    from manta.tuning.trials.driver import search

    changes, words = changes_from(override_words(overrides, data))
    experiment = load_recipe(recipe, words, progress=progress)
    if trials is not None:
        changes["trials"] = trials
    place = os.fspath(runs)
    with reporting(progress) as reporter:
        request = StudyRequest(
            space=space_path(space, reporter.notify),
            recipe=experiment,
            runs=place,
            name=name,
            resume=resume,
            changes=changes,
            notify=reporter.notify,
            ingest_progress=reporter.ingest,
            watch=reporter.study,
        )
        found, record = search(request)
    # The bar of the trials is gone before what follows.
    with reporting(progress) as reporter, naming_resume(found.folder, STUDY):
        summary = publish(found, record, notify=reporter.notify)
    study = Study(record.name, found.folder.url, record, summary)
    if not register:
        return study
    run = study.train_best(progress=progress)
    summary = {**study.summary, "registered": run.summary}
    return replace(study, summary=summary, registered=run)
