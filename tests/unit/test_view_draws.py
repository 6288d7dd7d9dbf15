"""Random numbers of the views: rates, ranges and independence, over 4,000 draws."""

from __future__ import annotations

from itertools import permutations

import pytest
import torch
from torch import Tensor

from manta.modalities.image.views import ViewSpec
from manta.modalities.image.views.draws import (
    BLUR_SIGMA,
    Draws,
    colour_maps,
    crop_boxes,
    draw,
    hue_rotation,
)
from manta.views import draw_masks, generator

COUNT, SOURCE = 4_000, (64, 96)
SPEC = ViewSpec(
    crop=(0.2, 0.6),
    flip=0.3,
    jitter=(0.8, 0.6, 0.4, 0.2),
    jitter_prob=0.7,
    grayscale=0.2,
    blur=0.4,
    solarize=0.1,
)


@pytest.fixture(scope="module")
def drawn() -> Draws:
    return draws_of(SPEC)


def draws_of(spec: ViewSpec, rows: slice = slice(None), count: int = COUNT) -> Draws:
    stream = generator(3, 5)
    return draw([spec], source=SOURCE, rows=rows, global_batch=count, stream=stream)


def columns(draws: Draws) -> dict[str, Tensor]:
    """Return the transformation's numbers by name, `[COUNT]` each."""
    names = ("left", "top", "width", "height", "flip", "blur", "solarize")
    names += ("brightness", "contrast", "saturation", "hue", "grey")
    return dict(zip(names, draws.transform[0].T, strict=True))


@pytest.mark.parametrize(
    ("name", "rate"), [("flip", 0.3), ("blur", 0.4), ("solarize", 0.1), ("grey", 0.2)]
)
def test_operations_have_the_rates_of_the_spec(drawn: Draws, name: str, rate: float) -> None:
    share = float((columns(drawn)[name] > 0).double().mean())
    assert share == pytest.approx(rate, abs=4 * (rate * (1 - rate) / COUNT) ** 0.5)


def test_blurs_are_uniform_among_those_that_are_blurred(drawn: Draws) -> None:
    sigma = drawn.sigma[0]
    blurred = sigma[sigma > 0].sort().values
    expected = torch.linspace(*BLUR_SIGMA, len(blurred), dtype=torch.float64)
    # Kolmogorov and Smirnov's distance, in sigma's range; 1.9 / sqrt(n) is passed once in 700.
    distance = (blurred - expected).abs().max() / (BLUR_SIGMA[1] - BLUR_SIGMA[0])
    assert float(distance) < 1.9 / len(blurred) ** 0.5


@pytest.mark.parametrize(
    ("name", "amount"), [("brightness", 0.8), ("contrast", 0.6), ("saturation", 0.4), ("hue", 0.2)]
)
def test_each_colour_operation_has_its_own_amount(drawn: Draws, name: str, amount: float) -> None:
    values = columns(drawn)[name]
    jittered = values[values != 0].sort().values
    assert len(jittered) / COUNT == pytest.approx(0.7, abs=0.03)
    expected = torch.linspace(-amount, amount, len(jittered), dtype=torch.float64)
    assert float((jittered - expected).abs().max()) < 1.9 * 2 * amount / len(jittered) ** 0.5


def test_all_colour_operations_of_a_view_are_drawn_together(drawn: Draws) -> None:
    numbers = columns(drawn)
    parts = [numbers[name] != 0 for name in ("brightness", "contrast", "saturation", "hue")]
    assert all(torch.equal(part, parts[0]) for part in parts)


def test_numbers_of_different_operations_are_independent(drawn: Draws) -> None:
    numbers = columns(drawn)
    jittered, blurred = numbers["brightness"] != 0, numbers["blur"] > 0
    both = jittered & blurred
    names = ("flip", "solarize", "grey", "brightness", "contrast", "saturation", "hue", "blur")
    table = torch.stack([numbers[name][both] for name in names])
    correlations = torch.corrcoef(table).fill_diagonal_(0)
    assert float(correlations.abs().max()) < 4.5 / int(both.sum()) ** 0.5
    coins = torch.stack([jittered, blurred, numbers["flip"] > 0, numbers["grey"] > 0]).double()
    assert float(torch.corrcoef(coins).fill_diagonal_(0).abs().max()) < 4.5 / COUNT**0.5


def test_the_order_of_the_colour_operations_does_not_matter() -> None:
    """Without a clamp between them they commute, so only rounding depends on the drawn order."""
    factors = torch.tensor([1.3, 0.6, 1.7, 0.15], dtype=torch.float64).unsqueeze(1)
    orders = torch.tensor(list(permutations(range(4)))).T
    grey = torch.zeros(orders.shape[1], dtype=torch.bool)
    colour, mean = colour_maps(factors.expand(4, orders.shape[1]), orders, grey)
    assert torch.allclose(colour, colour[:1].expand_as(colour), atol=1e-12)
    assert torch.allclose(mean, mean[:1].expand_as(mean), atol=1e-12)
    assert not torch.allclose(colour[0], mean[0], atol=0.1)


def test_crops_have_the_area_and_lie_inside(drawn: Draws) -> None:
    left, top, right, bottom = drawn.box[0].unbind(1)
    assert bool((left >= 0).all() & (top >= 0).all())
    assert bool((right <= SOURCE[1]).all() & (bottom <= SOURCE[0]).all())
    area = ((right - left) * (bottom - top) / (SOURCE[0] * SOURCE[1])).sort().values
    expected = torch.linspace(0.2, 0.6, COUNT, dtype=torch.float64)
    # Whole pixels move an area by up to two hundredths here.
    assert float((area - expected).abs().max()) < 0.02 + 1.9 * 0.4 / COUNT**0.5


def test_a_long_source_gets_the_nearest_aspect_that_fits() -> None:
    half = torch.full((1,), 0.5, dtype=torch.float64)
    crop = torch.tensor([[1.0], [1.0]], dtype=torch.float64)
    box = crop_boxes(half, half, half, half, crop=crop, source=(10, 100))
    assert box.tolist() == [[0.0, 0.0, 100.0, 10.0]]


def test_rows_are_the_global_batchs_rows(drawn: Draws) -> None:
    part = draws_of(SPEC, slice(1_000, 1_007))
    assert torch.equal(part.transform, drawn.transform[:, 1_000:1_007])
    assert torch.equal(part.colour, drawn.colour[:, 1_000:1_007])


def test_moving_rounds_to_float32_and_keeps_every_field(drawn: Draws) -> None:
    moved = drawn.to(torch.device("cpu"))
    assert torch.equal(moved.flip, drawn.flip)
    assert torch.equal(moved.solarize, drawn.solarize)
    for name in ("box", "sigma", "colour", "shift", "transform"):
        own, other = getattr(moved, name), getattr(drawn, name)
        assert own.dtype == torch.float32
        assert torch.equal(own, other.float()), name


def test_streams_differ_by_seed_step_and_purpose() -> None:
    keys = [(0, 0), (0, 1), (1, 0), (0, 0, 1), (0, 0, 2)]
    first = [float(torch.rand(1, generator=generator(*key))) for key in keys]
    assert len(set(first)) == len(keys)
    assert first[0] == float(torch.rand(1, generator=generator(0, 0)))


def test_masks_hide_an_exact_number_of_every_row() -> None:
    masks = draw_masks(
        12,
        hidden=5,
        rows=slice(None),
        global_batch=COUNT,
        stream=generator(0, 0),
        device=torch.device("cpu"),
    )
    assert masks.sum(1).unique().tolist() == [5]
    rates = masks.double().mean(0)
    assert float((rates - 5 / 12).abs().max()) < 4 * (5 / 12 * 7 / 12 / COUNT) ** 0.5


def test_a_whole_turn_of_hue_changes_nothing_and_grey_has_no_hue() -> None:
    turns = torch.tensor([0.0, 0.25, 1.0], dtype=torch.float64).view(3, 1, 1)
    none, quarter, whole = hue_rotation(turns)
    assert torch.allclose(none, torch.eye(3, dtype=torch.float64), atol=1e-12)
    assert torch.allclose(whole, none, atol=1e-12)
    grey = torch.full((3,), 0.4, dtype=torch.float64)
    assert torch.allclose(quarter @ grey, grey, atol=2e-3)
