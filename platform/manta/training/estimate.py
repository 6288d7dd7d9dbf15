"""What a run would take, without starting it."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from manta import encoders, objectives
from manta.batch import DataFacts
from manta.config import Experiment
from manta.data import is_dataset, open_dataset, prepared
from manta.errors import ConfigError
from manta.runs.build import plan_of, total_steps
from manta.runs.folder import default_cache
from manta.runs.materials import required
from manta.training.step import resolve_precision
from manta.views import specify

OPTIMIZER_COPIES = {"sgd": 1, "lars": 1, "muon": 1}
"""Float32 copies of the weights that an optimizer keeps; Adam's family keeps two."""


def estimate(experiment: Experiment, runs: str) -> dict[str, Any]:
    """Parameters, steps and memory. Rows and steps are None while the source is not ingested:
    nothing is started."""
    size = experiment.data.image_size
    if needed := required(experiment):
        raise ConfigError(
            f"objective {experiment.objective.name!r} is built around {', '.join(map(str, needed.values()))}, which a "
            "dry run does not make; start the run itself"
        )
    encoder = encoders.build(experiment.encoder, image_size=size)
    objective = objectives.build(
        experiment.objective, encoder, DataFacts(rows=1_000, image_size=size)
    )
    trained = sum(p.numel() for p in objective.parameters() if p.requires_grad)
    held = sum(p.numel() for p in objective.parameters()) + sum(
        b.numel() for b in objective.buffers()
    )
    smallest = min(
        view.size for view in specify(experiment.views, objective.needs, image_size=size)
    )
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    precision = resolve_precision(experiment.train.precision, device, smallest=smallest)
    per_worker = (
        experiment.train.batch_size // experiment.resources.workers // experiment.train.accumulate
    )
    needs = objective.needs
    views = (
        needs.global_views + needs.local_views / 4
    )  # a local view has about a quarter of the pixels
    activations = (
        activation_elements(encoder, size) * per_worker * views * (2 if precision == "bf16" else 4)
    )
    copies = 1 + OPTIMIZER_COPIES.get(experiment.optimizer.name, 2)
    steps, rows = _steps(experiment, runs)
    return {
        "parameters": trained,
        "encoder_parameters": sum(p.numel() for p in encoder.parameters()),
        "rows": rows,
        "steps": steps,
        "steps_per_epoch": None if steps is None else round(steps / experiment.train.epochs),
        "batch_per_worker": per_worker,
        "precision": precision,
        "estimated_memory_bytes_per_worker": int(4 * held + 4 * copies * trained + activations),
    }


@torch.no_grad()
def activation_elements(encoder: nn.Module, size: int) -> int:
    """Elements that one image's forward leaves for the backward: every leaf module's output."""
    total = 0

    def count(_module: nn.Module, _inputs: Any, output: Any) -> None:
        nonlocal total
        if isinstance(output, Tensor):
            total += output.numel()

    hooks = [m.register_forward_hook(count) for m in encoder.modules() if not list(m.children())]
    was_training = encoder.training
    encoder.eval()(torch.zeros(1, 3, size, size))
    encoder.train(was_training)
    for hook in hooks:
        hook.remove()
    return total


def _steps(experiment: Experiment, runs: str) -> tuple[int | None, int | None]:
    location = prepared(experiment.data.source, experiment.data.cache_dir or default_cache(runs))
    if not is_dataset(location):
        return None, None
    manifest = open_dataset(location)
    return total_steps(experiment, plan_of(experiment, manifest)), manifest.rows
