"""Layer-wise probing: the hooks against timm's own intermediates, and the numbers against
scikit-learn and loops."""

from __future__ import annotations

import math
from typing import Literal

import numpy as np
import pytest
import timm
import torch
from scipy.linalg import inv, sqrtm, subspace_angles
from sklearn.cluster import MiniBatchKMeans
from sklearn.linear_model import RidgeClassifier
from sklearn.preprocessing import StandardScaler
from torch import Tensor

from access_kit import Pixels, access_of, prepare, small_encoder
from conformance.objective_kit import labels, pictures
from manta.encoders import EncoderConfig
from manta.encoders import build as build_encoder
from manta.encoders.concatenation import Concatenation
from manta.encoders.layers import LayerReader
from manta.errors import ConfigError
from manta.evaluators import build
from manta.evaluators.layers import LayersConfig, information, pwcca, ridge
from manta.spec import Spec


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def hooks(encoder: torch.nn.Module) -> int:
    return sum(len(module._forward_hooks) for module in encoder.modules())


@pytest.mark.parametrize(
    "name", ["test_resnet", "test_convnext", "test_efficientnet", "swin_s3_tiny_224"]
)
def test_layers_are_what_timm_calls_intermediates(name: str) -> None:
    torch.manual_seed(0)
    small = (
        {"embed_dim": 16, "depths": (1, 1, 1, 1), "num_heads": (1, 2, 2, 2)}
        if name.startswith("swin")
        else {}
    )
    size = 224 if name.startswith("swin") else 64
    encoder = build_encoder(EncoderConfig(name=name, args=small), Spec.image(size)).eval()
    x = torch.randn(3, 3, size, size)
    found = LayerReader(encoder)(x)
    with torch.no_grad():
        expected = encoder.model.forward_intermediates(x, intermediates_only=True)
    assert len(found) == len(expected) >= 4
    for features, intermediate in zip(found.values(), expected, strict=True):
        torch.testing.assert_close(features, intermediate.mean((2, 3)))
    assert hooks(encoder) == 0


def test_blocks_of_a_transformer_are_means_over_all_tokens() -> None:
    encoder = small_encoder("vit")
    x = prepare(pictures()[:5])
    found = LayerReader(encoder)(x)
    assert list(found) == ["blocks.0", "blocks.1"]
    model = encoder.model
    with torch.no_grad():
        tokens = model.norm_pre(model._pos_embed(model.patch_embed(x)))
        for name, block in zip(found, model.blocks, strict=True):
            tokens = block(tokens)
            torch.testing.assert_close(found[name], tokens.mean(1))


def test_a_concatenation_has_the_layers_of_its_parts() -> None:
    parts = [small_encoder("resnet", seed=seed) for seed in range(2)]
    both = Concatenation(parts).eval()
    x = prepare(pictures()[:5])
    own = [LayerReader(part)(x) for part in parts]
    torch.testing.assert_close(LayerReader(both)(x), own[1])
    named = LayerReader(both, ["parts.0.layer2", "parts.1.layer3", "layer1"])(x)
    expected = {
        "parts.0.layer2": own[0]["layer2"],
        "parts.1.layer3": own[1]["layer3"],
        "layer1": own[1]["layer1"],
    }
    torch.testing.assert_close(named, expected)
    # The untrained encoder is one such part, and what fits the whole must fit it.
    alone = LayerReader(parts[0], list(named))(x)
    torch.testing.assert_close(alone["parts.0.layer2"], own[0]["layer2"])
    with pytest.raises(ConfigError, match=r"'parts.2.layer1'; it has 2 parts"):
        LayerReader(both, ["parts.2.layer1"])


def test_wrong_layers_are_one_line() -> None:
    encoder = small_encoder("resnet")
    with pytest.raises(ConfigError, match=r"no layer 'layer9'; such as layer"):
        LayerReader(encoder, ["layer9"])
    with pytest.raises(ConfigError, match=r"does not say which layers it has; name them"):
        LayerReader(Pixels())
    autoencoder = build_encoder(EncoderConfig(name="conv_autoencoder"), Spec.image(32)).eval()
    found = LayerReader(autoencoder, ["encoder.2", "encoder.5"])(torch.randn(2, 3, 32, 32))
    assert [tuple(value.shape) for value in found.values()] == [(2, 32), (2, 64)]
    with pytest.raises(ConfigError, match=r"layer 'decoder' takes no part"):
        LayerReader(autoencoder, ["decoder"])(torch.randn(2, 3, 32, 32))


def pwcca_by_whitening(x: Tensor, y: Tensor) -> float:
    """As Morcos et al. define it: through covariances and their roots, and loops over variates."""
    a, b = (side.numpy() - side.numpy().mean(0) for side in (x, y))
    root_a, root_b = (inv(np.real(sqrtm(side.T @ side))) for side in (a, b))
    left, correlations, _ = np.linalg.svd(root_a @ a.T @ b @ root_b)
    total = weight = 0.0
    for i, correlation in enumerate(correlations):
        variate = a @ root_a @ left[:, i]
        alpha = sum(abs(variate @ a[:, j]) for j in range(a.shape[1]))
        total += alpha * correlation
        weight += alpha
    return total / weight


def test_pwcca_equals_a_computation_by_covariances() -> None:
    x = normal(200, 6) @ normal(6, 6, seed=1)
    y = torch.cat(
        [x[:, :3] @ normal(3, 3, seed=2) + 0.5 * normal(200, 3, seed=3), normal(200, 4, seed=4)],
        dim=1,
    )
    expected = pwcca_by_whitening(x, y)
    assert pwcca(x, y, variance=1.0) == pytest.approx(expected, abs=1e-9)
    assert 0.4 < expected < 0.95
    assert pwcca(x, x @ normal(6, 6, seed=5) + 3, variance=1.0) == pytest.approx(1, abs=1e-9)


def test_of_one_direction_each_it_is_pearsons_correlation() -> None:
    x, noise = normal(500, 1), normal(500, 1, seed=1)
    y = x + noise
    expected = abs(np.corrcoef(x[:, 0], y[:, 0])[0, 1])
    assert pwcca(x, y, variance=1.0) == pytest.approx(expected, abs=1e-12)
    assert pwcca(x, -y, variance=1.0) == pytest.approx(expected, abs=1e-12)


def test_only_directions_of_weight_are_compared() -> None:
    signal = normal(400, 3)
    x = torch.cat([signal, 1e-3 * normal(400, 20, seed=1)], dim=1)
    y = torch.cat([signal @ normal(3, 3, seed=2), 1e-3 * normal(400, 20, seed=3)], dim=1)
    assert pwcca(x, y, variance=0.99) > 0.999
    kept = np.cos(
        subspace_angles((signal - signal.mean(0)).numpy(), (y - y.mean(0)).numpy()[:, :3])
    )
    assert kept.min() > 0.999


def test_correlations_that_rows_cannot_tell_are_not_given() -> None:
    assert math.isnan(pwcca(normal(30, 20), normal(30, 20, seed=1), variance=1.0))
    assert pwcca(normal(3000, 20), normal(3000, 20, seed=1), variance=1.0) < 0.15
    assert math.isnan(pwcca(torch.ones(30, 3), normal(30, 2), variance=0.99))
    assert math.isnan(pwcca(torch.full((30, 3), math.nan), normal(30, 2), variance=0.99))


def test_the_probe_is_scikit_learns() -> None:
    bank, queries = (
        pictures()[:500, 0, ::4, ::4].flatten(1).float(),
        pictures()[500:900, 0, ::4, ::4].flatten(1).float(),
    )
    scaler = StandardScaler().fit(bank.double().numpy())
    reference = RidgeClassifier(alpha=5.0).fit(
        scaler.transform(bank.double().numpy()), labels()[:500]
    )
    expected = reference.predict(scaler.transform(queries.double().numpy()))
    assert ridge(bank, labels()[:500], queries, penalty=5.0).tolist() == expected.tolist()
    some = labels()[:500] % 2 * 7 + 3  # two classes, not consecutive
    assert set(ridge(bank, some, queries, penalty=5.0).tolist()) == {3, 10}


def test_information_is_counted_over_the_labels_entropy() -> None:
    points = pictures()[:600, 0, ::4, ::4].flatten(1).float()
    truth = labels()[:600]
    found = information(points, truth, clusters=20, seed=3)
    members = MiniBatchKMeans(20, random_state=3, n_init=3, batch_size=4096).fit_predict(
        points.numpy()
    )
    joint = np.zeros((20, 10))
    for member, label in zip(members, truth.tolist(), strict=True):
        joint[member, label] += 1 / 600
    mutual = sum(
        p * math.log(p / (joint[i].sum() * joint[:, j].sum()))
        for (i, j), p in np.ndenumerate(joint)
        if p > 0
    )
    entropy = -sum(p * math.log(p) for p in joint.sum(0))
    assert found == pytest.approx(mutual / entropy, abs=1e-9)
    assert found > 0.5
    apart = torch.eye(4)[truth % 4] * 10 + normal(600, 4).float() * 0.01
    assert information(apart, truth % 4, clusters=4, seed=0) == pytest.approx(1)


@pytest.mark.parametrize(
    ("kind", "names"),
    [
        ("resnet", ["act1", "layer1", "layer2", "layer3", "layer4"]),
        ("vit", ["blocks.0", "blocks.1"]),
    ],
)
def test_every_layer_gets_its_numbers(kind: Literal["resnet", "vit"], names: list[str]) -> None:
    encoder = small_encoder(kind)
    access, features = access_of(encoder, bank=400, queries=200)
    found = build(LayersConfig(rows=350, query_rows=150)).mean_scores(features, access)
    every = {f"layers_{name}_{what}" for name in names for what in ("top1", "information", "cca")}
    assert set(found) == every - {f"layers_{names[-1]}_cca"} | {
        "layers_best_top1",
        "layers_best_depth",
    }
    assert all(0 <= value <= 1 for value in found.values())
    top1 = [found[f"layers_{name}_top1"] for name in names]
    assert found["layers_best_top1"] == top1[round(found["layers_best_depth"] * (len(names) - 1))]
    few = build(LayersConfig(rows=350, query_rows=5)).mean_scores(features, access)
    assert few["layers_best_depth"] == found["layers_best_depth"], (
        "the bank chooses, not the queries"
    )
    assert min(top1) > 0.3
    # The nearer to the last, the more alike: a network's layers each go on from the one before.
    assert found[f"layers_{names[-2]}_cca"] >= found[f"layers_{names[0]}_cca"] - 0.05
    assert hooks(encoder) == 0
    reader = LayerReader(encoder)
    bank, queries = reader(prepare(pictures()[:350])), reader(prepare(pictures()[400:550]))
    scaler = StandardScaler().fit(bank[names[0]].double())
    reference = RidgeClassifier(alpha=3.5).fit(
        scaler.transform(bank[names[0]].double()), labels()[:350]
    )
    expected = reference.score(scaler.transform(queries[names[0]].double()), labels()[400:550])
    assert top1[0] == pytest.approx(expected, abs=0.0067)


def test_without_labels_the_layers_are_only_compared() -> None:
    access, features = access_of(small_encoder("resnet"), labelled=False)
    found = build(LayersConfig(layers=("layer1", "layer4"))).mean_scores(features, access)
    assert list(found) == ["layers_layer1_cca"]


def test_timm_lists_stages_of_the_families_that_people_use() -> None:
    for name in (
        "resnet18",
        "convnext_atto",
        "vit_tiny_patch16_224",
        "regnetx_002",
        "mobilenetv3_small_050",
    ):
        model = timm.create_model(name, num_classes=0)
        listed = [str(stage["module"]) for stage in model.feature_info]
        assert set(listed) <= {known for known, _ in model.named_modules()}
