"""Views of series: draws by row, kernels against float64 references, lengths, masks, settings."""

from __future__ import annotations

import dataclasses
import math
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from manta.batch import Batch, View, ViewNeeds
from manta.encoders.patchtst import PatchTST, PatchTSTArgs
from manta.errors import ConfigError
from manta.modalities.series.stretch import cut
from manta.modalities.series.views import PRESETS, SeriesViews, SeriesViewsConfig, ViewSpec
from manta.modalities.series.views.draws import draw
from manta.modalities.series.views.kernels import JITTER, jitter, lose_band, normal, places, rescale
from manta.ragged import Data, Ragged, rows_of
from manta.spec import Spec
from manta.views import generator

B, T, C = 12, 40, 2
HARD = {"permute": 0.5, "reverse": 0.5, "frequency": 0.5}
LENGTHS = torch.tensor([40, 3, 17, 1, 29, 40, 8, 2, 11, 33, 25, 5])


def dense() -> Tensor:
    return torch.randn(B, T, C, generator=torch.Generator().manual_seed(0)).cumsum(1)


def ragged() -> Ragged:
    values = torch.randn(int(LENGTHS.sum()), C, generator=torch.Generator().manual_seed(1))
    return Ragged(values, LENGTHS)


def pipeline(length: int | None, needs: ViewNeeds | None = None, **config: Any) -> SeriesViews:
    spec = Spec("sequence", C, (length,))
    settings = SeriesViewsConfig.model_validate(config)
    return SeriesViews(settings, needs or ViewNeeds(), spec=spec, longest=T, unit=(1.0, 1.0))


def run(
    views: SeriesViews, rows: Tensor | Ragged, which: slice = slice(0, B), step: int = 0
) -> Batch:
    index = torch.arange(B)[which]
    data = {"series": rows_of(rows, which)}
    return views(data, index, seed=0, step=step, rows=which, global_batch=B)


def row(data: Data, place: int) -> Tensor:
    """Return one row of a view, `[T, C]`."""
    if isinstance(data, Tensor):
        return data[place].T
    assert isinstance(data, Ragged)
    return torch.split(data.values, data.lengths.tolist())[place]


@pytest.mark.parametrize("preset", list(PRESETS))
@pytest.mark.parametrize("length", [None, 40, 16])
@pytest.mark.parametrize("rows", [dense, ragged])
def test_views_are_finite_and_of_the_length_that_the_spec_says(
    preset: str, length: int | None, rows: Any
) -> None:
    views = pipeline(length, ViewNeeds(local_views=2), preset=preset, **HARD)
    batch = run(views, rows())
    assert [view.role for view in batch] == ["global"] * 2 + ["local"] * 2
    for view in batch:
        assert isinstance(view.data, Tensor) == (length is not None)
        values = view.data if isinstance(view.data, Tensor) else view.data.values
        assert values.dtype == torch.float32
        assert torch.isfinite(values).all()
    if length is not None:
        shapes = [tuple(view.tensor.shape) for view in batch]
        assert shapes == [(B, C, length)] * 2 + [(B, C, length // 2)] * 2
        assert views.local_specs == (Spec("sequence", C, (length // 2,)),)


@pytest.mark.parametrize("length", [None, 16])
@pytest.mark.parametrize("rows", [dense, ragged])
def test_two_halves_of_a_batch_are_the_whole(length: int | None, rows: Any) -> None:
    views = pipeline(length, ViewNeeds(local_views=1), **HARD)
    whole = run(views, rows(), step=3)
    parts = [run(views, rows(), slice(0, 5), 3), run(views, rows(), slice(5, B), 3)]
    for place in range(B):
        part, inside = (parts[0], place) if place < 5 else (parts[1], place - 5)
        for of_whole, of_part in zip(whole, part, strict=True):
            torch.testing.assert_close(row(of_whole.data, place), row(of_part.data, inside))
            assert of_whole.box is not None
            assert of_part.box is not None
            assert torch.equal(of_whole.box[place], of_part.box[inside])


def test_views_differ_by_step_and_view_and_are_drawn_again() -> None:
    views = pipeline(40)
    first, again, later = (run(views, dense(), step=step) for step in (0, 0, 1))
    for one, two in zip(first, again, strict=True):
        assert torch.equal(one.tensor, two.tensor)
    assert not torch.equal(first.views[0].tensor, first.views[1].tensor)
    assert not torch.equal(first.views[0].tensor, later.views[0].tensor)


@pytest.mark.parametrize("length", [None, 40])
@pytest.mark.parametrize("rows", [dense, ragged])
def test_strength_zero_is_the_plain_row(length: int | None, rows: Any) -> None:
    views = pipeline(length, strength=0, **HARD)
    plain = views.plain({"series": rows()})
    for view in run(views, rows()):
        for place in range(B):
            torch.testing.assert_close(row(view.data, place), row(plain, place))


def test_strength_scales_every_part_of_a_spec() -> None:
    spec = ViewSpec(crop=(0.5, 0.9), jitter=0.1, scale=0.2, permute=0.4, reverse=0.5, frequency=0.6)
    double = spec.scaled(2)
    assert double.crop == (pytest.approx(0.05), 0.9)
    assert (double.jitter, double.scale, double.permute) == (0.2, 0.4, 0.8)
    assert (double.reverse, double.frequency) == (0.5, 1.0)
    assert spec.scaled(0).crop == (1.0, 1.0)


def test_a_view_is_what_its_box_says() -> None:
    bare = {"jitter": 0, "scale": 0, "frequency": 0, "reverse": 0.5}
    rows = ragged()
    for view in run(pipeline(None, **bare), rows):
        assert view.box is not None
        assert view.flip is not None
        assert 0 < view.flip.sum() < B
        for place in range(B):
            first, last = view.box[place].int().tolist()
            window = row(rows, place)[first:last]
            want = window.flip(0) if view.flip[place] else window
            assert torch.equal(row(view.data, place), want)


def test_crops_cover_the_range_evenly() -> None:
    count = 4000
    spec = ViewSpec(crop=(0.3, 0.8))
    draws = draw(
        [spec],
        rows=slice(0, count),
        global_batch=count,
        stream=generator(0, 0),
        device=torch.device("cpu"),
    )
    ((starts, widths),) = draws.windows(torch.full((count,), 100))
    assert (int(widths.min()), int(widths.max())) == (30, 80)
    assert abs(widths.double().mean() - 55) < 1
    assert int(starts.min()) == 0
    assert int((starts + widths).max()) == 100


def reference_cut(values: np.ndarray[Any, Any], start: int, width: int, length: int) -> Any:
    at = (np.arange(length) + 0.5) * width / length - 0.5
    inside = np.arange(width)
    window = values[start : start + width].astype(np.float64)
    return np.stack([np.interp(at, inside, channel) for channel in window.T], axis=1)


def test_cuts_are_linear_interpolation_in_float64() -> None:
    rows = dense()
    starts = torch.arange(B)
    widths = torch.arange(B) * 2 + 1
    got = cut(rows, starts, widths, 17)
    for place in range(B):
        want = reference_cut(rows[place].numpy(), place, 2 * place + 1, 17)
        np.testing.assert_allclose(got[place].numpy(), want, atol=1e-5)


def test_segments_change_places_and_nothing_is_lost() -> None:
    spec = ViewSpec(permute=0.7)
    place = {"rows": slice(0, B), "global_batch": B, "stream": generator(4, 0)}
    draws = draw([spec], device=torch.device("cpu"), **place)
    order = places(LENGTHS, T, draws.order(0, LENGTHS), torch.zeros(B, dtype=torch.bool))
    changed = 0
    for one, length in zip(order, LENGTHS.tolist(), strict=True):
        taken = one[:length].tolist()
        assert sorted(taken) == list(range(length))
        breaks = sum(b != a + 1 for a, b in pairwise(taken))
        assert breaks <= 4
        changed += breaks > 0
    assert changed >= 4
    spec = ViewSpec(permute=0.0)
    draws = draw([spec], device=torch.device("cpu"), **place)
    order = places(LENGTHS, T, draws.order(0, LENGTHS), torch.zeros(B, dtype=torch.bool))
    for one, length in zip(order, LENGTHS.tolist(), strict=True):
        assert one[:length].tolist() == list(range(length))


def test_a_band_is_lost_as_in_float64_and_the_mean_stays() -> None:
    rows = dense() + 3
    low, high = torch.full((B,), 0.1), torch.full((B,), 0.35)
    low[0] = high[0] = 0
    got = lose_band(rows, low, high, T)
    torch.testing.assert_close(got[0], rows[0], atol=1e-4, rtol=1e-5)
    spectrum = np.fft.rfft(rows.double().numpy(), axis=1)
    share = np.arange(spectrum.shape[1]) / (spectrum.shape[1] - 1)
    spectrum[1:, (share >= 0.1) & (share < 0.35)] = 0
    want = np.fft.irfft(spectrum, n=T, axis=1)
    np.testing.assert_allclose(got.numpy(), want, atol=1e-4)
    torch.testing.assert_close(got.mean(1), rows.mean(1), atol=1e-4, rtol=1e-5)


def test_noise_is_normal_independent_and_of_the_row_alone() -> None:
    keys = torch.arange(2000) * 7919
    noise = normal(keys, JITTER, 10, 3)
    assert abs(noise.mean()) < 0.02
    assert abs(noise.std() - 1) < 0.02
    assert abs(noise.pow(4).mean() - 3) < 0.2
    flat = noise.flatten(1)
    correlation = np.corrcoef(flat.T.numpy()) - np.eye(flat.shape[1])
    assert np.abs(correlation).max() < 0.12
    assert torch.equal(normal(keys[7:9], JITTER, 10, 3), noise[7:9])
    torch.testing.assert_close(normal(keys, JITTER, 4, 3), noise[:, :4])


def test_scaling_is_by_channel_and_noise_in_units_of_the_data() -> None:
    rows, keys = torch.ones(500, 6, C), torch.arange(500)
    happens = torch.arange(500) % 2 == 0
    scaled = rescale(rows, keys, happens, 0.3)
    assert torch.equal(scaled[1::2], rows[1::2])
    assert torch.equal(scaled, scaled[:, :1].expand_as(scaled))
    assert abs(scaled[::2].std() - 0.3) < 0.05
    noisy = jitter(rows, keys, happens, 0.1, torch.tensor([1.0, 50.0]))
    assert torch.equal(noisy[1::2], rows[1::2])
    spread = (noisy - rows)[::2].std((0, 1))
    torch.testing.assert_close(spread, torch.tensor([0.1, 5.0]), rtol=0.06, atol=0)


def test_masks_follow_the_grid_and_the_length_of_a_view() -> None:
    needs = ViewNeeds("plain", 1, 1, mask_ratio=0.5, mask_grid=(8,))
    batch = run(pipeline(40, needs), dense())
    tokens = [view.mask.sum(1).tolist() for view in batch if view.mask is not None]
    assert tokens == [[4] * B, [2] * B]


@pytest.mark.parametrize(("length", "stretch"), [(None, True), (40, False)])
def test_masks_of_rows_with_their_own_lengths_are_of_the_tokens_that_each_has(
    length: int | None, stretch: bool
) -> None:
    encoder = PatchTST(C, None, PatchTSTArgs(patch=4, dim=4, heads=1, depth=1))
    encoder.learn_hidden()
    needs = ViewNeeds("plain", 1, mask_ratio=0.5, mask_grid=(1,))
    needs = dataclasses.replace(needs, token_lengths=encoder.token_lengths)
    views = pipeline(length, needs, stretch=stretch)
    (view,) = run(views, ragged())
    assert view.mask is not None
    data: Any = view.data
    tokens = -(-data.lengths // 4)
    assert view.mask.shape == (B, int(tokens.max()))
    hidden = (tokens / 2).round().clamp(min=1)
    assert torch.equal(view.mask.sum(1), hidden.long())
    assert not (view.mask & (torch.arange(view.mask.shape[1]) >= tokens.unsqueeze(1))).any()
    assert torch.isfinite(encoder.tokens(data, hide=view.mask)).all()
    half = run(views, ragged(), slice(5, B)).views[0].mask
    assert half is not None
    assert torch.equal(half, view.mask[5:, : half.shape[1]])


@pytest.mark.parametrize(
    ("length", "grid", "reason"), [(40, None, "patchtst"), (None, (8,), "data.length")]
)
def test_masks_that_cannot_be_are_refused_in_one_line(
    length: int | None, grid: tuple[int, ...] | None, reason: str
) -> None:
    needs = ViewNeeds("plain", 1, mask_ratio=0.5, mask_grid=grid)
    with pytest.raises(ConfigError, match=reason):
        pipeline(length, needs)


def test_settings_are_checked() -> None:
    with pytest.raises(ValueError, match=r"crop must ascend: write \[0.2, 0.6\]"):
        SeriesViewsConfig(crop=(0.6, 0.2))
    with pytest.raises(ConfigError, match="no preset is named"):
        pipeline(40, ViewNeeds(preset="simclrr"))
    views = pipeline(40)
    with pytest.raises(ValueError, match="are not rows"):
        views({"series": dense()}, torch.arange(B), seed=0, step=0, rows=None, global_batch=B + 1)


def test_overrides_take_the_place_of_the_preset() -> None:
    views = pipeline(40, ViewNeeds(local_views=1), jitter=0.5, crop=(0.9, 1.0), local_length=10)
    assert [spec.jitter for spec in views.specs] == [0.5] * 3
    assert views.specs[0].crop == (0.9, 1.0)
    assert views.specs[2].crop == (0.2, 0.5)
    assert views.specs[2].length == 10


def test_views_are_shown_as_plots() -> None:
    for rows, length in ((dense(), 16), (ragged(), None)):
        views = pipeline(length)
        pictures = views.shown(run(views, rows).views[0])
        assert pictures.shape == (B, 3, 64, 64)
        assert math.isclose(float(pictures.max()), 1)
        assert isinstance(run(views, rows).views[0], View)
