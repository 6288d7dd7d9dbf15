"""The view pipeline: determinism, independence of ranks, strength, masks, and the config."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torchvision.transforms.v2 import functional as tv

from manta.batch import Batch, ViewNeeds
from manta.errors import ConfigError
from manta.modalities.image.views import PRESETS, ImageViews, ImageViewsConfig, ViewSpec

B, SIZE = 24, 32


def pictures(batch: int = B, height: int = SIZE, width: int = SIZE) -> Tensor:
    """Return smooth random images: noise at an eighth of the size, enlarged."""
    noise = torch.rand(
        batch, 3, height // 8, width // 8, generator=torch.Generator().manual_seed(11)
    )
    smooth: Tensor = tv.resize(noise, [height, width], antialias=True)
    return (smooth.clamp(0, 1) * 255).round().to(torch.uint8)


def pipeline(
    needs: ViewNeeds | None = None, image_size: int = SIZE, **config: object
) -> ImageViews:
    return ImageViews(
        ImageViewsConfig.model_validate(config), needs or ViewNeeds(), image_size=image_size
    )


def run(
    views: ImageViews, images: Tensor, *, seed: int = 0, step: int = 0, rows: slice | None = None
) -> Batch:
    index = torch.arange(len(images))
    return views(
        {"image": images if rows is None else images[rows]},
        index if rows is None else index[rows],
        seed=seed,
        step=step,
        rows=rows,
        global_batch=len(images),
    )


@pytest.mark.parametrize("preset", list(PRESETS))
def test_views_are_finite_float32_of_the_needed_shape_and_role(preset: str) -> None:
    needs = ViewNeeds(global_views=2, local_views=3)
    batch = run(pipeline(needs, preset=preset, blur=0.5), pictures(height=40, width=48))
    assert [view.role for view in batch] == ["global"] * 2 + ["local"] * 3
    assert [tuple(view.data.shape) for view in batch] == [(B, 3, 32, 32)] * 2 + [(B, 3, 16, 16)] * 3
    assert torch.equal(batch.index, torch.arange(B))
    for view in batch:
        assert view.data.dtype == torch.float32
        assert torch.isfinite(view.data).all()
        assert view.box is not None
        assert view.flip is not None
        assert (view.box.shape, view.flip.shape, view.flip.dtype) == ((B, 4), (B,), torch.bool)
        assert view.mask is None


def test_box_and_flip_say_where_the_pixels_come_from() -> None:
    images = pictures(height=40, width=48)
    views = pipeline(preset="plain")
    for view in run(views, images):
        assert view.box is not None
        assert view.flip is not None
        assert 0 < int(view.flip.sum()) < B
        for image, data, box, flip in zip(
            images, views.denormalise(view.data), view.box, view.flip, strict=True
        ):
            left, top, right, bottom = box.int().tolist()
            crop = tv.resized_crop(
                image / 255, top, left, bottom - top, right - left, [SIZE, SIZE], antialias=True
            )
            torch.testing.assert_close(
                data, tv.horizontal_flip(crop) if flip else crop, atol=1e-4, rtol=0
            )


def test_same_seed_and_step_give_the_same_bits_and_others_do_not() -> None:
    views, images = pipeline(), pictures()
    reference, again = run(views, images, seed=3, step=5), run(pipeline(), images, seed=3, step=5)
    for first, second in zip(reference, again, strict=True):
        assert torch.equal(first.data, second.data)
    for other in (
        run(views, images, seed=3, step=6),
        run(views, images, seed=4, step=5),
        run(views, images, seed=5, step=3),
    ):
        assert not torch.equal(reference.views[0].data, other.views[0].data)
    assert not torch.equal(reference.views[0].data, reference.views[1].data)


def test_the_global_generator_is_left_alone() -> None:
    torch.manual_seed(0)
    before = torch.get_rng_state()
    run(pipeline(ViewNeeds(mask_ratio=0.5, mask_grid=(4, 4))), pictures())
    assert torch.equal(before, torch.get_rng_state())


@pytest.mark.parametrize("ranks", [2, 4])
@pytest.mark.parametrize("preset", ["simclr", "multicrop"])
def test_views_do_not_depend_on_the_number_of_ranks(preset: str, ranks: int) -> None:
    needs = ViewNeeds(local_views=2, mask_ratio=0.75, mask_grid=(8, 8))
    views, images = pipeline(needs, preset=preset, blur=0.5), pictures()
    whole, part = run(views, images, seed=1, step=9), B // ranks
    for rank in range(ranks):
        rows = slice(rank * part, (rank + 1) * part)
        own = run(views, images, seed=1, step=9, rows=rows)
        assert torch.equal(own.index, whole.index[rows])
        for mine, all_of_it in zip(own, whole, strict=True):
            for name in ("data", "box", "flip", "mask"):
                assert torch.equal(getattr(mine, name), getattr(all_of_it, name)[rows]), name


def test_rows_that_do_not_match_the_images_are_refused() -> None:
    data, rows = {"image": pictures()}, slice(0, 12)
    with pytest.raises(ValueError, match="24 samples are not rows 0:12 of 48"):
        pipeline()(data, torch.arange(B), seed=0, step=0, rows=rows, global_batch=48)


def test_every_sample_gets_its_own_draw() -> None:
    images = pictures(1).expand(64, -1, -1, -1).contiguous()
    data = run(pipeline(preset="byol"), images).views[1].data.flatten(1)
    distances = torch.cdist(data, data)
    assert (distances[~torch.eye(64, dtype=torch.bool)] > 1).all()


def test_probabilities_are_those_of_the_config() -> None:
    images = torch.arange(256, dtype=torch.uint8).view(1, 1, 16, 16).repeat(4000, 3, 1, 1)
    images[:, 1] //= 2  # coloured, so that grayscale shows
    config = {
        "crop_scale": (1.0, 1.0),
        "flip": 0.3,
        "jitter_prob": 0.0,
        "grayscale": 0.2,
        "solarize": 0.25,
    }
    views = pipeline(ViewNeeds(global_views=1), 16, preset="simclr", **config)
    (view,) = run(views, images)
    pixels = views.denormalise(view.data)
    grey = (pixels[:, 0] - pixels[:, 1]).abs().amax((1, 2)) < 1e-4
    solarized = pixels[:, 0].amax((1, 2)) < 0.6
    assert view.flip is not None
    # Four standard errors of 4000 draws are at most 0.03.
    assert view.flip.float().mean().item() == pytest.approx(0.3, abs=0.03)
    assert grey.float().mean().item() == pytest.approx(0.2, abs=0.03)
    assert solarized.float().mean().item() == pytest.approx(0.25, abs=0.03)
    # Independent of one another: a quarter of the greys is solarized, as is a quarter of the
    # flipped.
    assert (grey & solarized).float().mean().item() == pytest.approx(0.05, abs=0.015)
    assert (view.flip & solarized).float().mean().item() == pytest.approx(0.075, abs=0.018)


def test_brightness_is_uniform_within_its_bounds() -> None:
    images = torch.full((4000, 3, 8, 8), 100, dtype=torch.uint8)
    views = pipeline(
        ViewNeeds(global_views=1), 8, preset="plain", jitter=(0.4, 0, 0, 0), jitter_prob=0.75
    )
    (view,) = run(views, images)
    factors = views.denormalise(view.data)[:, 0, 0, 0] * 255 / 100
    changed = (factors - 1).abs() > 1e-5
    assert changed.float().mean().item() == pytest.approx(0.75, abs=0.03)
    assert factors.min().item() == pytest.approx(0.6, abs=0.005)
    assert factors.max().item() == pytest.approx(1.4, abs=0.005)
    assert factors[changed].std().item() == pytest.approx(0.8 / 12**0.5, abs=0.01)


@pytest.mark.parametrize("preset", list(PRESETS))
def test_strength_zero_is_the_plain_resize(preset: str) -> None:
    images = pictures(height=48, width=40)
    views = pipeline(preset=preset, strength=0, blur=1.0)
    for view in run(views, images):
        torch.testing.assert_close(view.data, views.plain({"image": images}), atol=1e-4, rtol=0)


@settings(deadline=None)
@given(
    st.sampled_from(
        [view for preset in PRESETS.values() for view in (*preset.views, preset.local)]
    ),
    st.data(),
)
def test_every_magnitude_grows_with_strength(spec: ViewSpec, data: st.DataObject) -> None:
    low, high = sorted((data.draw(st.floats(0, 4)), data.draw(st.floats(0, 4))))
    weak, strong = spec.scaled(low), spec.scaled(high)
    for name in ("flip", "grayscale", "blur", "solarize"):
        assert 0 <= getattr(weak, name) <= getattr(strong, name) <= 1
    assert all(a <= b for a, b in zip(weak.jitter, strong.jitter, strict=True))
    assert strong.jitter[3] <= 0.5
    assert weak.crop[0] >= strong.crop[0] > 0
    assert weak.crop[1] >= strong.crop[1] >= strong.crop[0]
    assert spec.scaled(1.0) == spec


def test_strength_scales_by_the_stated_amounts() -> None:
    spec = ViewSpec(
        crop=(0.2, 0.8),
        flip=0.5,
        jitter=(0.8, 0.4, 0.2, 0.3),
        grayscale=0.2,
        blur=0.7,
        solarize=0.1,
    )
    half, double = spec.scaled(0.5), spec.scaled(2.0)
    assert half.crop == pytest.approx((0.6, 0.9))
    assert (half.flip, half.grayscale, half.blur, half.solarize) == pytest.approx(
        (0.25, 0.1, 0.35, 0.05)
    )
    assert half.jitter == pytest.approx((0.4, 0.2, 0.1, 0.15))
    assert double.crop == pytest.approx((0.02, 0.8))
    assert (double.flip, double.grayscale, double.blur, double.solarize) == pytest.approx(
        (0.5, 0.4, 1.0, 0.2)
    )
    assert double.jitter == pytest.approx((1.6, 0.8, 0.4, 0.5))


def test_strength_changes_the_images_more_and_more() -> None:
    images = pictures(64)
    distances = []
    for strength in (0.0, 0.3, 1.0, 2.0):
        views = pipeline(preset="simclr", strength=strength)
        distances.append(
            (run(views, images).views[0].data - views.plain({"image": images}))
            .square()
            .mean()
            .item()
        )
    assert distances[0] < 1e-6
    assert distances == sorted(distances)
    assert distances[2] > 2 * distances[1]


@settings(deadline=None)
@given(ratio=st.floats(0, 1), rows=st.integers(1, 12), columns=st.integers(1, 12))
def test_every_row_of_a_mask_hides_the_same_number(ratio: float, rows: int, columns: int) -> None:
    views = pipeline(ViewNeeds("plain", 1, mask_ratio=ratio, mask_grid=(rows, columns)), 8)
    (view,) = run(views, pictures(5, 8, 8))
    assert view.mask is not None
    assert view.mask.shape == (5, rows * columns)
    assert view.mask.sum(1).tolist() == [round(ratio * rows * columns)] * 5


def test_masks_hide_every_token_equally_often_and_differ_between_views() -> None:
    views = pipeline(ViewNeeds("plain", 2, mask_ratio=0.75, mask_grid=(4, 4)), 8)
    first, second = run(views, pictures(2000, 8, 8))
    assert first.mask is not None
    assert second.mask is not None
    assert not torch.equal(first.mask, second.mask)
    assert (first.mask.float().mean(0) - 0.75).abs().max().item() < 0.04


def test_masks_of_local_views_fit_their_size() -> None:
    needs = ViewNeeds("multicrop", 1, 1, mask_ratio=0.5, mask_grid=(8, 8))
    whole, local = run(pipeline(needs), pictures())
    assert whole.mask is not None
    assert local.mask is not None
    assert (whole.mask.shape[1], local.mask.shape[1]) == (64, 16)


def test_masks_without_tokens_are_refused() -> None:
    with pytest.raises(ConfigError, match="choose a vision transformer"):
        pipeline(ViewNeeds(mask_ratio=0.75))


def test_plain_resizes_and_normalises_and_denormalise_undoes_it() -> None:
    images = pictures(height=48, width=40)
    views = pipeline(mean=(0.1, 0.2, 0.3), std=(0.5, 0.6, 0.7))
    expected = tv.normalize(
        tv.resize(images / 255, [SIZE, SIZE], antialias=True), (0.1, 0.2, 0.3), (0.5, 0.6, 0.7)
    )
    torch.testing.assert_close(views.plain({"image": images}), expected, atol=1e-5, rtol=0)
    same = pictures()
    torch.testing.assert_close(
        views.denormalise(views.plain({"image": same})), same / 255, atol=1e-6, rtol=0
    )
    imagenet = tv.normalize(same / 255, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    torch.testing.assert_close(pipeline().plain({"image": same}), imagenet, atol=1e-6, rtol=0)


def test_autocast_and_the_input_are_left_alone() -> None:
    views, images = pipeline(), pictures()
    before, outside = images.clone(), run(views, images)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = run(views, images)
    assert torch.equal(inside.views[0].data, outside.views[0].data)
    assert torch.equal(images, before)


def test_memory_layout_of_the_images_does_not_matter() -> None:
    views, images = pipeline(), pictures()
    strided = images.contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(run(views, strided).views[0].data, run(views, images).views[0].data)
