"""Tests of methods that give the batch a structure: clusters, relations, teachers, outliers."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from objective_kit import (
    SIZE,
    VIT,
    batch_of,
    config_of,
    labels,
    material_path,
    objective_of,
    pictures,
    progress_at,
    trained,
)
from pydantic import ValidationError
from torch import Tensor

from manta import encoders, objectives
from manta.batch import Batch, DataFacts
from manta.catalogue import entries
from manta.encoders import EncoderConfig, load_saved
from manta.errors import ConfigError
from manta.functional import nt_xent, vicreg
from manta.functional.outliers import unicon
from manta.functional.pretext import quadrants_shuffled, quarter_turned
from manta.functional.restricted import restricted_nt_xent
from manta.objectives import (
    OBJECTIVES,
    ClusterMaterial,
    ColumnMaterial,
    ModelMaterial,
    Objective,
    SampleValues,
    keyed_uniform,
)
from manta.spec import Spec


def double(name: str, **overrides: Any) -> tuple[Objective[Any], Batch]:
    objective = objective_of(name, dtype=torch.float64, **overrides)
    return objective, batch_of(objective, 16, dtype=torch.float64)


def projections(objective: Objective[Any], batch: Batch) -> tuple[Tensor, Tensor]:
    a, b = objective.projector(objective.encoder(torch.cat([view.data for view in batch]))).chunk(2)
    return a, b


def clusters(count: int) -> Tensor:
    table = SampleValues(material_path(ClusterMaterial("given", count)))
    return table[torch.arange(16)]


# G-SimCLR and ClusterFit


@pytest.mark.parametrize("one", [True, False])
def test_gsimclr_leaves_out_negatives_of_the_anchors_pseudo_class(one: bool) -> None:
    objective, batch = double("gsimclr", model="given", clusters=3, one_per_class=one)
    classes = clusters(3)
    assert len(classes.unique()) == 3
    allowed = classes[:, None] != classes
    if one:  # the first member by the sample's own draw of the step
        drawn = keyed_uniform(batch.index, progress_at(0), 1).squeeze(1).tolist()
        first = [
            min((j for j in range(16) if classes[j] == c), key=lambda j: drawn[j]) for c in range(3)
        ]
        allowed &= torch.tensor([j in first for j in range(16)])
        assert allowed.sum(1).tolist() == [2] * 16
    z = projections(objective, batch)
    expected = restricted_nt_xent(*z, allowed=allowed, temperature=0.5)
    actual = objective(batch, progress_at(0))["loss"].item()
    assert actual == pytest.approx(expected.item(), rel=1e-9)
    assert abs(actual - nt_xent(*z, temperature=0.5).item()) > 1e-3


def test_gsimclrs_negatives_are_drawn_for_samples_and_steps() -> None:
    objective, batch = double("gsimclr", model="given", clusters=3)
    classes, order = clusters(3), torch.randperm(16, generator=torch.Generator().manual_seed(0))
    stand = [objective.allowed(batch.index, progress_at(step)) for step in range(20)]
    for step, allowed in enumerate(stand):
        # One of each other pseudo-class, of any order of the batch.
        for anchor, row in enumerate(allowed):
            assert sorted(classes[row].tolist()) == [c for c in range(3) if c != classes[anchor]]
        assert torch.equal(
            objective.allowed(batch.index[order], progress_at(step)), allowed[order][:, order]
        )
    ever = torch.stack(stand).any(0).any(0)
    assert int(ever.sum()) > 8, "a step draws its own"


def test_clusterfit_asks_for_the_cluster_of_each_sample() -> None:
    objective, batch = double("clusterfit", clusters=7)
    logits = objective.classifier(objective.encoder(batch.views[0].data))
    assert logits.shape == (16, 7)
    actual = objective(batch, progress_at(0))
    assert actual["loss"].item() == pytest.approx(
        F.cross_entropy(logits, clusters(7)).item(), rel=1e-9
    )
    assert actual["accuracy"].item() == pytest.approx(
        (logits.argmax(1) == clusters(7)).double().mean().item()
    )


def test_materials_are_what_the_config_names() -> None:
    for name, values, expected in (
        ("gsimclr", {}, {"clusters": ClusterMaterial(None, 256, 0)}),
        (
            "gsimclr",
            {"model": "m", "clusters": 9, "cluster_seed": 4},
            {"clusters": ClusterMaterial("m", 9, 4)},
        ),
        ("clusterfit", {"model": "m", "clusters": 9}, {"clusters": ClusterMaterial("m", 9, 0)}),
        ("distill", {"model": "m"}, {"teacher": ModelMaterial("m")}),
        ("pal", {}, {}),
        ("pal", {"oracle": "label"}, {"oracle": ColumnMaterial("label")}),
    ):
        kind = OBJECTIVES[name]
        assert kind.materials(kind.Config.model_validate({"name": name, **values})) == expected


# Distillation


def test_a_student_follows_the_teachers_features_of_the_same_view() -> None:
    teacher = load_saved(material_path(ModelMaterial("given"))).encoder.double().eval()
    for loss, standardise in (("cosine", True), ("cosine", False), ("mse", True)):
        objective, batch = double("distill", loss=loss, standardise=standardise)
        view = batch.views[0].data
        student, target = objective.head(objective.encoder(view)), teacher.embed(view)
        if standardise:
            target = (target - target.mean(0)) / (target.var(0, correction=0) + 1e-5).sqrt()
        expected = (
            1 - F.cosine_similarity(student, target).mean()
            if loss == "cosine"
            else (student - target).square().mean()
        )
        assert objective(batch, progress_at(0))["loss"].item() == pytest.approx(
            expected.item(), rel=1e-6
        )


def test_a_teacher_sees_its_own_normalisation_and_size_and_never_changes() -> None:
    plain, batch = double("distill", standardise=False)
    facts = replace(plain.data, mean=(0.1, 0.2, 0.3), std=(0.5, 0.6, 0.7))
    objective = objectives.build(plain.config, plain.encoder, facts).double().train()
    objective.teacher_size = 24
    mean, std = (
        torch.tensor(v, dtype=torch.float64).view(3, 1, 1)
        for v in ((0.1, 0.2, 0.3), (0.5, 0.6, 0.7))
    )
    theirs, spread = (
        torch.tensor(v, dtype=torch.float64).view(3, 1, 1)
        for v in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    )
    pixels = (batch.views[0].data * std + mean - theirs) / spread
    pixels = F.interpolate(pixels, size=(24, 24), mode="bilinear", antialias=True)
    torch.testing.assert_close(
        objective.taught(batch.views[0].data), objective.teacher.embed(pixels), rtol=1e-5, atol=1e-6
    )
    before = {key: value.clone() for key, value in objective.teacher.state_dict().items()}
    trained(objective, iter([batch]))
    assert not objective.teacher.training
    assert objective.head.training
    assert all(
        torch.equal(value, before[key]) for key, value in objective.teacher.state_dict().items()
    )
    assert not any(value.requires_grad for value in objective.teacher.parameters())


# PAL


@pytest.mark.parametrize("loss", ["vicreg", "simclr"])
def test_pal_of_views_alone_is_the_plain_method(loss: str) -> None:
    objective, batch = double("pal", loss=loss)
    z = projections(objective, batch)
    plain = (
        vicreg(*z, invariance=25, variance=25, covariance=1)
        if loss == "vicreg"
        else nt_xent(*z, temperature=0.5)
    )
    actual = objective(batch, progress_at(0))
    assert actual["loss"].item() == pytest.approx(plain.item(), rel=1e-9)
    assert actual["related"].item() == 1


@pytest.mark.parametrize("loss", ["vicreg", "simclr"])
def test_pals_oracle_relates_samples_within_its_budget(loss: str) -> None:
    objective, batch = double("pal", loss=loss, oracle="label", budget=1.0)
    digits = labels()[batch.index]
    assert torch.equal(objective.related(batch.index, 0), digits[:, None] == digits)
    informed = objective(batch, progress_at(0))["loss"].item()
    plain = objective_of("pal", loss=loss, dtype=torch.float64)(batch, progress_at(0))[
        "loss"
    ].item()
    assert abs(informed - plain) > 1e-3
    everyone = torch.arange(len(pictures()))
    objective = objective_of("pal", oracle="label", budget=0.25)
    asked = objective.related(everyone, 0).sum(1) > 1
    assert asked.double().mean().item() == pytest.approx(0.25, abs=0.04)
    assert torch.equal(objective.related(everyone, 0).sum(1) > 1, asked)
    assert not torch.equal(objective.related(everyone, 1).sum(1) > 1, asked)


def test_what_pals_oracle_does_not_know_is_related_to_nothing() -> None:
    objective = objective_of("pal", oracle="label")
    objective.oracle.values = torch.full((len(pictures()),), -1).numpy()
    index = torch.arange(16)
    assert torch.equal(objective.related(index, 0), torch.eye(16, dtype=torch.bool))


def test_pals_oracle_is_listed_among_what_takes_labels() -> None:
    labelled = {
        entry["name"]: entry["labels"]
        for entry in entries("objectives")
        if entry["labels"] != "none"
    }
    assert labelled == {"pal": "optional, from a column that is named"}


# UniCon-HA


def test_each_stage_contrasts_the_views_of_its_strength_with_their_rotations() -> None:
    objective, batch = double("unicon_ha", strengths=(0.3, 0.6, 1.0), outliers=3)
    assert objective.needs.strengths == (0.3, 0.3, 0.6, 0.6, 1.0, 1.0)
    turned = [
        quarter_turned(view.data, torch.full((16,), turn)) for view in batch for turn in range(4)
    ]
    maps, pooled = objective.encoder.stage_maps(torch.cat(turned))
    stages = [maps[-3].mean((2, 3)), maps[-2].mean((2, 3)), pooled]
    inlier = torch.arange(64) < 16
    expected = []
    for i, (features, head) in enumerate(zip(stages, objective.projectors, strict=True)):
        views = features.view(6, 64, -1)[2 * i : 2 * i + 2].flatten(0, 1)
        z_a, z_b = head(views).chunk(2)
        soft = 0.5 if i == 2 else None
        expected.append(
            unicon(z_a, z_b, inlier=inlier, temperature=0.5, weight_temperature=soft).item()
        )
    actual = objective(batch, progress_at(0))
    assert [actual[f"stage_{i}"].item() for i in range(3)] == pytest.approx(expected, rel=1e-9)
    assert actual["loss"].item() == pytest.approx(sum(expected) / 3, rel=1e-9)
    weights = (0.5, 2.0, 1.5)
    objective.config = objective.config.model_copy(update={"stage_weights": weights})
    weighed = sum(weight * loss for weight, loss in zip(weights, expected, strict=True))
    assert objective(batch, progress_at(0))["loss"].item() == pytest.approx(weighed, rel=1e-9)


def test_unicon_ha_refuses_other_encoders_and_names_one() -> None:
    facts = DataFacts(rows=10, spec=Spec.image(SIZE))
    flat = encoders.build(EncoderConfig(name="vit_tiny_patch16_224", args=VIT), Spec.image(SIZE))
    with pytest.raises(ConfigError, match="an encoder of 2 stages, such as"):
        objectives.build(config_of("unicon_ha"), flat, facts)
    shallow = encoders.build(EncoderConfig(name="test_resnet"), Spec.image(SIZE))
    with pytest.raises(ConfigError, match="give fewer strengths"):
        objectives.build(config_of("unicon_ha", strengths=(0.5,) * 5), shallow, facts)


# ScatSimCLR


@pytest.mark.parametrize(
    ("pretext", "classes", "transform"),
    [("rotation", 4, quarter_turned), ("jigsaw", 24, quadrants_shuffled)],
)
def test_scatsimclr_adds_the_class_of_a_transformation(
    pretext: str, classes: int, transform: Any
) -> None:
    objective, batch = double("scatsimclr", pretext=pretext, weight=0.7)
    drawn = []
    objective.transform = lambda images, chosen: drawn.append(chosen) or transform(images, chosen)
    actual = objective(batch, progress_at(0))
    assert drawn[0].min() >= 0
    assert 1 < len(drawn[0].unique()) <= classes
    first, second, third = (view.data for view in batch)
    features = objective.encoder(torch.cat([first, second, transform(third, drawn[0])]))
    contrast = nt_xent(*objective.projector(features[:32]).chunk(2), temperature=0.5).item()
    logits = objective.classifier(features[32:])
    assert logits.shape == (16, classes)
    pretext_loss = F.cross_entropy(logits, drawn[0]).item()
    assert actual["contrast"].item() == pytest.approx(contrast, rel=1e-9)
    assert actual["loss"].item() == pytest.approx(contrast + 0.7 * pretext_loss, rel=1e-9)
    objective(batch, progress_at(1))
    assert not torch.equal(drawn[1], drawn[0])


def test_scatsimclr_trains_the_scattering_network() -> None:
    torch.manual_seed(0)
    encoder = encoders.build(
        EncoderConfig(name="scatnet", args={"angles": 2, "width": 16}), Spec.image(SIZE)
    )
    objective = objectives.build(
        config_of("scatsimclr"), encoder, DataFacts(rows=len(pictures()), spec=Spec.image(SIZE))
    )
    batches = (batch_of(objective, 32, step=step, start=32 * step) for step in range(30))
    losses = trained(objective, batches, lr=lambda step: 3e-3)
    assert sum(losses[-5:]) < sum(losses[:5])


@pytest.mark.parametrize(
    ("name", "values", "message"),
    [
        ("gsimclr", {"clusters": 1}, "greater than or equal to 2"),
        ("clusterfit", {}, "Field required"),
        ("distill", {}, "Field required"),
        ("pal", {"budget": 0}, "greater than 0"),
        ("unicon_ha", {"outliers": 4}, "less than or equal to 3"),
        ("unicon_ha", {"strengths": []}, "at least 1 item"),
        ("unicon_ha", {"stage_weights": [1, 1, 1]}, "stage_weights are 3, of 2 strengths"),
        ("unicon_ha", {"stage_weights": [1, 0]}, "greater than 0"),
        ("scatsimclr", {"pretext": "colour"}, "'rotation' or 'jigsaw'"),
    ],
)
def test_a_config_that_cannot_work_is_refused(
    name: str, values: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValidationError, match=message):
        OBJECTIVES[name].Config.model_validate({"name": name, **values})


def test_a_head_with_no_width_of_its_own_cannot_classify() -> None:
    encoder = encoders.build(EncoderConfig(name="test_resnet"), Spec.image(SIZE))
    config = config_of("scatsimclr", classifier={"kind": "reweighting"})
    with pytest.raises(ConfigError, match="keeps its 96 numbers, and 4 are needed"):
        objectives.build(config, encoder, DataFacts(rows=10, spec=Spec.image(SIZE)))
