"""Few-shot episodes: prototypes against scikit-learn, the tuned head against a plain loop,
transport against scipy."""

from __future__ import annotations

import logging
import math

import numpy as np
import pytest
import torch
from scipy.optimize import linear_sum_assignment
from sklearn.datasets import load_digits
from sklearn.neighbors import KNeighborsClassifier
from torch import Tensor, nn

from manta.evaluators import Features, build, counted, interval, means
from manta.evaluators.fewshot import (
    FewShot,
    FewShotConfig,
    logits,
    nearest_prototype,
    transported,
    tune,
)


def digits(rows: int = 900) -> Features:
    images, labels = load_digits(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(images))
    x, y = (
        torch.tensor(images[order], dtype=torch.float32),
        torch.tensor(labels[order], dtype=torch.int64),
    )
    return Features(bank=x[:rows], queries=x[rows:], bank_labels=y[:rows], query_labels=y[rows:])


def labels_of(features: Features) -> tuple[Tensor, Tensor]:
    assert features.bank_labels is not None
    assert features.query_labels is not None
    return features.bank_labels, features.query_labels


def test_episodes_are_of_distinct_rows_and_classes() -> None:
    labels, truth = labels_of(digits())
    drawn = FewShot(FewShotConfig(shots=(2, 4), episodes=50))._draw(labels, truth)
    assert drawn is not None
    supports, queries = drawn
    assert supports.shape == (50, 5, 4)
    assert queries.shape == (50, 5, 15)
    for support, asked in zip(labels[supports], truth[queries], strict=True):
        classes = support[:, 0]
        assert len(classes.unique()) == 5
        assert bool((support == classes[:, None]).all())
        assert bool((asked == classes[:, None]).all())
    assert all(len(one.unique()) == one.numel() for part in drawn for one in part)
    assert labels[supports].unique().tolist() == list(range(10))
    assert len(supports.unique()) > 500  # not the same rows again


def test_prototypes_are_the_nearest_means_of_scikit_learn() -> None:
    features = digits()
    config = FewShotConfig(shots=(1, 5), episodes=70, epochs=1)
    drawn = FewShot(config)._draw(*labels_of(features))
    assert drawn is not None
    bank, queries = (
        part.double() - features.bank.double().mean(0) for part in (features.bank, features.queries)
    )
    bank, queries = (
        bank / bank.norm(dim=1, keepdim=True),
        queries / queries.norm(dim=1, keepdim=True),
    )
    numbers = build(config).mean_scores(features)
    for shots in (1, 5):
        scores = []
        for support, asked in zip(*drawn, strict=True):
            centres = [bank[one[:shots]].mean(0).numpy() for one in support]
            model = KNeighborsClassifier(1).fit(centres, np.arange(5))
            scores.append(
                model.score(queries[asked.flatten()].numpy(), np.repeat(np.arange(5), 15))
            )
        assert numbers[f"fewshot{shots}_proto"] == pytest.approx(np.mean(scores), abs=2e-4)
    assert numbers["fewshot5_proto"] > numbers["fewshot1_proto"] + 0.05
    assert len(numbers) == 6


def test_the_first_head_has_the_squared_distances() -> None:
    generator = torch.Generator().manual_seed(0)
    prototypes, rows = (torch.randn(3, count, 6, generator=generator) for count in (4, 9))
    scores = logits(nearest_prototype(prototypes), rows)
    expected = -((rows[:, :, None] - prototypes[:, None]) ** 2).sum(3)
    offset = (scores - expected)[:, :, :1]  # a row's own square
    torch.testing.assert_close(scores - offset, expected)


def test_tuned_heads_are_those_of_a_linear_layer_per_episode() -> None:
    generator = torch.Generator().manual_seed(0)
    support = torch.randn(3, 4, 2, 6, generator=generator, dtype=torch.float64)
    heads = tune(support, lr=0.05, steps=7)
    answers = torch.arange(4).repeat_interleave(2)
    for episode, head in zip(support, heads, strict=True):
        layer = nn.Linear(6, 4).double()
        means = episode.mean(1)
        layer.load_state_dict({"weight": 2 * means, "bias": -(means**2).sum(1)})
        optimizer = torch.optim.Adam(layer.parameters(), lr=0.05)
        for _ in range(7):
            optimizer.zero_grad()
            nn.functional.cross_entropy(layer(episode.flatten(0, 1)), answers).backward()
            optimizer.step()
        torch.testing.assert_close(
            head, torch.cat([layer.weight, layer.bias[:, None]], dim=1).detach()
        )
        assert float((head - nearest_prototype(means[None])[0]).abs().max()) > 0.1


def test_transport_equals_sinkhorn_by_loops() -> None:
    generator = torch.Generator().manual_seed(0)
    queries = nn.functional.normalize(
        torch.randn(2, 12, 5, generator=generator, dtype=torch.float64), dim=2
    )
    prototypes = torch.randn(2, 3, 5, generator=generator, dtype=torch.float64)
    found = transported(prototypes, queries, epsilon=0.2, iterations=300)
    for moved, mine, asked in zip(found, prototypes.numpy(), queries.numpy(), strict=True):
        kernel = np.exp(asked @ (mine / np.linalg.norm(mine, axis=1, keepdims=True)).T / 0.2)
        u, v = np.ones(12), np.ones(3)
        for _ in range(1000):
            u = 1 / 12 / (kernel @ v)
            v = 1 / 3 / (kernel.T @ u)
        plan = u[:, None] * kernel * v
        np.testing.assert_allclose(plan.sum(0), 1 / 3, atol=1e-12)
        np.testing.assert_allclose(moved.numpy(), 3 * plan.T @ asked, atol=1e-9)


def test_transport_with_little_entropy_is_the_best_balanced_assignment() -> None:
    generator = torch.Generator().manual_seed(1)
    prototypes = nn.functional.normalize(torch.randn(1, 3, 4, generator=generator), dim=2)
    queries = nn.functional.normalize(torch.randn(1, 12, 4, generator=generator), dim=2)
    cosines = (
        (queries[0] @ prototypes[0].T).repeat_interleave(4, dim=1).numpy()
    )  # four places for each prototype
    _, places = linear_sum_assignment(-cosines)
    expected = torch.stack(
        [queries[0][torch.from_numpy(places // 4 == one)].mean(0) for one in range(3)]
    )
    found = transported(prototypes, queries, epsilon=0.01, iterations=500)[0]
    torch.testing.assert_close(found, expected, atol=0.02, rtol=0)
    greedy = (queries[0] @ prototypes[0].T).argmax(1).bincount(minlength=3)
    assert greedy.tolist() != [4, 4, 4]  # the nearest prototype would not have been balanced


def test_one_shot_is_transported_in_passes_and_more_shots_once_and_mixed() -> None:
    generator = torch.Generator().manual_seed(0)
    evaluator = FewShot(FewShotConfig(passes=2, transported=0.6, epsilon=0.1, iterations=10))
    prototypes = torch.randn(2, 3, 5, generator=generator)
    queries = nn.functional.normalize(torch.randn(2, 12, 5, generator=generator), dim=2)
    once = transported(prototypes, queries, epsilon=0.1, iterations=10)
    twice = transported(once, queries, epsilon=0.1, iterations=10)
    torch.testing.assert_close(evaluator._transport(prototypes, queries, shots=1), twice)
    mixed = 0.4 * prototypes + 0.6 * once
    torch.testing.assert_close(evaluator._transport(prototypes, queries, shots=3), mixed)


def test_transport_corrects_a_biased_support_and_tuning_does_little_harm() -> None:
    scores = build(FewShotConfig(episodes=100)).evaluate(digits())
    numbers = means(scores)
    assert numbers["fewshot1_opta"] > numbers["fewshot1_proto"] + 0.05
    assert numbers["fewshot5_opta"] > numbers["fewshot5_proto"]
    for shots in (1, 5):
        assert numbers[f"fewshot{shots}_tuned"] == pytest.approx(
            numbers[f"fewshot{shots}_proto"], abs=0.02
        )
    episodes = counted(scores)["fewshot1_proto"]
    low, high = interval(episodes)
    half = 1.96 * float(episodes.std()) / math.sqrt(100)
    assert (high - low) / 2 == pytest.approx(half, rel=0.1)


def test_features_without_meaning_score_at_chance_and_those_of_one_class_fully() -> None:
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(400) % 8
    noise = torch.randn(400, 12, generator=generator)
    config = FewShotConfig(shots=(3,), way=4, episodes=100)
    numbers = build(config).mean_scores(
        Features(noise[:200], noise[200:], labels[:200], labels[200:])
    )
    assert all(
        abs(numbers[f"fewshot3_{kind}"] - 0.25) < 0.03 for kind in ("proto", "tuned", "opta")
    )
    clean = torch.eye(8)[labels] * (1 + torch.rand(400, 1, generator=generator))
    with torch.inference_mode():
        numbers = build(config).mean_scores(
            Features(clean[:200], clean[200:], labels[:200], labels[200:])
        )
    assert set(numbers.values()) == {1.0}


def test_too_few_rows_are_said(caplog: pytest.LogCaptureFixture) -> None:
    features = digits(40)
    with caplog.at_level(logging.WARNING):
        numbers = build(FewShotConfig(shots=(30,))).mean_scores(features)
    assert all(map(math.isnan, numbers.values()))
    assert set(numbers) == {f"fewshot30_{kind}" for kind in ("proto", "tuned", "opta")}
    assert "30 rows in the bank" in caplog.text
    broken = torch.full((100, 3), math.nan)
    labels = torch.arange(100) % 4
    nothing = build(FewShotConfig(episodes=3)).mean_scores(Features(broken, broken, labels, labels))
    assert all(map(math.isnan, nothing.values()))
