"""Pretext transformations, pixel by pixel, and their cross-entropy, by loops."""

from __future__ import annotations

import math
from itertools import permutations

import pytest
import torch

from manta.functional.pretext import (
    QUADRANT_ORDERS,
    classify,
    quadrants_shuffled,
    quarter_turned,
)


def images(count: int, side: int) -> torch.Tensor:
    return torch.arange(count * 3 * side * side, dtype=torch.float32).view(count, 3, side, side)


def test_each_image_is_turned_by_its_own_quarters() -> None:
    x = images(4, 3)
    turned = quarter_turned(x, torch.tensor([0, 1, 2, 3]))
    for row in range(3):
        for column in range(3):
            assert torch.equal(turned[0, :, row, column], x[0, :, row, column])
            assert torch.equal(turned[1, :, row, column], x[1, :, column, 2 - row])
            assert torch.equal(turned[2, :, row, column], x[2, :, 2 - row, 2 - column])
            assert torch.equal(turned[3, :, row, column], x[3, :, 2 - column, row])
    assert torch.equal(
        quarter_turned(quarter_turned(x, torch.full((4,), 1)), torch.full((4,), 3)), x
    )


def test_quadrants_come_in_the_order_of_the_class() -> None:
    assert set(QUADRANT_ORDERS) == set(permutations(range(4)))
    x = images(24, 4)
    shuffled = quadrants_shuffled(x, torch.arange(24))
    corners = [(0, 0), (0, 2), (2, 0), (2, 2)]
    for b, order in enumerate(QUADRANT_ORDERS):
        for place, source in enumerate(order):
            (top, left), (from_top, from_left) = corners[place], corners[source]
            actual = shuffled[b, :, top : top + 2, left : left + 2]
            assert torch.equal(actual, x[b, :, from_top : from_top + 2, from_left : from_left + 2])


def test_oblong_images_keep_their_shape_when_shuffled() -> None:
    x = torch.randn(2, 3, 6, 8)
    swapped = quadrants_shuffled(x, torch.tensor([0, QUADRANT_ORDERS.index((1, 0, 3, 2))]))
    assert torch.equal(swapped[0], x[0])
    assert torch.equal(swapped[1], x[1].roll(4, -1))


def test_cross_entropy_is_the_log_of_the_classs_share() -> None:
    logits = torch.randn(5, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    classes = torch.tensor([0, 3, 1, 1, 2])
    rows = zip(logits.tolist(), classes.tolist(), strict=True)
    expected = [math.log(sum(map(math.exp, row))) - row[label] for row, label in rows]
    assert float(classify(logits, classes)) == pytest.approx(sum(expected) / 5, rel=1e-12)
    assert float(classify(torch.zeros(3, 7), torch.arange(3))) == pytest.approx(math.log(7))
    assert classify(logits.bfloat16(), classes).dtype == torch.float32
