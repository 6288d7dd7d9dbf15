"""Mixed Barlow Twins' regulariser against the authors' six correlations, by loops."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from manta.errors import ConfigError
from manta.functional.mixing import mixed_correlation


def views(n: int = 8, d: int = 4) -> tuple[Tensor, Tensor, Tensor]:
    stream = torch.Generator().manual_seed(0)
    a, b, mixed = torch.randn(3, n, d, generator=stream, dtype=torch.float64)
    return mixed, a, a + 0.5 * b


def standardised(z: Tensor) -> Tensor:
    return (z - z.mean(0)) / z.std(0, unbiased=False)


def by_loops(mixed: Tensor, a: Tensor, b: Tensor, order: list[int], share: float) -> float:
    """Return Bandara et al. 2023: views' correlations with the mixture, less the expected ones."""
    mixed, a, b = standardised(mixed), standardised(a), standardised(b)
    n, d = a.shape
    total = 0.0
    for seen in (a, b):
        for i in range(d):
            for j in range(d):
                actual = sum(float(mixed[s, i] * seen[s, j]) for s in range(n)) / n
                of_a = sum(float(a[s, i] * seen[s, j]) for s in range(n)) / n
                of_b = sum(float(b[order[s], i] * seen[s, j]) for s in range(n)) / n
                total += (actual - share * of_a - (1 - share) * of_b) ** 2
    return total


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_it_is_the_papers(share: float) -> None:
    mixed, a, b = views()
    order = [3, 0, 1, 2, 7, 4, 5, 6]
    loss = mixed_correlation(mixed, a, b, b[order], share=share)
    assert float(loss) == pytest.approx(by_loops(mixed, a, b, order, share), rel=1e-6)


def test_known_answers() -> None:
    _, a, b = views()
    order = [3, 0, 1, 2, 7, 4, 5, 6]
    for share, mixed in ((1.0, a), (0.0, b[order])):  # nothing is mixed
        assert float(mixed_correlation(mixed, a, b, b[order], share=share)) == pytest.approx(
            0, abs=1e-12
        )
    # Views are equal, dimensions and samples orthogonal: C(A, A) = I, and a mixture of no variance
    # correlates with nothing, so each of two views' two dimensions has share^2.
    a = torch.tensor([[1.0, 1.0], [1.0, -1.0], [-1.0, 1.0], [-1.0, -1.0]], dtype=torch.float64)
    none = torch.zeros_like(a)
    for share in (0.25, 1.0):
        loss = mixed_correlation(none, a, a, none, share=share)
        assert float(loss) == pytest.approx(4 * share**2, rel=1e-6)


def test_a_collapsed_dimension_counts_for_nothing() -> None:
    """Both views are equal, and their second dimension is 3 in every sample.

    Standardised, it is 0, in the mixture and the partners too. So only the first has a correlation
    with itself: 1 of the views, r of the mixture and 0 of the partners, which makes (r - share)^2
    in each view.
    """
    first = torch.tensor([1.0, 1.0, -1.0, -1.0], dtype=torch.float64)
    order = [0, 2, 1, 3]  # to 1, -1, 1, -1
    three = torch.full((4,), 3.0, dtype=torch.float64)
    a = torch.stack([first, three], dim=1)
    half = torch.stack([first + first[order], three], dim=1)  # correlates with both by 1 / sqrt 2
    for share in (0.0, 0.25, 1.0):
        for mixed, r in ((a, 1.0), (a[order], 0.0), (half, 0.5**0.5)):
            loss = mixed_correlation(mixed, a, a, a[order], share=share)
            assert float(loss) == pytest.approx(2 * (r - share) ** 2, rel=1e-6, abs=1e-12)
    # A mixture whose second dimension is alive correlates by it with the first alone: not with what
    # is 0.
    alive = torch.stack([first, first], dim=1)
    assert float(mixed_correlation(alive, a, a, a[order], share=0.25)) == pytest.approx(
        2 * (0.75**2 + 1), rel=1e-6
    )


def test_shift_and_scale_of_a_dimension_do_not_matter() -> None:
    mixed, a, b = views()
    scale, shift = torch.tensor([1.0, 3.0, 0.2, 7.0]), torch.tensor([0.0, 1.0, -2.0, 5.0])
    plain = mixed_correlation(mixed, a, b, b.roll(1, 0), share=0.4)
    moved = mixed_correlation(*(z * scale + shift for z in (mixed, a, b, b.roll(1, 0))), share=0.4)
    assert float(plain) == pytest.approx(float(moved), rel=1e-6)


def test_gradients_are_those_of_finite_differences() -> None:
    mixed, a, b = (z.requires_grad_() for z in views(5, 3))
    assert torch.autograd.gradcheck(
        lambda m, x, y: mixed_correlation(m, x, y, y.roll(2, 0), share=0.4), (mixed, a, b)
    )


def test_shapes_must_fit() -> None:
    mixed, a, b = views()
    with pytest.raises(ConfigError, match="one shape"):
        mixed_correlation(mixed[:1], a, b, b, share=0.5)
