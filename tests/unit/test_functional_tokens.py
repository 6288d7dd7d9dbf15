"""Losses over tokens, in float64 against loops in NumPy."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from manta.functional.tokens import (
    contextual_targets,
    latent_regression,
    token_mean,
    unit_prediction,
)

ROWS, TOKENS, UNITS, WIDTH = 4, 6, 5, 3


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def hidden() -> Tensor:
    """Return which tokens are hidden: of the last row none."""
    return (random(ROWS, TOKENS, seed=1) > 0) & (torch.arange(ROWS) < ROWS - 1).unsqueeze(1)


def mean_of_means(values: np.ndarray, chosen: np.ndarray) -> float:
    rows = [
        row[some].mean() if some.any() else 0.0 for row, some in zip(values, chosen, strict=True)
    ]
    return float(np.mean(rows))


def test_a_sample_counts_once_however_many_tokens_it_has() -> None:
    values, chosen = random(ROWS, TOKENS), hidden()
    expected = mean_of_means(values.numpy(), chosen.numpy())
    assert token_mean(values, chosen).item() == pytest.approx(expected, rel=1e-12)
    halves = [token_mean(values[part], chosen[part]).item() for part in (slice(2), slice(2, 4))]
    assert np.mean(halves) == pytest.approx(expected, rel=1e-12), "so do ranks and micro-batches"


@pytest.mark.parametrize("alpha", [1.0, 0.25])
def test_units_are_predicted_as_in_the_paper(alpha: float) -> None:
    cosines = random(ROWS, TOKENS, UNITS).tanh()
    units = torch.randint(
        UNITS, (ROWS, TOKENS), generator=torch.Generator().manual_seed(2)
    ).masked_fill(random(ROWS, TOKENS, seed=3) > 1, -1)
    each = np.zeros((ROWS, TOKENS))
    for i in range(ROWS):
        for t in range(TOKENS):
            scores = np.exp(cosines[i, t].numpy() / 0.1)
            each[i, t] = -np.log(scores[units[i, t]] / scores.sum())
    known = units.numpy() >= 0
    expected = alpha * mean_of_means(each, hidden().numpy() & known)
    expected += (1 - alpha) * mean_of_means(each, ~hidden().numpy() & known)
    loss = unit_prediction(cosines, units, hidden(), temperature=0.1, alpha=alpha)
    assert loss.item() == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("lengths", [None, [6, 1, 4, 2]])
def test_targets_are_the_mean_of_normalised_layers(lengths: list[int] | None) -> None:
    layers = [3 * random(ROWS, TOKENS, WIDTH, seed=seed) + seed for seed in range(3)]
    there = None if lengths is None else torch.arange(TOKENS) < torch.tensor(lengths).unsqueeze(1)
    expected = np.zeros((ROWS, TOKENS, WIDTH))
    for row, length in enumerate(lengths or [TOKENS] * ROWS):
        for layer in layers:
            values = layer[row, :length].numpy()
            scaled = (values - values.mean(0)) / np.sqrt(values.var(0) + 1e-5)
            expected[row, :length] += scaled / len(layers)
    targets = contextual_targets(layers, there)
    np.testing.assert_allclose(targets.numpy(), expected, atol=1e-12)
    if lengths is None:
        instance = [torch.nn.functional.instance_norm(layer.mT).mT for layer in layers]
        torch.testing.assert_close(targets, torch.stack(instance).mean(0))


def test_latents_are_regressed_where_they_are_hidden() -> None:
    prediction, target = random(ROWS, TOKENS, WIDTH), random(ROWS, TOKENS, WIDTH, seed=5)
    each = np.square(prediction.numpy() - target.numpy()).mean(2)
    loss = latent_regression(prediction, target, hidden())
    assert loss.item() == pytest.approx(mean_of_means(each, hidden().numpy()), rel=1e-12)
