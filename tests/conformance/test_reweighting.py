"""Tests of the projector without parameters (Xue et al. 2024), in every method with a head."""

from __future__ import annotations

import pytest
import torch
from objective_kit import NAMES, batch_of, config_of, objective_of, progress_at
from pydantic import ValidationError

from manta.errors import ConfigError
from manta.objectives import HeadConfig, mlp

HEADS = [
    (name, field)
    for name in NAMES
    for field, value in config_of(name)
    if isinstance(value, HeadConfig)
]

DICTATED = ("classifier", "hypernetwork", "puzzle_projector", "relation")
"""Heads whose width is a number of classes, of weights or of another head's output."""


def test_it_scales_each_dimension_and_learns_nothing() -> None:
    head = mlp(4, HeadConfig(kind="reweighting", kappa=2.0))
    torch.testing.assert_close(
        head(torch.ones(3, 4)), torch.tensor([1, 0.5, 0.25, 0.125]).expand(3, 4)
    )
    assert head.out == 4
    assert not list(head.parameters())
    assert not head.state_dict()
    x = torch.randn(3, 4)
    assert torch.equal(mlp(4, HeadConfig(kind="reweighting", kappa=1.0))(x), x)
    with pytest.raises(ValidationError):
        HeadConfig(kind="reweighting", kappa=0.9)


def test_a_head_says_its_width() -> None:
    assert mlp(8, HeadConfig(out=5)).out == 5
    assert mlp(8, HeadConfig(out=5), out=3).out == 3
    assert mlp(8, HeadConfig(out=5), out=3)(torch.randn(2, 8)).shape == (2, 3)
    assert mlp(8, HeadConfig(kind="reweighting"), out=8).out == 8
    with pytest.raises(ConfigError, match="keeps its 8 numbers, and 3 are needed"):
        mlp(8, HeadConfig(kind="reweighting"), out=3)


@pytest.mark.parametrize(("name", "field"), [head for head in HEADS if head[1] not in DICTATED])
def test_every_method_takes_it(name: str, field: str) -> None:
    objective = objective_of(name, **{field: HeadConfig(kind="reweighting")})
    loss = objective(batch_of(objective, 16), progress_at(0))["loss"]
    loss.backward()
    objective.after_step(progress_at(0))
    assert loss.isfinite()


@pytest.mark.parametrize(("name", "field"), [head for head in HEADS if head[1] in DICTATED])
def test_a_width_that_the_method_dictates_is_refused(name: str, field: str) -> None:
    # The kit raises it, since no encoder is accepted.
    with pytest.raises(AssertionError, match="are needed; use mlp"):
        objective_of(name, **{field: HeadConfig(kind="reweighting")})
