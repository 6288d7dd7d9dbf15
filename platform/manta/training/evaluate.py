"""`manta evaluate`: a run or a registered model on any data."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from manta.batch import ViewNeeds
from manta.config import EvaluationConfig
from manta.data import Plan, open_dataset, prepare
from manta.encoders import Encoder
from manta.errors import RunError
from manta.serving import load_exported
from manta.tracking import Tracker, download_model
from manta.training.assess import Augment, Rows, assess, augmentation, evaluators_of, views_wanted
from manta.training.build import untrained_encoder
from manta.training.checkpoint import Checkpoints
from manta.training.folder import default_cache
from manta.training.launch import connect
from manta.training.publish import exported_encoder
from manta.training.run import default_store, find_run, load_experiment
from manta.views import Views


@dataclass(frozen=True, slots=True)
class Subject:
    """What is evaluated: encoders by name ("" is the one asked for), and how images are made ready for them.

    Attributes:
        augment: makes augmented views, for the evaluators that want them; None where it is not known how.
    """

    name: str
    encoders: dict[str, Encoder]
    prepare: Callable[[Tensor], Tensor]
    size: int
    evaluation: EvaluationConfig
    augment: Augment | None = None


def evaluate_model(
    model: str,
    data: str,
    *,
    bank: str | None = None,
    runs: str = "manta-runs",
    notify: Callable[[str], None] = lambda _message: None,
    progress: Callable[[int, int], None] | None = None,
) -> dict[str, Any]:
    """Every evaluator of the subject's configuration on `data`.

    Args:
        bank: data that probes learn from, all of it; with None, `data` is split and 9 in 10 rows are the bank.

    Returns:
        name, metrics (with `random_` for the untrained encoder), rows and settings.
    """
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    subject = _subject(model, runs)
    connect(cpus=2)
    cache = default_cache(runs)
    manifest = open_dataset(prepare(data, cache, progress=progress))
    limits = subject.evaluation
    if bank is None:
        holdout = limits.holdout or EvaluationConfig().holdout
        plan = Plan(manifest, seed=0, batch_size=1, holdout=holdout)
        learnt, asked = (
            Rows(manifest, plan, "bank", limits.bank_rows),
            Rows(manifest, plan, "held_out", limits.query_rows),
        )
        note = f"probes learn from {{bank}} rows of {data} and are scored on the other {{queries}}"
    else:
        bank_manifest = open_dataset(prepare(bank, cache, progress=progress))
        whole = Plan(bank_manifest, seed=0, batch_size=1, holdout=0.0)
        learnt = Rows(bank_manifest, whole, "bank", limits.bank_rows)
        asked = Rows(manifest, Plan(manifest, seed=0, batch_size=1, holdout=0.0), "bank", limits.query_rows)
        note = f"probes learn from {{bank}} rows of {bank} and are scored on {{queries}} rows of {data}"
    notify(f"evaluating {subject.name}")
    encoders = {name: encoder.to(device) for name, encoder in subject.encoders.items()}
    evaluators = evaluators_of(limits)
    found = assess(
        encoders,
        learnt,
        asked,
        prepare=subject.prepare,
        size=subject.size,
        device=device,
        augment=subject.augment,
        views=views_wanted(evaluators),
    )
    if found is None:
        raise RunError("evaluation runs in one process; start it outside of a distributed job")
    counts = {"bank": len(found.features[""].bank), "queries": len(found.features[""].queries)}
    return {
        "name": subject.name,
        "data": data,
        "digest": manifest.digest,
        "metrics": found.metrics(evaluators),
        "settings": {entry.name: entry.model_dump() for entry in limits.evaluators},
        "bank_rows": counts["bank"],
        "query_rows": counts["queries"],
        "labelled": manifest.labelled,
        "note": note.format(**{key: f"{value:,}" for key, value in counts.items()}),
    }


def _subject(model: str, runs: str) -> Subject:
    if model.startswith("models:/"):
        return _registered(model, runs)
    folder = find_run(runs, model)
    experiment = load_experiment(folder)
    newest = Checkpoints(folder, None).latest()
    if newest is None:
        raise RunError(f"run {folder.name!r} has no checkpoint yet; go on with it by `manta train ... --resume`")
    manifest = open_dataset(folder.read_json("run.json")["dataset"])
    views = Views(experiment.views, ViewNeeds(), image_size=experiment.data.image_size)
    return Subject(
        f"{folder.name} at step {newest.step}",
        {"": exported_encoder(folder, experiment, manifest, newest), "random": untrained_encoder(experiment)},
        views.plain,
        experiment.data.canonical_size,
        experiment.evaluation,
        augmentation(experiment.views, experiment.data.image_size),
    )


def _registered(uri: str, runs: str) -> Subject:
    """Manta's own folder inside a registered model; there is no untrained twin to compare with."""
    tracker = Tracker(runs_dir=default_store(runs))
    with tempfile.TemporaryDirectory(prefix="manta-model-") as scratch:
        files = download_model(tracker, uri, Path(scratch))
        exported = load_exported(files / "encoder")
    preprocess = exported.preprocess

    def prepare_images(images: Tensor) -> Tensor:
        prepared: Tensor = preprocess.to(images.device)(images.permute(0, 2, 3, 1))
        return prepared

    return Subject(uri, {"": exported.encoder}, prepare_images, preprocess.resize, EvaluationConfig())
