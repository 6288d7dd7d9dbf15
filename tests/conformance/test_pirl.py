"""Which memory PIRL compares a sample with: that of earlier passes, or the one that has taken in
the present image."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from objective_kit import batch_of, objective_of, progress_at
from pydantic import ValidationError
from torch import Tensor

from manta.batch import Batch
from manta.functional.pirl import memory_nce
from manta.objectives import OBJECTIVES, Objective

TARGETS = ("before", "after")


def passed(target: str) -> tuple[Objective[Any], list[Batch]]:
    """After a pass over samples 0 to 7; the next batch has samples 4 to 11."""
    objective = objective_of(
        "pirl", dtype=torch.float64, target=target, momentum=0.25, negatives=64, temperature=0.3
    )
    batches = [
        batch_of(objective, 8, start=start, step=step, dtype=torch.float64)
        for step, start in enumerate((0, 4))
    ]
    objective(batches[0], progress_at(0))
    objective.after_step(progress_at(0))
    return objective, batches


def image_of(objective: Objective[Any], batch: Batch) -> Tensor:
    return F.normalize(objective.projector(objective.encoder(batch.views[0].data)), dim=1).detach()


def images_loss(objective: Objective[Any], batch: Batch, target: Tensor, step: int) -> float:
    f = image_of(objective, batch)
    bank, own = objective._drawn(batch.index, progress_at(step))
    return memory_nce(f, target, bank, temperature=0.3, excluded=own).item()


@pytest.mark.parametrize("target", TARGETS)
def test_a_sample_is_compared_with_the_memory_that_is_asked_for(target: str) -> None:
    objective, (_, batch) = passed(target)
    f, stored = image_of(objective, batch), objective.memory.read(batch.index).double()
    assert stored.any(1).tolist() == [True] * 4 + [False] * 4
    known = stored if target == "before" else F.normalize(0.25 * stored + 0.75 * f, dim=1)
    expected = torch.where(stored.any(1, keepdim=True), known, f)
    found = objective(batch, progress_at(1))["image"].item()
    assert found == pytest.approx(images_loss(objective, batch, expected, 1), rel=1e-9)
    other = torch.where(stored.any(1, keepdim=True), F.normalize(stored + f, dim=1), f)
    assert abs(found - images_loss(objective, batch, other, 1)) > 1e-3


def test_what_is_stored_does_not_depend_on_it() -> None:
    kept = []
    for target in TARGETS:
        objective, (_, batch) = passed(target)
        f, stored = image_of(objective, batch), objective.memory.read(batch.index).double()
        objective(batch, progress_at(1))
        objective.after_step(progress_at(1))
        kept.append(objective.memory.read(batch.index).double())
        blend = F.normalize(0.25 * stored + 0.75 * f, dim=1)
        torch.testing.assert_close(
            kept[-1], torch.where(stored.any(1, keepdim=True), blend, f), rtol=0, atol=1e-6
        )
    assert torch.equal(*kept)


def test_at_first_sight_both_are_the_present_image() -> None:
    losses = []
    for target in TARGETS:
        objective = objective_of(
            "pirl", dtype=torch.float64, target=target, negatives=64, temperature=0.3
        )
        batch = batch_of(objective, 8, dtype=torch.float64)
        losses.append(objective(batch, progress_at(0))["loss"].item())
        expected = images_loss(objective, batch, image_of(objective, batch), 0)
        assert objective(batch, progress_at(0))["image"].item() == pytest.approx(expected, rel=1e-9)
    assert losses[0] == losses[1]


def test_there_is_no_third() -> None:
    with pytest.raises(ValidationError, match="'before' or 'after'"):
        OBJECTIVES["pirl"].Config.model_validate({"name": "pirl", "target": "now"})
