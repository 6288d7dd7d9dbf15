"""Tests of PIRL beyond its equation: memories of samples, puzzles, and patches."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from objective_kit import (
    SIZE,
    batch_of,
    config_of,
    objective_of,
    pictures,
    progress_at,
    rows_of,
)
from pydantic import ValidationError
from torch import Tensor

from manta import encoders, objectives
from manta.batch import Batch, DataFacts
from manta.encoders import EncoderConfig
from manta.functional.pirl import memory_nce
from manta.objectives import OBJECTIVES, Objective, keyed_uniform
from manta.spec import Spec

TARGETS = ("before", "after")


def passed(target: str) -> tuple[Objective[Any], list[Batch]]:
    """Make a pass over samples 0 to 7; the next batch has samples 4 to 11."""
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
def test_a_sample_is_compared_with_the_configured_memory(target: str) -> None:
    objective, (_, batch) = passed(target)
    f, stored = image_of(objective, batch), objective.memory.read(batch.index).double()
    assert stored.any(1).tolist() == [True] * 4 + [False] * 4
    known = stored if target == "before" else F.normalize(0.25 * stored + 0.75 * f, dim=1)
    expected = torch.where(stored.any(1, keepdim=True), known, f)
    actual = objective(batch, progress_at(1))["image"].item()
    assert actual == pytest.approx(images_loss(objective, batch, expected, 1), rel=1e-9)
    other = torch.where(stored.any(1, keepdim=True), F.normalize(stored + f, dim=1), f)
    assert abs(actual - images_loss(objective, batch, other, 1)) > 1e-3


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


def memories(objective: Objective[Any], index: Tensor) -> Tensor:
    return objective.memory.read(index).double()


def test_pirl_averages_what_a_sample_was() -> None:
    objective = objective_of("pirl", dtype=torch.float64, momentum=0.5)
    batches = [
        batch_of(objective, 8, start=start, step=step, dtype=torch.float64)
        for step, start in enumerate((0, 4))
    ]
    expected = torch.zeros(len(pictures()), 32, dtype=torch.float64)
    for step, batch in enumerate(batches):
        f = F.normalize(objective.projector(objective.encoder(batch.views[0].data)), dim=1).detach()
        for index, feature in zip(batch.index, f, strict=True):
            before = expected[index] if expected[index].any() else feature
            expected[index] = F.normalize(0.5 * before + 0.5 * feature, dim=0)
        objective(batch, progress_at(step))
        objective.after_step(progress_at(step))
    assert torch.allclose(memories(objective, torch.arange(len(pictures()))), expected, atol=1e-6)
    assert expected[:12].any(1).all()
    assert not expected[12:].any()


def test_pirl_remembers_micro_batches_alike() -> None:
    whole, parts = (
        objective_of("pirl", dtype=torch.float64),
        objective_of("pirl", dtype=torch.float64),
    )
    batch = batch_of(whole, 8, dtype=torch.float64)
    for subject in (whole, parts):
        subject.eval()  # so that BatchNorm does not tell the parts apart
    whole(batch, progress_at(0))
    for rows in (slice(0, 4), slice(4, 8)):
        parts(rows_of(batch, rows), progress_at(0))
    whole.after_step(progress_at(0))
    parts.after_step(progress_at(0))
    assert torch.allclose(memories(parts, batch.index), memories(whole, batch.index), atol=1e-6)


def test_pirls_lambda_weighs_the_puzzle_and_the_rest_the_image() -> None:
    objective = objective_of(
        "pirl", dtype=torch.float64, lambda_=0.2, negatives=64, temperature=0.3
    )
    batch = batch_of(objective, 8, dtype=torch.float64)
    image, puzzle = batch.views
    f = objective.projector(objective.encoder(image.data))
    memory, _ = objective._memories(batch.index, f.detach(), progress_at(0))
    bank, own = objective._drawn(batch.index, progress_at(0))
    of_image, of_puzzle = (
        memory_nce(z, memory, bank, temperature=0.3, excluded=own).item()
        for z in (f, objective._solve(puzzle, batch.index, progress_at(0)))
    )
    assert abs(of_image - of_puzzle) > 1e-2
    expected = 0.2 * of_puzzle + 0.8 * of_image
    assert objective(batch, progress_at(0))["loss"].item() == pytest.approx(expected, rel=1e-9)


def test_pirls_memory_is_no_negative_of_its_own_sample() -> None:
    objective = objective_of(
        "pirl", dtype=torch.float64, negatives=5000
    )  # of 1797 samples, so that each is drawn
    batch = batch_of(objective, 8, dtype=torch.float64)
    objective(batch, progress_at(0))
    objective.after_step(progress_at(0))
    memory = memories(objective, batch.index)
    bank, own = objective._drawn(batch.index, progress_at(1))
    assert own.any(1).all()
    for i, row in enumerate(own):
        assert torch.allclose(bank[row], memory[i].expand(int(row.sum()), -1))
    unseen = ~own.any(0)
    assert torch.equal(bank[unseen], objective.noise[unseen])


def test_pirls_puzzle_comes_from_the_second_view_in_a_drawn_order() -> None:
    objective = objective_of("pirl", dtype=torch.float64)
    batch = batch_of(objective, 4, dtype=torch.float64)
    seen: list[Tensor] = []
    objective.puzzle_projector.register_forward_pre_hook(
        lambda _, given: seen.append(given[0].detach().clone())
    )
    objective.eval()
    objective(batch, progress_at(0))
    objective.config = config_of("pirl", patch_share=1.0)  # where offsets do not matter
    for step in (0, 1):
        objective(batch, progress_at(step))
    pieces = [actual.view(4, 9, -1) for actual in seen]
    for sample in range(4):  # the same pieces, in another order
        one, two = pieces[1][sample], pieces[2][sample]
        assert not torch.allclose(one, two)
        assert torch.allclose(one.sum(0), two.sum(0), rtol=1e-9)
    order = keyed_uniform(batch.index, progress_at(0), 27)[:, :9].argsort(1)
    assert len({tuple(row.tolist()) for row in order}) == 4  # each sample has its own


@pytest.mark.parametrize(("image_size", "expected"), [(32, 24), (96, 32), (224, 64)])
def test_pirls_patches_are_of_a_size_that_encoders_take(image_size: int, expected: int) -> None:
    encoder = encoders.build(EncoderConfig(name="test_resnet"), Spec.image(image_size))
    facts = DataFacts(rows=10, spec=Spec.image(image_size))
    assert objectives.build(config_of("pirl"), encoder, facts).patch_size == expected
    assert objectives.build(config_of("pirl", patch_size=SIZE), encoder, facts).patch_size == SIZE
