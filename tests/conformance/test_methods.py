"""Tests of single methods beyond their equations, by what their papers specify."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from objective_kit import SIZE, VIT, batch_of, config_of, objective_of, pictures, progress_at
from pydantic import ValidationError
from torch import Tensor, nn

from manta import encoders, objectives
from manta.batch import Batch, DataFacts
from manta.encoders import EncoderConfig
from manta.errors import ConfigError
from manta.functional import barlow_twins, dcl, nt_xent, vicreg
from manta.objectives import OBJECTIVES, Communicator, Exchange, HeadConfig, Objective, mlp
from manta.schedules import Cosine, Linear
from manta.spec import Spec


def projections(objective: Objective[Any], batch: Batch) -> tuple[Tensor, Tensor]:
    z = objective.projector(objective.encoder(torch.cat([view.data for view in batch])))
    a, b = z.chunk(2)
    return a, b


def test_a_scheduled_temperature_is_the_one_of_the_step() -> None:
    schedule = {"name": "linear", "start": 0.4, "end": 0.2}
    for name, equation in (("simclr", nt_xent), ("dcl", dcl)):
        objective = objective_of(name, temperature=schedule, dtype=torch.float64)
        batch = batch_of(objective, 8, dtype=torch.float64)
        for step, temperature in ((0, 0.4), (20, 0.3)):
            loss = objective(batch, progress_at(step))["loss"].item()
            assert loss == pytest.approx(
                equation(*projections(objective, batch), temperature=temperature).item()
            )


def test_dcl_weighs_by_sigma_when_it_is_set() -> None:
    objective = objective_of("dcl", sigma=0.5, dtype=torch.float64)
    batch = batch_of(objective, 8, dtype=torch.float64)
    loss = objective(batch, progress_at(0))["loss"].item()
    expected = dcl(*projections(objective, batch), temperature=0.1, sigma=0.5).item()
    assert loss == pytest.approx(expected)
    assert abs(expected - dcl(*projections(objective, batch), temperature=0.1).item()) > 1e-3


def test_statistics_losses_are_their_equations_with_the_configured_weights() -> None:
    for name, weights, equation in (
        ("barlow_twins", {"lambda_": 0.02}, barlow_twins),
        ("vicreg", {"invariance": 3.0, "variance": 5.0, "covariance": 7.0}, vicreg),
    ):
        objective = objective_of(name, dtype=torch.float64, **weights)
        batch = batch_of(objective, 8, dtype=torch.float64)
        loss = objective(batch, progress_at(0))["loss"].item()
        assert loss == pytest.approx(
            equation(*projections(objective, batch), **weights).item(), rel=1e-9
        )


def test_byol_predicts_the_teachers_projection_of_the_other_view() -> None:
    objective = objective_of("byol", dtype=torch.float64)
    with torch.no_grad():
        next(objective.encoder.parameters()).mul_(-1.0)  # now student and teacher differ
    batch = batch_of(objective, 8, dtype=torch.float64)
    p_a, p_b = objective.predictor(torch.cat(projections(objective, batch))).chunk(2)
    z_a, z_b = objective.teacher(torch.cat([view.data for view in batch])).chunk(2)
    expected = 0.0
    for p, z in ((p_a, z_b), (p_b, z_a)):
        expected += (F.normalize(p, dim=1) - F.normalize(z, dim=1)).square().sum(1).mean().item()
    assert objective(batch, progress_at(0))["loss"].item() == pytest.approx(expected, rel=1e-9)


def test_dino_compares_every_view_with_every_other_global_one() -> None:
    objective = objective_of("dino", local_views=1, dtype=torch.float64)
    batch = batch_of(objective, 8, dtype=torch.float64)
    large, small = torch.cat([view.data for view in batch.global_views]), batch.local_views[0].data
    t = objective.teacher_head(objective.teacher(large)).chunk(2)
    s = [
        *objective.head(objective.encoder(large)).chunk(2),
        objective.head(objective.encoder(small)),
    ]
    targets = [torch.softmax(x / 0.07, 1) for x in t]  # the warm-up is over
    pairs = [(0, 1), (0, 2), (1, 0), (1, 2)]
    expected = [
        -(targets[i] * torch.log_softmax(s[j] / 0.1, 1)).sum(1).mean().item() for i, j in pairs
    ]
    loss = objective(batch, progress_at(30))["loss"].item()
    assert loss == pytest.approx(sum(expected) / 4, rel=1e-9)


@pytest.mark.parametrize(
    ("name", "pairs"),
    [
        *(
            (name, {"teacher.0": "encoder", "teacher.1": "projector"})
            for name in ("byol", "beclr", "msn", "mls")
        ),
        ("dino", {"teacher": "encoder", "teacher_head": "head"}),
        ("mugs", {"teacher": "encoder", "teacher_heads": "heads"}),
    ],
)
def test_a_teacher_follows_by_its_scheduled_momentum(name: str, pairs: dict[str, str]) -> None:
    objective = objective_of(name, momentum=Linear(start=0.9, end=1.0), dtype=torch.float64)
    modules = [
        (objective.get_submodule(teacher), objective.get_submodule(own))
        for teacher, own in pairs.items()
    ]
    with torch.no_grad():
        for _, student in modules:
            for value in student.parameters():
                value.add_(1.0)
    before = [[value.clone() for value in teacher.parameters()] for teacher, _ in modules]
    objective(batch_of(objective, 8, dtype=torch.float64), progress_at(20))
    objective.after_step(progress_at(20))  # half-way: 0.95
    for was, (teacher, student) in zip(before, modules, strict=True):
        for old, new, target in zip(was, teacher.parameters(), student.parameters(), strict=True):
            assert torch.allclose(new, 0.95 * old + 0.05 * target, rtol=1e-12)
            assert not new.requires_grad


def test_a_teacher_keeps_the_statistics_of_its_own_features() -> None:
    objective = objective_of("byol", momentum=1.0, dtype=torch.float64)
    with torch.no_grad():
        # Now student and teacher see different features.
        next(objective.encoder.parameters()).mul_(3.0)
    objective(batch_of(objective, 8, dtype=torch.float64), progress_at(0))
    objective.after_step(progress_at(0))
    means = {
        key: value
        for key, value in objective.state_dict().items()
        if key.endswith("bn1.running_mean")
    }
    key = next(key for key in means if key.startswith("encoder."))
    assert not torch.allclose(means[key], means[key.replace("encoder.", "teacher.0.", 1)])


def test_byol_exports_the_student_and_dino_the_teacher() -> None:
    byol, dino = objective_of("byol"), objective_of("dino")
    assert byol.exported is byol.encoder
    assert dino.exported is dino.teacher


def test_dinos_centre_follows_the_teachers_mean_over_all_micro_batches() -> None:
    objective = objective_of(
        "dino", center_momentum=0.8, momentum=1.0, prototypes=16, dtype=torch.float64
    )
    batches = [batch_of(objective, 8, start=8 * part, dtype=torch.float64) for part in range(2)]
    teacher = nn.Sequential(objective.teacher, objective.teacher_head)
    with torch.no_grad():
        logits = torch.cat(
            [teacher(torch.cat([view.data for view in batch.global_views])) for batch in batches]
        )
    for batch in batches:
        objective(batch, progress_at(0))
    assert not objective.centre.mean.any()  # constant within a step
    objective.after_step(progress_at(0))
    assert torch.allclose(objective.centre.mean, 0.2 * logits.mean(0), rtol=1e-9)
    assert objective.centre.mean.abs().max() > 1e-3


@pytest.mark.parametrize("local_views", [0, 2])
def test_dino_takes_as_many_local_views_as_it_asks_for(local_views: int) -> None:
    objective = objective_of("dino", local_views=local_views)
    batch = batch_of(objective, 8)
    assert [view.data.shape[-1] for view in batch] == [SIZE] * 2 + [24] * local_views
    assert objective(batch, progress_at(0))["loss"].isfinite()


def mae(**args: Any) -> Objective[Any]:
    torch.manual_seed(0)
    encoder = encoders.build(
        EncoderConfig(name="vit_tiny_patch16_224", args=VIT | args), Spec.image(SIZE)
    )
    return objectives.build(
        config_of("mae"), encoder, DataFacts(rows=len(pictures()), spec=Spec.image(SIZE))
    )


def test_mae_does_not_see_what_is_hidden() -> None:
    objective = mae().double()
    batch = batch_of(objective, 4, dtype=torch.float64)
    (view,) = batch.views
    assert view.mask is not None
    assert view.mask.sum(1).tolist() == [12] * 4  # three quarters of 4 x 4
    keep = (~view.mask).nonzero()[:, 1].view(4, 4)
    on_pixels = view.mask.view(4, 1, 4, 4).repeat_interleave(8, 2).repeat_interleave(8, 3)
    other = view.data.masked_fill(on_pixels, 7.0)
    decode = objective.get_submodule("decoder")
    seen, same = (decode(objective.encoder.tokens(data, keep), keep) for data in (view.data, other))
    assert torch.equal(seen, same)
    assert seen.shape == (4, 16, 8 * 8 * 3)
    loss = objective(batch, progress_at(0))["loss"].item()
    assert (
        abs(
            objective(Batch([replace(view, data=other)], batch.index), progress_at(0))[
                "loss"
            ].item()
            - loss
        )
        > 1e-3
    )


def test_mae_freezes_what_only_pooling_would_use() -> None:
    frozen = {
        pool: {
            name
            for name, value in mae(global_pool=pool).encoder.named_parameters()
            if not value.requires_grad
        }
        for pool in ("token", "avg")
    }
    assert frozen == {"token": set(), "avg": {"model.fc_norm.weight", "model.fc_norm.bias"}}


def test_mae_refuses_other_encoders_and_names_one() -> None:
    facts = DataFacts(rows=10, spec=Spec.image(SIZE))
    convolutional = encoders.build(EncoderConfig(name="test_resnet"), Spec.image(SIZE))
    with pytest.raises(ConfigError, match="vit_tiny_patch16_224"):
        objectives.build(config_of("mae"), convolutional, facts)
    one_patch = encoders.build(
        EncoderConfig(name="vit_tiny_patch16_224", args=VIT | {"patch_size": 32}), Spec.image(SIZE)
    )
    with pytest.raises(ConfigError, match="hides none or all of the encoder's 1 patches"):
        objectives.build(config_of("mae"), one_patch, facts)


@pytest.mark.parametrize(
    ("name", "values", "message"),
    [
        ("simclr", {"temperature": 0}, "above 0"),
        ("dcl", {"temperature": {"name": "cosine", "start": 0.2}}, "end is 0"),
        ("dcl", {"temperature": {"name": "constant", "at": 0.2, "warmup": 10}}, "warmup_from is 0"),
        ("dcl", {"sigma": -1}, "greater than 0"),
        ("byol", {"momentum": 1.1}, "between 0 and 1"),
        ("byol", {"momentum": {"name": "linear", "start": 1.5, "end": 1.0}}, "start is 1.5"),
        ("barlow_twins", {"lambda": 0.1}, "Extra inputs"),
        ("vicreg", {"variance": -1}, "greater than or equal to 0"),
        ("dino", {"prototypes": 1}, "greater than or equal to 2"),
        ("mae", {"mask_ratio": 1}, "less than 1"),
        ("mae", {"decoder_dim": 64, "decoder_heads": 3}, "not a multiple of decoder_heads"),
    ],
)
def test_a_config_that_cannot_work_is_refused(
    name: str, values: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValidationError, match=message):
        OBJECTIVES[name].Config.model_validate({"name": name, **values})


def test_what_an_objective_exchanges_is_what_it_declares() -> None:
    x = torch.ones(2)
    for exchange, allowed in (
        (Exchange.LOCAL, ()),
        (Exchange.STATISTICS, ("mean", "total")),
        (Exchange.GATHER, ("gather", "mean", "total")),
    ):
        comm = Communicator(exchange)
        for operation in ("gather", "mean", "total"):
            if operation in allowed:
                assert torch.equal(getattr(comm, operation)(x), x)
            else:
                with pytest.raises(ConfigError, match=f"declares exchange {exchange.name}"):
                    getattr(comm, operation)(x)


def test_heads_follow_their_config() -> None:
    def kinds(head: HeadConfig, **options: bool) -> list[str]:
        return [
            f"{type(layer).__name__}{'' if getattr(layer, 'bias', None) is None else '+bias'}"
            for layer in mlp(8, head, **options)
        ]

    assert kinds(HeadConfig(layers=1)) == ["Linear+bias"]
    assert kinds(HeadConfig()) == ["Linear", "BatchNorm1d+bias", "ReLU", "Linear+bias"]
    assert kinds(HeadConfig(), bias=False)[-1] == "Linear"
    assert kinds(HeadConfig(norm=None, activation="gelu")) == ["Linear+bias", "GELU", "Linear+bias"]
    assert kinds(HeadConfig(layers=1, norm_out=True)) == ["Linear", "BatchNorm1d"]
    assert kinds(HeadConfig(layers=1, norm="layer", norm_out=True)) == ["Linear+bias", "LayerNorm"]
    assert mlp(8, HeadConfig(hidden=16, out=4, layers=3))(torch.zeros(2, 8)).shape == (2, 4)


def test_scheduled_defaults_are_what_the_papers_use() -> None:
    byol, dino = (
        OBJECTIVES[name].Config.model_validate({"name": name}) for name in ("byol", "dino")
    )
    assert byol.model_dump()["momentum"] == Cosine(start=0.99, end=1.0).model_dump()
    temperatures = dino.model_dump()["teacher_temperature"]
    assert (temperatures["warmup_from"], temperatures["at"]) == (0.04, 0.07)
