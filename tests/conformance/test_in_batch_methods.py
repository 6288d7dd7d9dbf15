"""Tests of the methods that compare a batch with itself, by what their papers specify.

CACR, GroCo, AMCL, iSogCLR, ProtoCLR, relational reasoning, UniSiam and MLS.
"""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from objective_kit import batch_of, loss_of, objective_of, progress_at, rows_of
from pydantic import ValidationError
from torch import Tensor, nn

from manta.batch import Batch
from manta.functional import negative_cosine
from manta.functional.attraction import cacr_terms
from manta.functional.episodes import protoclr
from manta.functional.multilabel import dictionary_logits, multilabel_bce, nearest_labels
from manta.functional.relations import focal_bce
from manta.functional.sorting import groco
from manta.functional.temperature import amcl_terms, isogclr
from manta.functional.uniformity import uniformity
from manta.objectives import OBJECTIVES, HeadConfig, Objective, keyed_order

SMALL = {"hidden": 16, "out": 8}


def subject(name: str, rows: int = 8, **overrides: Any) -> tuple[Objective[Any], Batch]:
    objective = objective_of(name, dtype=torch.float64, **overrides)
    return objective, batch_of(objective, rows, dtype=torch.float64)


def of_views(module: nn.Module, batch: Batch) -> list[Tensor]:
    """Return `[B, ...]` of each view, from one forward pass."""
    return list(module(torch.cat([view.data for view in batch])).chunk(len(batch.views)))


def projections(objective: Objective[Any], batch: Batch) -> list[Tensor]:
    return of_views(nn.Sequential(objective.encoder, objective.projector), batch)


def test_unisiam_aligns_with_stopped_projections_and_spreads_both_sides() -> None:
    objective, batch = subject("unisiam", temperature=0.5, lambda_=0.7)
    z_a, z_b = projections(objective, batch)
    p_a, p_b = objective.predictor(torch.cat([z_a, z_b])).chunk(2)
    alignment = (negative_cosine(p_a, z_b.detach()) + negative_cosine(p_b, z_a.detach())) / 2
    expected = alignment + 0.7 * uniformity(z_a, z_b, temperature=0.5)
    assert loss_of(objective, batch) == pytest.approx(float(expected.detach()), rel=1e-9)
    weight = next(objective.encoder.parameters())
    (stopped,) = torch.autograd.grad(expected, weight)
    (actual,) = torch.autograd.grad(objective(batch, progress_at(0))["loss"], weight)
    assert torch.allclose(actual, stopped, rtol=1e-9, atol=1e-12)


def test_cacr_has_one_view_more_than_positives() -> None:
    weights = {
        "attraction_scale": 0.5,
        "repulsion_scale": 3.0,
        "attraction": 2.0,
        "repulsion": 0.25,
    }
    objective, batch = subject("cacr", positives=3, **weights)
    assert len(batch.views) == 4
    terms = cacr_terms(
        torch.stack(projections(objective, batch), dim=1), attraction=0.5, repulsion=3.0
    )
    expected = 2.0 * terms.attraction + 0.25 * terms.repulsion
    assert loss_of(objective, batch) == pytest.approx(float(expected.detach()), rel=1e-9)


@pytest.mark.parametrize("stop_gradient", [True, False])
def test_groco_lets_the_anchor_learn_alone_if_it_shall(stop_gradient: bool) -> None:
    objective, batch = subject(
        "groco", global_views=3, hardest=4, steepness=2.0, stop_gradient=stop_gradient
    )
    z = projections(objective, batch)
    others = [x.detach() if stop_gradient else x for x in z]
    losses = [
        groco(
            z[view],
            torch.stack([others[other] for other in range(3) if other != view], dim=1),
            hardest=4,
            steepness=2.0,
            keys=others[view],
        )
        for view in range(3)
    ]
    expected = torch.stack(losses).mean()
    assert loss_of(objective, batch) == pytest.approx(float(expected.detach()), rel=1e-9)
    weight = next(objective.encoder.parameters())
    (actual,) = torch.autograd.grad(objective(batch, progress_at(0))["loss"], weight)
    assert torch.allclose(actual, torch.autograd.grad(expected, weight)[0], rtol=1e-9, atol=1e-12)


def test_grocos_local_views_are_anchors_and_no_positives() -> None:
    objective, batch = subject("groco", local_views=2, hardest=3)
    assert [view.role for view in batch] == ["global", "global", "local", "local"]
    module = nn.Sequential(objective.encoder, objective.projector)
    z = [
        *of_views(module, Batch(batch.global_views, batch.index)),
        *of_views(module, Batch(batch.local_views, batch.index)),
    ]
    expected = []
    for view, anchors in enumerate(z):
        positives = torch.stack([z[other] for other in range(2) if other != view], dim=1)
        expected.append(float(groco(anchors, positives, hardest=3, steepness=1.0).detach()))
    assert len(expected) == 4
    assert loss_of(objective, batch) == pytest.approx(sum(expected) / 4, rel=1e-9)


def test_amcl_sums_over_heads_that_share_the_temperature_network() -> None:
    objective, batch = subject(
        "amcl", heads=2, beta=0.3, hardest=5, temperature_min=0.2, temperature_max=1.0
    )
    total, temperatures = 0.0, []
    h = objective.encoder(torch.cat([view.data for view in batch]))
    for head in objective.projectors:
        z = head(h)
        z_a, z_b = z.chunk(2)
        s_a, s_b = objective.scorer(F.normalize(z, dim=1)).chunk(2)
        terms = amcl_terms(z_a, z_b, s_a, s_b, low=0.2, high=1.0, hardest=5)
        total += float((terms.likelihood + 0.3 * terms.regulariser).detach())
        temperatures.append(float(terms.temperature))
    assert len(temperatures) == 2
    actual = objective(batch, progress_at(0))
    assert float(actual["loss"].detach()) == pytest.approx(total, rel=1e-9)
    assert float(actual["temperature"]) == pytest.approx(sum(temperatures) / 2)


def test_isogclr_keeps_a_temperature_for_each_sample() -> None:
    """Two micro-batches of a step, then one of them again: the loss uses the kept state."""
    settings = {
        "temperature": 0.2,
        "rho": 0.4,
        "gamma": 0.5,
        "temperature_lr": 0.05,
        "temperature_momentum": 0.25,
    }
    objective, batch = subject("isogclr", rows=16, **settings)
    parts = [rows_of(batch, slice(0, 8)), rows_of(batch, slice(8, 16))]
    kept = []
    for part in parts:
        z_a, z_b = projections(objective, part)
        t = torch.full((8,), 0.2, dtype=torch.float64)
        new = {
            "seen": torch.zeros(8, dtype=torch.bool),
            "log_average": torch.zeros(8, dtype=torch.float64),
        }
        terms = isogclr(z_a, z_b, temperature=t, gamma=0.5, rho=0.4, **new)
        assert loss_of(objective, part) == pytest.approx(float(terms.loss.detach()), rel=1e-9)
        velocity = 0.75 * terms.gradient.clamp(-3, 3)
        kept.append(
            torch.stack(
                [(t - 0.05 * velocity).clamp(0.05, 0.7), velocity, terms.log_average], dim=1
            )
        )
    assert not objective.samples.read(batch.index).any()  # constant within a step
    objective.after_step(progress_at(0))
    assert torch.allclose(objective.samples.read(batch.index).double(), torch.cat(kept), rtol=1e-6)
    assert not objective.samples.read(torch.arange(16, 32)).any()  # never seen

    temperature, _, log_average = objective.samples.read(parts[1].index).unbind(1)
    assert len(temperature.unique()) > 4
    z_a, z_b = projections(objective, parts[1])
    again = isogclr(
        z_a,
        z_b,
        temperature=temperature,
        log_average=log_average,
        seen=temperature > 0,
        gamma=0.5,
        rho=0.4,
    )
    actual = objective(parts[1], progress_at(1))
    assert float(actual["loss"].detach()) == pytest.approx(float(again.loss.detach()), rel=1e-9)
    assert float(actual["temperature"]) == pytest.approx(float(temperature.mean()))


def test_isogclrs_temperatures_stay_in_their_range() -> None:
    objective, batch = subject("isogclr", temperature_lr=100.0)
    objective(batch, progress_at(0))
    objective.after_step(progress_at(0))
    temperatures = objective.samples.read(batch.index)[:, 0]
    assert set(temperatures.tolist()) <= {torch.tensor(0.05).item(), torch.tensor(0.7).item()}


@pytest.mark.parametrize("augment", [False, True])
def test_protoclrs_prototypes_are_the_plain_images(augment: bool) -> None:
    objective, batch = subject("protoclr", queries=2, augment_prototypes=augment)
    later = batch_of(objective, 8, step=1, dtype=torch.float64)
    assert len(batch.views) == 3
    assert torch.equal(batch.views[0].data, later.views[0].data) != augment
    assert not torch.equal(batch.views[1].data, later.views[1].data)
    prototypes, *queries = of_views(objective.encoder, batch)
    expected = protoclr(torch.stack(queries, dim=1), prototypes)
    assert loss_of(objective, batch) == pytest.approx(float(expected.detach()), rel=1e-9)


def test_protoclr_takes_a_projector() -> None:
    objective, batch = subject("protoclr", projector=HeadConfig(**SMALL))
    prototypes, *queries = projections(objective, batch)
    assert prototypes.shape == (8, 8)
    expected = protoclr(torch.stack(queries, dim=1), prototypes)
    assert loss_of(objective, batch) == pytest.approx(float(expected.detach()), rel=1e-9)


@pytest.mark.parametrize(("aggregation", "width"), [("cat", 2), ("mean", 1)])
def test_every_pair_of_views_has_its_relation(aggregation: str, width: int) -> None:
    objective, batch = subject(
        "relational", global_views=3, aggregation=aggregation, gamma=1.0, alpha=0.3
    )
    h = of_views(objective.encoder, batch)
    assert objective.relation[0].in_features == width * h[0].shape[1]
    pairs: list[list[Tensor]] = [[], []]
    for salt, (i, j) in enumerate([(0, 1), (0, 2), (1, 2)]):
        partner = keyed_order(batch.index, progress_at(4), salt=salt)
        assert (partner != torch.arange(8)).all()
        for kind, other in enumerate((h[j], h[j][partner])):
            pairs[kind].append(
                torch.cat([h[i], other], 1) if aggregation == "cat" else (h[i] + other) / 2
            )
    logits = objective.relation(torch.cat([*pairs[0], *pairs[1]])).squeeze(1)
    related = torch.arange(48) < 24
    actual = objective(batch, progress_at(4))
    expected = focal_bce(logits, related, gamma=1.0, alpha=0.3)
    assert float(actual["loss"].detach()) == pytest.approx(float(expected.detach()), rel=1e-9)
    assert float(actual["accuracy"]) == pytest.approx(
        float(((logits > 0) == related).double().mean())
    )
    # Another step draws other partners.
    assert abs(loss_of(objective, batch, step=5) - float(expected.detach())) > 1e-9


def test_mls_asks_features_for_labels_and_projections_for_answers() -> None:
    objective, _ = subject("mls", queue=32, labels=3, lambda_=0.7, temperature=0.5)
    with torch.no_grad():
        next(objective.encoder.parameters()).mul_(-1.0)  # now student and teacher differ
    rows_g, rows_z = [], []
    for step in range(3):
        part = batch_of(objective, 8, step=step, start=8 * step, dtype=torch.float64)
        first, second = (view.data for view in part)
        g = objective.encoder(first)
        with torch.no_grad():
            key = objective.teacher[0](second)
            rows_g.insert(0, F.normalize(key, dim=1))
            rows_z.insert(0, F.normalize(objective.teacher[1](key), dim=1))
        logits = dictionary_logits(objective.projector(g), torch.cat(rows_z), temperature=0.5)
        labels = nearest_labels(g, torch.cat(rows_g), k=3)
        expected = F.cross_entropy(logits, torch.arange(8)) + 0.7 * multilabel_bce(logits, labels)
        assert loss_of(objective, part, step) == pytest.approx(float(expected.detach()), rel=1e-9)
        objective.after_step(progress_at(step))


def test_mls_keeps_its_two_queues_in_one_order() -> None:
    objective, batch = subject("mls", queue=24, momentum=1.0)
    for part in range(2):  # two micro-batches
        objective(rows_of(batch, slice(4 * part, 4 * part + 4)), progress_at(0))
    assert int(objective.features.filled) == 0  # constant within a step
    objective.after_step(progress_at(0))
    assert int(objective.features.filled) == int(objective.projections.filled) == 8
    encoder, projector = objective.teacher
    with torch.no_grad():
        parts = [encoder(batch.views[1].data[start : start + 4]) for start in (0, 4)]
        z = torch.cat([projector(g) for g in parts])
    assert torch.allclose(
        objective.features.rows[:8], F.normalize(torch.cat(parts), dim=1), rtol=1e-9
    )
    assert torch.allclose(objective.projections.rows[:8], F.normalize(z, dim=1), rtol=1e-9)


@pytest.mark.parametrize(
    ("name", "values", "message"),
    [
        ("cacr", {"positives": 0}, "greater than or equal to 1"),
        ("groco", {"global_views": 1}, "greater than or equal to 2"),
        ("groco", {"steepness": 0}, "greater than 0"),
        ("amcl", {"temperature_min": 2.0}, "below temperature_max, 2"),
        ("isogclr", {"temperature": 0.01}, "temperature 0.01 is not between temperature_min 0.05"),
        ("isogclr", {"gamma": 0}, "greater than 0"),
        ("protoclr", {"queries": 0}, "greater than or equal to 1"),
        ("relational", {"aggregation": "product"}, "'cat', 'sum', 'mean' or 'max'"),
        ("unisiam", {"temperature": 0}, "above 0"),
        ("mls", {"labels": 0}, "greater than or equal to 1"),
    ],
)
def test_a_config_that_cannot_work_is_refused(
    name: str, values: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValidationError, match=message):
        OBJECTIVES[name].Config.model_validate({"name": name, **values})
