"""What is special to mugs and mokd beyond their equations."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from objective_kit import batch_of, objective_of, progress_at
from torch import Tensor, nn

from manta.functional.groups import nearest
from manta.functional.queue import queue_nce
from manta.objectives import Objective


def test_mugs_remembers_its_teachers_unit_vectors_sample_by_sample() -> None:
    objective = objective_of("mugs", memory=32, queue=32, dtype=torch.float64)
    batch = batch_of(objective, 8, dtype=torch.float64)
    with torch.no_grad():
        features = objective.teacher(torch.cat([view.data for view in batch.global_views]))
        near = nearest(features, objective.memory.rows, count=8).rows
        instances, local_groups, _ = objective.teacher_heads(features, near)
    objective(batch, progress_at(0))
    objective.after_step(progress_at(0))
    for queue, rows in (
        (objective.memory, features),
        (objective.instances, instances),
        (objective.local_groups, local_groups),
    ):
        by_sample = F.normalize(rows, dim=1).unflatten(0, (2, -1)).transpose(0, 1).flatten(0, 1)
        assert torch.allclose(queue.rows[:16], by_sample)


PAIRS = ((0, 1), (0, 2), (1, 0), (1, 2))
"""Of 2 global views and a local one: which view's teacher, which view's student."""


def distance(targets: Sequence[Tensor], seen: Sequence[Tensor], centre: Tensor) -> float:
    """DINO's loss over the pairs, once the teacher's temperature is warm."""
    losses = [
        -(((targets[i] - centre) / 0.07).softmax(1) * (seen[j] / 0.1).log_softmax(1)).sum(1).mean() for i, j in PAIRS
    ]
    return sum(loss.item() for loss in losses) / len(PAIRS)


def test_mugs_compares_every_view_with_every_other_global_one_three_times() -> None:
    objective = objective_of("mugs", local_views=1, queue=32, temperature=0.3, prototypes=16, dtype=torch.float64)
    with torch.no_grad():
        next(objective.encoder.parameters()).mul_(-1.0)  # now student and teacher differ
        objective.centre.mean.normal_(std=0.1)
    batch = batch_of(objective, 8, dtype=torch.float64)
    large, small = torch.cat([view.data for view in batch.global_views]), batch.local_views[0].data

    def granules(encoder: nn.Module, heads: nn.Module, *sizes: Tensor) -> list[tuple[Tensor, ...]]:
        features = torch.cat([encoder(data) for data in sizes])
        found = heads(features, nearest(features, objective.memory.rows, count=8).rows)
        return [granule.split(8) for granule in found]

    targets = granules(objective.teacher, objective.teacher_heads, large)
    seen = granules(objective.encoder, objective.heads, large, small)
    expected = {"group": distance(targets[2], seen[2], objective.centre.mean)}
    for place, term, predictor, queue in (
        (0, "instance", objective.instance_predictor, objective.instances),
        (1, "local_group", objective.group_predictor, objective.local_groups),
    ):
        said = [predictor(F.normalize(view, dim=1)) for view in seen[place]]
        losses = [queue_nce(said[j], targets[place][i], queue.rows, temperature=0.3).item() for i, j in PAIRS]
        expected[term] = sum(losses) / len(PAIRS)
    terms = objective(batch, progress_at(30))
    assert {term: terms[term].item() for term in expected} == pytest.approx(expected, rel=1e-9)


def test_mugs_adds_three_losses_by_their_weights() -> None:
    weights = {"instance": 0.5, "local_group": 2.0, "group": 3.0}
    objective = objective_of("mugs", dtype=torch.float64, **weights)
    found = objective(batch_of(objective, 8, dtype=torch.float64), progress_at(0))
    expected = sum(weight * found[term].item() for term, weight in weights.items())
    assert found["loss"].item() == pytest.approx(expected, rel=1e-12)


def test_only_mugs_local_groups_know_of_neighbours() -> None:
    objective = objective_of("mugs", dtype=torch.float64)
    batch = batch_of(objective, 8, dtype=torch.float64)
    before = objective(batch, progress_at(0))
    objective.memory.rows.copy_(objective.memory.rows.flip(1))
    after = objective(batch, progress_at(0))
    assert after["instance"].item() == before["instance"].item()
    assert after["group"].item() == before["group"].item()
    assert abs(after["local_group"].item() - before["local_group"].item()) > 1e-9


def gradient_of(objective: Objective[Any], module: nn.Module, loss: Tensor) -> float:
    parameters = [value for value in module.parameters() if value.requires_grad]
    found = torch.autograd.grad(loss, parameters, allow_unused=True, retain_graph=True)
    return sum(float(value.norm()) for value in found if value is not None)


def test_mokds_students_hear_their_own_teacher_and_across_the_others() -> None:
    objective = objective_of("mokd", local_views=1, prototypes=16, dtype=torch.float64)
    with torch.no_grad():
        for centre in (*objective.mlp_centres, *objective.transformer_centres):
            centre.mean.normal_(std=0.1)
    batch = batch_of(objective, 8, dtype=torch.float64)
    large, small = torch.cat([view.data for view in batch.global_views]), batch.local_views[0].data
    teachers, students = [], []
    for place, (encoder, teacher) in enumerate(
        ((objective.encoder, objective.teacher), (objective.partner, objective.partner_teacher))
    ):
        head = objective.heads[place]
        teachers.append([part.split(8) for part in objective.teacher_heads[place](teacher, large)])
        parts = zip(head(encoder, large), head(encoder, small), strict=True)
        students.append([(*both.split(8), one) for both, one in parts])
    own, cross = 0.0, 0.0
    for i in range(2):
        logits, transformed, summaries, _ = students[i]
        head, tokens = objective.heads[i], students[1 - i][3]
        looked = [head.attention(s[:, None], t, t)[0][:, 0] for s, t in zip(summaries, tokens, strict=True)]
        found = [head.transformer(s + more) for s, more in zip(summaries, looked, strict=True)]
        for target, said in ((i, transformed), (1 - i, found)):
            centres = objective.mlp_centres[target].mean, objective.transformer_centres[target].mean
            both = [distance(teachers[target][k], (logits, said)[k], centres[k]) for k in range(2)]
            own, cross = (own + sum(both) / 4, cross) if target == i else (own, cross + sum(both) / 4)
    terms = objective(batch, progress_at(30))
    assert terms["self"].item() == pytest.approx(own, rel=1e-9)
    assert terms["cross"].item() == pytest.approx(cross, rel=1e-9)


def test_mokds_encoders_teach_each_other_only_across() -> None:
    """Without the cross term each encoder's own loss is all it hears of."""
    objective = objective_of("mokd", cross=1.0, dtype=torch.float64)
    batch = batch_of(objective, 8, dtype=torch.float64)
    terms = objective(batch, progress_at(0))
    assert terms["loss"].item() == pytest.approx(terms["self"].item() + terms["cross"].item(), rel=1e-12)
    assert gradient_of(objective, objective.heads[0].attention, terms["loss"]) > 0
    alone = objective_of("mokd", cross=0.0, dtype=torch.float64)
    terms = alone(batch, progress_at(0))
    assert terms["loss"].item() == pytest.approx(terms["self"].item(), rel=1e-12)
    assert gradient_of(alone, alone.heads[0].attention, terms["loss"]) == 0


def test_mokds_search_reaches_the_partner() -> None:
    objective = objective_of("mokd", dtype=torch.float64)
    batch = batch_of(objective, 8, dtype=torch.float64)
    students = objective._see((objective.encoder, objective.partner), objective.heads, [batch.global_views])
    found = objective.heads[0].search(students[0].summaries, students[1].tokens)
    loss = torch.cat(found).square().sum()
    assert gradient_of(objective, objective.encoder, loss) > 0
    assert gradient_of(objective, objective.partner, loss) > 0


def test_mokds_teachers_and_centres_follow_both_students() -> None:
    objective = objective_of("mokd", momentum=0.5, center_momentum=0.8, prototypes=16, dtype=torch.float64)
    batch = batch_of(objective, 8, dtype=torch.float64)
    pairs = ((objective.teacher, objective.encoder), (objective.partner_teacher, objective.partner))
    with torch.no_grad():
        for _, student in pairs:
            for value in student.parameters():
                value.add_(1.0)
        data = torch.cat([view.data for view in batch.global_views])
        logits = objective.teacher_heads[1](objective.partner_teacher, data)
    before = [[value.clone() for value in teacher.parameters()] for teacher, _ in pairs]
    objective(batch, progress_at(0))
    objective.after_step(progress_at(0))
    for old, (teacher, _) in zip(before, pairs, strict=True):
        for was, value in zip(old, teacher.parameters(), strict=True):
            assert torch.allclose(value, was + 0.5)
    assert torch.allclose(objective.mlp_centres[1].mean, 0.2 * logits[0].mean(0), rtol=1e-9)
    assert torch.allclose(objective.transformer_centres[1].mean, 0.2 * logits[1].mean(0), rtol=1e-9)
