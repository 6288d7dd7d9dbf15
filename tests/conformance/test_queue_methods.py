"""Tests of methods with a queue or a memory beyond their equations, by their papers."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from objective_kit import (
    batch_of,
    objective_of,
    progress_at,
    trained,
)
from pydantic import ValidationError
from torch import Tensor, nn

from manta.batch import Batch
from manta.functional.info_nce import batch_nce, nearest_support, queue_nce
from manta.objectives import OBJECTIVES, Objective, keyed_uniform

QUEUED = ("moco", "mochi", "feature_transform", "hallucinator")


def exact(name: str, **overrides: Any) -> Objective[Any]:
    return objective_of(name, dtype=torch.float64, **overrides)


def apart(objective: Objective[Any]) -> Objective[Any]:
    """Make student and teacher differ, as after some steps."""
    with torch.no_grad():
        next(objective.encoder.parameters()).mul_(-1.0)
    return objective


def projections(module: nn.Module, batch: Batch) -> tuple[Tensor, Tensor]:
    a, b = module(torch.cat([view.data for view in batch])).chunk(2)
    return a, b


def student_of(objective: Objective[Any]) -> nn.Sequential:
    return nn.Sequential(objective.encoder, objective.projector)


def test_moco_v2_compares_with_the_queue_in_both_directions() -> None:
    objective = apart(exact("moco", queue=32, temperature=0.3))
    batch = batch_of(objective, 8, dtype=torch.float64)
    (q_a, q_b), (k_a, k_b) = (
        projections(student_of(objective), batch),
        projections(objective.teacher, batch),
    )
    rows = objective.queue.rows.clone()
    expected = (
        sum(
            float(queue_nce(q, k, rows, temperature=0.3).detach())
            for q, k in ((q_a, k_b), (q_b, k_a))
        )
        / 2
    )
    assert objective(batch, progress_at(0))["loss"].item() == pytest.approx(expected, rel=1e-9)


def test_moco_v3_compares_with_the_batch_through_a_predictor() -> None:
    objective = apart(exact("moco", version="v3", temperature=0.3))
    assert not any("queue" in key for key in objective.state_dict())
    assert objective.needs.preset == "byol"
    norms = [module.affine for module in objective.projector if isinstance(module, nn.BatchNorm1d)]
    assert norms == [True, False]  # v2 has none
    batch = batch_of(objective, 8, dtype=torch.float64)
    p_a, p_b = objective.predictor(torch.cat(projections(student_of(objective), batch))).chunk(2)
    k_a, k_b = projections(objective.teacher, batch)
    expected = sum(
        2 * 0.3 * float(batch_nce(p, k, temperature=0.3).detach())
        for p, k in ((p_a, k_b), (p_b, k_a))
    )
    assert objective(batch, progress_at(0))["loss"].item() == pytest.approx(expected, rel=1e-9)


def test_moco_v3_trains_every_parameter() -> None:
    objective = exact("moco", version="v3")
    trained(
        objective, (batch_of(objective, 16, step=step, dtype=torch.float64) for step in range(2))
    )
    objective.zero_grad(set_to_none=True)
    objective(batch_of(objective, 16, step=2, dtype=torch.float64), progress_at(2))[
        "loss"
    ].backward()
    norms = [float(value.grad.norm()) for value in objective.parameters() if value.grad is not None]
    assert len(norms) == sum(value.requires_grad for value in objective.parameters())
    assert min(norms) > 1e-9 * max(norms)


@pytest.mark.parametrize("name", QUEUED)
def test_the_teacher_follows_and_gets_no_gradient(name: str) -> None:
    objective = apart(exact(name, momentum=0.9))
    before = [value.clone() for value in objective.teacher.parameters()]
    objective(batch_of(objective, 8, dtype=torch.float64), progress_at(0))["loss"].backward()
    objective.after_step(progress_at(0))
    for old, new, target in zip(
        before, objective.teacher.parameters(), student_of(objective).parameters(), strict=True
    ):
        assert torch.allclose(new, 0.9 * old + 0.1 * target, rtol=1e-12)
        assert new.grad is None


@pytest.mark.parametrize("name", QUEUED)
def test_the_queue_takes_the_keys_of_both_views_after_the_step(name: str) -> None:
    """From all micro-batches, sample by sample; a forward pass alone changes nothing."""
    objective = apart(exact(name, queue=300))
    rows = objective.queue.rows.clone()
    parts = [batch_of(objective, 8, start=8 * part, dtype=torch.float64) for part in range(2)]
    keys = []
    for part in parts:
        k_a, k_b = (F.normalize(k, dim=1) for k in projections(objective.teacher, part))
        keys += [key for pair in zip(k_b, k_a, strict=True) for key in pair]
        objective(part, progress_at(0))
    assert torch.equal(objective.queue.rows, rows)
    objective.after_step(progress_at(0))
    assert int(objective.queue.filled) == 32
    assert torch.allclose(objective.queue.rows[:32], torch.stack(keys), rtol=1e-9)
    assert torch.equal(objective.queue.rows[32:], rows[32:])


def test_mochi_is_moco_until_it_is_warm() -> None:
    mochi, moco = exact("mochi", queue=300, warmup=0.1), exact("moco", queue=300)
    batch = batch_of(mochi, 8, dtype=torch.float64)
    early, late = (mochi(batch, progress_at(step))["loss"].item() for step in (3, 4))  # of 40 steps
    assert early == pytest.approx(moco(batch, progress_at(3))["loss"].item(), rel=1e-12)
    assert late > early + 1e-3  # more negatives, and harder ones
    without = exact("mochi", queue=300, mixed=0, query_mixed=0)
    assert without(batch, progress_at(0))["loss"].item() == pytest.approx(early, rel=1e-12)


def test_mochi_adds_the_configured_number_of_harder_negatives() -> None:
    objective = exact("mochi", queue=300, hardest=20, mixed=12, query_mixed=5)
    query, index = F.normalize(torch.randn(6, 32, dtype=torch.float64), dim=1), torch.arange(6)
    own = objective._synthetic(query, index, progress_at(0), 0)
    assert own.shape == (6, 17, 32)
    assert torch.allclose(own.norm(dim=2), torch.ones(6, 17, dtype=torch.float64))
    scores, of_queue = (
        torch.einsum("nd,nsd->ns", query, own),
        (query @ objective.queue.rows.T).sort(descending=True)[0],
    )
    assert (scores > of_queue[:, 19:20]).all()  # harder than the last of the hardest
    assert scores[:, 12:].mean() > scores[:, :12].mean() > of_queue[:, :20].mean()
    other = objective._synthetic(query, index, progress_at(1), 0)
    assert not torch.allclose(own, other)
    assert torch.equal(objective._synthetic(query[[3]], index[[3]], progress_at(0), 0), own[[3]])


def test_feature_transform_can_be_switched_off_to_moco() -> None:
    plain = exact("feature_transform", queue=64, extrapolation=None, interpolation=None)
    batch = batch_of(plain, 8, dtype=torch.float64)
    terms = plain(batch, progress_at(0))
    assert terms["loss"].item() == pytest.approx(
        exact("moco", queue=64, temperature=0.1)(batch, progress_at(0))["loss"].item(), rel=1e-12
    )
    pushed = exact("feature_transform", queue=64, interpolation=None)(batch, progress_at(0))
    assert pushed["positive"] < terms["positive"]  # a harder pair
    assert terms["positive"] <= 1
    blended = exact("feature_transform", queue=64, extrapolation=None)(batch, progress_at(0))
    assert blended["positive"] == terms["positive"]
    assert abs(blended["loss"].item() - terms["loss"].item()) > 1e-3


def test_hallucinator_adds_pairs_to_mocos() -> None:
    batch = batch_of(exact("moco"), 8, dtype=torch.float64)
    alone = exact("moco", queue=64)(batch, progress_at(0))["loss"].item()
    bare = exact("hallucinator", queue=64, smoother=None, extrapolation=0.0, weight=0.5)
    terms = bare(batch, progress_at(0))
    assert terms["real"].item() == pytest.approx(alone, rel=1e-12)
    # Made of the query as it is.
    assert terms["loss"].item() == pytest.approx(1.5 * alone, rel=1e-12)
    away = exact("hallucinator", queue=64, smoother=None, extrapolation=1.0, weight=0.5)(
        batch, progress_at(0)
    )
    assert away["hallucinated"] > terms["hallucinated"]  # farther from its key
    assert away["loss"].item() == pytest.approx(
        (away["real"] + 0.5 * away["hallucinated"]).item(), rel=1e-12
    )


@pytest.mark.parametrize("smooth", [False, True])
def test_hallucinated_positives_are_queries_moved_away_from_their_keys(smooth: bool) -> None:
    """Sample by sample, with the step drawn for each direction by itself."""
    given: dict[str, Any] = {} if smooth else {"smoother": None}
    objective = exact("hallucinator", queue=64, extrapolation=0.8, temperature=0.3, **given)
    batch = batch_of(objective, 8, dtype=torch.float64)
    draws = keyed_uniform(batch.index, progress_at(3), 2)
    assert len(draws.unique()) == 16
    losses = []
    for direction, (queries, keys) in enumerate(objective.pairs(batch)):
        for row in range(8):
            length = 0.8 * float(draws[row, direction])
            moved = queries[row] + length * (queries[row] - keys[row])
            if smooth:
                moved = moved + objective.smoother(moved[None])[0]
            scores = (
                torch.stack(
                    [moved / moved.norm() @ key for key in (keys[row], *objective.queue.rows)]
                )
                / 0.3
            )
            losses.append((scores.logsumexp(0) - scores[0]).item())
    actual = objective(batch, progress_at(3))
    # Steps are drawn in float32.
    assert actual["hallucinated"].item() == pytest.approx(sum(losses) / 16, rel=1e-7)


@pytest.mark.parametrize("denominator", ["nt_xent", "dcl"])
def test_nnclr_pairs_predictions_with_neighbours(denominator: str) -> None:
    objective = exact("nnclr", queue=64, denominator=denominator, temperature=0.3)
    known = torch.randn(8, 32, dtype=torch.float64)
    objective.queue.push(known)
    batch = batch_of(objective, 8, dtype=torch.float64)
    z_a, z_b = projections(student_of(objective), batch)
    p_a, p_b = objective.predictor(torch.cat([z_a, z_b])).chunk(2)
    expected, options = 0.0, {"temperature": 0.3, "decoupled": denominator == "dcl"}
    for z, p in ((z_a, p_b), (z_b, p_a)):
        friends = nearest_support(z, known)
        expected += (
            float((batch_nce(friends, p, **options) + batch_nce(p, friends, **options)).detach())
            / 4
        )
    assert objective(batch, progress_at(0))["loss"].item() == pytest.approx(expected, rel=1e-9)
    objective.after_step(progress_at(0))
    assert torch.allclose(objective.queue.rows[8:16], F.normalize(z_a, dim=1), rtol=1e-9)
    assert int(objective.queue.filled) == 16


def test_nnclrs_first_neighbours_are_the_samples_themselves() -> None:
    objective = exact("nnclr", temperature=0.3)
    batch = batch_of(objective, 8, dtype=torch.float64)
    z = projections(student_of(objective), batch)
    p_a, p_b = objective.predictor(torch.cat(z)).chunk(2)
    z_a, z_b = (view.detach() for view in z)
    pairs = ((z_a, p_b), (p_b, z_a), (z_b, p_a), (p_a, z_b))
    expected = (
        sum(float(batch_nce(query, keys, temperature=0.3).detach()) for query, keys in pairs) / 4
    )
    assert objective(batch, progress_at(0))["loss"].item() == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize(
    ("name", "values", "message"),
    [
        ("moco", {"version": "v1"}, "'v2' or 'v3'"),
        ("moco", {"temperature": 0}, "above 0"),
        ("moco", {"queue": 0}, "greater than or equal to 1"),
        ("mochi", {"hardest": 1}, "greater than or equal to 2"),
        ("mochi", {"hardest": 500, "queue": 400}, "hardest negatives of 400"),
        ("feature_transform", {"extrapolation": 0}, "greater than 0"),
        ("hallucinator", {"extrapolation": -1}, "greater than or equal to 0"),
        ("nnclr", {"denominator": "simclr"}, "'nt_xent' or 'dcl'"),
        ("pirl", {"lambda_": 2}, "less than or equal to 1"),
    ],
)
def test_a_config_that_cannot_work_is_refused(
    name: str, values: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValidationError, match=message):
        OBJECTIVES[name].Config.model_validate({"name": name, **values})
