"""Corruptions against formulas and other libraries, and the evaluator against scikit-learn's
neighbours."""

from __future__ import annotations

import colorsys
import math
from itertools import pairwise
from statistics import fmean

import numpy as np
import pytest
import torch
from scipy.fft import dctn
from sklearn.neighbors import KNeighborsClassifier
from torch import Generator, Tensor

from access_kit import Pixels, access_of, prepare
from conformance.objective_kit import labels, pictures
from manta.config import from_mapping
from manta.errors import ConfigError
from manta.evaluators import build, evaluate_all
from manta.evaluators._corruptions import CORRUPTIONS, SEVERITIES, corrupt
from manta.evaluators.corruptions import CorruptionsConfig


def drawn(seed: int = 0) -> Generator:
    return torch.Generator().manual_seed(seed)


def grey(level: int, side: int = 64) -> Tensor:
    return torch.full((8, 3, side, side), level, dtype=torch.uint8)


def colours(side: int = 32) -> Tensor:
    return torch.randint(0, 256, (4, 3, side, side), generator=drawn(5), dtype=torch.uint8)


def spot(side: int = 224) -> Tensor:
    """One white pixel on black, a little off the middle."""
    image = torch.zeros(1, 3, side, side, dtype=torch.uint8)
    image[..., 100, 110] = 255
    return image


def kernel(name: str, severity: int, *, seed: int = 0) -> Tensor:
    """What a blur makes of a point, unrounded: `[224, 224]`, of sum 1."""
    levels, apply = CORRUPTIONS[name]
    return apply(spot().float() / 255, levels[severity - 1], drawn(seed))[0, 0]


@pytest.mark.parametrize("name", list(CORRUPTIONS))
def test_every_severity_is_more_than_the_last_and_the_same_at_every_call(name: str) -> None:
    smooth = (
        torch.nn.functional.interpolate(colours(8).float(), (64, 64), mode="bilinear")
        .round()
        .to(torch.uint8)
    )
    far = []
    for severity in SEVERITIES:
        changed = corrupt(smooth, name, severity, drawn())
        assert changed.dtype == torch.uint8
        assert changed.shape == smooth.shape
        assert torch.equal(changed, corrupt(smooth, name, severity, drawn()))
        far.append((changed.float() - smooth.float()).abs().mean().item())
    assert far[0] > 0
    # Fog's constants trade amount for evenness, and a grid of pixelate may fit the image's own.
    slack = {"fog": 0.95, "pixelate": 0.85}.get(name, 1.0)
    assert all(more > slack * less for less, more in pairwise(far))


def test_noises_have_the_strengths_of_imagenet_c() -> None:
    noisy = corrupt(grey(128), "gaussian_noise", 1, drawn()).float()
    assert noisy.std().item() == pytest.approx(0.08 * 255, rel=0.01)
    shot = corrupt(grey(64), "shot_noise", 1, drawn()).float() / 255
    assert shot.mean().item() == pytest.approx(64 / 255, rel=0.01)
    assert shot.var().item() == pytest.approx(
        64 / 255 / 60, rel=0.03
    )  # a Poisson number's variance is its mean
    salted = corrupt(grey(128), "impulse_noise", 5, drawn())
    assert (salted == 255).float().mean().item() == pytest.approx(0.27 / 2, rel=0.03)
    assert (salted == 0).float().mean().item() == pytest.approx(0.27 / 2, rel=0.03)


def test_defocus_spreads_a_point_over_a_disc() -> None:
    found = kernel("defocus_blur", 3)
    assert found.sum().item() == pytest.approx(1)
    y, x = torch.meshgrid(torch.arange(224), torch.arange(224), indexing="ij")
    distance = torch.hypot(y - 100.0, x - 110.0)
    assert found[distance >= 6.5].abs().max().item() == 0
    torch.testing.assert_close(
        found[distance <= 5.5],
        torch.full_like(found[distance <= 5.5], 1 / (36 * math.pi)),
        rtol=0.03,
        atol=0,
    )


def test_motion_draws_a_point_out_along_a_line() -> None:
    rows, columns = torch.arange(224.0), torch.arange(224.0)
    steps = np.linspace(0, 20, 41)
    weights = np.exp(-0.5 * (steps / 15) ** 2)
    expected = (steps * weights).sum() / weights.sum()
    angles = set()
    for seed in range(4):
        found = kernel("motion_blur", 5, seed=seed)
        assert found.sum().item() == pytest.approx(1, abs=1e-5)
        down, right = (found.sum(1) @ rows).item() - 100, (found.sum(0) @ columns).item() - 110
        assert math.hypot(down, right) == pytest.approx(expected, rel=1e-3)
        assert abs(math.atan2(down, -right)) <= math.pi / 4
        angles.add(round(math.atan2(down, -right), 3))
    assert len(angles) == 4


def test_zoom_leaves_the_middle_and_draws_the_rest_outwards() -> None:
    found = kernel("zoom_blur", 1).sum(0)
    # The column 110 is 1.5 from the middle, 111.5; the row 100 is 11.5 from it, and goes to 11.5 *
    # 1.1 at most.
    down = kernel("zoom_blur", 1).sum(1)
    assert down.nonzero().min().item() >= math.floor(111.5 - 11.5 * 1.1 - 1)
    assert down.nonzero().max().item() <= 101
    assert found.nonzero().max().item() <= 111
    still = corrupt(grey(77), "zoom_blur", 5, drawn())
    assert torch.equal(still, grey(77))


def test_brightness_is_that_of_hsv() -> None:
    images = colours(8)
    images[0, :, 0, 0] = 0  # black becomes grey
    changed = corrupt(images, "brightness", 2, drawn())
    for image, after in zip(
        images.permute(0, 2, 3, 1).reshape(-1, 3),
        changed.permute(0, 2, 3, 1).reshape(-1, 3),
        strict=True,
    ):
        hue, saturation, value = colorsys.rgb_to_hsv(*(image.double() / 255).tolist())
        expected = torch.tensor(colorsys.hsv_to_rgb(hue, saturation, min(value + 0.2, 1))) * 255
        assert (after - expected).abs().max().item() <= 0.51


def test_contrast_shrinks_each_channel_around_its_mean() -> None:
    images = colours()
    pixels = images.double().numpy()
    mean = pixels.mean((2, 3), keepdims=True)
    changed = corrupt(images, "contrast", 3, drawn()).numpy()
    np.testing.assert_allclose(changed, mean + 0.2 * (pixels - mean), atol=0.51)


def test_pixelate_shows_the_means_of_blocks() -> None:
    images = colours(32)
    changed = corrupt(images, "pixelate", 5, drawn())  # a quarter of 32
    for row in range(8):
        for column in range(8):
            here = (..., slice(4 * row, 4 * row + 4), slice(4 * column, 4 * column + 4))
            expected = images[here].double().mean((2, 3), keepdim=True)
            assert (changed[here] - expected).abs().max().item() <= 0.51


def test_jpeg_rounds_the_cosines_of_blocks_to_its_steps() -> None:
    smooth = torch.nn.functional.interpolate(colours(4)[:, :1].float(), (32, 32), mode="bilinear")
    images = (
        (64 + smooth / 2).round().to(torch.uint8).expand(-1, 3, -1, -1)
    )  # grey, and far from black and white
    changed = corrupt(images, "jpeg_compression", 4, drawn())[:, 0].double().numpy() - 128
    blocks = changed.reshape(4, 4, 8, 4, 8).transpose(0, 1, 3, 2, 4).reshape(-1, 8, 8)
    found = dctn(blocks, axes=(1, 2), norm="ortho")
    for (row, column), step in {
        (0, 0): 16,
        (0, 1): 11,
        (1, 0): 12,
    }.items():  # of the standard's table for luminance
        coefficient = found[:, row, column] / (
            5 * step
        )  # quality 10 makes its steps five times as wide
        assert np.abs(coefficient - coefficient.round()).max() < 0.06
        assert len(np.unique(coefficient.round())) > 1


def test_fog_brightens_the_dark_and_keeps_the_brightest() -> None:
    images = colours(64)
    changed = corrupt(images, "fog", 1, drawn())
    dark = images < 40
    assert (changed[dark].float() > images[dark].float()).float().mean() > 0.9
    assert changed.max() <= images.max()
    assert changed.float().std() < images.float().std()


def test_accuracies_are_those_of_scikit_learns_neighbours() -> None:
    access, features = access_of(Pixels(), bank=400, queries=150)
    config = CorruptionsConfig(corruptions=("gaussian_noise", "contrast"), k=1, rows=100, seed=3)
    found = build(config).mean_scores(features, access)
    images, truth = pictures()[400:500], labels()[400:500]
    neighbours = KNeighborsClassifier(n_neighbors=1, metric="cosine").fit(
        features.bank.double().numpy(), labels()[:400]
    )
    expected = {}
    for name in config.corruptions:
        for severity in SEVERITIES:
            changed = corrupt(images, name, severity, drawn(3))
            expected[name, severity] = neighbours.score(
                Pixels()(prepare(changed)).double().numpy(), truth
            )
    clean = neighbours.score(Pixels()(prepare(images)).double().numpy(), truth)
    assert found["corruptions_clean_top1"] == pytest.approx(clean, abs=0.011)
    assert found["corruptions_top1"] == pytest.approx(fmean(expected.values()), abs=0.003)
    for name in config.corruptions:
        mean = fmean(expected[name, severity] for severity in SEVERITIES)
        assert found[f"corruptions_{name}_top1"] == pytest.approx(mean, abs=0.005)
    for severity in SEVERITIES:
        mean = fmean(expected[name, severity] for name in config.corruptions)
        assert found[f"corruptions_severity{severity}_top1"] == pytest.approx(mean, abs=0.011)
    assert len(found) == 2 + 2 + 5
    assert clean > 0.9
    assert found["corruptions_severity5_top1"] < found["corruptions_severity1_top1"]


def test_what_is_tried_besides_does_not_matter() -> None:
    access, features = access_of(Pixels(), queries=60)
    alone = build(CorruptionsConfig(corruptions=("shot_noise",))).mean_scores(features, access)
    among = build(CorruptionsConfig(corruptions=("fog", "shot_noise"))).mean_scores(
        features, access
    )
    assert alone["corruptions_shot_noise_top1"] == among["corruptions_shot_noise_top1"]


def test_unknown_names_and_a_cadence_are_refused_at_load() -> None:
    def load(entry: dict[str, object]) -> None:
        evaluation = {"evaluators": [{"name": "corruptions", **entry}]}
        from_mapping(
            {
                "data": {"source": "digits"},
                "objective": {"name": "simclr"},
                "evaluation": evaluation,
            }
        )

    load({"rows": 7})
    with pytest.raises(
        ConfigError,
        match=r"evaluators\.0\.corruptions: no corruption is named 'snow'; known: gauss",
    ):
        load({"corruptions": ["snow"]})
    with pytest.raises(ConfigError, match=r"evaluators\.0\.every: .*leave `every` out"):
        load({"every": 1})


def test_without_labels_or_without_the_encoder_it_is_passed_over() -> None:
    access, features = access_of(Pixels(), labelled=False)
    assert evaluate_all([build(CorruptionsConfig())], features, access) == {}
    _, labelled = access_of(Pixels())
    assert evaluate_all([build(CorruptionsConfig())], labelled) == {}
