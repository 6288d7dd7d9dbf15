"""Copies of a study that Optuna can draw and rank.

A failed trial stands in a study as complete and infeasible, with a value made up to keep the
sampler away. A copy holds it as failed, which leaves it out and keeps the numbers of the others.
"""

from __future__ import annotations

import contextlib
import html
import warnings
from collections.abc import Iterator, Mapping

import optuna
from optuna.trial import FrozenTrial, TrialState

from manta.report.parts import words
from manta.report.study.record import StudyRecord


class NotDrawn(Exception):
    """A figure that cannot be made; the message is the sentence that stands in its place."""


@contextlib.contextmanager
def quiet_optuna() -> Iterator[None]:
    """Silence Optuna's log of studies in memory and its warnings of experimental features."""
    level = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            yield
    finally:
        optuna.logging.set_verbosity(level)


def short_names(study: optuna.Study) -> dict[str, str]:
    """Return parameter -> a short name, escaped: plotly takes `<b>` and the like for markup."""
    paths = [path for trial in study.get_trials(deepcopy=False) for path in trial.params]
    short = words.short_paths(paths, longest=24)
    return {path: html.escape(name, quote=False) for path, name in short.items()}


def copy_of_complete(
    study: optuna.Study, record: StudyRecord, names: Mapping[str, str], metrics: int = 1
) -> optuna.Study:
    """Return the complete trials by their first `metrics` metrics, with parameters renamed."""
    complete = {trial.number for trial in record.complete}
    values = {
        trial.number: list(trial.values[:metrics])
        for trial in study.get_trials(deepcopy=False)
        if trial.number in complete and trial.values and _feasible(trial)
    }
    directions = ["maximize" if mode == "max" else "minimize" for mode in record.modes[:metrics]]
    return copy_with_values(study, values, directions, names)


def copy_with_values(
    study: optuna.Study,
    values: Mapping[int, list[float]],
    directions: list[str],
    names: Mapping[str, str],
) -> optuna.Study:
    """Return the study's parameters with other values, by the number of the trial.

    Trials without a value are in the copy as failed, so that numbers stay.
    """
    copy = optuna.create_study(directions=directions)
    for trial in study.get_trials(deepcopy=False):
        value = values.get(trial.number)
        copy.add_trial(
            optuna.trial.create_trial(
                state=TrialState.FAIL if value is None else TrialState.COMPLETE,
                values=value,
                params={names.get(path, path): drawn for path, drawn in trial.params.items()},
                distributions={
                    names.get(path, path): kind for path, kind in trial.distributions.items()
                },
            )
        )
    return copy


def complete_trials(copy: optuna.Study, fewest: int = 1) -> list[FrozenTrial]:
    """Return the complete trials of a copy.

    Raises:
        NotDrawn: there are fewer than `fewest`.
    """
    trials: list[FrozenTrial] = copy.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    if len(trials) < fewest:
        needed = "one complete trial" if fewest == 1 else f"{fewest} complete trials"
        held = len(trials) or "none"
        raise NotDrawn(f"It takes at least {needed}; this study has {held}.")
    return trials


def _feasible(trial: FrozenTrial) -> bool:
    failed = trial.user_attrs.get("manta.state") == "failed"
    return not failed and all(violation <= 0 for violation in trial.constraints.values())
