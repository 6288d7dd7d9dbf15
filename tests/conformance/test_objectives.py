"""Tests of every registered objective, in one process: to register one is to test it."""

from __future__ import annotations

import inspect
import io
import re
from dataclasses import fields
from typing import Any, get_args

import pytest
import torch
from objective_kit import (
    NAMES,
    TOTAL_STEPS,
    batch_of,
    config_of,
    objective_of,
    progress_at,
    rows_of,
    trained,
)
from torch import Tensor

from manta.batch import Batch, View, ViewNeeds
from manta.encoders import Encoder
from manta.objectives import (
    OBJECTIVES,
    ClusterMaterial,
    ColumnMaterial,
    Exchange,
    Family,
    ModelMaterial,
    Objective,
    Paper,
    Prototypes,
    Queue,
    SampleTable,
    UnitsMaterial,
)

MIDDLE = TOTAL_STEPS // 2
"""A step of a run whose warm-ups are over."""
every_objective = pytest.mark.parametrize("name", NAMES)


@every_objective
def test_it_declares_what_it_is(name: str) -> None:
    kind = OBJECTIVES[name]
    assert config_of(name).name == name
    assert "name" in kind.Config.model_fields
    assert isinstance(kind.exchange, Exchange)
    assert isinstance(kind.paper, Paper)
    assert kind.paper.title
    assert kind.paper.source is None or re.fullmatch(r"S\d{3}", kind.paper.source)
    assert 1990 <= kind.paper.year <= 2100
    assert kind.family in get_args(Family)
    assert kind.__doc__
    undescribed = [
        field
        for field, info in kind.Config.model_fields.items()
        if info.annotation in (int, float) and not info.description
    ]
    assert not undescribed
    objective = objective_of(name)
    assert isinstance(objective.needs, ViewNeeds)
    assert objective.needs.global_views >= 1
    assert kind.views == str(objective.needs)
    modules = list(objective.modules())
    taught = any("teacher" in key for key in objective.state_dict())
    assert ("teacher" in kind.keeps) == (taught and "another model" not in kind.keeps)
    assert "prototypes" in kind.keeps or not any(
        isinstance(module, Prototypes) for module in modules
    )
    for kept, part in (("queue", Queue), ("per-sample state", SampleTable)):
        assert (kept in kind.keeps) == any(isinstance(module, part) for module in modules), kept
    materials = kind.materials(objective.config).values()
    for kept, part in (
        ("another model", ModelMaterial),
        ("clusters", ClusterMaterial),
        ("units", UnitsMaterial),
    ):
        assert (kept in kind.keeps) == any(isinstance(material, part) for material in materials), (
            kept
        )
    asks = ColumnMaterial.__name__ in kind.materials.__code__.co_names  # in whatever configuration
    assert kind.labels == ("optional" if asks else "none")
    assert isinstance(objective.exported, Encoder)


@every_objective
def test_its_config_survives_a_round_trip(name: str) -> None:
    config = config_of(name)
    assert type(config).model_validate(config.model_dump(mode="json")) == config


@every_objective
def test_labels_cannot_reach_it(name: str) -> None:
    """A batch has no place for a label, and `forward` takes only a batch and the progress."""
    assert [field.name for field in fields(Batch)] == ["views", "index"]
    assert [field.name for field in fields(View)] == [
        "data",
        "role",
        "box",
        "flip",
        "mask",
        "transform",
        "facts",
        "field",
    ]
    assert not hasattr(Batch([], torch.zeros(0)), "__dict__")
    for method, arguments in (
        ("forward", ["self", "batch", "progress"]),
        ("after_step", ["self", "progress"]),
    ):
        assert list(inspect.signature(getattr(OBJECTIVES[name], method)).parameters) == arguments


@every_objective
def test_loss_and_terms_are_finite_scalars(name: str) -> None:
    objective = objective_of(name)
    terms = objective(batch_of(objective, 16), progress_at(0))
    assert terms["loss"].requires_grad
    for term, value in terms.items():
        assert isinstance(value, Tensor), term
        assert value.shape == (), term
        assert value.isfinite(), term
        assert value.requires_grad == (term == "loss"), term


@every_objective
def test_order_within_the_batch_does_not_matter(name: str) -> None:
    objective = objective_of(name, dtype=torch.float64)
    batch = batch_of(objective, 16, dtype=torch.float64)
    loss = objective(batch, progress_at(MIDDLE))["loss"].item()
    shuffled = objective(rows_of(batch, torch.randperm(16)), progress_at(MIDDLE))["loss"].item()
    assert shuffled == pytest.approx(loss, rel=1e-9)
    # Views must be paired by sample, or a permutation of one view alone would go unnoticed too.
    if len(batch.views) > 1:
        first = rows_of(Batch(batch.views[:1], batch.index), torch.arange(16).roll(1)).views
        mispaired = objective(Batch([*first, *batch.views[1:]], batch.index), progress_at(MIDDLE))[
            "loss"
        ].item()
        assert abs(mispaired - loss) > 1e-6 * abs(loss)


@every_objective
def test_a_gradient_reaches_every_trainable_parameter(name: str) -> None:
    """After two steps, since timm starts the last scale of each residual branch at zero.

    In float64, so that the rounding noise in a parameter that the loss cannot see stays far below
    the limit.
    """
    objective = objective_of(name, dtype=torch.float64)
    trained(
        objective, (batch_of(objective, 16, step=step, dtype=torch.float64) for step in range(2))
    )
    objective.zero_grad(set_to_none=True)
    objective(batch_of(objective, 16, step=2, dtype=torch.float64), progress_at(2))[
        "loss"
    ].backward()
    norms = {
        parameter: 0.0 if value.grad is None else float(value.grad.norm())
        for parameter, value in objective.named_parameters()
        if value.requires_grad
    }
    assert len(norms) > 10
    unreached = [
        parameter for parameter, norm in norms.items() if norm < 1e-9 * max(norms.values())
    ]
    assert not unreached
    assert all(value.grad is None for value in objective.parameters() if not value.requires_grad)


@every_objective
def test_state_survives_a_restart(name: str) -> None:
    objective = objective_of(name, seed=0)
    trained(objective, (batch_of(objective, 16, step=step) for step in range(3)))
    file = io.BytesIO()
    torch.save(objective.state_dict(), file)
    file.seek(0)
    restored = objective_of(name, seed=1)
    fresh = restored(batch_of(restored, 16, step=3), progress_at(3))["loss"].item()
    restored = objective_of(name, seed=1)
    restored.load_state_dict(torch.load(file, weights_only=True))

    def continued(subject: Objective[Any]) -> list[float]:
        """Losses of steps that change state but no parameter, so that no optimizer is needed."""
        actual = []
        for step in range(3, 6):
            actual.append(
                subject(batch_of(subject, 16, step=step), progress_at(step))["loss"].item()
            )
            subject.after_step(progress_at(step))
        return actual

    expected = continued(objective)
    assert continued(restored) == expected
    assert fresh != expected[0]


@every_objective
def test_bf16_is_close_to_float32(name: str) -> None:
    objective = objective_of(name)
    batch = batch_of(objective, 32)
    exact = objective(batch, progress_at(MIDDLE))["loss"].item()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = objective(batch, progress_at(MIDDLE))["loss"]
    assert loss.dtype == torch.float32
    loss.backward()
    assert loss.item() == pytest.approx(exact, rel=0.02, abs=0.02)
    assert all(
        value.grad.isfinite().all() for value in objective.parameters() if value.grad is not None
    )


@every_objective
def test_schedules_are_followed_to_the_end(name: str) -> None:
    """The last step's loss is finite too: no scheduled temperature has fallen to nothing."""
    objective = objective_of(name)
    loss = objective(batch_of(objective, 16), progress_at(TOTAL_STEPS - 1))["loss"]
    objective.after_step(progress_at(TOTAL_STEPS - 1))
    assert loss.isfinite()
