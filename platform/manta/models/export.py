"""Export of any model in a format that others load (`manta export`)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import safetensors.torch
from torch import Tensor

from manta.data import open_dataset
from manta.errors import ConfigError
from manta.models.find import checkpoint_of, model_folder, run_folder
from manta.models.restore import restored
from manta.runs.store import Notify, default_store, load_experiment
from manta.serving.formats import Format, export_model, head_weights
from manta.tracking import Tracker

HEADS = "heads.safetensors"


def export_to(
    model: str,
    format: Format,
    out: str | Path,
    *,
    heads: bool = False,
    runs: str = "manta-runs",
    notify: Notify = lambda _message: None,
) -> dict[str, Any]:
    """Export `model` to `out`, compare the export with it, and return the result.

    Args:
        model: any name that `model_folder` accepts.
        heads: export the heads of the objective too, from a run's newest checkpoint: into `out`, or
            beside it if it is a file.

    Raises:
        MantaError: a problem that the user can fix; nothing is left behind.
    """
    # The heads are read first: a model without any must fail before anything is written.
    weights, about = _heads(model, runs) if heads else ({}, {})
    beside = Path(out).with_name(f"{Path(out).stem}.{HEADS}")
    if heads and beside.exists():
        raise ConfigError(f"{beside} exists; choose another place for the export, or remove it")
    notify(f"exporting {model} as {format}")
    with model_folder(model, Tracker(runs_dir=default_store(runs)), runs) as folder:
        written = export_model(folder, format, out)
    result: dict[str, Any] = {
        "model": model,
        "path": str(written.path),
        "format": written.format,
        "error": written.error,
        "tolerance": written.tolerance,
    }
    if heads:
        path = written.path / HEADS if written.path.is_dir() else beside
        safetensors.torch.save_file(weights, path, metadata=about)
        result |= {"heads_path": str(path), "heads": sorted(weights)}
    return result


def _heads(model: str, runs: str) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Return the weights of a run's heads by name, and a description of their origin.

    Raises:
        ConfigError: `model` is not a run, and has no heads.
    """
    run = run_folder(model, runs)
    if run is None:
        raise ConfigError(
            f"{model} is an encoder alone; --heads needs a run, which has its objective's heads too"
        )
    newest = checkpoint_of(model, run)
    experiment = load_experiment(run)
    objective = restored(
        run, experiment, open_dataset(run.read_json("run.json")["dataset"]), newest
    )
    about = {
        "objective": json.dumps(experiment.objective.model_dump(mode="json")),
        "step": str(newest.step),
    }
    return head_weights(objective), about
