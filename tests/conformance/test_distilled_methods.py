"""Tests of mugs and mokd beyond their equations."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from objective_kit import batch_of, objective_of, progress_at
from torch import Tensor, nn

from manta.encoders import Encoder
from manta.functional.groups import nearest_in_memory
from manta.functional.info_nce import queue_nce
from manta.objectives import Objective
from manta.objectives._feature_maps import pooled_and_map


def test_mugs_remembers_its_teachers_unit_vectors_sample_by_sample() -> None:
    objective = objective_of("mugs", memory=32, queue=32, dtype=torch.float64)
    batch = batch_of(objective, 8, dtype=torch.float64)
    with torch.no_grad():
        features = objective.teacher(torch.cat([view.data for view in batch.global_views]))
        near = nearest_in_memory(features, objective.memory.rows, count=8).rows
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


def distance(
    targets: Sequence[Tensor],
    seen: Sequence[Tensor],
    centre: Tensor | float,
    pairs: Sequence[tuple[int, int]] = PAIRS,
) -> float:
    """Return DINO's loss over the pairs, once the teacher's temperature is warm."""
    losses = [
        -(((targets[i] - centre) / 0.07).softmax(1) * (seen[j] / 0.1).log_softmax(1)).sum(1).mean()
        for i, j in pairs
    ]
    return sum(loss.item() for loss in losses) / len(pairs)


def test_mugs_compares_every_view_with_every_other_global_one_three_times() -> None:
    objective = objective_of(
        "mugs", local_views=1, queue=32, temperature=0.3, prototypes=16, dtype=torch.float64
    )
    with torch.no_grad():
        next(objective.encoder.parameters()).mul_(-1.0)  # now student and teacher differ
        objective.centre.mean.normal_(std=0.1)
    batch = batch_of(objective, 8, dtype=torch.float64)
    large, small = torch.cat([view.data for view in batch.global_views]), batch.local_views[0].data

    def granules(encoder: nn.Module, heads: nn.Module, *sizes: Tensor) -> list[tuple[Tensor, ...]]:
        features = torch.cat([encoder(data) for data in sizes])
        actual = heads(features, nearest_in_memory(features, objective.memory.rows, count=8).rows)
        return [granule.split(8) for granule in actual]

    targets = granules(objective.teacher, objective.teacher_heads, large)
    seen = granules(objective.encoder, objective.heads, large, small)
    expected = {"group": distance(targets[2], seen[2], objective.centre.mean)}
    for place, term, predictor, queue in (
        (0, "instance", objective.instance_predictor, objective.instances),
        (1, "local_group", objective.group_predictor, objective.local_groups),
    ):
        said = [predictor(F.normalize(view, dim=1)) for view in seen[place]]
        losses = [
            queue_nce(said[j], targets[place][i], queue.rows, temperature=0.3).item()
            for i, j in PAIRS
        ]
        expected[term] = sum(losses) / len(PAIRS)
    terms = objective(batch, progress_at(30))
    assert {term: terms[term].item() for term in expected} == pytest.approx(expected, rel=1e-9)


def test_mugs_adds_three_losses_by_their_weights() -> None:
    weights = {"instance": 0.5, "local_group": 2.0, "group": 3.0}
    objective = objective_of("mugs", dtype=torch.float64, **weights)
    actual = objective(batch_of(objective, 8, dtype=torch.float64), progress_at(0))
    expected = sum(weight * actual[term].item() for term, weight in weights.items())
    assert actual["loss"].item() == pytest.approx(expected, rel=1e-12)


def test_only_mugs_local_groups_know_of_neighbours() -> None:
    objective = objective_of("mugs", dtype=torch.float64)
    batch = batch_of(objective, 8, dtype=torch.float64)
    before = objective(batch, progress_at(0))
    objective.memory.rows.copy_(objective.memory.rows.flip(1))
    after = objective(batch, progress_at(0))
    assert after["instance"].item() == before["instance"].item()
    assert after["group"].item() == before["group"].item()
    assert abs(after["local_group"].item() - before["local_group"].item()) > 1e-9


def gradient_of(module: nn.Module, loss: Tensor) -> float:
    parameters = [value for value in module.parameters() if value.requires_grad]
    actual = torch.autograd.grad(loss, parameters, allow_unused=True, retain_graph=True)
    return sum(float(value.norm()) for value in actual if value is not None)


def transformed(head: nn.Module, cells: Tensor, query: Tensor | None = None) -> Tensor:
    """Return logits `[N, K]` of cells `[N, T, W]`, by one block written out.

    A query `[N, W]` is attended to and left out.
    """
    (block,) = head.blocks
    heads, means = block.attn.num_heads, []
    for n, own in enumerate(cells):
        rows = own if query is None else torch.cat([own, query[n : n + 1]])
        q, k, v = block.attn.qkv(block.norm1(rows)).unflatten(1, (3, heads, -1)).unbind(1)
        looked = [
            (q[:, h] @ k[:, h].T / q.shape[2] ** 0.5).softmax(1) @ v[:, h] for h in range(heads)
        ]
        rows = rows + block.attn.proj(torch.cat(looked, dim=1))
        rows = rows + block.mlp(block.norm2(rows))
        means.append(head.norm(rows[: len(own)]).sum(0) / len(own))
    return head.transformer(torch.stack(means))


def mokd_with_different_teachers(**values: Any) -> Objective[Any]:
    objective = objective_of("mokd", prototypes=16, dtype=torch.float64, **values)
    with torch.no_grad():
        for centre in (*objective.mlp_centres, *objective.transformer_centres):
            centre.mean.normal_(std=0.1)
        for module in (objective.partner, objective.heads):
            for value in module.parameters():
                value.add_(torch.randn_like(value), alpha=0.05)
        next(objective.encoder.parameters()).mul_(-1.0)
    return objective


@pytest.mark.parametrize(
    ("local_views", "pairs", "searches"),
    [(0, ((0, 1), (1, 0)), ((0, 1), (1, 0))), (1, PAIRS, ((0, 2),))],
    ids=["global views search", "local views search"],
)
def test_mokds_students_hear_their_own_teacher_and_what_they_find_at_the_others(
    local_views: int, pairs: Sequence[tuple[int, int]], searches: Sequence[tuple[int, int]]
) -> None:
    objective = mokd_with_different_teachers(local_views=local_views)
    batch = batch_of(objective, 4, dtype=torch.float64)
    sizes = [
        torch.cat([view.data for view in batch.global_views]),
        *(view.data for view in batch.local_views),
    ]

    def seen(
        encoder: Encoder, head: nn.Module, views: list[Tensor]
    ) -> tuple[tuple[list[Tensor], ...], list[Tensor]]:
        described_views = [pooled_and_map(encoder, data) for data in views]
        logits = [part for one in described_views for part in head.mlp(one.pooled).split(4)]
        cells = [
            part for one in described_views for part in head.embed(one.map.flatten(2).mT).split(4)
        ]
        return (logits, [transformed(head, part) for part in cells]), cells

    encoders = (
        (objective.encoder, objective.teacher),
        (objective.partner, objective.partner_teacher),
    )
    centres = (objective.mlp_centres, objective.transformer_centres)
    own = cross = 0.0
    with torch.no_grad():
        students = [seen(encoders[i][0], objective.heads[i], sizes) for i in range(2)]
        teachers = [seen(encoders[i][1], objective.teacher_heads[i], sizes[:1]) for i in range(2)]
        for i, j in ((0, 1), (1, 0)):
            said, cells = students[i]
            own += (
                sum(
                    distance(teachers[i][0][k], said[k], centres[k][i].mean, pairs)
                    for k in range(2)
                )
                / 4
            )
            cross += distance(teachers[j][0][0], said[0], centres[0][j].mean, pairs) / 4
            for target, asking in searches:
                query = cells[asking].sum(1) / cells[asking].shape[1]
                actual = transformed(objective.teacher_heads[j], teachers[j][1][target], query)
                cross += distance([actual], [said[1][asking]], 0.0, [(0, 0)]) / 4 / len(searches)
    terms = objective(batch, progress_at(30))
    assert terms["self"].item() == pytest.approx(own, rel=1e-9)
    assert terms["cross"].item() == pytest.approx(cross, rel=1e-9)


def test_mokds_cross_term_is_weighed() -> None:
    for cross in (0.0, 2.0):
        objective = objective_of("mokd", cross=cross, dtype=torch.float64)
        terms = objective(batch_of(objective, 4, dtype=torch.float64), progress_at(0))
        expected = terms["self"].item() + cross * terms["cross"].item()
        assert terms["loss"].item() == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("local_views", [0, 1])
def test_mokds_search_teaches_only_the_student_that_asks(local_views: int) -> None:
    objective = mokd_with_different_teachers(local_views=local_views)
    batch = batch_of(objective, 4, dtype=torch.float64)
    students = objective._see(
        (objective.encoder, objective.partner),
        objective.heads,
        [batch.global_views, batch.local_views],
    )
    for teacher in (objective.teacher, objective.partner_teacher, objective.teacher_heads):
        teacher.requires_grad_(True)  # so that only the search's own stop can keep a gradient away
    teachers = objective._see(
        (objective.teacher, objective.partner_teacher),
        objective.teacher_heads,
        [batch.global_views],
    )
    encoders = (objective.encoder, objective.partner)
    for i, j in ((0, 1), (1, 0)):
        term = objective._searched(
            students[i], teachers[j], objective.teacher_heads[j], progress_at(0)
        )
        for module in (encoders[i], objective.heads[i].embed, objective.heads[i].transformer):
            assert gradient_of(module, term) > 0
        for module in (
            encoders[j],
            objective.heads[j],
            objective.teacher,
            objective.partner_teacher,
        ):
            assert gradient_of(module, term) == 0
        assert gradient_of(objective.teacher_heads, term) == 0


def test_mokds_target_follows_both_the_query_and_the_cells_searched() -> None:
    objective = mokd_with_different_teachers()
    head = objective.teacher_heads[1]
    query, cells = (
        torch.randn(4, 64, dtype=torch.float64),
        torch.randn(4, 9, 64, dtype=torch.float64),
    )
    actual = head.search(query, cells)
    for other in (head.search(query.roll(1, 0), cells), head.search(query, cells.roll(1, 0))):
        assert float((other - actual).norm() / actual.norm()) > 1e-3


def test_mokds_teachers_and_centres_follow_both_students() -> None:
    objective = objective_of(
        "mokd", momentum=0.5, center_momentum=0.8, prototypes=16, dtype=torch.float64
    )
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
