"""Views of clips: draws by row, kernels against references, lengths, masks, settings."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from manta.batch import Batch, ViewNeeds
from manta.errors import ConfigError
from manta.modalities.audio import Audio, AudioConfig
from manta.modalities.audio.views import PRESETS, AudioViews, AudioViewsConfig, ViewSpec
from manta.modalities.audio.views.draws import TRANSFORM_WIDTH, draw
from manta.modalities.audio.views.kernels import (
    add_fade,
    add_noise,
    crop,
    hide,
    normal,
)
from manta.ragged import Ragged, rows_of
from manta.spec import Spec
from manta.views import generator

B = 12
LENGTHS = torch.tensor([3000, 1600, 401, 9000, 1, 1599, 1601, 2500, 8000, 700, 4000, 5000])
DATA: dict[str, Any] = {"source": "x", "sample_rate": 4000, "seconds": 0.4, "mels": 16}
BARE: dict[str, Any] = {"preset": "plain"}


def clips() -> Ragged:
    values = torch.randn(int(LENGTHS.sum()), generator=torch.Generator().manual_seed(0))
    return Ragged(0.1 * values, LENGTHS)


def pipeline(needs: ViewNeeds | None = None, *, mels: int | None = 16, **config: Any) -> AudioViews:
    audio = Audio(AudioConfig.model_validate({**DATA, "mels": mels}), {})
    views = audio.views(AudioViewsConfig.model_validate(config), needs or ViewNeeds())
    assert isinstance(views, AudioViews)
    return views


def run(views: AudioViews, which: slice = slice(0, B), step: int = 0) -> Batch:
    data = {"audio": rows_of(clips(), which)}
    return views(data, torch.arange(B)[which], seed=0, step=step, rows=which, global_batch=B)


@pytest.mark.parametrize("preset", list(PRESETS))
@pytest.mark.parametrize("mels", [16, None])
def test_views_are_finite_and_of_the_sizes_that_the_specs_say(
    preset: str, mels: int | None
) -> None:
    views = pipeline(ViewNeeds(local_views=2), mels=mels, preset=preset)
    batch = run(views)
    assert [view.role for view in batch] == ["global"] * 2 + ["local"] * 2
    whole, part = ((16, 41), (16, 20)) if mels else ((1600,), (800,))
    shapes = [tuple(view.tensor.shape) for view in batch]
    assert shapes == [(B, 1, *whole)] * 2 + [(B, 1, *part)] * 2
    assert views.spec.sides == whole
    assert [one.sides for one in views.local_specs] == [part]
    assert views.smallest == (16 if mels else None)
    for view in batch:
        assert view.tensor.dtype == torch.float32
        assert torch.isfinite(view.tensor).all()
        assert view.transform is not None
        assert view.transform.shape == (B, TRANSFORM_WIDTH)
        assert torch.isfinite(view.transform).all()


@pytest.mark.parametrize("mels", [16, None])
def test_two_parts_of_a_batch_are_the_whole(mels: int | None) -> None:
    views = pipeline(ViewNeeds(local_views=1), mels=mels, fade=0.5)
    whole = run(views, step=3)
    parts = [run(views, slice(0, 5), 3), run(views, slice(5, B), 3)]
    for place, view in enumerate(whole):
        both = [part.views[place] for part in parts]
        torch.testing.assert_close(view.tensor, torch.cat([one.tensor for one in both]))
        boxes = [one.box for one in both if one.box is not None]
        assert view.box is not None
        assert torch.equal(view.box, torch.cat(boxes))


def test_views_differ_by_step_and_view_and_are_drawn_again() -> None:
    views = pipeline()
    first, again, later = (run(views, step=step) for step in (0, 0, 1))
    for one, two in zip(first, again, strict=True):
        assert torch.equal(one.tensor, two.tensor)
    assert not torch.equal(first.views[0].tensor, first.views[1].tensor)
    assert not torch.equal(first.views[0].tensor, later.views[0].tensor)


@pytest.mark.parametrize("preset", ["simclr", "byol"])
@pytest.mark.parametrize("mels", [16, None])
def test_strength_zero_is_the_plain_row(preset: str, mels: int | None) -> None:
    views = pipeline(mels=mels, preset=preset, strength=0)
    plain = views.plain({"audio": clips()})
    for view in run(views):
        torch.testing.assert_close(view.tensor, plain)


def test_strength_scales_every_part_of_a_spec() -> None:
    spec = ViewSpec(
        speed=0.1,
        gain=6,
        noise=0.6,
        crop_mels=(0.6, 1.5),
        crop_time=(0.8, 1.0),
        fade=0.2,
        mask_mels=0.2,
        mask_time=0.5,
    )
    double, none = spec.scaled(2), spec.scaled(0)
    assert (double.speed, double.gain, double.noise) == (0.2, 12, 1.0)
    assert double.snr == (pytest.approx(5 - 6.02, abs=0.01), pytest.approx(30 - 6.02, abs=0.01))
    assert double.crop_mels == (pytest.approx(0.2), 2.0)
    assert double.crop_time == (pytest.approx(0.6), 1.0)
    assert (double.fade, double.mask_mels, double.mask_time, double.place) == (0.4, 0.4, 0.9, 1)
    assert (none.speed, none.gain, none.noise, none.fade, none.place) == (0, 0, 0, 0, 0)
    assert not none.is_cropped
    assert spec.scaled(1) is spec


def test_a_view_is_what_its_box_says() -> None:
    rows = torch.split(clips().values, LENGTHS.tolist())
    for view in run(pipeline(mels=None, **BARE)):
        assert view.box is not None
        for place in range(B):
            first, last = view.box[place].int().tolist()
            inside = slice(max(first, 0), min(last, int(LENGTHS[place])))
            found = view.tensor[place, 0, inside.start - first : inside.stop - first]
            assert last - first == 1600
            torch.testing.assert_close(found * 0.1, rows[place][inside])


def test_windows_cover_the_clip_evenly() -> None:
    count = 4000
    data = {"audio": Ragged(torch.zeros(count * 2000), torch.full((count,), 2000))}
    views = pipeline(ViewNeeds(global_views=1), mels=None, **BARE)
    batch = views(data, torch.arange(count), seed=0, step=0, global_batch=count)
    assert batch.views[0].box is not None
    starts = batch.views[0].box[:, 0]
    assert starts.min() == 0
    assert starts.max() in (399, 400)
    assert float(starts.mean()) == pytest.approx(200, abs=5)


def test_noise_is_as_far_below_the_signal_as_is_said() -> None:
    waves = torch.randn(4, 20_000, generator=torch.Generator().manual_seed(1)) * 0.3
    snr = torch.tensor([0.0, 10.0, 20.0, 5.0], dtype=torch.float64)
    noisy = torch.tensor([True, True, True, False])
    added = add_noise(waves, torch.arange(4), noisy, snr) - waves
    found = 10 * (waves.square().mean(1) / added.square().mean(1)).log10()
    torch.testing.assert_close(found[:3], snr[:3].float(), atol=0.1, rtol=0)
    assert not added[3].any()


def test_noise_is_normal_and_a_function_of_its_key() -> None:
    drawn = normal(torch.tensor([5, 6, 5]), 100_001)
    assert drawn.shape == (3, 100_001)
    assert torch.equal(drawn[0], drawn[2])
    assert abs(torch.corrcoef(drawn[:2])[0, 1]) < 0.02
    for row in drawn[:2]:
        assert float(row.mean()) == pytest.approx(0, abs=0.02)
        assert float(row.std()) == pytest.approx(1, abs=0.02)
        within = (row.abs() < 1).float().mean()
        assert float(within) == pytest.approx(math.erf(1 / math.sqrt(2)), abs=0.01)


def shares(*values: float) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


def test_a_crop_of_everything_changes_nothing_and_one_beyond_the_border_adds_zeros() -> None:
    levels = torch.randn(1, 8, 10, generator=torch.Generator().manual_seed(2))
    whole = crop(levels, top=shares(0), height=shares(1), left=shares(0), width=shares(1))
    torch.testing.assert_close(whole, levels)
    shifted = crop(levels, top=shares(0), height=shares(1), left=shares(-0.5), width=shares(1))
    torch.testing.assert_close(shifted[..., 5:], levels[..., :5])
    assert not shifted[..., :5].any()


def test_a_crop_is_the_interpolation_of_its_part() -> None:
    levels = torch.randn(1, 8, 12, generator=torch.Generator().manual_seed(3))
    found = crop(levels, top=shares(0), height=shares(1), left=shares(0.25), width=shares(0.5))
    want = torch.nn.functional.interpolate(levels[:, :, 3:9], size=12, mode="linear")
    torch.testing.assert_close(found[..., 1:-1], want[..., 1:-1])
    constant = crop(
        torch.ones(1, 8, 12),
        top=shares(0.1),
        height=shares(0.6),
        left=shares(0.3),
        width=shares(0.4),
    )
    torch.testing.assert_close(constant, torch.ones(1, 8, 12))


def test_a_fade_is_a_line_over_time() -> None:
    found = add_fade(torch.zeros(2, 3, 5), torch.tensor([[1.0, 0.0], [-1.0, 2.0]]))
    torch.testing.assert_close(found[0, 0], torch.tensor([1, 0.5, 0, -0.5, -1]))
    torch.testing.assert_close(found[1, 2], torch.tensor([0, 0.5, 1, 1.5, 2]))


def test_hidden_parts_are_where_the_shares_say() -> None:
    masks = torch.tensor([[0.0], [0.25], [0.5], [0.7]], dtype=torch.float64)
    found = hide(torch.ones(1, 8, 10), masks)
    hidden = torch.zeros(8, 10, dtype=torch.bool)
    hidden[:2], hidden[:, 5:7] = True, True
    assert torch.equal(found[0] == 0, hidden)


def test_draws_are_inside_of_their_ranges() -> None:
    spec = ViewSpec(
        speed=0.1,
        speed_prob=1.0,
        gain=6.0,
        noise=0.5,
        crop_mels=(0.6, 1.5),
        crop_time=(0.6, 1.5),
        fade=1.0,
        mask_mels=0.2,
        mask_time=0.3,
    )
    (one,) = draw(
        [spec],
        rows=slice(0, 4000),
        global_batch=4000,
        stream=generator(0, 0),
        device=torch.device("cpu"),
    )
    assert (float(one.speed.min()), float(one.speed.max())) == pytest.approx((0.9, 1.1), abs=1e-3)
    decibels = 20 * one.gain.log10()
    assert (float(decibels.min()), float(decibels.max())) == pytest.approx((-6, 6), abs=0.02)
    assert float(one.noisy.double().mean()) == pytest.approx(0.5, abs=0.03)
    assert float(one.height.max()) == 1.0  # bands have no canvas around them
    assert float(one.top.min()) >= 0
    assert float((one.top + one.height).max()) <= 1 + 1e-12
    assert float(one.width.max()) == pytest.approx(1.5, abs=1e-2)
    assert float(one.left.min()) >= -0.25
    assert float((one.left + one.width).max()) <= 1.25 + 1e-12
    widths = one.masks[1::2] - one.masks[::2]
    assert widths.amax(1).tolist() == pytest.approx([0.2, 0.3], abs=1e-3)
    assert float(one.masks.max()) <= 1


def test_tokens_are_hidden_in_equal_number_in_every_row() -> None:
    needs = ViewNeeds(local_views=1, mask_ratio=0.5, mask_grid=(4, 10))
    for view, tokens in zip(run(pipeline(needs)), (40, 40, 16), strict=True):
        assert view.mask is not None
        assert view.mask.shape == (B, tokens)
        assert (view.mask.sum(1) == tokens // 2).all()
    with pytest.raises(ConfigError, match="masks tokens, which the encoder lacks"):
        pipeline(ViewNeeds(mask_ratio=0.5))


def test_settings_override_the_preset_and_are_checked() -> None:
    views = pipeline(gain=3.0, mask_time=0.0, crop_time=(0.7, 0.9), local_seconds=0.2)
    assert {(one.gain, one.mask_time, one.crop_time) for one in views.specs} == {
        (3.0, 0.0, (0.7, 0.9))
    }
    with pytest.raises(ValueError, match=r"snr must ascend: write \[3.0, 9.0\]"):
        AudioViewsConfig(snr=(9.0, 3.0))
    with pytest.raises(ConfigError, match="no preset is named 'simclrr'"):
        pipeline(ViewNeeds(preset="simclrr"))


def test_rows_that_are_no_part_of_the_batch_are_refused() -> None:
    data = {"audio": clips()}
    with pytest.raises(ValueError, match="12 samples are not rows 0:4 of 12"):
        pipeline()(data, torch.arange(B), seed=0, step=0, rows=slice(0, 4), global_batch=B)


@pytest.mark.parametrize("mels", [16, None])
def test_views_are_shown_as_spectrograms(mels: int | None) -> None:
    views = pipeline(mels=mels)
    shown = views.shown(run(views).views[0])
    assert shown.shape == (B, 3, 64, 64)
    assert 0 <= float(shown.min()) < float(shown.max()) <= 1


def test_byol_has_the_numbers_of_byol_a() -> None:
    (view,) = PRESETS["byol"].views
    assert (view.crop_mels, view.crop_time, view.fade) == ((0.6, 1.5), (0.6, 1.5), 1.0)
    assert (view.mix, view.noise) == (0.4, 0.0)
    assert {one.mix for name in PRESETS if name != "byol" for one in PRESETS[name].views} == {0.0}
    data = AudioConfig(source="x")
    assert Audio(data, {}).spec == Spec("grid", 1, (64, 96))
