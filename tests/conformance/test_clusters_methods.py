"""Tests of swav, msn, beclr and lvm_med beyond their equations.

Some of what they share with mugs and mokd is here too.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from objective_kit import (
    ENCODERS,
    SIZE,
    VIT,
    batch_of,
    config_of,
    objective_of,
    pictures,
    progress_at,
)
from pydantic import ValidationError
from torch import Tensor, nn

from manta import encoders, objectives
from manta.batch import Batch, DataFacts
from manta.encoders import Encoder, EncoderConfig
from manta.errors import ConfigError
from manta.functional.groups import attraction, nearest_in_memory
from manta.functional.prototypes import msn_terms, swapped_prediction
from manta.functional.transport import sinkhorn
from manta.functional.uniformity import uniformity
from manta.objectives import OBJECTIVES, Objective
from manta.objectives._feature_maps import map_dim, pooled_and_map
from manta.spec import Spec


def pushed(objective: Objective[Any], step: int, rows: int = 8) -> Batch:
    """Take one step without an optimizer, so that a memory keeps its rows."""
    batch = batch_of(objective, rows, step=step, start=rows * step, dtype=torch.float64)
    objective(batch, progress_at(step))
    objective.after_step(progress_at(step))
    return batch


def test_swav_predicts_the_balanced_codes_of_every_other_global_view() -> None:
    objective = objective_of(
        "swav", local_views=1, queue=None, epsilon=0.05, prototypes=16, dtype=torch.float64
    )
    batch = batch_of(objective, 8, dtype=torch.float64)
    large, small = torch.cat([view.data for view in batch.global_views]), batch.local_views[0].data
    model = nn.Sequential(objective.encoder, objective.projector, objective.prototypes)
    cosines = [*model(large).chunk(2), model(small)]
    codes = [sinkhorn(x, epsilon=0.05, iterations=3) for x in cosines[:2]]
    pairs = [(0, 1), (0, 2), (1, 0), (1, 2)]
    expected = (
        sum(swapped_prediction(cosines[j], codes[i], temperature=0.1).item() for i, j in pairs) / 4
    )
    assert objective(batch, progress_at(0))["loss"].item() == pytest.approx(expected, rel=1e-9)


def test_swavs_queue_is_assigned_too_once_it_is_due() -> None:
    objective = objective_of(
        "swav", local_views=0, queue=24, queue_from=2, prototypes=16, dtype=torch.float64
    )
    past = [pushed(objective, step) for step in range(2)]
    with torch.no_grad():
        sides = [
            objective.projector(objective.encoder(torch.cat([view.data for view in batch]))).chunk(
                2
            )
            for batch in past
        ]
    assert objective.queue.filled == 16
    assert torch.allclose(
        objective.queue.rows[:16], torch.cat([torch.cat(side, dim=1) for side in sides])
    )

    batch = batch_of(objective, 8, step=2, dtype=torch.float64)
    z = objective.projector(objective.encoder(torch.cat([view.data for view in batch]))).chunk(2)
    losses = []
    for a, b in ((0, 1), (1, 0)):
        rows = torch.cat([z[a], *(side[a] for side in sides)])
        code = sinkhorn(objective.prototypes(rows), epsilon=objective.config.epsilon, iterations=3)[
            :8
        ]
        losses.append(swapped_prediction(objective.prototypes(z[b]), code, temperature=0.1).item())
    assert objective(batch, progress_at(2))["loss"].item() == pytest.approx(
        sum(losses) / 2, rel=1e-9
    )
    # The same rows, before the queue is due.
    early = objective(batch, progress_at(1))["loss"].item()
    assert abs(early - sum(losses) / 2) > 1e-6


@pytest.mark.parametrize("iterations", [None, 3])
def test_msn_compares_masked_and_small_anchors_with_the_whole_target(
    iterations: int | None,
) -> None:
    objective = objective_of(
        "msn", local_views=1, prototypes=16, entropy=2.0, iterations=iterations, dtype=torch.float64
    )
    with torch.no_grad():
        next(objective.encoder.parameters()).mul_(-1.0)  # now student and teacher differ
    batch = batch_of(objective, 8, dtype=torch.float64)
    whole, masked = batch.global_views
    assert masked.mask is not None
    keep = (~masked.mask).nonzero()[:, 1].view(8, -1)
    seen = [
        objective.encoder.pool(objective.encoder.tokens(masked.data, keep)),
        objective.encoder(batch.views[2].data),
    ]
    anchors = torch.stack([objective.prototypes(objective.projector(x)) for x in seen])
    targets = objective.prototypes(objective.teacher(whole.data))
    if iterations is None:
        codes = torch.softmax(targets / 0.025, dim=1)
    else:
        codes = sinkhorn(targets, epsilon=0.025, iterations=iterations)
    terms = msn_terms(anchors, codes, temperature=0.1)
    actual = objective(batch, progress_at(0))
    assert actual["loss"].item() == pytest.approx(
        terms.prediction.item() - 2 * terms.entropy.item(), rel=1e-9
    )


@pytest.mark.parametrize("name", ["swav", "msn"])
def test_prototypes_are_frozen_at_first(name: str) -> None:
    objective = objective_of(name, freeze=2, dtype=torch.float64)
    for step, moves in ((1, False), (2, True)):
        objective.zero_grad(set_to_none=True)
        objective(batch_of(objective, 8, step=step, dtype=torch.float64), progress_at(step))[
            "loss"
        ].backward()
        gradient = objective.prototypes.weight.grad
        assert gradient is not None  # which DistributedDataParallel waits for
        assert bool(gradient.any()) == moves


def test_msn_does_not_see_what_is_hidden_from_its_anchor() -> None:
    objective = objective_of("msn", local_views=0, dtype=torch.float64)
    batch = batch_of(objective, 4, dtype=torch.float64)
    whole, masked = batch.views
    assert masked.mask is not None
    on_pixels = masked.mask.view(4, 1, 4, 4).repeat_interleave(8, 2).repeat_interleave(8, 3)
    loss = objective(batch, progress_at(0))["loss"].item()
    for view, changed in ((masked, False), (whole, True)):  # the target's mask hides nothing
        other = [
            replace(v, data=v.data.masked_fill(on_pixels, 7.0)) if v is view else v for v in batch
        ]
        actual = objective(Batch(other, batch.index), progress_at(0))["loss"].item()
        assert (abs(actual - loss) > 1e-6) == changed


def test_msn_refuses_other_encoders_and_names_one() -> None:
    facts = DataFacts(rows=10, spec=Spec.image(SIZE))
    convolutional = encoders.build(EncoderConfig(name="test_resnet"), Spec.image(SIZE))
    with pytest.raises(ConfigError, match="vit_tiny_patch16_224"):
        objectives.build(config_of("msn"), convolutional, facts)
    one_patch = encoders.build(
        EncoderConfig(name="vit_tiny_patch16_224", args=VIT | {"patch_size": 32}), Spec.image(SIZE)
    )
    with pytest.raises(ConfigError, match="hides none or all of the encoder's 1 patches"):
        objectives.build(config_of("msn"), one_patch, facts)


def beclr(**overrides: Any) -> Objective[Any]:
    return objective_of("beclr", memory=32, clusters=4, start=0, dtype=torch.float64, **overrides)


def test_beclrs_memory_is_clustered_once_it_is_full() -> None:
    objective = beclr()
    memory = objective.memory
    pushed(objective, 0)
    assert not memory.clustered
    pushed(objective, 1)  # two views of two batches of 8
    assert memory.clustered
    unit = F.normalize(memory.rows, dim=1)
    for k in range(4):
        assert torch.allclose(memory.centres[k], unit[memory.labels == k].mean(0))

    with torch.no_grad():
        batch = batch_of(objective, 8, step=2, dtype=torch.float64)
        targets = objective.teacher(torch.cat([view.data for view in batch])).chunk(2)
        rows = torch.cat(targets[::-1])
        cosines = F.normalize(rows, dim=1) @ F.normalize(memory.centres, dim=1).T
        labels = sinkhorn(cosines, epsilon=0.05, iterations=3).argmax(1)
        kept = memory.rows[16:].clone()
        objective(batch, progress_at(2))
        objective.after_step(progress_at(2))
    by_sample = rows.unflatten(0, (2, -1)).transpose(0, 1).flatten(0, 1)
    assert torch.allclose(memory.rows[:16], by_sample)  # the oldest give way
    assert torch.equal(memory.rows[16:], kept)
    assert memory.labels[:16].tolist() == labels.view(2, -1).T.flatten().tolist()
    for k in set(memory.labels.tolist()):
        assert torch.allclose(memory.centres[k], memory.rows[memory.labels == k].mean(0))


@pytest.mark.parametrize("start", [0, 3])
def test_beclrs_positives_are_the_other_view_and_its_clusters_nearest(start: int) -> None:
    objective = objective_of(
        "beclr", memory=32, clusters=4, start=start, uniformity=0.3, dtype=torch.float64
    )
    for step in range(2):
        pushed(objective, step)
    memory, batch = objective.memory, batch_of(objective, 8, step=2, dtype=torch.float64)
    both = torch.cat([view.data for view in batch])
    z = objective.projector(objective.encoder(both))
    targets = objective.teacher(both).roll(8, 0)
    positives, actual = targets.unsqueeze(1), torch.ones(16, 1, dtype=torch.bool)
    if start == 0:
        labels = memory.assign(targets, lambda statistic: statistic)
        near = nearest_in_memory(
            targets, memory.rows, count=3, labels=labels, memory_labels=memory.labels
        )
        positives, actual = (
            torch.cat([positives, near.rows], dim=1),
            torch.cat([actual, near.valid], dim=1),
        )
    expected = attraction(objective.predictor(z), positives, actual)
    expected = expected + 0.3 * uniformity(*z.chunk(2), temperature=2.0)
    assert objective(batch, progress_at(2))["loss"].item() == pytest.approx(
        expected.item(), rel=1e-9
    )


@pytest.mark.parametrize("backbone", ENCODERS, ids=lambda backbone: backbone.name)
@pytest.mark.parametrize("size", [SIZE, 24])
def test_one_forward_gives_the_pooled_vector_and_the_map(
    backbone: EncoderConfig, size: int
) -> None:
    encoder: Any = encoders.build(backbone, Spec.image(SIZE)).eval()
    x = torch.randn(2, 3, size, size)
    with torch.no_grad():
        seen = pooled_and_map(encoder, x)
        assert torch.allclose(seen.pooled, encoder(x), atol=1e-6)
        assert torch.allclose(seen.map, encoder.feature_map(x), atol=1e-6)
    assert seen.map.shape[1] == map_dim(encoder, "lvm_med")


class Flat(Encoder):
    """An encoder that gives a pooled vector and nothing else."""

    embed_dim = 4

    def embed(self, x: Tensor) -> Tensor:
        return x.flatten(1)[:, :4]


@pytest.mark.parametrize("name", ["lvm_med", "mokd"])
def test_an_encoder_without_a_map_is_refused(name: str) -> None:
    with pytest.raises(
        ConfigError, match=f"objective.name={name} needs an encoder with a feature map"
    ):
        objectives.build(
            config_of(name), Flat(), DataFacts(rows=len(pictures()), spec=Spec.image(SIZE))
        )


def test_lvm_meds_loss_weighs_edges() -> None:
    terms = {}
    for weight in (0.0, 2.0):
        objective = objective_of("lvm_med", edge_loss=weight, dtype=torch.float64)
        terms[weight] = objective(batch_of(objective, 8, dtype=torch.float64), progress_at(0))
        actual = terms[weight]
        assert actual["loss"].item() == pytest.approx(
            actual["vertices"].item() + weight * actual["edges"].item()
        )
    assert terms[0.0]["vertices"].item() == terms[2.0]["vertices"].item()


@pytest.mark.parametrize(
    ("name", "values", "message"),
    [
        ("swav", {"epsilon": 0.001}, "greater than or equal to 0.01"),
        ("swav", {"queue": 0}, "greater than or equal to 1"),
        ("msn", {"mask_ratio": 1}, "less than 1"),
        (
            "mugs",
            {"aggregator_dim": 64, "aggregator_heads": 3},
            "not a multiple of aggregator_heads",
        ),
        ("mugs", {"memory": 4, "neighbours": 8}, "do not fit a memory of 4"),
        ("beclr", {"memory": 8, "clusters": 16}, "is below clusters 16"),
        (
            "mokd",
            {"transformer_dim": 64, "transformer_heads": 3},
            "no multiple of transformer_heads",
        ),
        ("mokd", {"partner": {"nom": "resnet18"}}, "Extra inputs"),
        ("lvm_med", {"global_weight": 2}, "less than or equal to 1"),
    ],
)
def test_a_config_that_cannot_work_is_refused(
    name: str, values: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValidationError, match=message):
        OBJECTIVES[name].Config.model_validate({"name": name, **values})


@pytest.mark.parametrize(
    ("partner", "message"),
    [
        ({"name": "resnet8000"}, r"^objective\.partner\.name: timm has no model 'resnet8000'"),
        (
            {"name": "test_resnet", "args": {"no": 1}},
            r"^objective\.partner: timm cannot build 'test_resnet'",
        ),
        ({"name": "scatnet"}, r"^objective\.partner: "),
    ],
)
def test_an_error_of_the_partner_names_the_partner(partner: dict[str, Any], message: str) -> None:
    config = OBJECTIVES["mokd"].Config.model_validate({"name": "mokd", "partner": partner})
    with pytest.raises(ConfigError, match=message):
        OBJECTIVES["mokd"](
            config,
            encoders.build(ENCODERS[0], Spec.image(SIZE)),
            DataFacts(rows=100, spec=Spec.image(33)),
        )
