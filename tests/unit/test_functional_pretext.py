"""Pretext transformations, pixel by pixel."""

from __future__ import annotations

from itertools import permutations

import torch

from manta.functional.pretext import QUADRANT_ORDERS, quadrants_shuffled, quarter_turned


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
            found = shuffled[b, :, top : top + 2, left : left + 2]
            assert torch.equal(found, x[b, :, from_top : from_top + 2, from_left : from_left + 2])


def test_oblong_images_keep_their_shape_when_shuffled() -> None:
    x = torch.randn(2, 3, 6, 8)
    swapped = quadrants_shuffled(x, torch.tensor([0, QUADRANT_ORDERS.index((1, 0, 3, 2))]))
    assert torch.equal(swapped[0], x[0])
    assert torch.equal(swapped[1], x[1].roll(4, -1))
