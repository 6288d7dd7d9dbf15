"""alpha-ReQ and LiDAR against formulas written out by loops, and on spectra that are known."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from manta.errors import ConfigError
from manta.evaluators import Features, build, evaluate_all
from manta.evaluators.alpha_req import AlphaReQConfig
from manta.evaluators.lidar import LiDARConfig
from manta.functional import alpha_req, lidar


def with_spectrum(eigenvalues: Tensor, *, rows: int = 400) -> Tensor:
    """`[rows, D]` features whose covariance has exactly these eigenvalues, along axes of no
    meaning."""
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(rows, len(eigenvalues), generator=generator, dtype=torch.float64)
    left, _ = torch.linalg.qr(noise - noise.mean(0))
    axes, _ = torch.linalg.qr(
        torch.randn(len(eigenvalues), len(eigenvalues), generator=generator, dtype=torch.float64)
    )
    return (rows - 1) ** 0.5 * left * eigenvalues.sqrt() @ axes.T + 3.0


def power_law(alpha: float, *, dimensions: int = 120) -> Tensor:
    return torch.arange(1, dimensions + 1, dtype=torch.float64) ** -alpha


@pytest.mark.parametrize("alpha", [0.0, 0.5, 1.0, 2.0])
def test_an_exact_power_law_gives_its_exponent_back(alpha: float) -> None:
    features = with_spectrum(power_law(alpha))
    assert alpha_req(features) == pytest.approx(alpha, abs=1e-6)
    assert alpha_req(features.float() * 100 - 7) == pytest.approx(alpha, abs=1e-4)
    assert alpha_req(features, first=1, last=7) == pytest.approx(alpha, abs=1e-6)


def test_only_the_range_counts() -> None:
    eigenvalues = power_law(1.5)
    eigenvalues[:3] *= 50
    eigenvalues[100:] /= 1000
    features = with_spectrum(eigenvalues)
    assert alpha_req(features) == pytest.approx(1.5, abs=1e-6)
    assert alpha_req(features, first=1) > 1.8
    assert alpha_req(features, last=120) > 1.8


def test_alpha_equals_a_weighted_polynomial_fit_in_numpy() -> None:
    features = np.random.default_rng(0).normal(size=(300, 40)) @ np.diag(
        np.linspace(3, 0.1, 40) ** 2
    )
    eigenvalues = np.linalg.eigvalsh(np.cov(features, rowvar=False))[::-1]
    rank = np.arange(4, 31)
    # polyfit squares the weights that it is given
    slope, _ = np.polyfit(np.log(rank), np.log(eigenvalues[3:30]), 1, w=rank**-0.5)
    assert alpha_req(torch.tensor(features), last=30) == pytest.approx(-slope, rel=1e-9)
    assert abs(slope) > 0.5


def test_dimensions_that_do_not_vary_are_left_out() -> None:
    features = with_spectrum(power_law(1.0, dimensions=40)).float()
    padded = torch.cat([features, torch.full((len(features), 60), 0.3)], dim=1)
    assert alpha_req(padded) == pytest.approx(1.0, abs=1e-3)
    wide = with_spectrum(power_law(1.0, dimensions=40), rows=60).T  # more dimensions than rows
    assert math.isfinite(alpha_req(wide))


@pytest.mark.parametrize(
    "features", [torch.ones(50, 8), torch.randn(4, 8), torch.full((50, 8), math.nan)]
)
def test_no_power_law_without_a_spectrum(features: Tensor) -> None:
    assert math.isnan(alpha_req(features))


def test_alpha_evaluator_gives_the_distance_from_one_both_ways() -> None:
    for alpha in (0.4, 1.7):
        features = with_spectrum(power_law(alpha)).float()
        numbers = build(AlphaReQConfig()).mean_scores(Features(features[:1], features))
        assert numbers == {
            "alpha_req": pytest.approx(alpha, abs=1e-3),
            "alpha_req_gap": pytest.approx(abs(alpha - 1), abs=1e-3),
        }
    features = with_spectrum(power_law(1.0)).float()
    few = build(AlphaReQConfig(rows=50)).mean_scores(Features(features[:1], features))
    assert 0.01 < few["alpha_req_gap"] < 1  # other rows, another estimate
    features[3, 3] = math.inf
    assert all(
        map(
            math.isnan,
            build(AlphaReQConfig()).mean_scores(Features(features[:1], features)).values(),
        )
    )
    with pytest.raises(ValueError, match="last must be 12 or more"):
        AlphaReQConfig(first=10, last=11)


def lidar_by_loops(features: np.ndarray, delta: float) -> float:
    samples, views, dimensions = features.shape
    centre = features.reshape(-1, dimensions).mean(0)
    between, within = np.zeros((dimensions, dimensions)), delta * np.eye(dimensions)
    for sample in features:
        mean = sample.mean(0)
        between += np.outer(mean - centre, mean - centre) / (samples - 1)
        for view in sample:
            within += np.outer(view - mean, view - mean) / (samples * (views - 1))
    values, axes = np.linalg.eigh(within)
    root = axes @ np.diag(values**-0.5) @ axes.T
    eigenvalues = np.linalg.eigvalsh(root @ between @ root)
    p = eigenvalues / eigenvalues.sum()
    return math.exp(-sum(share * math.log(share) for share in p if share > 1e-12))


@pytest.mark.parametrize(("samples", "views"), [(60, 5), (7, 2)])
@pytest.mark.parametrize("delta", [1e-4, 1.0])
def test_lidar_equals_its_definition_by_loops(samples: int, views: int, delta: float) -> None:
    random = np.random.default_rng(0)
    spread = np.diag(0.8 ** np.arange(12))
    features = (
        random.normal(size=(samples, 1, 12)) + 0.3 * random.normal(size=(samples, views, 12))
    ) @ spread
    expected = lidar_by_loops(features, delta)
    assert lidar(torch.tensor(features), delta=delta) == pytest.approx(expected, rel=1e-9)
    assert 2 < expected < 12


def test_lidar_counts_directions_that_augmentation_leaves_alone() -> None:
    # Four orthogonal directions tell the samples apart; the views scatter along the other two, and
    # far.
    signs = torch.cartesian_prod(*[torch.tensor([-1.0, 1.0])] * 4)
    views = torch.tensor([[1.0, 1.0], [1.0, -1.0], [-1.0, 1.0], [-1.0, -1.0]])
    features = torch.zeros(16, 4, 6)
    features[..., :4] = signs[:, None]
    features[..., 4:] = 100 * views
    assert lidar(features, delta=1e-4) == pytest.approx(4.0, rel=1e-9)
    # A direction in which augmentation moves samples as far as they differ hardly counts any more.
    features[..., 0] += views.prod(dim=1)
    assert lidar(features, delta=1e-4) == pytest.approx(3.0, rel=2e-2)


def test_lidar_of_eigenvalues_known_by_hand() -> None:
    # Within: 1 / 3 on every axis. Between: 4, 1, 1 up to a factor, so p = (2/3, 1/6, 1/6).
    axes = torch.diag(torch.tensor([2.0, 1.0, 1.0]))
    means = torch.cat([axes, -axes])
    offsets = torch.cat([torch.eye(3), -torch.eye(3)])
    entropy = -(2 / 3 * math.log(2 / 3) + 2 / 6 * math.log(1 / 6))
    found = lidar(means[:, None] + offsets[None], delta=1e-9)
    assert found == pytest.approx(math.exp(entropy), rel=1e-6)


def test_lidar_of_a_collapse_is_one_and_of_nonsense_not_a_number() -> None:
    assert lidar(torch.ones(10, 3, 4), delta=1e-4) == pytest.approx(1.0)
    assert math.isnan(lidar(torch.full((10, 3, 4), math.inf), delta=1e-4))
    with pytest.raises(ValueError, match="two views"):
        lidar(torch.ones(10, 1, 4), delta=1e-4)


def test_lidar_is_passed_over_without_views_and_takes_its_share_of_them() -> None:
    generator = torch.Generator().manual_seed(0)
    views = torch.randn(20, 6, 5, generator=generator)
    views[8:] = math.nan
    views[:, 4:] = math.nan
    evaluators = [build(LiDARConfig(rows=8, views=4))]
    assert evaluators[0].required_views() == (8, 4)
    rows = torch.randn(30, 5, generator=generator)
    assert evaluate_all(evaluators, Features(rows, rows)) == {}
    expected = lidar_by_loops(views[:8, :4].double().numpy(), 1e-4)
    assert evaluate_all(evaluators, Features(rows, rows, views=views)) == {
        "lidar": pytest.approx(expected, rel=1e-6)
    }
    assert math.isnan(
        evaluate_all([build(LiDARConfig())], Features(rows, rows, views=views))["lidar"]
    )


def test_configs_come_from_recipes() -> None:
    from manta.config import from_mapping

    tree = {"data": {"source": "digits"}, "objective": {"name": "simclr"}}
    entries = [
        {"name": "alpha_req", "last": 50},
        {"name": "lidar", "views": 4, "every": 2},
        {"name": "silhouette"},
    ]
    experiment = from_mapping(tree | {"evaluation": {"evaluators": entries}})
    assert experiment.evaluation.evaluators[:2] == [
        AlphaReQConfig(last=50),
        LiDARConfig(views=4, every=2),
    ]
    assert [entry.name for entry in from_mapping(tree).evaluation.evaluators] == [
        "knn",
        "linear",
        "rank",
    ]
    with pytest.raises(ConfigError, match="last must be 6 or more"):
        from_mapping(tree | {"evaluation": {"evaluators": [{"name": "alpha_req", "last": 4}]}})
