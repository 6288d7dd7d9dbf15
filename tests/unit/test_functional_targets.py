"""Losses against given targets, by loops."""

from __future__ import annotations

import math

import pytest
import torch

from manta.errors import ConfigError
from manta.functional.targets import classify, hint, near_teacher


def test_cross_entropy_is_the_log_of_the_classs_share() -> None:
    logits = torch.randn(5, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    classes = torch.tensor([0, 3, 1, 1, 2])
    rows = zip(logits.tolist(), classes.tolist(), strict=True)
    expected = [math.log(sum(map(math.exp, row))) - row[label] for row, label in rows]
    assert float(classify(logits, classes)) == pytest.approx(sum(expected) / 5, rel=1e-12)
    assert float(classify(torch.zeros(3, 7), torch.arange(3))) == pytest.approx(math.log(7))
    assert classify(logits.bfloat16(), classes).dtype == torch.float32


def test_a_hint_is_the_mean_square() -> None:
    stream = torch.Generator().manual_seed(0)
    a, b = (torch.randn(4, 3, generator=stream, dtype=torch.float64) for _ in range(2))
    expected = (
        sum((x - y) ** 2 for x, y in zip(a.flatten().tolist(), b.flatten().tolist(), strict=True))
        / 12
    )
    assert float(hint(a, b)) == pytest.approx(expected, rel=1e-12)
    assert float(hint(a, a)) == 0
    assert float(hint(a, a + 2)) == pytest.approx(4)
    with pytest.raises(ConfigError, match="one shape"):
        hint(a, b[:1])


def test_a_start_near_the_teacher() -> None:
    """Sarnthein et al. 2023, section 4, weight by weight; of independent weights it keeps the
    variance."""
    stream = torch.Generator().manual_seed(0)
    own, teacher = torch.randn(2, 40, 500, generator=stream, dtype=torch.float64)
    for alpha in (0.0, 0.1, 0.5, 1.0):
        found = near_teacher(own, teacher, distance=alpha)
        size = math.sqrt((1 - alpha) ** 2 + alpha**2)
        for x, y, z in zip(own[0].tolist(), teacher[0].tolist(), found[0].tolist(), strict=True):
            assert z == pytest.approx(((1 - alpha) * y + alpha * x) / size, rel=1e-12)
        assert float(found.std()) == pytest.approx(1, abs=0.02)
    assert torch.equal(near_teacher(own, teacher, distance=1.0), own)
    assert torch.equal(near_teacher(own, teacher, distance=0.0), teacher)
    three, four = torch.tensor([3.0]), torch.tensor([4.0])
    assert float(near_teacher(three, four, distance=0.5)) == pytest.approx(7 / math.sqrt(2))
