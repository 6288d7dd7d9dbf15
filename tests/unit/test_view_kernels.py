"""Kernels and colour maps of the views, against torchvision where it does the same."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torchvision.transforms.v2 import functional as tv

from manta.modalities.image.views.draws import LUMA, colour_maps, crop_boxes, hue_rotation
from manta.modalities.image.views.kernels import (
    gaussian_matrix,
    recolour,
    resample,
    solarize,
    triangle_matrix,
)

NO = torch.tensor([False])


def pictures(batch: int, height: int, width: int, low: float = 0.0, high: float = 1.0) -> Tensor:
    noise = torch.rand(batch, 3, height, width, generator=torch.Generator().manual_seed(7))
    return low + (high - low) * noise


def neutral(batch: int = 1) -> Tensor:
    return torch.tensor([1.0, 1.0, 1.0, 0.0], dtype=torch.float64).unsqueeze(1).repeat(1, batch)


def jittered(
    images: Tensor, factors: Tensor, order: tuple[int, ...] = (0, 1, 2, 3), grey: Tensor = NO
) -> Tensor:
    """Return `images` after colour jitter with the same order for all."""
    sequence = torch.tensor(order).unsqueeze(1).expand(4, len(images))
    deviation, mean = colour_maps(factors, sequence, grey.expand(len(images)))
    return recolour(images, deviation.float(), (mean - deviation).float())


@pytest.mark.parametrize(
    ("box", "size"),
    [
        ((0, 0, 48, 40), 24),  # all of it, shrunk by different factors
        ((5, 7, 41, 31), 16),  # shrunk
        ((10, 3, 20, 15), 32),  # enlarged
        ((2, 4, 26, 28), 24),  # cut out
        ((7, 9, 8, 10), 8),  # one pixel
        ((0, 0, 48, 3), 20),  # shrunk one way, enlarged the other
    ],
)
def test_crop_and_resize_equal_torchvision(box: tuple[int, int, int, int], size: int) -> None:
    images = pictures(2, 40, 48)
    left, top, right, bottom = box
    expected = tv.resized_crop(
        images, top, left, bottom - top, right - left, [size, size], antialias=True
    )
    ours = resample(images, torch.tensor([box, box]).float(), NO.expand(2), None, size=size)
    torch.testing.assert_close(ours, expected, atol=1e-5, rtol=0)


def test_each_sample_has_its_own_crop_and_flip() -> None:
    images = pictures(2, 32, 32)
    boxes = torch.tensor([[0.0, 0, 20, 30], [4, 8, 32, 32]])
    ours = resample(images, boxes, torch.tensor([False, True]), None, size=16)
    first = tv.resized_crop(images[:1], 0, 0, 30, 20, [16, 16], antialias=True)
    second = tv.horizontal_flip(tv.resized_crop(images[1:], 8, 4, 24, 28, [16, 16], antialias=True))
    torch.testing.assert_close(ours, torch.cat([first, second]), atol=1e-5, rtol=0)


@pytest.mark.parametrize("sigma", [0.3, 1.0, 2.0])
def test_blur_equals_torchvision_away_from_the_border(sigma: float) -> None:
    images = pictures(1, 40, 40)
    whole = torch.tensor([[0.0, 0, 40, 40]])
    ours = resample(images, whole, NO, torch.tensor([sigma]), size=40)
    expected = tv.gaussian_blur(images, [25, 25], [sigma, sigma])
    torch.testing.assert_close(
        ours[..., 12:-12, 12:-12], expected[..., 12:-12, 12:-12], atol=1e-5, rtol=0
    )


def test_blur_comes_after_the_flip_and_the_resize() -> None:
    images = pictures(1, 40, 40)
    ours = resample(
        images, torch.tensor([[3.0, 5, 35, 39]]), torch.tensor([True]), torch.tensor([1.0]), size=30
    )
    resized = tv.horizontal_flip(tv.resized_crop(images, 5, 3, 34, 32, [30, 30], antialias=True))
    expected = tv.gaussian_blur(resized, [13, 13], [1.0, 1.0])
    torch.testing.assert_close(ours[..., 6:-6, 6:-6], expected[..., 6:-6, 6:-6], atol=1e-5, rtol=0)


def test_blur_of_sigma_zero_is_the_identity_beside_one_that_is_not() -> None:
    matrix = gaussian_matrix(torch.tensor([0.0, 1.5]), size=9)
    assert torch.equal(matrix[0], torch.eye(9))
    distances = torch.arange(-4.0, 5.0)
    weights = torch.exp(-distances.square() / (2 * 1.5**2))
    torch.testing.assert_close(matrix[1, 4], weights / weights.sum())
    assert not ((matrix > 0) & (matrix < 1e-9)).any()


@settings(deadline=None)
@given(
    start=st.integers(0, 60),
    length=st.integers(1, 64),
    size=st.integers(1, 40),
    flip=st.booleans(),
    more=st.integers(0, 9),
)
def test_resize_matrix_averages_pixels_of_the_crop_only(
    start: int, length: int, size: int, flip: bool, more: int
) -> None:
    source = start + length + more
    bounds = torch.tensor([float(start)]), torch.tensor([float(start + length)])
    matrix = triangle_matrix(*bounds, torch.tensor([flip]), size=size, source=source)[0]
    assert matrix.shape == (size, source)
    assert (matrix >= 0).all()
    torch.testing.assert_close(matrix.sum(1), torch.ones(size))
    outside = torch.ones(source, dtype=torch.bool)
    outside[start : start + length] = False
    assert (matrix[:, outside] == 0).all()
    centroid = matrix @ torch.arange(source).float()
    assert torch.all(centroid.diff() * (-1 if flip else 1) >= -1e-3)


# Pixels in 0.3..0.6, so that no operation clamps.
@pytest.mark.parametrize("factor", [0.7, 1.0, 1.4])
@pytest.mark.parametrize(
    ("operation", "adjust"),
    [(0, tv.adjust_brightness), (1, tv.adjust_contrast), (2, tv.adjust_saturation)],
    ids=["brightness", "contrast", "saturation"],
)
def test_one_colour_operation_equals_torchvision(
    operation: int, adjust: object, factor: float
) -> None:
    images = pictures(3, 12, 10, 0.3, 0.6)
    factors = neutral(3)
    factors[operation] = factor
    # torchvision's luma weights have four decimals and sum to 0.9999.
    torch.testing.assert_close(jittered(images, factors), adjust(images, factor), atol=2e-4, rtol=0)


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
def test_operations_compose_in_the_order_drawn(order: tuple[int, ...]) -> None:
    images = pictures(2, 9, 9, 0.35, 0.55)
    factors = neutral(2)
    factors[:3] = torch.tensor([1.2, 0.6, 1.3], dtype=torch.float64).unsqueeze(1)
    expected = images
    for operation in order:
        adjust = (tv.adjust_brightness, tv.adjust_contrast, tv.adjust_saturation)[operation]
        expected = adjust(expected, float(factors[operation, 0]))
    torch.testing.assert_close(jittered(images, factors, (*order, 3)), expected, atol=4e-4, rtol=0)


def test_orders_differ_per_sample() -> None:
    images = pictures(1, 9, 9, 0.35, 0.55).repeat(2, 1, 1, 1)
    factors = neutral(2)
    factors[:2] = torch.tensor([[1.3], [0.5]], dtype=torch.float64)
    factors[3] = 0.1
    orders = torch.tensor([[0, 1, 2, 3], [3, 1, 2, 0]]).T
    deviation, mean = colour_maps(factors, orders, NO.expand(2))
    ours = recolour(images, deviation.float(), (mean - deviation).float())
    torch.testing.assert_close(ours[:1], jittered(images[:1], factors[:, :1], (0, 1, 2, 3)))
    torch.testing.assert_close(ours[1:], jittered(images[1:], factors[:, 1:], (3, 1, 2, 0)))


@pytest.mark.parametrize("turns", [0.0, 1.0, -1.0])
def test_hue_turned_fully_or_not_at_all_changes_nothing(turns: float) -> None:
    rotation = hue_rotation(torch.tensor(turns, dtype=torch.float64))
    torch.testing.assert_close(rotation, torch.eye(3, dtype=torch.float64), atol=1e-12, rtol=0)


def test_hue_is_a_rotation_that_keeps_grey_and_luma() -> None:
    third, sixth = (hue_rotation(torch.tensor(t, dtype=torch.float64)) for t in (1 / 3, 1 / 6))
    torch.testing.assert_close(sixth @ sixth, third, atol=1e-12, rtol=0)
    luma = torch.tensor(LUMA, dtype=torch.float64)
    torch.testing.assert_close(luma @ third, luma, atol=1e-12, rtol=0)
    torch.testing.assert_close(third.sum(1), torch.ones(3, dtype=torch.float64), atol=1e-12, rtol=0)


def test_hue_turns_the_way_torchvision_does() -> None:
    red = torch.tensor([0.5, 0.3, 0.3]).view(1, 3, 1, 1)
    factors = neutral()
    factors[3] = 1 / 3
    ours, theirs = jittered(red, factors).flatten(), tv.adjust_hue(red, 1 / 3).flatten()
    assert int(ours.argmax()) == int(theirs.argmax()) == 1


def test_grayscale_comes_last_with_the_luma_weights() -> None:
    images = pictures(2, 8, 8, 0.3, 0.6)
    factors = neutral(2)
    factors[0], factors[1] = 1.2, 0.7
    grey = torch.tensor([True, False])
    ours = jittered(images, factors, grey=grey)
    coloured = tv.adjust_contrast(tv.adjust_brightness(images, 1.2), 0.7)
    expected = torch.stack([tv.rgb_to_grayscale(coloured[0], num_output_channels=3), coloured[1]])
    torch.testing.assert_close(ours, expected, atol=4e-4, rtol=0)


def test_colour_is_clamped_once_at_the_end() -> None:
    pixel = torch.full((1, 3, 2, 2), 0.8)
    factors = neutral()
    factors[0], factors[1] = 2.0, 0.5
    # Brightness to 1.6, contrast towards a mean of 1.6: clamped between, the mean would be 1. Both
    # end at white.
    assert torch.equal(jittered(pixel, factors), torch.ones(1, 3, 2, 2))
    two = torch.tensor([0.2, 0.8]).view(1, 1, 1, 2).expand(1, 3, 1, 2)
    # 0.4 and 1.6 of mean 1, then halfway to it: 0.7 and 1.3.
    torch.testing.assert_close(jittered(two, factors)[0, 0, 0], torch.tensor([0.7, 1.0]))


def test_solarize_equals_torchvision_where_asked() -> None:
    images = pictures(2, 8, 8)
    images[:, 0, 0, :3] = torch.tensor([0.0, 0.5, 1.0])
    ours = solarize(images.clone(), torch.tensor([True, False]))
    torch.testing.assert_close(ours[0], tv.solarize(images[0], 0.5))
    assert torch.equal(ours[1], images[1])


fractions = st.floats(0, 1, exclude_max=True)


@settings(deadline=None)
@given(
    numbers=st.tuples(fractions, fractions, fractions, fractions),
    crop=st.tuples(st.floats(0.01, 1), st.floats(0.01, 1)),
    height=st.integers(4, 300),
    width=st.integers(4, 300),
)
def test_boxes_are_whole_pixels_inside_the_image(
    numbers: tuple[float, ...], crop: tuple[float, float], height: int, width: int
) -> None:
    uniform = torch.tensor(numbers, dtype=torch.float64)
    bounds = torch.tensor(sorted(crop), dtype=torch.float64)
    left, top, right, bottom = crop_boxes(*uniform, crop=bounds, source=(height, width)).tolist()
    assert 0 <= left < right <= width
    assert 0 <= top < bottom <= height
    assert all(side == int(side) for side in (left, top, right, bottom))
    # Half a pixel of rounding along each side.
    w, h, area = right - left, bottom - top, height * width
    slack = (w + h + 1) / 2
    assert min(crop) * area - slack <= w * h <= max(crop) * area + slack


def test_areas_are_uniform_and_aspects_log_uniform() -> None:
    u = torch.rand(4, 40_000, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    boxes = crop_boxes(*u, crop=torch.tensor([0.2, 0.6], dtype=torch.float64), source=(500, 500))
    w, h = boxes[:, 2] - boxes[:, 0], boxes[:, 3] - boxes[:, 1]
    areas = w * h / 500**2
    # Three standard errors of a uniform mean are 0.0017; quartiles say that it is uniform in
    # between.
    assert areas.mean().item() == pytest.approx(0.4, abs=0.003)
    assert areas.quantile(0.25).item() == pytest.approx(0.3, abs=0.005)
    assert areas.quantile(0.75).item() == pytest.approx(0.5, abs=0.005)
    assert areas.min().item() == pytest.approx(0.2, abs=2e-3)
    assert areas.max().item() == pytest.approx(0.6, abs=2e-3)
    logs = (w / h).log()
    assert logs.mean().item() == pytest.approx(0.0, abs=0.005)
    assert logs.std().item() == pytest.approx(2 * math.log(4 / 3) / math.sqrt(12), abs=0.005)
    # Positions are uniform over those where the crop fits.
    assert (boxes[:, 0] / (500 - w)).mean().item() == pytest.approx(0.5, abs=0.01)


@pytest.mark.parametrize("source", [(64, 64), (40, 90), (200, 20)])
def test_an_area_of_one_is_the_whole_image(source: tuple[int, int]) -> None:
    u = torch.rand(4, 50, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    boxes = crop_boxes(*u, crop=torch.ones(2, dtype=torch.float64), source=source)
    assert torch.equal(
        boxes, torch.tensor([0.0, 0, source[1], source[0]], dtype=torch.float64).expand(50, 4)
    )
