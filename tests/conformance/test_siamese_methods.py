"""Tests of the siamese methods beyond their equations, by what their papers specify."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from objective_kit import (
    batch_of,
    config_of,
    loss_of,
    objective_and_batch,
    objective_of,
    progress_at,
    rows_of,
)
from pydantic import ValidationError
from torch import Tensor

from manta import objectives
from manta.batch import Batch
from manta.errors import ConfigError
from manta.functional import barlow_twins
from manta.functional.affinity import affinities, ensembled, soft_divergence
from manta.functional.cca import ssl_ey, ssl_ey_terms
from manta.functional.predictor import direct_predictor
from manta.functional.whitening import w_mse
from manta.objectives import OBJECTIVES, Objective, keyed_uniform


def pixels(batch: Batch) -> Tensor:
    return torch.cat([view.data for view in batch])


def projections(objective: Objective[Any], batch: Batch) -> tuple[Tensor, ...]:
    return objective.projector(objective.encoder(pixels(batch))).chunk(len(batch.views))


def apart(p: Tensor, z: Tensor) -> float:
    """Return the mean squared distance of normalised rows."""
    return float((F.normalize(p, dim=1) - F.normalize(z, dim=1)).square().sum(1).mean().item())


def test_simsiam_stops_the_gradient_of_what_it_predicts() -> None:
    objective, batch = objective_and_batch("simsiam")
    z_a, z_b = projections(objective, batch)
    p_a, p_b = objective.predictor(z_a), objective.predictor(z_b)
    expected = (
        -(F.cosine_similarity(p_a, z_b.detach()) + F.cosine_similarity(p_b, z_a.detach())).mean()
        / 2
    )
    assert loss_of(objective, batch) == pytest.approx(expected.item(), rel=1e-9)
    parameter = next(objective.encoder.parameters())
    (stopped,) = torch.autograd.grad(expected, parameter, retain_graph=True)
    through = -(F.cosine_similarity(p_a, z_b) + F.cosine_similarity(p_b, z_a)).mean() / 2
    (not_stopped,) = torch.autograd.grad(through, parameter)
    objective(batch, progress_at(0))["loss"].backward()
    assert parameter.grad is not None
    assert torch.allclose(parameter.grad, stopped, rtol=1e-9)
    assert not torch.allclose(stopped, not_stopped, rtol=1e-2)


def test_directpred_sets_its_predictor_from_what_it_has_seen() -> None:
    objective, _ = objective_and_batch("directpred", correlation_momentum=0.3, eps=0.2, every=2)
    width = objective.config.projector.out
    assert torch.equal(objective.predictor, torch.eye(width, dtype=torch.float64))
    moving = torch.zeros(width, width, dtype=torch.float64)
    for step in range(3):
        seen = []
        for part in range(2):  # micro-batches
            batch = batch_of(objective, 8, step=step, start=8 * part, dtype=torch.float64)
            f = torch.cat(projections(objective, batch)).detach()
            seen.append(f.T @ f / len(f))
            objective(batch, progress_at(step))
        before = objective.predictor.clone()
        objective.after_step(progress_at(step))
        moving = 0.3 * moving + 0.7 * (seen[0] + seen[1]) / 2
        assert torch.allclose(objective.correlation, moving, rtol=1e-9)
        assert torch.equal(objective.predictor, before) == (step == 1)  # set after steps 0 and 2
    assert torch.allclose(objective.predictor, direct_predictor(moving, eps=0.2), atol=1e-9)


def test_directpred_lifts_eigenvalues_as_configured() -> None:
    objective, batch = objective_and_batch(
        "directpred", correlation_momentum=0.0, eps=0.0, power=1.0, floor=0.3
    )
    assert objective(batch, progress_at(0))["correlation_rank"].item() == 0
    objective.after_step(progress_at(0))
    f = torch.cat(projections(objective, batch)).detach()
    d = torch.linalg.eigvalsh(f.T @ f / len(f))
    expected = (d / d[-1]).clamp_min(0.3)
    assert ((expected > 0.3) & (expected < 1)).any()
    assert torch.allclose(torch.linalg.eigvalsh(objective.predictor), expected, atol=1e-9)
    terms = objective(batch, progress_at(1))
    assert terms["correlation_rank"].item() == pytest.approx(
        (d.sum() ** 2 / d.square().sum()).item(), rel=1e-9
    )


def test_directpred_predicts_linearly() -> None:
    objective, batch = objective_and_batch("directpred")
    objective.predictor.copy_(torch.randn_like(objective.predictor))
    f_a, f_b = projections(objective, batch)
    z_a, z_b = objective.teacher(pixels(batch)).chunk(2)
    w = objective.predictor
    expected = (apart(f_a @ w.T, z_b) + apart(f_b @ w.T, z_a)) / 2
    assert loss_of(objective, batch) == pytest.approx(expected, rel=1e-9)


def test_mixed_barlow_without_mixing_is_barlow_twins() -> None:
    objective, batch = objective_and_batch("mixed_barlow", mixing=0.0, lambda_=0.02)
    expected = barlow_twins(*projections(objective, batch), lambda_=0.02).item()
    assert loss_of(objective, batch) == pytest.approx(expected, rel=1e-9)


def test_mixed_barlow_mixes_with_another_sample_by_one_share_a_step() -> None:
    objective, batch = objective_and_batch("mixed_barlow")
    draws = [objective.drawn(batch, progress_at(step)) for step in range(200)]
    shares = torch.tensor([share for share, _ in draws])
    assert abs(float(shares.mean()) - 0.5) < 0.06  # Beta(1, 1) is uniform
    assert abs(float(shares.var()) - 1 / 12) < 0.02
    order = draws[0][1]
    assert sorted(order.tolist()) == list(range(8))
    assert not (order == torch.arange(8)).any()
    assert any(not torch.equal(order, other) for _, other in draws)
    share, again = objective.drawn(rows_of(batch, torch.arange(4)), progress_at(0))
    assert share == draws[0][0]  # belongs to the step, not to the samples
    assert len(again) == 4


def test_mixed_barlow_shows_the_encoder_the_mixture() -> None:
    objective, batch = objective_and_batch("mixed_barlow")
    share, order = objective.drawn(batch, progress_at(0))
    seen: list[Tensor] = []
    hook = objective.encoder.register_forward_pre_hook(
        lambda module, inputs: seen.append(inputs[0])
    )
    objective(batch, progress_at(0))
    hook.remove()
    a, b = (view.data for view in batch)
    assert torch.allclose(seen[1], share * a + (1 - share) * b[order])


def test_ssl_ey_is_its_equation() -> None:
    objective, batch = objective_and_batch("ssl_ey")
    assert loss_of(objective, batch) == pytest.approx(
        ssl_ey(*projections(objective, batch)).item(), rel=1e-9
    )
    captured = objective(batch, progress_at(0))["captured"].item()
    assert captured == pytest.approx(
        ssl_ey_terms(*projections(objective, batch)).captured.item(), rel=1e-9
    )
    assert 0 < captured < objective.config.projector.out


def test_w_mse_whitens_in_sub_batches_that_follow_the_samples() -> None:
    objective, batch = objective_and_batch(
        "w_mse", rows=16, sub_batch=8, partitions=2, shrinkage=0.1
    )
    z_a, z_b = projections(objective, batch)
    expected = []
    for drawn in keyed_uniform(batch.index, progress_at(3), 2).unbind(1):
        groups = [drawn.argsort()[:8], drawn.argsort()[8:]]
        expected.append(w_mse(z_a, z_b, groups, shrinkage=0.1).item())
    assert loss_of(objective, batch, step=3) == pytest.approx(sum(expected) / 2, rel=1e-9)
    assert abs(expected[0] - expected[1]) > 1e-6
    # Sub-batches are drawn anew at each step.
    assert abs(loss_of(objective, batch, step=4) - loss_of(objective, batch, step=3)) > 1e-6


def test_sie_carries_one_view_to_the_other_by_the_true_transformations() -> None:
    objective, batch = objective_and_batch("sie")
    loss = loss_of(objective, batch)
    for place in (0, 1):  # the parameters of both views matter
        views = list(batch.views)
        transform = views[place].transform
        assert transform is not None
        views[place] = replace(views[place], transform=transform.roll(1, 0))
        assert abs(loss_of(objective, Batch(views, batch.index)) - loss) > 1e-6
    without = Batch([replace(view, transform=None) for view in batch], batch.index)
    with pytest.raises(ConfigError, match="12 parameters of their transformation"):
        objective(without, progress_at(0))


def test_sie_splits_the_representation() -> None:
    objective, batch = objective_and_batch(
        "sie", split=0.25, variance=0.0, covariance=0.0, equivariance=0.0
    )
    width = objective.encoder.embed_dim
    assert objective.equivariant == width // 4
    objective(batch, progress_at(0))["loss"].backward()
    reached = {
        key
        for key, value in objective.named_parameters()
        if value.grad is not None and value.grad.any()
    }
    assert any(key.startswith("projector.") for key in reached)
    assert not any(key.startswith(("equivariant_projector.", "hypernetwork.")) for key in reached)
    with pytest.raises(ConfigError, match="leaves a part of the encoder's"):
        objectives.build(config_of("sie", split=1e-4), objective.encoder, objective.data)


def test_sie_without_a_map_predicts_no_change() -> None:
    objective, batch = objective_and_batch(
        "sie", invariance=0.0, variance=0.0, covariance=0.0, equivariance=1.0
    )
    with torch.no_grad():
        for value in objective.hypernetwork.parameters():
            value.zero_()
    y = objective.encoder(pixels(batch))[:, -objective.equivariant :]
    a, b = objective.equivariant_projector(y).chunk(2)
    assert loss_of(objective, batch) == pytest.approx((a - b).square().mean().item(), rel=1e-9)


def test_myow_weighs_what_it_mines_more_and_more() -> None:
    objective, batch = objective_and_batch("myow", weight=0.5, ramp=0.5)  # of 40 steps
    for step, weight in ((0, 0.025), (9, 0.25), (19, 0.5), (39, 0.5)):
        terms = objective(batch, progress_at(step))
        expected = (terms["augmented"] + weight * terms["mined"]) / (1 + weight)
        assert terms["loss"].item() == pytest.approx(expected.item(), rel=1e-9)


@pytest.mark.parametrize(("delay", "ramp"), [(0.25, 0.5), (10, 20)])
def test_myow_may_wait_before_it_mines(delay: float, ramp: float) -> None:
    objective, batch = objective_and_batch(
        "myow", weight=0.5, delay=delay, ramp=ramp
    )  # of 40 steps
    for step, weight in ((0, 0.0), (9, 0.0), (10, 0.025), (19, 0.25), (29, 0.5), (39, 0.5)):
        assert objective.weight(progress_at(step)) == pytest.approx(weight, rel=1e-12)
    terms = objective(batch, progress_at(9))
    assert terms["loss"].item() == pytest.approx(terms["augmented"].item(), rel=1e-12)


def test_myow_predicts_the_cascaded_projection_of_one_of_the_nearest() -> None:
    objective, batch = objective_and_batch("myow", neighbours=3)
    views = [view.data for view in batch]
    y = objective.encoder(torch.cat(views))
    z_mining = objective.projector(y)[16:]
    targets = objective.teacher[0](torch.cat(views))
    projected = objective.teacher[1](targets)[16:]
    near = (
        (F.normalize(y[16:], dim=1) @ F.normalize(targets[16:], dim=1).T)
        .fill_diagonal_(-2)
        .topk(3)
        .indices
    )
    chosen = objective.mined(y[16:], targets[16:], batch.index, progress_at(0))
    assert all(int(row) in options.tolist() for row, options in zip(chosen, near, strict=True))
    # Not always the nearest.
    assert len({near[i].tolist().index(int(chosen[i])) for i in range(8)}) > 1
    prediction = objective.mined_predictor(objective.mined_projector(z_mining))
    expected = apart(prediction, objective.mined_teacher(projected)[chosen])
    assert float(objective(batch, progress_at(0))["mined"]) == pytest.approx(expected, rel=1e-9)


def test_myow_seeks_neighbours_in_weaker_views() -> None:
    batch = objective_and_batch("myow", rows=64, mining_strength=0.0)[1]
    strong, _, weak = (view.transform for view in batch)
    assert strong is not None
    assert weak is not None
    assert strong[:, 2:4].mean() < 0.9  # crops
    assert torch.equal(weak[:, 2:4], torch.ones(64, 2))


def test_momentum_teachers_of_both_projectors_follow() -> None:
    objective, batch = objective_and_batch("myow", momentum=0.9)
    with torch.no_grad():
        for value in objective.mined_projector.parameters():
            value.add_(1.0)
    before = [value.clone() for value in objective.mined_teacher.parameters()]
    objective(batch, progress_at(0))
    objective.after_step(progress_at(0))
    for old, new in zip(before, objective.mined_teacher.parameters(), strict=True):
        assert torch.allclose(new, old + 0.1, rtol=1e-12)


def test_skd_lends_soft_targets_by_the_teachers_features() -> None:
    objective, batch = objective_and_batch(
        "skd", temperature=0.2, affinity_temperature=0.3, lent=0.6, weight=2.0
    )
    p_a, p_b = objective.predictor(torch.cat(projections(objective, batch))).chunk(2)
    encoder, projector = objective.teacher
    y = encoder(pixels(batch))
    z_a, z_b = projector(y).chunk(2)
    expected = (apart(p_a, z_b) + apart(p_b, z_a)) / 2
    for p, z, features in ((p_a, z_b, y[8:]), (p_b, z_a, y[:8])):
        soft = ensembled(
            (F.normalize(z) / 0.2).softmax(1), affinities(features, temperature=0.3), lent=0.6
        )
        expected += soft_divergence(F.normalize(p), soft, temperature=0.2).item()
    assert loss_of(objective, batch) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("name", ["directpred", "myow", "skd"])
def test_the_student_is_exported(name: str) -> None:
    objective = objective_of(name)
    assert objective.exported is objective.encoder


@pytest.mark.parametrize(
    ("name", "values", "message"),
    [
        ("directpred", {"every": 0}, "greater than or equal to 1"),
        ("directpred", {"power": 0}, "greater than 0"),
        ("mixed_barlow", {"alpha": 0}, "greater than 0"),
        ("w_mse", {"shrinkage": 2}, "less than or equal to 1"),
        ("sie", {"split": 1.0}, "less than 1"),
        ("myow", {"ramp": 1.5}, "less than or equal to 1"),
        ("myow", {"delay": -1}, "greater than or equal to 0"),
        ("skd", {"lent": 1.0}, "less than 1"),
        ("skd", {"temperature": 0.0}, "above 0"),
        ("random_teacher", {"distance": 0.0}, "greater than 0"),
    ],
)
def test_a_config_that_cannot_work_is_refused(
    name: str, values: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValidationError, match=message):
        OBJECTIVES[name].Config.model_validate({"name": name, **values})
