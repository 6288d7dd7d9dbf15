"""Where a study keeps its trials: `<study>/trials/<number>`."""

from __future__ import annotations

from manta.runs.folder import RunFolder

TRIALS = "trials"


def trials_folder(study: RunFolder) -> RunFolder:
    """Return the folder that holds a folder of each trial."""
    return RunFolder(study.url_of(TRIALS))


def trial_folder(study: RunFolder, number: int) -> RunFolder:
    """Return the folder of one trial."""
    return RunFolder(study.url_of(TRIALS, trial_name(number)))


def trial_name(number: int) -> str:
    """Return the name of a trial's folder."""
    return f"{number:04d}"
