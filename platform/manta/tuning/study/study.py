"""A study: what it searches, where it lies, and what its database holds."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import optuna
import yaml

from manta.config import Experiment, from_mapping
from manta.config.overrides import parse_overrides
from manta.data import IngestProgress
from manta.errors import ConfigError, RunError
from manta.report.study.record import StudyRecord, TrialRecord
from manta.runs.folder import RunFolder
from manta.runs.store import Notify, places_of, require_components
from manta.secrets import is_masked, without_secrets
from manta.sqlite import sqlite_url
from manta.tuning.space.read import Space, parse_space
from manta.tuning.study.metrics import StudyMetric, metrics_for
from manta.tuning.study.settings import StudySettings, settings_from
from manta.tuning.study.storage import attributes, open_storage
from manta.tuning.study.study_progress import OnTrialEnd
from manta.tuning.study.trial_records import trial_records

STUDY = "study.yaml"
STORAGE = "MANTA_STUDY_STORAGE"
"""Environment variable with the URL of a database whose password is not written down."""


@dataclass(frozen=True, slots=True)
class StudyRequest:
    """What a user wants searched.

    Attributes:
        space: path of the search-space file.
        changes: of its `study` section, from `changes_from`.
        runs: folder (or URL) that holds runs and studies.
        watch: called whenever a trial has ended.
    """

    space: Path
    recipe: Experiment
    runs: str
    name: str | None = None
    resume: bool = False
    changes: dict[str, Any] | None = None
    notify: Notify = lambda _message: None
    ingest_progress: IngestProgress | None = None
    watch: OnTrialEnd = lambda _progress: None


@dataclass(frozen=True, slots=True)
class StoredStudy:
    """A study that can be searched, or looked at.

    Attributes:
        folder: `<runs>/<name>`: study.yaml, study.db, trials/, best.yaml, study.html.
        saved: what study.yaml holds.
    """

    folder: RunFolder
    space: Space
    settings: StudySettings
    recipe: Experiment
    metrics: list[StudyMetric]
    saved: dict[str, Any]

    @property
    def storage_url(self) -> str:
        """URL of the database.

        Raises:
            ConfigError: its password is not written down, and the environment does not have it.
        """
        url = self.settings.storage
        if url is None:
            return sqlite_url(self.folder.local / "study.db")
        if not is_masked(url):
            return url
        if STORAGE not in os.environ:
            raise ConfigError(
                f"set {STORAGE} to the URL of {url}; its password is not written down"
            )
        return os.environ[STORAGE]

    @property
    def optuna_name(self) -> str:
        """Name in the database."""
        return str(self.saved["optuna_name"])

    def load(self) -> optuna.Study:
        """Return Optuna's study.

        Raises:
            ConfigError: the database cannot be opened, or does not hold the study.
        """
        storage = open_storage(self.storage_url)
        try:
            return optuna.load_study(study_name=self.optuna_name, storage=storage)
        except KeyError:
            raise ConfigError(
                f"{without_secrets(self.storage_url)} holds no study {self.optuna_name!r}"
            ) from None

    def trials(self) -> list[TrialRecord]:
        """Return the trials as the database has them now."""
        return trial_records(self.load(), self.space, self.metrics)

    def drawn(self, number: int) -> dict[str, Any] | None:
        """Return what a trial drew, or what PBT made of it; None: the recipe as it is."""
        trial = self.load().trials[number]
        kept = attributes(trial)
        return None if kept.get("inside") is False else dict(kept.get("drawn") or trial.params)

    def record(self, trials: list[TrialRecord]) -> StudyRecord:
        """Return the study and these trials as plain data."""
        return StudyRecord(
            name=self.folder.name,
            metrics=[metric.name for metric in self.metrics],
            modes=[metric.mode for metric in self.metrics],
            unit=self.settings.scheduler.unit,
            space=self.saved["space_file"],
            recipe=self.recipe.model_dump(mode="json"),
            sampler=self.settings.sampling,
            scheduler=self.settings.scheduler.name,
            seed=self.settings.seed,
            planned=self.settings.trials,
            trials=trials,
            study_run_id=self.saved["study_run_id"],
            labelled=self.saved["labelled"],
            fidelity=self.saved["whole"],
        )


def changes_from(overrides: Iterable[str]) -> tuple[dict[str, Any], list[str]]:
    """Return what `study.key=value` words change, as a tree, and the other words: the recipe's.

    Raises:
        ConfigError: a word is not of the form `study.key=value`.
    """
    words = list(overrides)
    own = [word for word in words if word.startswith("study.") and "=" in word]
    changes = parse_overrides(own).get("study", {})
    return changes, [word for word in words if word not in own]


def open_study(runs: str, name: str) -> StoredStudy:
    """Return a study that was started here.

    Args:
        name: of the study, or of its folder.

    Raises:
        RunError: there is none of that name.
    """
    for folder in map(RunFolder, places_of(runs, name)):
        if folder.exists(STUDY):
            break
    else:
        store = RunFolder(runs)
        names = [entry for entry in store.list() if store.exists(entry, STUDY)]
        hint = f"studies here: {', '.join(names[-8:])}" if names else "`manta tune` starts one"
        raise RunError(f"no study named {name!r} in {runs}; {hint}")
    saved = yaml.safe_load(folder.read(STUDY))
    require_components(saved["recipe"], f"study {folder.name!r}")
    recipe = from_mapping(saved["recipe"])
    settings = settings_from(saved["settings"])
    space, _ = parse_space(folder.read("space.yaml").decode(), recipe, f"{folder.url}/space.yaml")
    metrics = metrics_for(settings.metric, saved["labelled"])
    return StoredStudy(folder, space, settings, recipe, metrics, saved)
