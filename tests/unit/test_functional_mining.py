"""Mined neighbours against a sort by hand."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from manta.errors import ConfigError
from manta.functional.mining import nearest_others, with_mined


def cosine(x: Tensor, y: Tensor) -> float:
    return float(x @ y / (x.norm() * y.norm()))


@pytest.mark.parametrize(("start", "rows"), [(0, 9), (3, 2), (8, 1)])
def test_neighbours_are_the_nearest_other_samples(start: int, rows: int) -> None:
    stream = torch.Generator().manual_seed(0)
    pool = torch.randn(9, 4, generator=stream, dtype=torch.float64)
    queries = pool + 0.5 * torch.randn(9, 4, generator=stream, dtype=torch.float64)
    actual = nearest_others(queries[start : start + rows], pool, k=3, offset=start)
    for i, near in enumerate(actual.tolist(), start):
        others = [j for j in range(9) if j != i]
        assert near == sorted(others, key=lambda j: -cosine(queries[i], pool[j]))[:3]


def test_a_sample_is_never_its_own_neighbour() -> None:
    same = torch.ones(4, 2)
    for row, near in enumerate(nearest_others(same, same, k=3).tolist()):
        assert sorted(near) == [j for j in range(4) if j != row]


def test_length_does_not_matter() -> None:
    pool = torch.tensor([[1.0, 0.0], [0.01, 0.001], [9.0, 9.0]])
    assert nearest_others(pool, pool, k=1).tolist() == [[1], [0], [1]]


def test_too_small_a_pool_is_an_error() -> None:
    pool = torch.eye(4)
    with pytest.raises(ConfigError, match="no 4 neighbours are among 3 other samples"):
        nearest_others(pool, pool, k=4)
    with pytest.raises(ConfigError, match="2 rows from row 3 on are not among 4 keys"):
        nearest_others(pool[:2], pool, k=1, offset=3)


def test_mined_views_weigh_against_augmented_ones() -> None:
    """Azabou et al. 2021, as the authors' code divides it."""
    augmented, mined = (
        torch.tensor(0.7, dtype=torch.float64),
        torch.tensor(2.3, dtype=torch.float64),
    )
    for weight in (0.0, 0.25, 1.0, 4.0):
        expected = 0.7 / (1 + weight) + 2.3 * weight / (1 + weight)
        assert float(with_mined(augmented, mined, weight=weight)) == pytest.approx(
            expected, rel=1e-12
        )
    assert float(with_mined(augmented, augmented, weight=0.3)) == pytest.approx(0.7, rel=1e-12)
    half = with_mined(augmented.bfloat16(), mined.bfloat16(), weight=1.0)
    assert half.dtype == torch.float32
