"""Settings of the views: presets, overrides, and the sizes and values that are refused."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from manta.batch import ViewNeeds
from manta.errors import ConfigError
from manta.modalities.image.views import ImageViewsConfig, specify


def test_auto_takes_the_objectives_preset_and_its_asymmetry() -> None:
    first, second, third = specify(
        ImageViewsConfig(), ViewNeeds("byol", global_views=3), image_size=224
    )
    assert (first.blur, first.solarize) == (1.0, 0.0)
    assert (second.blur, second.solarize) == (0.1, 0.2)
    assert third == first
    (chosen, _) = specify(ImageViewsConfig(preset="simclr"), ViewNeeds("byol"), image_size=224)
    assert (chosen.jitter, chosen.blur) == ((0.8, 0.8, 0.8, 0.2), 0.5)
    with pytest.raises(ConfigError, match="known: simclr, byol, multicrop, plain"):
        specify(ImageViewsConfig(), ViewNeeds("nonsense"), image_size=32)


@pytest.mark.parametrize(
    ("size", "override", "expected"), [(64, None, 0.0), (64, 0.5, 0.5), (65, None, 0.5)]
)
def test_small_images_are_not_blurred_by_default(
    size: int, override: float | None, expected: float
) -> None:
    (spec,) = specify(ImageViewsConfig(blur=override), ViewNeeds("simclr", 1), image_size=size)
    assert spec.blur == expected


@pytest.mark.parametrize(
    ("size", "local"), [(32, 16), (64, 32), (96, 48), (128, 48), (224, 96), (384, 160)]
)
def test_local_views_have_a_size_that_patches_tile(size: int, local: int) -> None:
    needs = ViewNeeds("multicrop", local_views=2)
    assert [spec.size for spec in specify(ImageViewsConfig(), needs, image_size=size)] == [
        size,
        size,
        local,
        local,
    ]
    assert specify(ImageViewsConfig(local_size=24), needs, image_size=size)[-1].size == 24


def test_crop_overrides_keep_to_their_kind_of_view() -> None:
    needs = ViewNeeds("multicrop", 1, 1)
    whole, local = specify(ImageViewsConfig(crop_scale=(0.5, 0.9)), needs, image_size=224)
    assert (whole.crop, local.crop) == ((0.5, 0.9), (0.05, 0.4))
    whole, local = specify(ImageViewsConfig(local_crop_scale=(0.1, 0.2)), needs, image_size=224)
    assert (whole.crop, local.crop) == ((0.4, 1.0), (0.1, 0.2))


@pytest.mark.parametrize(
    "wrong",
    [
        {"preset": "simclear"},
        {"strength": -0.1},
        {"crop_scale": (0.0, 1.0)},
        {"crop_scale": (0.9, 0.5)},
        {"flip": 1.1},
        {"jitter": (0.4, 0.4, 0.4, 0.6)},
        {"std": (0.2, 0.0, 0.2)},
        {"local_views": 4},
    ],
    ids=str,
)
def test_wrong_values_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        ImageViewsConfig.model_validate(wrong)


def test_config_survives_its_json() -> None:
    config = ImageViewsConfig(
        preset="byol",
        strength=0.5,
        crop_scale=(0.3, 1.0),
        jitter=(0.1, 0.2, 0.3, 0.4),
        mean=(0.5, 0.5, 0.5),
    )
    assert ImageViewsConfig.model_validate_json(config.model_dump_json()) == config


def test_every_field_explains_itself() -> None:
    assert all(field.description for field in ImageViewsConfig.model_fields.values())
