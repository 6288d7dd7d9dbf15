"""A study on disk: its folder, its settings, its database."""

from __future__ import annotations

import hashlib
import json
import os
import re
import time
import uuid
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import optuna
import yaml

from manta.config import Experiment, from_mapping
from manta.data import IngestProgress, Manifest
from manta.errors import ConfigError, RunError
from manta.report.study.record import StudyRecord, TrialRecord
from manta.runs.folder import RunFolder
from manta.runs.store import Notify, git_commit, require_components
from manta.secrets import is_masked, without_secrets
from manta.tracking import Dataset, Tracker
from manta.tuning.space.read import Space, parse_space
from manta.tuning.study.metrics import StudyMetric, metrics_for
from manta.tuning.study.settings import StudySettings, settings_from
from manta.tuning.study.standing import Watch
from manta.tuning.study.storage import ATTRIBUTE, open_storage
from manta.tuning.study.trial_records import records

STUDY, STORAGE = "study.yaml", "MANTA_STUDY_STORAGE"
MOST_EPOCHS = 9
"""Of a trial, unless the settings say more: the winner is trained at the recipe's budget
afterwards."""


@dataclass(frozen=True, slots=True)
class StudyRequest:
    """What the user asked for.

    Attributes:
        space: path of the search-space file.
        changes: dotted keys of its `study` section to values, over the file's.
        runs: folder (or URL) that holds runs and studies.
        watch: told each trial that ended.
    """

    space: Path
    recipe: Experiment
    runs: str
    name: str | None = None
    resume: bool = False
    changes: dict[str, Any] | None = None
    notify: Notify = lambda _message: None
    ingest_progress: IngestProgress | None = None
    watch: Watch = lambda _standing: None


@dataclass(frozen=True, slots=True)
class Study:
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
        if self.settings.storage is None:
            return f"sqlite:///{self.folder.local / 'study.db'}"
        if not is_masked(self.settings.storage):
            return self.settings.storage
        if STORAGE not in os.environ:
            raise ConfigError(
                f"set {STORAGE} to the URL of {self.settings.storage}; its password is not written down"
            )
        return os.environ[STORAGE]

    @property
    def optuna_name(self) -> str:
        return str(self.saved["optuna_name"])

    def load(self) -> optuna.Study:
        """
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
        """As the database has them now."""
        return records(self.load(), self.space, self.metrics)

    def drawn(self, number: int) -> dict[str, Any] | None:
        """What a trial drew, or what PBT made of it; None: the recipe as it is."""
        trial = self.load().trials[number]
        if trial.user_attrs.get(f"{ATTRIBUTE}inside") is False:
            return None
        return dict(trial.user_attrs.get(f"{ATTRIBUTE}drawn") or trial.params)

    def record(self, trials: list[TrialRecord]) -> StudyRecord:
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
    """`study.key=value` words as a mapping of what follows `study.`, and the other words, which are
    the recipe's.

    Raises:
        ConfigError: a value is not YAML.
    """
    changes: dict[str, Any] = {}
    others = []
    for word in overrides:
        key, found, value = word.partition("=")
        if not key.startswith("study.") or not found:
            others.append(word)
            continue
        try:
            changes[key.removeprefix("study.")] = yaml.safe_load(value)
        except yaml.YAMLError:
            raise ConfigError(f"override {word!r} has a value that is not YAML; quote it") from None
    return changes, others


def open_study(runs: str, name: str) -> Study:
    """A study that was started here.

    Raises:
        RunError: there is none of that name.
    """
    for folder in (RunFolder(f"{runs.rstrip('/')}/{name}"), RunFolder(name)):
        if folder.exists(STUDY):
            break
    else:
        known = [
            entry for entry in RunFolder(runs).list() if RunFolder(f"{runs}/{entry}").exists(STUDY)
        ]
        hint = f"studies here: {', '.join(known[-8:])}" if known else "`manta tune` starts one"
        raise RunError(f"no study named {name!r} in {runs}; {hint}")
    saved = yaml.safe_load(folder.read(STUDY))
    require_components(saved["recipe"], f"study {folder.name!r}")
    recipe = from_mapping(saved["recipe"])
    settings = settings_from(saved["settings"])
    space, _ = parse_space(folder.read("space.yaml").decode(), recipe, f"{folder.url}/space.yaml")
    return Study(
        folder, space, settings, recipe, metrics_for(settings.metric, saved["labelled"]), saved
    )


def whole_of(settings: StudySettings, recipe: Experiment) -> int:
    """The resource of a trial that is not stopped.

    Raises:
        ConfigError: it is not a whole number of evaluations.
    """
    config = settings.scheduler
    if config.max is None and (
        config.unit == "steps" or recipe.train.epochs != int(recipe.train.epochs)
    ):
        raise ConfigError(f"study.scheduler.max must say how many {config.unit} a whole trial has")
    whole = config.max if config.max is not None else min(int(recipe.train.epochs), MOST_EPOCHS)
    if whole < config.min or whole % config.min:
        raise ConfigError(
            f"a whole trial of {whole} {config.unit} is no multiple of study.scheduler.min {config.min}, after which "
            f"each is evaluated; set study.scheduler.max to {max(whole // config.min, 1) * config.min}"
        )
    return whole


def new_folder(request: StudyRequest, storage: str | None) -> RunFolder:
    """
    Raises:
        RunError: the name is taken, or what is to be resumed is not there or was another study.
    """
    name = request.name or f"study-{request.space.stem}-{time.strftime('%Y%m%d-%H%M%S')}"
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", name):
        raise RunError(f"study name {name!r} may hold letters, digits, '.', '_' and '-' only")
    folder = RunFolder(f"{request.runs.rstrip('/')}/{name}")
    if not folder.is_local and not storage:
        raise RunError(
            f"a study in {folder.url} needs a database that is not a file in it; set study.storage=postgresql://..."
        )
    if request.resume and request.name is None:
        raise RunError("--resume needs the --name of the study to go on with")
    if request.resume and not folder.exists(STUDY):
        raise RunError(
            f"there is no study {name!r} in {request.runs} to resume; leave --resume away to start it"
        )
    if not request.resume and (folder.exists(STUDY) or folder.exists("experiment.yaml")):
        raise RunError(
            f"{name!r} exists in {request.runs}; go on with it by --resume, or choose another --name"
        )
    return folder


def open_folder(
    folder: RunFolder,
    request: StudyRequest,
    settings: StudySettings,
    whole: int,
    manifest: Manifest,
    dataset: str,
    tracker: Tracker,
) -> dict[str, Any]:
    """study.yaml: written by a new study; a resumed one may only ask for more trials or other
    resources."""
    text = request.space.read_text()
    identity = _identity(text, settings, request.recipe, manifest, whole)
    if request.resume:
        saved: dict[str, Any] = yaml.safe_load(folder.read(STUDY))
        if saved["identity"] != identity:
            raise RunError(
                f"study {folder.name!r} was started with another space, recipe, data or settings; resume it with what "
                f"{folder.url_of(STUDY)} says (trials, resources and storage may change), or choose another --name"
            )
        saved |= {"settings": settings.model_dump(mode="json")}
    else:
        run_id = tracker.create_run(
            folder.name,
            config={"study": _shown(settings), "recipe": request.recipe.model_dump(mode="json")},
            tags={"manta.kind": "study", **request.recipe.tracking.tags},
            git_commit=git_commit(),
            dataset=Dataset(
                folder.name, manifest.digest, request.recipe.data.source, manifest.rows
            ),
        )
        saved = {
            "name": folder.name,
            "optuna_name": f"{folder.name}-{uuid.uuid4().hex[:8]}",
            "study_run_id": run_id,
            "identity": identity,
            "whole": whole,
            "labelled": manifest.labelled,
            "dataset": dataset,
            "digest": manifest.digest,
            "tracking_uri": tracker.uri,
            "space_file": request.space.name,
            "settings": settings.model_dump(mode="json"),
            "recipe": request.recipe.model_dump(mode="json"),
        }
        folder.write(text.encode(), "space.yaml")
    shown = saved | {"settings": _shown(settings)}
    folder.write(yaml.safe_dump(shown, sort_keys=False, width=110).encode(), STUDY)
    return saved


def _shown(settings: StudySettings) -> dict[str, Any]:
    """Without the database's password."""
    return settings.model_dump(mode="json") | {
        "storage": settings.storage and without_secrets(settings.storage)
    }


def _identity(
    text: str, settings: StudySettings, recipe: Experiment, manifest: Manifest, whole: int
) -> str:
    kept = settings.model_dump(mode="json", exclude={"trials", "resources", "storage", "compare"})
    space = {
        key: value
        for key, value in (yaml.safe_load(text) or {}).items()
        if key in ("space", "constraints")
    }
    whole_thing = [kept, space, recipe.fingerprint(), manifest.digest, whole]
    return hashlib.sha256(json.dumps(whole_thing, sort_keys=True).encode()).hexdigest()[:12]


def merged(section: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """The file's settings with dotted changes over them."""
    from omegaconf import OmegaConf

    tree = OmegaConf.create(section)
    for key, value in changes.items():
        if "." in key and isinstance(OmegaConf.select(tree, key.split(".")[0]), str):
            head = key.split(".")[0]
            tree[head] = {"name": tree[head]}
        OmegaConf.update(tree, key, value)
    found = OmegaConf.to_container(tree)
    return dict(found) if isinstance(found, dict) else {}
