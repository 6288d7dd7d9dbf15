"""Fine-tuning: the draw of labels, the head's start against scikit-learn, the optimizer's groups,
and what it gains."""

from __future__ import annotations

import math

import pytest
import torch
from sklearn.neighbors import NearestCentroid
from torch import Tensor

from access_kit import Pixels, access_of, small_encoder
from conformance.objective_kit import labels, pictures
from manta.config import from_mapping
from manta.encoders import Encoder
from manta.errors import ConfigError
from manta.evaluators import Features, build
from manta.evaluators.finetune import FinetuneConfig, _groups, augment, few


def state(encoder: Encoder) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in encoder.state_dict().items()}


def test_labels_are_drawn_class_by_class_and_smaller_draws_are_in_larger_ones() -> None:
    truth = torch.tensor([3] * 200 + [1] * 40 + [7] * 4)[
        torch.randperm(244, generator=torch.Generator().manual_seed(0))
    ]
    tenth, hundredth, shots = (
        few(truth, 0.1, seed=1),
        few(truth, 0.01, seed=1),
        few(truth, 5, seed=1),
    )
    assert torch.bincount(truth[tenth]).tolist() == [0, 4, 0, 20, 0, 0, 0, 1]
    assert torch.bincount(truth[hundredth]).tolist() == [0, 1, 0, 2, 0, 0, 0, 1]
    assert torch.bincount(truth[shots]).tolist() == [0, 5, 0, 5, 0, 0, 0, 4]
    assert set(hundredth.tolist()) < set(tenth.tolist())
    assert len(set(tenth.tolist())) == len(tenth)
    assert set(few(truth, 0.1, seed=2).tolist()) != set(tenth.tolist())


@pytest.mark.parametrize("size", [0.1, 3])
def test_before_the_first_step_it_is_the_nearest_prototype(size: float | int) -> None:
    access, features = access_of(Pixels(), bank=500, queries=400)
    trials = (
        {"fractions": (size,)} if isinstance(size, float) else {"fractions": (), "shots": (size,)}
    )
    config = FinetuneConfig(steps=0, rows=300, **trials)  # type: ignore[arg-type]
    rows = few(labels()[:500], size, seed=0)
    reference = NearestCentroid().fit(features.bank[rows].double().numpy(), labels()[rows])
    expected = reference.score(features.queries[:300].double().numpy(), labels()[500:800])
    assert build(config).mean_scores(features, access) == {
        "finetune_10pct_top1" if size == 0.1 else "finetune_3shot_top1": pytest.approx(
            expected, abs=1e-9
        )
    }
    assert expected > 0.6


def test_the_heads_softmax_is_that_of_squared_distances() -> None:
    access, features = access_of(Pixels(), bank=90, queries=50)
    images, targets = pictures()[:90], labels()[:90]
    tuned = build(FinetuneConfig(steps=0, sharpness=7.0))._tune(access, images, targets)
    bank, queries = features.bank.double(), features.queries.double()
    prototypes = torch.stack([bank[targets == number].mean(0) for number in range(10)])
    variance = (bank - bank.mean(0)).square().sum(1).mean()
    expected = (-7.0 * torch.cdist(queries, prototypes).square() / variance).softmax(1)
    torch.testing.assert_close(
        tuned[1](features.queries).softmax(1).double(), expected, atol=1e-5, rtol=0
    )


def test_a_head_of_zeros_knows_nothing() -> None:
    access, features = access_of(Pixels(), bank=500, queries=400)
    found = build(FinetuneConfig(steps=0, head="zeros", fractions=(0.1,))).mean_scores(
        features, access
    )
    assert found == {
        "finetune_10pct_top1": pytest.approx((labels()[500:900] == 0).float().mean().item())
    }


@pytest.mark.parametrize(("kind", "gain"), [("resnet", 0.08), ("vit", 0.1)])
def test_training_gains_and_leaves_the_encoder_as_it_was(kind: str, gain: float) -> None:
    encoder = small_encoder("resnet" if kind == "resnet" else "vit").requires_grad_(False)
    before = state(encoder)
    access, features = access_of(encoder, bank=600, queries=300)
    config = FinetuneConfig(fractions=(0.3,), steps=60, flip=False, least_area=0.7, lr=1e-3)
    start = build(config.model_copy(update={"steps": 0})).mean_scores(features, access)[
        "finetune_30pct_top1"
    ]
    with torch.inference_mode():
        found = build(config).mean_scores(features, access)["finetune_30pct_top1"]
    assert found > start + gain
    if kind == "vit":
        assert found == build(config).mean_scores(features, access)["finetune_30pct_top1"]
    assert not any(parameter.requires_grad for parameter in encoder.parameters())
    assert all(torch.equal(value, before[name]) for name, value in encoder.state_dict().items())


def test_more_labels_are_better() -> None:
    access, features = access_of(small_encoder("vit"), bank=600, queries=300)
    config = FinetuneConfig(
        fractions=(0.01, 0.5), shots=(2,), steps=60, flip=False, least_area=0.7, lr=1e-3
    )
    found = build(config).mean_scores(features, access)
    assert list(found) == ["finetune_1pct_top1", "finetune_50pct_top1", "finetune_2shot_top1"]
    assert found["finetune_50pct_top1"] > found["finetune_1pct_top1"] + 0.1


def test_classes_that_were_not_shown_are_wrong() -> None:
    # The bank holds the digits 0 and 5 only, and labels need not be consecutive.
    known = (labels() == 0) | (labels() == 5)
    order = torch.cat([known.nonzero().flatten()[:60], torch.arange(1000, 1200)])
    access, features = access_of(
        Pixels(), bank=60, queries=200, shown=(pictures()[order], labels()[order])
    )
    found = build(FinetuneConfig(fractions=(1.0,), steps=0)).mean_scores(features, access)[
        "finetune_100pct_top1"
    ]
    share = known[1000:1200].float().mean().item()
    assert 0.9 * share <= found <= share


def test_rates_fall_from_layer_to_layer() -> None:
    encoder = small_encoder("vit")
    groups = _groups(encoder, FinetuneConfig(layer_decay=0.5, weight_decay=0.1))
    model = encoder.model
    scale = {
        id(p): (group["lr_scale"], group["weight_decay"])
        for group in groups
        for p in group["params"]
    }
    assert len(scale) == len(list(encoder.parameters()))
    # timm counts the stem, two blocks, and what comes after them: 3 layers from the last to the
    # first.
    assert scale[id(model.patch_embed.proj.weight)] == (0.125, 0.1)  # type: ignore[union-attr]
    assert scale[id(model.blocks[0].attn.proj.weight)] == (0.25, 0.1)
    assert scale[id(model.blocks[1].attn.proj.weight)] == (0.5, 0.1)
    assert scale[id(model.blocks[1].attn.proj.bias)] == (0.5, 0.0)
    flat = _groups(encoder, FinetuneConfig(weight_decay=0.1))
    assert all("lr_scale" not in group for group in flat)
    assert sum(len(group["params"]) for group in flat) == len(scale)


def test_a_decay_over_layers_holds_the_first_ones_still() -> None:
    access, features = access_of(small_encoder("vit"), bank=300, queries=100)
    config = FinetuneConfig(
        layer_decay=1e-6, head="zeros", fractions=(0.5,), steps=20, lr=1e-2, flip=False
    )
    evaluator = build(config)
    rows = few(labels()[:300], 0.5, seed=0)
    tuned = evaluator._tune(access, pictures()[rows], labels()[rows])  # type: ignore[attr-defined]
    moved = {
        name: (value - access.encoder.state_dict()[name]).abs().max().item()
        for name, value in tuned[0].state_dict().items()
    }
    assert moved["model.patch_embed.proj.weight"] < 1e-7
    assert (
        moved["model.norm.weight" if "model.norm.weight" in moved else "model.fc_norm.weight"]
        > 1e-3
    )
    assert features.labelled


def test_an_encoder_of_unknown_order_refuses_a_decay() -> None:
    access, features = access_of(Pixels(), bank=60, queries=20)
    with pytest.raises(ConfigError, match="layer_decay: this encoder does not say"):
        build(FinetuneConfig(layer_decay=0.5, steps=1)).mean_scores(features, access)


def test_crops_and_flips() -> None:
    images = pictures()[:64]
    generator = torch.Generator().manual_seed(0)
    assert torch.equal(augment(images, 1.0, flip=False, generator=generator), images)
    mirrored = augment(images, 1.0, flip=True, generator=generator)
    flipped = (mirrored == images.flip(-1)).flatten(1).all(1)
    assert torch.equal(flipped, ~(mirrored == images).flatten(1).all(1))
    assert 20 < flipped.sum() < 44
    # A ramp's slope is that of the crop's side: between half and all of it, at a quarter of the
    # area.
    ramp = (torch.arange(32) * 8).to(torch.uint8).expand(400, 3, 32, 32)
    cropped = augment(ramp, 0.25, flip=False, generator=generator).float()
    length = (cropped[:, 0, 0, 26] - cropped[:, 0, 0, 5]) / (21 * 8)
    assert 0.49 < length.min() < 0.56
    assert 0.95 < length.max() < 1.01
    area = length.square()
    assert area.mean().item() == pytest.approx(0.625, abs=0.03)


def test_features_that_are_not_finite_give_no_accuracy() -> None:
    access, features = access_of(Pixels(), bank=60, queries=20)
    broken = Features(
        torch.full_like(features.bank, math.nan),
        features.queries,
        features.bank_labels,
        features.query_labels,
    )
    assert all(
        math.isnan(value) for value in build(FinetuneConfig()).mean_scores(broken, access).values()
    )


def test_nothing_to_try_is_refused_at_load() -> None:
    with pytest.raises(ConfigError, match="finetune has nothing to try; give fractions or shots"):
        from_mapping(
            {
                "data": {"source": "digits"},
                "objective": {"name": "simclr"},
                "evaluation": {"evaluators": [{"name": "finetune", "fractions": []}]},
            }
        )
