"""How a study's folder is made, and what a resumed study may change."""

from __future__ import annotations

import hashlib
import json
import re
import time
import uuid
from collections.abc import Mapping
from typing import Any

import yaml

from manta.config import Experiment
from manta.config.overrides import apply_overrides
from manta.config.references import resolved
from manta.data import Manifest
from manta.errors import ConfigError, RunError
from manta.runs.folder import RunFolder
from manta.runs.store import git_commit
from manta.secrets import without_secrets
from manta.tracking import Dataset, Tracker
from manta.tuning.study.settings import StudySettings
from manta.tuning.study.study import STUDY, StudyRequest

MOST_EPOCHS = 9
"""Epochs of a trial, unless the settings say more: the winner is trained at the recipe's budget
afterwards."""


def merged(section: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Return the file's settings with changes from `changes_from` over them."""
    return resolved(apply_overrides(section, changes, StudySettings)[0])


def whole_of(settings: StudySettings, recipe: Experiment) -> int:
    """Return the resource of a trial that is not stopped.

    Raises:
        ConfigError: it is not a whole number of evaluations.
    """
    config, epochs = settings.scheduler, recipe.train.epochs
    if config.max is None and (config.unit == "steps" or epochs != int(epochs)):
        raise ConfigError(f"study.scheduler.max must say how many {config.unit} a whole trial has")
    whole = config.max if config.max is not None else min(int(epochs), MOST_EPOCHS)
    if whole < config.min or whole % config.min:
        better = max(whole // config.min, 1) * config.min
        raise ConfigError(
            f"a whole trial of {whole} {config.unit} is no multiple of study.scheduler.min "
            f"{config.min}, after which each is evaluated; set study.scheduler.max to {better}"
        )
    return whole


def new_folder(request: StudyRequest, storage: str | None) -> RunFolder:
    """Return the folder of a study that can be started, or resumed; nothing is written.

    Raises:
        RunError: the name is taken, or what is to be resumed is not there.
    """
    name = request.name or f"study-{request.space.stem}-{time.strftime('%Y%m%d-%H%M%S')}"
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", name):
        raise RunError(f"study name {name!r} may hold letters, digits, '.', '_' and '-' only")
    folder = RunFolder(f"{request.runs.rstrip('/')}/{name}")
    if not folder.is_local and not storage:
        raise RunError(
            f"a study in {folder.url} needs a database that is not a file in it; "
            "set study.storage=postgresql://..."
        )
    if request.resume and request.name is None:
        raise RunError("--resume needs the --name of the study to go on with")
    if request.resume and not folder.exists(STUDY):
        raise RunError(
            f"there is no study {name!r} in {request.runs} to resume; "
            "leave --resume away to start it"
        )
    if not request.resume and (folder.exists(STUDY) or folder.exists("experiment.yaml")):
        raise RunError(
            f"{name!r} exists in {request.runs}; "
            "go on with it by --resume, or choose another --name"
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
    """Write study.yaml. Returns what it holds.

    A resumed study may only ask for more trials, other resources or another storage.

    Raises:
        RunError: the study that is to be resumed was another one.
        TrackingError: a new one has no run in MLflow.
    """
    text = request.space.read_text()
    identity = _identity(text, settings, request.recipe, manifest, whole)
    plain = settings.model_dump(mode="json")
    shown = plain | {"storage": settings.storage and without_secrets(settings.storage)}
    recipe = request.recipe.model_dump(mode="json")
    if request.resume:
        saved: dict[str, Any] = yaml.safe_load(folder.read(STUDY))
        if saved["identity"] != identity:
            raise RunError(
                f"study {folder.name!r} was started with another space, recipe, data or settings; "
                f"resume it with what {folder.url_of(STUDY)} says (trials, resources and storage "
                "may change), or choose another --name"
            )
        saved |= {"settings": plain}
    else:
        run_id = tracker.create_run(
            folder.name,
            config={"study": shown, "recipe": recipe},
            tags={"manta.kind": "study", **request.recipe.tracking.tags},
            git_commit=git_commit(),
            dataset=Dataset(
                folder.name, manifest.digest, request.recipe.data.source, manifest.rows
            ),
        )
        saved = {
            "name": folder.name,
            # Unlike the folder's name, unique in a database that several stores may share.
            "optuna_name": f"{folder.name}-{uuid.uuid4().hex[:8]}",
            "study_run_id": run_id,
            "identity": identity,
            "whole": whole,
            "labelled": manifest.labelled,
            "dataset": dataset,
            "digest": manifest.digest,
            "tracking_uri": tracker.uri,
            "space_file": request.space.name,
            "settings": plain,
            "recipe": recipe,
        }
        folder.write(text.encode(), "space.yaml")
    # Last, since it makes the folder a study; and without the database's password.
    written = yaml.safe_dump(saved | {"settings": shown}, sort_keys=False, width=110)
    folder.write(written.encode(), STUDY)
    return saved


def _identity(
    text: str, settings: StudySettings, recipe: Experiment, manifest: Manifest, whole: int
) -> str:
    """Return twelve digits of what makes trials comparable: a resumed study must have the same."""
    kept = settings.model_dump(mode="json", exclude={"trials", "resources", "storage", "compare"})
    sections = yaml.safe_load(text) or {}
    space = {key: sections[key] for key in sections if key in ("space", "constraints")}
    everything = [kept, space, recipe.fingerprint(), manifest.digest, whole]
    return hashlib.sha256(json.dumps(everything, sort_keys=True).encode()).hexdigest()[:12]
