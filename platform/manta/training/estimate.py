"""Estimate of a run's steps, parameters and memory, without starting it."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from manta.batch import ViewNeeds
from manta.config import Experiment
from manta.data import Manifest, SourceOptions, is_dataset, open_dataset, prepared
from manta.errors import ConfigError
from manta.modalities import Modality
from manta.objectives import Objective
from manta.runs.build import plan_of, total_steps
from manta.runs.folder import default_cache
from manta.runs.materials import required
from manta.spec import Spec
from manta.training.evaluations import evaluation_notes
from manta.training.preflight import built
from manta.training.start import opened_start
from manta.training.step import resolve_precision

OPTIMIZER_COPIES = {"sgd": 1, "lars": 1, "muon": 1}
"""Float32 copies of the weights that an optimizer keeps; those of Adam's family keep two."""
LOCAL_SHARE = 1 / 4
"""Pixels of a local view as a fraction of a global one's, approximately."""


def estimate(experiment: Experiment, runs: str) -> dict[str, Any]:
    """Return the facts about a run that are known before it starts.

    Returns:
        `parameters` (the trained ones), `encoder_parameters`, `rows`, `steps`, `steps_per_epoch`,
        `batch_per_worker`, `precision`, `estimated_memory_bytes_per_worker`, `evaluation`: lines
        on what evaluators cannot do with the data, and `materials`: a description, by name, of what
        the run makes before training, and with `encoder.start` also
        `start`, a line on what of it fits. Rows, steps and these lines are None until the source is
        ingested. `parameters`, `precision` and the memory are None if the objective
        is built around another model, on which they depend.

    Raises:
        ConfigError: encoder and objective do not go together, or one rejects its configuration.
    """
    train = experiment.train
    batch = train.batch_size // experiment.resources.workers // train.accumulate
    manifest = _ingested(experiment, runs)
    stats = None if manifest is None else manifest.stats
    if manifest is None and not experiment.modality().is_complete:
        raise ConfigError(
            f"{experiment.data.source} must be ingested before it is known what fits its "
            f"{experiment.modality().noun}: `manta ingest SOURCE FOLDER --modality "
            f"{experiment.data.modality}`, or train without --dry-run"
        )
    with opened_start(experiment, runs) as opened:
        experiment, start = opened.experiment, opened.tried(stats).record
    encoder, objective = built(experiment, stats)
    steps, rows, notes = _of_data(experiment, manifest)
    plan: dict[str, Any] = {
        "parameters": None,
        "encoder_parameters": _count(encoder.parameters()),
        "rows": rows,
        "steps": steps,
        "steps_per_epoch": None if steps is None else round(steps / train.epochs),
        "batch_per_worker": batch,
        "precision": None,
        "estimated_memory_bytes_per_worker": None,
        "evaluation": notes,
        "materials": {name: str(material) for name, material in required(experiment).items()},
    }
    if start is not None:
        plan["start"] = start["said"]
    if objective is None:
        return plan
    modality = experiment.modality(stats)
    return plan | _of_objective(experiment, modality, objective, encoder, batch)


@torch.no_grad()
def activation_elements(encoder: nn.Module, spec: Spec) -> int:
    """Return the elements that the forward pass of one sample keeps for the backward pass.

    It counts the outputs of all modules without children.
    """
    total = 0

    def count(_module: nn.Module, _inputs: Any, output: Any) -> None:
        nonlocal total
        if isinstance(output, Tensor):
            total += output.numel()

    hooks = [m.register_forward_hook(count) for m in encoder.modules() if not list(m.children())]
    was_training = encoder.training
    encoder.eval()(spec.example(1))
    encoder.train(was_training)
    for hook in hooks:
        hook.remove()
    return total


def _of_objective(
    experiment: Experiment,
    modality: Modality[Any],
    objective: Objective[Any],
    encoder: nn.Module,
    batch: int,
) -> dict[str, Any]:
    """Return the trained parameters, the precision and the memory of a worker."""
    trained = _count(p for p in objective.parameters() if p.requires_grad)
    held = _count(objective.parameters()) + _count(objective.buffers())
    smallest = modality.views(experiment.views, objective.needs).smallest
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    precision = resolve_precision(experiment.train.precision, device, smallest=smallest)
    element = 2 if precision == "bf16" else 4
    images = batch * _full_views(objective.needs)
    activations = activation_elements(encoder, modality.spec) * images * element
    # Weights and buffers, then in float32 the gradients and the optimizer's copies.
    copies = 1 + OPTIMIZER_COPIES.get(experiment.optimizer.name, 2)
    return {
        "parameters": trained,
        "precision": precision,
        "estimated_memory_bytes_per_worker": int(4 * held + 4 * copies * trained + activations),
    }


def _full_views(needs: ViewNeeds) -> float:
    """Return the number of views of an image, each counted by its pixels."""
    local = needs.local_views
    return len(needs.asks) - local + local * LOCAL_SHARE


def _count(tensors: Any) -> int:
    return sum(tensor.numel() for tensor in tensors)


def _ingested(experiment: Experiment, runs: str) -> Manifest | None:
    """Return the dataset that a run would take; None before an ingest."""
    cache = experiment.data.cache_dir or default_cache(runs)
    options, modality = SourceOptions.of(experiment.data), experiment.modality()
    location = prepared(experiment.data.source, cache, options=options, modality=modality)
    return open_dataset(location) if is_dataset(location) else None


def _of_data(
    experiment: Experiment, manifest: Manifest | None
) -> tuple[int | None, int | None, list[str] | None]:
    """Return steps, rows, and what evaluators cannot do with the data; None before an ingest."""
    if manifest is None:
        return None, None, None
    plan = plan_of(experiment, manifest)
    notes = evaluation_notes(experiment, manifest, plan)
    return total_steps(experiment, plan), manifest.rows, notes
