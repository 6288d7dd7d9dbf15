"""AMCL and iSogCLR against the papers' formulas, written out by loops."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from manta.functional.temperature import amcl_terms, isogclr, temperature_step


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def pair(n: int = 5, d: int = 4, seed: int = 0) -> tuple[Tensor, Tensor]:
    a = random(n, d, seed=seed)
    return a, a + random(n, d, seed=seed + 100)


def cosine(x: Tensor, y: Tensor) -> float:
    return float(x @ y / (x.norm() * y.norm()))


Point = tuple[Tensor, Tensor]


def amcl_by_loops(
    a: list[Point], b: list[Point], low: float, high: float, hardest: int
) -> tuple[float, float]:
    """Return Wang et al. 2024, eq. 3 and 5, for points of (embedding, scores), both directions."""

    def temperature(x: Point, y: Point) -> float:
        return low + (high - low) / (1 + math.exp(float(x[1] @ y[1])))

    n, likelihood, regulariser = len(a), 0.0, 0.0
    for own, other in ((a, b), (b, a)):
        for i in range(n):
            positive = temperature(own[i], other[i])
            negatives = [
                (cosine(own[i][0], y[0]), temperature(own[i], y))
                for v in (a, b)
                for j, y in enumerate(v)
                if j != i
            ]
            hard = sorted(negatives, key=lambda pair: pair[0])[-hardest:]
            likelihood += (
                sum(s / t for s, t in hard) / len(hard) - cosine(own[i][0], other[i][0]) / positive
            )
            regulariser += len(own[i][0]) / 2 * math.log(positive) + 1 / positive
            regulariser -= sum(math.log(t) + 1 / t for _, t in hard)
    return likelihood / (2 * n), regulariser / (2 * n)


@pytest.mark.parametrize("hardest", [1, 3, 100])
def test_amcl_is_the_papers(hardest: int) -> None:
    (a, b), (s_a, s_b) = pair(), pair(d=3, seed=1)
    terms = amcl_terms(a, b, s_a, s_b, low=0.05, high=2.0, hardest=hardest)
    likelihood, regulariser = amcl_by_loops(
        list(zip(a, s_a, strict=True)), list(zip(b, s_b, strict=True)), 0.05, 2.0, hardest
    )
    assert float(terms.likelihood) == pytest.approx(likelihood, rel=1e-10)
    assert float(terms.regulariser) == pytest.approx(regulariser, rel=1e-10)
    assert not terms.temperature.requires_grad


def test_amcl_known_answers() -> None:
    """Scores of 0 put every temperature in the middle of its range."""
    none = torch.zeros(4, 3, dtype=torch.float64)
    middle = {"low": 0.25, "high": 0.75, "hardest": 2}
    apart = torch.eye(4, dtype=torch.float64)
    terms = amcl_terms(apart, apart, none, none, **middle)
    assert float(terms.likelihood) == pytest.approx(-2)  # 0 of the negatives, minus 1 / 0.5
    assert float(terms.regulariser) == pytest.approx(
        2 * math.log(0.5) + 2 - 2 * (math.log(0.5) + 2)
    )
    assert float(terms.temperature) == pytest.approx(0.5)
    same = torch.ones(4, 2, dtype=torch.float64)  # collapsed: positives and negatives cancel
    assert float(amcl_terms(same, same, none, none, **middle).likelihood) == pytest.approx(0)


def test_amcl_gives_alike_scores_low_temperatures() -> None:
    a, _ = pair()
    large = 10 * a
    assert float(
        amcl_terms(a, a, large, large, low=0.1, high=2.0, hardest=3).temperature
    ) == pytest.approx(0.1)
    assert float(
        amcl_terms(a, a, large, -large, low=0.1, high=2.0, hardest=3).temperature
    ) == pytest.approx(2.0)


def isogclr_by_loops(
    z_a: Tensor, z_b: Tensor, t: list[float], u: list[float | None], gamma: float, rho: float
) -> tuple[float, list[float], list[float]]:
    """Return Qiu et al. 2023: loss at the moving averages, these, and temperatures' gradients."""
    n, loss = len(z_a), 0.0
    averages, gradients = [0.0] * n, [0.0] * n
    for own, other in ((z_a, z_b), (z_b, z_a)):
        for i in range(n):
            h = [
                cosine(own[i], y) - cosine(own[i], other[i])
                for v in (z_a, z_b)
                for j, y in enumerate(v)
                if j != i
            ]
            e = [math.exp(x / t[i]) for x in h]
            g = sum(e) / len(e)
            kept = u[i]
            new = g if kept is None else (1 - gamma) * kept + gamma * g
            loss += (t[i] * math.log(new) + rho * t[i]) / (2 * n)
            averages[i] += new / 2
            inner = sum(w * x / t[i] for w, x in zip(e, h, strict=True)) / len(e)
            gradients[i] += (math.log(new) + rho - inner / new) / 2
    return loss, averages, gradients


def state(n: int = 5) -> tuple[Tensor, list[float | None]]:
    temperature = torch.linspace(0.1, 0.6, n, dtype=torch.float64)
    kept: list[float | None] = [0.5, None, 2.0, 0.01, None]
    return temperature, kept[:n]


def logs(kept: list[float | None]) -> dict[str, Tensor]:
    seen = torch.tensor([u is not None for u in kept])
    return {
        "seen": seen,
        "log_average": torch.tensor([math.log(u or 7.0) for u in kept], dtype=torch.float64),
    }


@pytest.mark.parametrize("gamma", [0.1, 0.9, 1.0])
def test_isogclr_is_the_papers(gamma: float) -> None:
    (a, b), (t, kept) = pair(), state()
    terms = isogclr(a, b, temperature=t, gamma=gamma, rho=0.3, **logs(kept))
    loss, averages, gradients = isogclr_by_loops(a, b, t.tolist(), kept, gamma, 0.3)
    assert float(terms.loss) == pytest.approx(loss, rel=1e-10)
    assert terms.log_average.exp().tolist() == pytest.approx(averages, rel=1e-10)
    assert terms.gradient.tolist() == pytest.approx(gradients, rel=1e-10)


def test_isogclrs_gradient_is_the_estimator() -> None:
    """`t (dg) / u` per anchor, with u already averaged and held fixed."""
    (a, b), (t, kept) = pair(), state()
    a.requires_grad_()
    (actual,) = torch.autograd.grad(
        isogclr(a, b, temperature=t, gamma=0.5, rho=0.3, **logs(kept)).loss, a
    )
    unit = [z / z.norm(dim=1, keepdim=True) for z in (a, b)]
    total = torch.zeros((), dtype=torch.float64)
    for own, other in (unit, unit[::-1]):
        for i in range(5):
            positive = own[i] @ other[i]
            e = [
                torch.exp((own[i] @ y - positive) / t[i])
                for v in unit
                for j, y in enumerate(v)
                if j != i
            ]
            g, u = torch.stack(e).mean(), kept[i]
            total = total + t[i] * g / (g if u is None else 0.5 * u + 0.5 * g).detach() / 10
    (expected,) = torch.autograd.grad(total, a)
    assert torch.allclose(actual, expected, rtol=1e-9, atol=1e-12)


def test_what_was_never_seen_has_the_exact_gradients() -> None:
    """Without a history u is g, so that both gradients are those of `t log g + rho t` itself."""
    a, b = pair()
    t = torch.full((5,), 0.3, dtype=torch.float64)
    new = {
        "seen": torch.zeros(5, dtype=torch.bool),
        "log_average": torch.zeros(5, dtype=torch.float64),
    }
    a.requires_grad_()
    terms = isogclr(a, b, temperature=t, gamma=0.9, rho=0.3, **new)
    (gradient,) = torch.autograd.grad(terms.loss, a)
    h = 1e-6
    with torch.no_grad():
        step = torch.zeros_like(a)
        step[2, 1] = h
        up, down = (
            isogclr(a + s * step, b, temperature=t, gamma=0.9, rho=0.3, **new).loss for s in (1, -1)
        )
        assert float(gradient[2, 1]) == pytest.approx(float(up - down) / (2 * h), rel=1e-5)
        one = torch.eye(5, dtype=torch.float64)[3] * h
        up, down = (
            isogclr(a, b, temperature=t + s * one, gamma=0.9, rho=0.3, **new).loss for s in (1, -1)
        )
    assert float(terms.gradient[3]) == pytest.approx(5 * float(up - down) / (2 * h), rel=1e-5)


def test_isogclr_known_answers() -> None:
    new = {
        "seen": torch.zeros(4, dtype=torch.bool),
        "log_average": torch.zeros(4, dtype=torch.float64),
    }
    t = torch.full((4,), 0.5, dtype=torch.float64)
    same = torch.ones(4, 2, dtype=torch.float64)  # collapsed: every difference is 0
    terms = isogclr(same, same, temperature=t, gamma=0.9, rho=0.3, **new)
    assert float(terms.loss) == pytest.approx(0.15)
    assert terms.gradient.tolist() == pytest.approx([0.3] * 4)
    apart = torch.eye(4, dtype=torch.float64)  # every difference is -1
    terms = isogclr(apart, apart, temperature=t, gamma=0.9, rho=0.3, **new)
    assert float(terms.loss) == pytest.approx(0.5 * -2 + 0.15)
    # log g = -2 is what its negatives say alike.
    assert terms.gradient.tolist() == pytest.approx([0.3] * 4)


@pytest.mark.parametrize("rows", [2, 4])
def test_parts_against_all_keys_average_to_the_whole(rows: int) -> None:
    (a, b), (s_a, s_b) = pair(8), pair(8, 3, seed=1)
    scale = {"low": 0.05, "high": 2.0, "hardest": 5}
    whole = torch.stack(amcl_terms(a, b, s_a, s_b, **scale))
    t, log_average = torch.linspace(0.1, 0.6, 8).double(), random(8)
    seen = torch.arange(8) % 2 == 0
    robust = isogclr(a, b, temperature=t, log_average=log_average, seen=seen, gamma=0.9, rho=0.3)
    parts, losses = [], []
    for i in range(0, 8, rows):
        own = slice(i, i + rows)
        keys = {"keys_a": a, "keys_b": b, "offset": i}
        scores = {"score_keys_a": s_a, "score_keys_b": s_b}
        parts.append(
            torch.stack(amcl_terms(a[own], b[own], s_a[own], s_b[own], **scale, **keys, **scores))
        )
        part = isogclr(
            a[own],
            b[own],
            temperature=t[own],
            log_average=log_average[own],
            seen=seen[own],
            gamma=0.9,
            rho=0.3,
            **keys,
        )
        losses.append(part.loss)
        assert torch.allclose(part.gradient, robust.gradient[own], rtol=1e-10)
        assert torch.allclose(part.log_average, robust.log_average[own], rtol=1e-10)
    assert torch.allclose(torch.stack(parts).mean(0), whole, rtol=1e-12)
    assert torch.allclose(torch.stack(losses).mean(), robust.loss, rtol=1e-12)


def test_gradients_are_those_of_finite_differences() -> None:
    (a, b), (s_a, s_b) = pair(4, 3), pair(4, 2, seed=1)
    inputs = [x.requires_grad_() for x in (a, b, s_a, s_b)]

    def loss(*x: Tensor) -> Tensor:
        terms = amcl_terms(*x, low=0.1, high=2.0, hardest=3)
        return terms.likelihood + 0.1 * terms.regulariser

    assert torch.autograd.gradcheck(loss, inputs)


def test_low_temperatures_stay_finite() -> None:
    a, b = (z.float().requires_grad_() for z in pair())
    t = torch.full((5,), 0.005)
    for seen in (torch.zeros(5, dtype=torch.bool), torch.ones(5, dtype=torch.bool)):
        terms = isogclr(
            a, b, temperature=t, log_average=torch.zeros(5), seen=seen, gamma=0.9, rho=0.3
        )
        assert terms.loss.isfinite()
        assert all(
            x.isfinite().all() for x in (*torch.autograd.grad(terms.loss, (a, b)), *terms[1:])
        )


def test_a_temperature_follows_its_velocity_within_its_range() -> None:
    values = {"lr": 0.1, "momentum": 0.25, "clip": 3.0, "low": 0.05, "high": 0.7}
    t, v = torch.tensor([0.3, 0.3, 0.06, 0.3]), torch.tensor([0.0, 0.4, 0.0, 0.0])
    gradient = torch.tensor([0.8, -0.8, 1.0, -100.0])
    temperature, velocity = temperature_step(t, v, gradient, **values)
    assert velocity.tolist() == pytest.approx([0.6, 0.1 - 0.6, 0.75, -2.25])
    assert temperature.tolist() == pytest.approx([0.24, 0.35, 0.05, 0.525])
