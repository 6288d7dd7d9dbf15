"""UniSiam's uniformity against the formula, written out by loops."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from manta.errors import ConfigError
from manta.functional.uniformity import uniformity


def pair(n: int = 6, d: int = 5, seed: int = 0) -> tuple[Tensor, Tensor]:
    stream = torch.Generator().manual_seed(seed)
    a = torch.randn(n, d, generator=stream, dtype=torch.float64)
    return a, a + torch.randn(n, d, generator=stream, dtype=torch.float64)


def by_loops(z_a: Tensor, z_b: Tensor, t: float) -> float:
    """Return Lu et al. 2022: the log of the mean over 2N anchors and their 2N - 2 negatives."""
    n, total = len(z_a), 0.0
    for x in (z_a, z_b):
        for y in (z_a, z_b):
            for i in range(n):
                for j in range(n):
                    if i != j:
                        total += math.exp(float(x[i] @ y[j] / (x[i].norm() * y[j].norm())) / t)
    return math.log(total / (2 * n * (2 * n - 2)))


@pytest.mark.parametrize("temperature", [0.07, 0.5, 2.0])
def test_uniformity_is_the_papers(temperature: float) -> None:
    for seed in range(2):
        a, b = pair(seed=seed)
        assert float(uniformity(a, b, temperature=temperature)) == pytest.approx(
            by_loops(a, b, temperature), rel=1e-12
        )


def test_known_answers() -> None:
    same = torch.ones(3, 2, dtype=torch.float64)  # collapsed: all cosines are 1
    assert float(uniformity(same, same, temperature=0.2)) == pytest.approx(5)
    # Samples orthogonal; how their views agree does not matter.
    apart = torch.eye(4, dtype=torch.float64)
    assert float(uniformity(apart, apart, temperature=0.2)) == pytest.approx(0, abs=1e-12)
    assert float(uniformity(apart, -apart, temperature=0.2)) == pytest.approx(0, abs=1e-12)
    opposite = torch.tensor([[1.0, 0.0], [-1.0, 0.0]], dtype=torch.float64)
    assert float(uniformity(opposite, opposite, temperature=0.5)) == pytest.approx(-2)


def test_one_collapsed_dimension_is_less_uniform() -> None:
    a, _ = pair(32, 4)
    flat = a * torch.tensor([1.0, 1.0, 1.0, 0.0])
    assert (
        float(uniformity(flat, flat, temperature=0.5))
        > float(uniformity(a, a, temperature=0.5)) + 0.01
    )


@pytest.mark.parametrize("ranks", [2, 4])
def test_every_rank_has_the_value_of_the_global_batch(ranks: int) -> None:
    """The ranks' logarithms differ; the mean over what the ranks pass stands for `average`."""
    a, b = pair(8)
    rows = len(a) // ranks

    def of(rank: int, passed: list[list[Tensor]] | None) -> tuple[float, list[Tensor]]:
        """A rank's value, and what it passed to its calls of `average`; None: average alone."""
        seen: list[Tensor] = []

        def average(x: Tensor) -> Tensor:
            seen.append(x)
            return (
                x
                if passed is None
                else torch.stack([other[len(seen) - 1] for other in passed]).mean(0)
            )

        part = slice(rank * rows, (rank + 1) * rows)
        value = uniformity(
            a[part],
            b[part],
            temperature=0.1,
            keys_a=a,
            keys_b=b,
            offset=rank * rows,
            average=average,
        )
        return float(value), seen

    locally = [of(rank, None)[0] for rank in range(ranks)]
    first = [of(rank, None)[1][:1] for rank in range(ranks)]  # the shift of each rank
    shift = torch.stack([x[0] for x in first]).mean()
    passed = [[x[0], (x[0] - shift).exp()] for x in first]
    whole = by_loops(a, b, 0.1)
    for rank in range(ranks):
        assert of(rank, passed)[0] == pytest.approx(whole, rel=1e-12)
    assert abs(sum(locally) / ranks - whole) > 1e-5  # the mean of logarithms is another number


def test_gradients_are_those_of_finite_differences() -> None:
    a, b = (z.requires_grad_() for z in pair(4, 3))
    assert torch.autograd.gradcheck(lambda *z: uniformity(*z, temperature=0.3), (a, b))


def test_small_temperatures_stay_finite() -> None:
    a, b = (z.float().requires_grad_() for z in pair())
    value = uniformity(a, b, temperature=1e-3)
    assert value.isfinite()
    assert all(g.isfinite().all() for g in torch.autograd.grad(value, (a, b)))
    cold = uniformity(a.detach(), b.detach(), temperature=1e-2)
    assert float(cold) == pytest.approx(
        by_loops(a.detach().double(), b.detach().double(), 1e-2), rel=1e-5
    )


def test_one_sample_is_an_error() -> None:
    a, b = pair()
    with pytest.raises(ConfigError, match="at least 2 samples"):
        uniformity(a[:1], b[:1], temperature=1.0)
