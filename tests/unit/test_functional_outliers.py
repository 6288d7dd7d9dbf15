"""UniCon against its definition written out by loops."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from manta.errors import ConfigError
from manta.functional import nt_xent
from manta.functional.outliers import inlier_scores, unicon

INLIER = torch.tensor([True, False, True, True, False, False])


def pair(n: int = 6, d: int = 5, seed: int = 0) -> tuple[Tensor, Tensor]:
    stream = torch.Generator().manual_seed(seed)
    a = torch.randn(n, d, generator=stream, dtype=torch.float64)
    return a, a + torch.randn(n, d, generator=stream, dtype=torch.float64)


def by_loops(z_a: Tensor, z_b: Tensor, inlier: Tensor, t: float, t_w: float | None) -> float:
    """Return Wang et al. 2023, eq. 1 and 4 to 7."""
    n = len(z_a)
    z = [x / x.norm() for x in (*z_a, *z_b)]
    inside = [i for i in range(2 * n) if inlier[i % n]]

    def log_p(i: int, j: int) -> float:
        total = sum(math.exp(float(z[i] @ z[k]) / t) for k in range(2 * n) if k != i)
        return float(z[i] @ z[j]) / t - math.log(total)

    def w(i: int) -> float:
        """Eq. 7 without its normaliser, which eq. 6 cancels."""
        return (
            1.0
            if t_w is None
            else sum(math.exp(float(z[i] @ z[k]) / t_w) for k in inside if k != i)
        )

    total = sum(log_p(i, (i + n) % (2 * n)) for i in range(2 * n) if i not in inside)
    for i in inside:
        positives = [j for j in inside if j != i]
        total += sum(w(i) * w(j) * log_p(i, j) for j in positives) / sum(
            w(i) * w(j) for j in positives
        )
    return -total / (2 * n)


@pytest.mark.parametrize("weight_temperature", [None, 0.1, 0.5])
@pytest.mark.parametrize("temperature", [0.1, 0.5])
def test_it_is_its_definition(temperature: float, weight_temperature: float | None) -> None:
    a, b = pair()
    loss = unicon(
        a, b, inlier=INLIER, temperature=temperature, weight_temperature=weight_temperature
    )
    assert float(loss) == pytest.approx(
        by_loops(a, b, INLIER, temperature, weight_temperature), rel=1e-12
    )


def test_a_lone_inlier_and_its_outliers_are_told_apart_by_nt_xent() -> None:
    """One inlier has no other inlier but its own second view: everyone's positive is that."""
    a, b = pair()
    lone = torch.arange(6) == 2
    for soft in (None, 0.5):
        loss = unicon(a, b, inlier=lone, temperature=0.3, weight_temperature=soft)
        assert float(loss) == pytest.approx(float(nt_xent(a, b, temperature=0.3)), rel=1e-12)


def test_known_answers() -> None:
    same = torch.ones(3, 2, dtype=torch.float64)  # collapsed: nothing is told apart
    some = torch.tensor([True, True, False])
    assert float(
        unicon(same, same, inlier=some, temperature=0.2, weight_temperature=0.5)
    ) == pytest.approx(math.log(5))
    # The ideal: inliers in one point, each outlier in one of its own. Two inliers and one outlier
    # make 3 + 2 views besides an inlier's, 1 + 4 besides an outlier's.
    ideal = torch.eye(2, dtype=torch.float64)[[0, 0, 1]]
    expected = (4 * (math.log(3 * math.e + 2) - 1) + 2 * (math.log(math.e + 4) - 1)) / 6
    assert float(unicon(ideal, ideal, inlier=some, temperature=1.0)) == pytest.approx(expected)


def test_an_inlier_far_from_the_others_weighs_less() -> None:
    keys = torch.tensor([[1.0, 0], [1, 0], [1, 0], [0, 1], [0, 1]], dtype=torch.float64)
    inlier = torch.tensor([True, True, True, True, False])
    near, far = 2 * math.exp(1 / 0.5) + 1, 3.0  # two others at cosine 1 and one at 0; three at 0
    expected = torch.tensor([near, near, near, far, 0.0], dtype=torch.float64)
    torch.testing.assert_close(inlier_scores(keys, inlier, 0.5).exp(), expected)
    torch.testing.assert_close(inlier_scores(keys, inlier, None).exp(), inlier.double())


def test_a_hand_made_soft_aggregation() -> None:
    """Two inliers in one point; a third and an outlier orthogonal to it and to each other.

    Both temperatures are 1.
    """
    z = torch.eye(3, dtype=torch.float64)[[0, 0, 1, 2]]
    together, apart = 3 * math.e + 2, math.e + 4  # w of a view of the two, and of the third
    of_two = 3 * together / (3 * together + 2 * apart) - math.log(3 * math.e + 4)
    of_third = apart / (apart + 4 * together) - math.log(math.e + 6)
    of_outlier = 1 - math.log(math.e + 6)
    expected = -(4 * of_two + 2 * of_third + 2 * of_outlier) / 8
    inlier = torch.tensor([True, True, True, False])
    actual = float(unicon(z, z, inlier=inlier, temperature=1.0, weight_temperature=1.0))
    assert actual == pytest.approx(expected, rel=1e-12)
    hard = float(unicon(z, z, inlier=inlier, temperature=1.0))
    assert abs(hard - actual) > 0.01


def test_parts_against_all_keys_average_to_the_whole() -> None:
    a, b = pair()
    whole = unicon(a, b, inlier=INLIER, temperature=0.3, weight_temperature=0.5)
    for rows in (2, 3):
        parts = [
            unicon(
                a[i : i + rows],
                b[i : i + rows],
                inlier=INLIER[i : i + rows],
                temperature=0.3,
                weight_temperature=0.5,
                keys_a=a,
                keys_b=b,
                inlier_keys=INLIER,
                offset=i,
            )
            for i in range(0, 6, rows)
        ]
        assert float(torch.stack(parts).mean()) == pytest.approx(float(whole), rel=1e-12)


def test_gradients_are_those_of_finite_differences_and_pass_by_the_weights() -> None:
    a, b = (z.requires_grad_() for z in pair(4, 3))
    inlier = torch.tensor([True, True, False, True])
    assert torch.autograd.gradcheck(lambda *z: unicon(*z, inlier=inlier, temperature=0.3), (a, b))
    for cold in (0.5, 1e-4):  # in float32 some weights are 0 then, and one may be all but the whole
        soft = unicon(
            a.float(), b.float(), inlier=inlier, temperature=1e-3, weight_temperature=cold
        )
        assert all(gradient.isfinite().all() for gradient in torch.autograd.grad(soft, (a, b)))


def test_inliers_need_one_value_per_sample() -> None:
    with pytest.raises(ConfigError, match="need one value per sample"):
        unicon(*pair(), inlier=INLIER[:4], temperature=1.0)
