"""LogME against the Gaussian evidence that scipy maximises, and PED against a simulation by
loops."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.optimize import minimize
from scipy.stats import multivariate_normal
from sklearn.datasets import load_digits
from torch import Tensor

from manta.evaluators import Features, build
from manta.evaluators.transferability import TransferabilityConfig
from manta.functional.transferability import log_me, potential_energy_descent


def evidence(features: np.ndarray, labels: np.ndarray) -> float:
    """`max log N(y; 0, F F' / alpha + 1 / beta)` per row, mean over classes."""

    def best(column: np.ndarray) -> float:
        def loss(logs: np.ndarray) -> float:
            alpha, beta = np.exp(logs)
            covariance = features @ features.T / alpha + np.eye(len(features)) / beta
            return -multivariate_normal.logpdf(column, np.zeros(len(column)), covariance)

        starts = [(-2.0, 1.0), (3.0, 1.0), (6.0, 3.0)]
        return max(
            -minimize(loss, start, method="Nelder-Mead", options={"xatol": 1e-6}).fun
            for start in starts
        )

    return float(
        np.mean([best((labels == label).astype(float)) for label in np.unique(labels)])
    ) / len(labels)


@pytest.mark.parametrize(("rows", "width"), [(60, 6), (40, 55)])
def test_logme_is_the_maximum_of_the_evidence(rows: int, width: int) -> None:
    generator = np.random.default_rng(0)
    features = generator.normal(size=(rows, width)) * np.linspace(2, 0.2, width) + 0.3
    noisy = features[:, 0] + generator.normal(size=rows)
    labels = np.digitize(noisy, np.quantile(noisy, [1 / 3, 2 / 3]))
    expected = evidence(features, labels)
    for chunk in (7, 1000):
        found = log_me(torch.tensor(features), torch.tensor(labels), chunk=chunk)
        assert found == pytest.approx(expected, abs=2e-5)
    assert log_me(torch.tensor(features) * 1e4, torch.tensor(labels)) == pytest.approx(
        expected, abs=2e-5
    )
    # Numbers of classes that have no row do not matter.
    assert log_me(torch.tensor(features), torch.tensor(labels * 3)) == pytest.approx(
        expected, abs=2e-5
    )


def test_logme_of_features_without_use_is_that_of_noise_alone() -> None:
    # Nothing to explain y by: N(y; 0, mean(y^2)), in closed form.
    labels = torch.arange(100) % 4
    expected = -0.5 * (math.log(2 * math.pi * 0.25) + 1)
    assert log_me(torch.zeros(100, 5), labels) == pytest.approx(expected, abs=1e-9)
    blind = torch.tensor([1.0, -1.0]).repeat_interleave(4).repeat(13)[:104, None]
    assert log_me(blind, torch.arange(104) % 4) == pytest.approx(expected, abs=1e-4)
    assert math.isnan(log_me(torch.full((8, 2), math.nan), torch.arange(8) % 2))


def test_logme_ranks_features_by_how_well_they_tell_digits_apart() -> None:
    images, labels = load_digits(return_X_y=True)
    x, y = torch.tensor(images, dtype=torch.float32), torch.tensor(labels)
    noise = torch.randn(x.shape, generator=torch.Generator().manual_seed(0))
    scores = [log_me(x + level * noise, y) for level in (0, 3, 10, 100)]
    assert scores == sorted(scores, reverse=True)
    assert scores[0] > scores[-1] + 0.3
    assert math.isfinite(
        log_me(torch.nn.functional.one_hot(y).float(), y)
    )  # a perfect fit has no largest evidence


def simulate(
    means: np.ndarray, radii: np.ndarray, step: float, steps: int, stop: float
) -> np.ndarray:
    places, first = means.copy(), None
    for _ in range(steps):
        moves = np.zeros_like(places)
        for i, mine in enumerate(places):
            for j, other in enumerate(places):
                distance = np.linalg.norm(mine - other)
                if i != j and distance > 0:
                    overlap = max(radii[i] + radii[j] - distance, 0.0)
                    moves[i] += (mine - other) / distance * min(0.5 * step**2 * overlap, overlap)
        size = np.abs(moves).sum()
        first = first or size
        if size <= stop * first:
            break
        places += moves
    return places - means


@pytest.mark.parametrize(("step", "stop", "taken"), [(0.1, 0.5, 6), (1.0, 0.5, 1), (1.0, 0.0, 6)])
def test_ped_equals_a_simulation(step: float, stop: float, taken: int) -> None:
    generator = np.random.default_rng(0)
    means, radii = generator.normal(size=(7, 3)), generator.uniform(0.2, 1.2, size=7)
    expected = simulate(means, radii, step, 6, stop)
    found = potential_energy_descent(torch.tensor(means), torch.tensor(radii), step=step, stop=stop)
    np.testing.assert_allclose(found.numpy(), expected, atol=1e-12)
    assert np.abs(expected - simulate(means, radii, step, taken, 0.0)).max() < 1e-12
    assert np.abs(found.sum(0).numpy()).max() < 1e-12  # forces come in pairs


def test_ped_of_two_bodies_known_by_hand() -> None:
    # Radii 1 and 2 at distance 2 overlap by 1: half a unit each way in a step of 1, after which
    # they overlap no more.
    means, radii = (
        torch.tensor([[0.0, 0.0], [2.0, 0.0]]).double(),
        torch.tensor([1.0, 2.0]).double(),
    )
    moved = potential_energy_descent(means, radii, step=1.0)
    torch.testing.assert_close(moved, torch.tensor([[-0.5, 0.0], [0.5, 0.0]]).double())
    apart = potential_energy_descent(means, radii / 2, step=1.0)
    assert apart.abs().sum() == 0
    together = potential_energy_descent(
        torch.zeros(2, 2).double(), radii
    )  # no line through one point
    assert together.abs().sum() == 0


def shifted(x: Tensor, y: Tensor, radius: float) -> Tensor:
    """The bank after PED, by numpy from its description."""
    points, labels = x.double().numpy(), y.numpy()
    mean, spread = points.mean(0), points.std(0)
    spread[spread < 1e-6] = 1
    standard = (points - mean) / spread
    means = np.stack([standard[labels == label].mean(0) for label in range(10)])
    radii = radius * np.sqrt([standard[labels == label].var(0).sum() for label in range(10)])
    return torch.tensor(points + (simulate(means, radii, 0.1, 6, 0.5) * spread)[labels])


def test_evaluator_scores_the_bank_before_and_after_classes_are_pushed_apart() -> None:
    images, labels = load_digits(return_X_y=True)
    x, y = torch.tensor(images[:700], dtype=torch.float32), torch.tensor(labels[:700])
    features = Features(x, x[:1], y, y[:1])
    numbers = build(TransferabilityConfig(chunk=128)).mean_scores(features)
    expected = {"logme": log_me(x, y), "ped": log_me(shifted(x, y, 0.6), y)}
    assert numbers == pytest.approx(expected, rel=1e-9)
    assert numbers["ped"] > numbers["logme"] + 0.01
    # Classes that do not overlap stay where they are.
    small = build(TransferabilityConfig(radius=1e-3)).mean_scores(features)
    assert small["ped"] == small["logme"] == numbers["logme"]
    assert all(
        map(
            math.isnan,
            build(TransferabilityConfig()).mean_scores(Features(x / 0, x, y, y)).values(),
        )
    )
