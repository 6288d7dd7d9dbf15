"""What the conformance suite runs every objective on: a tiny encoder that it accepts, small heads, real digits."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields, replace
from functools import lru_cache
from typing import Any

import torch
from sklearn.datasets import load_digits
from torch import Tensor

from manta import encoders, objectives
from manta.batch import Batch, DataFacts, Progress
from manta.encoders import EncoderConfig
from manta.errors import ConfigError
from manta.objectives import OBJECTIVES, HeadConfig, Objective, ObjectiveConfig
from manta.views import Views, ViewsConfig

SIZE = 32
# Local views of 16 px would reach the last stage of test_resnet as one pixel, for which oneDNN's bf16 convolution of
# stride 2 leaves parts of its weight gradient unwritten (torch 2.15, AMX).
VIEWS = ViewsConfig(local_size=24)
TOTAL_STEPS = 40
NAMES = tuple(OBJECTIVES)
VIT = {"embed_dim": 32, "depth": 2, "num_heads": 2, "patch_size": 8, "global_pool": "avg"}
ENCODERS = (  # in the order in which they are offered
    EncoderConfig(name="test_resnet"),
    EncoderConfig(name="vit_tiny_patch16_224", args=VIT),
)


def config_of(name: str, **overrides: Any) -> ObjectiveConfig:
    """The objective's defaults but for `overrides`, with heads of at most 64 units."""
    config = OBJECTIVES[name].Config.model_validate({"name": name, **overrides})
    heads = {field: value for field, value in config if isinstance(value, HeadConfig)}
    small = {"hidden": 64, "out": 32}
    return config.model_copy(update={field: head.model_copy(update=small) for field, head in heads.items()})


def objective_of(name: str, *, seed: int = 0, dtype: torch.dtype = torch.float32, **overrides: Any) -> Objective[Any]:
    """The objective around the first encoder that it accepts, initialised from `seed`, in train mode."""
    config, facts = config_of(name, **overrides), DataFacts(rows=len(pictures()), image_size=SIZE)
    refusals = []
    for backbone in ENCODERS:
        torch.manual_seed(seed)
        encoder = encoders.build(backbone, image_size=SIZE)
        try:
            objective = objectives.build(config, encoder, facts)
        except ConfigError as refusal:
            refusals.append(str(refusal))
            continue
        return objective.to(dtype).train()
    raise AssertionError(f"{name} accepts no encoder: {refusals}")


@lru_cache(maxsize=1)
def pictures() -> Tensor:
    """scikit-learn's digits as `[1797, 3, SIZE, SIZE]` uint8."""
    digits = torch.tensor(load_digits().images, dtype=torch.float32).mul(255 / 16).unsqueeze(1)
    grown = torch.nn.functional.interpolate(digits, (SIZE, SIZE), mode="bilinear")
    return grown.round().to(torch.uint8).expand(-1, 3, -1, -1).contiguous()


@lru_cache(maxsize=1)
def labels() -> Tensor:
    return torch.tensor(load_digits().target)


def batch_of(
    objective: Objective[Any], rows: int, *, step: int = 0, dtype: torch.dtype = torch.float32, start: int = 0
) -> Batch:
    """The views that the objective asks for, of `rows` digits from `start` on, as the trainer would make them."""
    index = torch.arange(start, start + rows) % len(pictures())
    views = Views(VIEWS, objective.needs, image_size=SIZE)
    batch = views(pictures()[index], index, seed=0, step=step, global_batch=rows)
    return Batch([replace(view, data=view.data.to(dtype)) for view in batch], batch.index)


def rows_of(batch: Batch, rows: slice | Tensor) -> Batch:
    """Those rows of everything that a batch carries."""

    def part(view: Any) -> dict[str, Tensor]:
        values = {field.name: getattr(view, field.name) for field in fields(view)}
        return {name: value[rows] for name, value in values.items() if isinstance(value, Tensor)}

    return Batch([replace(view, **part(view)) for view in batch], batch.index[rows])


def progress_at(step: int) -> Progress:
    return Progress(step, TOTAL_STEPS)


def trained(objective: Objective[Any], batches: Iterator[Batch], *, lr: float = 1e-3) -> list[float]:
    """Some optimizer steps, as the trainer takes them; the losses."""
    optimizer = torch.optim.AdamW([p for p in objective.parameters() if p.requires_grad], lr=lr)
    losses = []
    for step, batch in enumerate(batches):
        loss = objective(batch, progress_at(step))["loss"]
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        objective.after_step(progress_at(step))
        losses.append(loss.item())
    return losses
