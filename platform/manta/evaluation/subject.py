"""The model that `manta evaluate` evaluates, and the untrained encoder beside it."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from manta.config import EvaluationConfig
from manta.encoders.saved import DESCRIPTION
from manta.errors import RunError
from manta.modalities import Modality
from manta.models.find import CHECKPOINT, checkpoint_of, model_folder, run_folder
from manta.models.restore import export
from manta.runs.build import untrained_encoder
from manta.runs.checkpoint import folder_name
from manta.runs.folder import RunFolder
from manta.runs.lease import status
from manta.runs.store import default_store, load_experiment, stats_of
from manta.serving import save_encoder
from manta.serving.adapt import Preparation, adapted
from manta.tracking import Tracker, exact_version

UNTRAINED = "random"
"""Name of the untrained encoder among a subject's folders; with `_` the prefix of its metrics."""


@dataclass(frozen=True, slots=True)
class Subject:
    """What is evaluated.

    Attributes:
        name: for people.
        model: as the user named it, but for aliases and newest checkpoints, which move: those are
            pinned.
        folders: saved encoders by name: "" is the model, `UNTRAINED` its start where it is known.
        evaluation: the run's own settings, or the defaults.
        tracker: the store that has the model.
        run_id, step: its run in MLflow and the step of its weights, if it is a run of Manta's.
        modality: with the settings of that run; None for another model.
    """

    name: str
    model: str
    folders: dict[str, Path]
    evaluation: EvaluationConfig
    tracker: Tracker
    run_id: str | None = None
    step: int | None = None
    modality: Modality[Any] | None = None


@contextmanager
def subject_of(model: str, runs: str, preparation: Preparation) -> Iterator[Subject]:
    """Yield the subject that `model` names, its images prepared by `preparation` where it says so.

    Folders that were made for it are removed at the end.
    """
    with _saved(model, runs) as subject:
        if not preparation:
            yield subject
            return
        with tempfile.TemporaryDirectory(prefix="manta-prepared-") as scratch:
            folders = {
                name: adapted(folder, Path(scratch) / (name or "model"), preparation)
                for name, folder in subject.folders.items()
            }
            yield replace(subject, folders=folders)


@contextmanager
def _saved(model: str, runs: str) -> Iterator[Subject]:
    tracker = Tracker(runs_dir=default_store(runs))
    run = _run_of(model, runs)
    step: int | None = None
    # Pinned before anything is read: a run that trains on, or an alias that moves meanwhile, would
    # give the record of one model the numbers of another.
    if run is None:
        exact = exact_version(tracker, model)
    else:
        exact, step = _pinned(model, run)
    with model_folder(exact, tracker, runs) as folder:
        if run is None:
            yield Subject(model, exact, {"": folder}, EvaluationConfig(), tracker)
            return
        experiment, facts = load_experiment(run), run.read_json("run.json")
        uri = facts.get("tracking_uri")
        tracker = Tracker(uri, runs_dir=default_store(runs)) if uri else tracker
        with tempfile.TemporaryDirectory(prefix="manta-untrained-") as scratch:
            stats = stats_of(run)
            untrained = export(experiment, untrained_encoder(experiment, stats), stats)
            start = save_encoder(untrained, scratch, config=experiment.encoder).folder
            folders = {"": folder, UNTRAINED: start}
            name, run_id = f"{run.name} at step {step}", facts.get("run_id")
            modality, own = experiment.modality(stats), experiment.evaluation
            yield Subject(name, exact, folders, own, tracker, run_id, step, modality)


def _pinned(model: str, run: RunFolder) -> tuple[str, int]:
    """Return what `model_folder` takes for the weights that `model` means now, and their step."""
    finished = status(run) == "finished" and run.exists("encoder", DESCRIPTION)
    if finished and CHECKPOINT.fullmatch(model) is None:
        return model, int(run.read_json("run.json")["steps"])
    step = checkpoint_of(model, run).step
    return run.url_of("checkpoints", folder_name(step)), step


def _run_of(model: str, runs: str) -> RunFolder | None:
    """Return the run that `model` names.

    None where it names something else, or nothing: `model_folder` then says what there is.
    """
    try:
        return run_folder(model, runs)
    except RunError:
        return None
