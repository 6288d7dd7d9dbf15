"""Tests of the random teacher: it never changes, and its student starts near it."""

from __future__ import annotations

import pytest
import torch
from objective_kit import loss_of, objective_and_batch, progress_at
from torch import nn


def test_a_random_teacher_never_changes() -> None:
    objective, batch = objective_and_batch("random_teacher", distance=1.0)
    before = [value.clone() for value in objective.teacher.parameters()]
    optimizer = torch.optim.SGD(
        [value for value in objective.parameters() if value.requires_grad], lr=1.0
    )
    objective(batch, progress_at(0))["loss"].backward()
    optimizer.step()
    objective.after_step(progress_at(0))
    assert all(
        torch.equal(old, new)
        for old, new in zip(before, objective.teacher.parameters(), strict=True)
    )
    assert not any(value.requires_grad for value in objective.teacher.parameters())


def test_a_random_teacher_has_the_students_weights_in_another_order() -> None:
    objective, _ = objective_and_batch("random_teacher", distance=1.0)
    student = nn.Sequential(objective.encoder, objective.head)
    shuffled = 0
    for own, other in zip(student.parameters(), objective.teacher.parameters(), strict=True):
        assert torch.equal(own.detach().flatten().sort().values, other.flatten().sort().values)
        shuffled += not torch.equal(own, other)
    assert shuffled > 10


@pytest.mark.parametrize("of_teacher", [True, False])
def test_a_random_teacher_has_residual_branches(of_teacher: bool) -> None:
    """timm starts them silent, and a teacher never trains: it would keep only its shortcuts."""
    objective, batch = objective_and_batch("random_teacher")
    encoder = objective.teacher[0] if of_teacher else objective.encoder
    last = [module.conv2 for module in encoder.modules() if hasattr(module, "conv2")]
    assert last
    for conv in last:
        before = encoder(batch.views[0].data)
        kept = conv.weight.detach().clone()
        with torch.no_grad():
            conv.weight.zero_()
        assert not torch.allclose(encoder(batch.views[0].data), before, rtol=0.1)
        with torch.no_grad():
            conv.weight.copy_(kept)


@pytest.mark.parametrize("distance", [0.1, 0.5, 1.0])
def test_a_student_starts_at_its_distance_from_the_teacher(distance: float) -> None:
    """Weights keep their variance; their correlation with the teacher's is the paper's.

    It is (1 - alpha) / sqrt((1 - alpha)^2 + alpha^2).
    """
    given, objective = (
        objective_and_batch("random_teacher", distance=alpha)[0] for alpha in (1.0, distance)
    )
    pairs = zip(
        objective.head.parameters(),
        objective.teacher[1].parameters(),
        given.head.parameters(),
        strict=True,
    )
    for own, other, start in pairs:
        if own.ndim > 1 and own.numel() > 4000:
            assert (own.std() / start.std()).item() == pytest.approx(1, abs=0.05)
            expected = (1 - distance) / ((1 - distance) ** 2 + distance**2) ** 0.5
            correlation = torch.corrcoef(torch.stack([own.detach().flatten(), other.flatten()]))[
                0, 1
            ]
            assert float(correlation) == pytest.approx(expected, abs=0.05)


def test_a_random_teacher_and_its_student_get_the_same_view() -> None:
    objective, batch = objective_and_batch("random_teacher", distance=1.0)
    (view,) = batch.views
    student = (objective.head(objective.encoder(view.data)) / 0.1).log_softmax(1)
    teacher = (objective.teacher(view.data) / 0.04).softmax(1)
    assert loss_of(objective, batch) == pytest.approx(
        -(teacher * student).sum(1).mean().item(), rel=1e-9
    )
    assert view.transform is not None
    untransformed = torch.tensor([0.0, 0.0, 1.0, 1.0, *[0.0] * 8]).expand(8, -1)
    assert torch.equal(view.transform, untransformed)  # not augmented
    _, augmented = objective_and_batch("random_teacher", augmentation=1.0)
    assert augmented.views[0].transform is not None
    assert not torch.equal(augmented.views[0].transform, untransformed)
