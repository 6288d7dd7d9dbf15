"""Settings of the views: presets from papers, overrides, and one strength over all of them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Annotated, Literal, TypeVar

from pydantic import Field

from manta.batch import Role, ViewNeeds
from manta.views import Preset, ViewsConfig, same_windows, specified

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
UNBLURRED_SIZE = 64
"""Largest side that is not blurred by default: SimCLR has no blur on CIFAR-10 (appendix B.9)."""
SMALLEST_CROP = 0.02
"""Least area, as a fraction of the image, to which `strength` shrinks crops."""

_T = TypeVar("_T")
Range = tuple[float, float]
Jitter = tuple[float, float, float, float]


@dataclass(frozen=True, slots=True)
class ViewSpec:
    """The distribution that one view is drawn from.

    Attributes:
        size: side in pixels.
        crop: range of the crop's area as a fraction of the image.
        jitter: brightness, contrast, saturation (factors from 1 - j to 1 + j) and hue (turns from
            -j to j).
        flip, jitter_prob, grayscale, blur, solarize: probabilities.
        batch_style: probability that the view's whole batch takes the style of one of its images.
        style_area: range of the area of the spectrum, around frequency 0, that is the style.
    """

    role: Role = "global"
    size: int = 224
    crop: Range = (0.2, 1.0)
    flip: float = 0.5
    jitter: Jitter = (0.0, 0.0, 0.0, 0.0)
    jitter_prob: float = 0.0
    grayscale: float = 0.0
    blur: float = 0.0
    solarize: float = 0.0
    batch_style: float = 0.0
    style_area: Range = (0.02, 1.0)

    def scaled(self, strength: float) -> ViewSpec:
        """Return this view at `strength`: 1 leaves it, 0 is the plain resize, above 1 is harder.

        Magnitudes and the probabilities of grayscale, blur, solarize and batch style grow with it
        up to their limits. The largest crop and the flip change only below 1: cropping everything
        away or always flipping is not a stronger augmentation.
        """
        if strength == 1:
            return self
        gentle = min(strength, 1.0)
        low, high = self.crop
        smallest = max(1 - (1 - low) * strength, min(low, SMALLEST_CROP))
        brightness, contrast, saturation, hue = (amount * strength for amount in self.jitter)
        return replace(
            self,
            crop=(smallest, 1 - (1 - high) * gentle),
            flip=self.flip * gentle,
            jitter=(brightness, contrast, saturation, min(hue, 0.5)),
            grayscale=min(self.grayscale * strength, 1.0),
            blur=min(self.blur * strength, 1.0),
            solarize=min(self.solarize * strength, 1.0),
            batch_style=min(self.batch_style * strength, 1.0),
        )

    def clean(self) -> ViewSpec:
        """Return the crop alone, for a target."""
        return ViewSpec("target", self.size, self.crop, flip=0.0)

    def in_window_of(self, other: ViewSpec) -> ViewSpec:
        """Return this view in the very crop of another, mirrored as it is."""
        return replace(self, crop=other.crop, flip=other.flip)


def _preset(about: str, *views: ViewSpec, local_blur: float = 0.0) -> Preset[ViewSpec]:
    """Return a preset whose local views differ from the first global view in three settings.

    These are their crop, which is DINO's, their blur, and that nothing is solarized.
    """
    local = replace(views[0], role="local", crop=(0.05, 0.4), blur=local_blur, solarize=0.0)
    return Preset(views, local, about)


_SIMCLR = ViewSpec(jitter=(0.8, 0.8, 0.8, 0.2), jitter_prob=0.8, grayscale=0.2, blur=0.5)
_BYOL = ViewSpec(
    crop=(0.08, 1.0), jitter=(0.4, 0.4, 0.2, 0.1), jitter_prob=0.8, grayscale=0.2, blur=1.0
)
_DINO = replace(_BYOL, crop=(0.4, 1.0))

PRESETS: dict[str, Preset[ViewSpec]] = {
    "simclr": _preset(
        "Chen et al. 2020 (SimCLR), appendix A, but for the smallest crop: 0.2 as in MoCo v2, "
        "where SimCLR has 0.08, which leaves 9 pixels a side at 32 px.",
        _SIMCLR,
        local_blur=0.5,
    ),
    "byol": _preset(
        "Grill et al. 2020 (BYOL), table 6: the second view is blurred less and solarized more.",
        _BYOL,
        replace(_BYOL, blur=0.1, solarize=0.2),
        local_blur=0.5,
    ),
    "multicrop": _preset(
        "Caron et al. 2021 (DINO), after SwAV's multi-crop: large crops, and small ones of them.",
        _DINO,
        replace(_DINO, blur=0.1, solarize=0.2),
        local_blur=0.5,
    ),
    "plain": _preset("He et al. 2022 (MAE): a crop and a flip, no change of colour.", ViewSpec()),
}

Probability = Annotated[float, Field(ge=0, le=1)]
Area = Annotated[float, Field(gt=0, le=1)]
Amount = Annotated[float, Field(ge=0)]


class ImageViewsConfig(ViewsConfig):
    """Settings of the augmentation.

    None leaves a value to the preset; `strength` scales preset and overrides alike.
    """

    ranges = ("crop_scale", "local_crop_scale", "batch_style_area")
    name: Literal["image"] = Field("image", description="which view pipeline: that of images")
    strength: float = Field(
        1.0, ge=0, description="scales the whole preset: 0 a plain resize, 1 the preset, 2 double"
    )
    crop_scale: tuple[Area, Area] | None = Field(
        None, description="area of global crops, fraction of the image"
    )
    local_crop_scale: tuple[Area, Area] | None = Field(
        None, description="area of local crops, fraction of the image"
    )
    local_size: int | None = Field(
        None,
        ge=4,
        description="side of local views in pixels; None: half up to 96 px, above 3/7 to a "
        "multiple of 16",
    )
    flip: Probability | None = Field(None, description="probability of a horizontal flip")
    jitter: tuple[Amount, Amount, Amount, Annotated[float, Field(ge=0, le=0.5)]] | None = Field(
        None,
        description="brightness, contrast, saturation (factors 1-j to 1+j), hue (turns -j to j, "
        "at most 0.5)",
    )
    jitter_prob: Probability | None = Field(None, description="probability of colour jitter")
    grayscale: Probability | None = Field(None, description="probability of losing all colour")
    blur: Probability | None = Field(
        None,
        description="probability of Gaussian blur; None: the preset's, and none up to "
        f"{UNBLURRED_SIZE} px",
    )
    solarize: Probability | None = Field(
        None, description="probability of inverting what is brighter than half"
    )
    batch_style: Probability = Field(
        0.0,
        description="probability that a view gives all images of its batch the style of one of "
        "them (Scalbert et al. 2024): for features that do not depend on where an image comes from",
    )
    batch_style_area: tuple[Area, Area] = Field(
        (0.02, 1.0),
        description="area of the spectrum that counts as style, drawn for each view from this "
        "range",
    )
    mean: tuple[float, float, float] | None = Field(
        None, description="subtracted, RGB in 0..1; None: ImageNet's"
    )
    std: tuple[Area, Area, Area] | None = Field(
        None, description="divided by, RGB in 0..1; None: ImageNet's"
    )


def specify(config: ImageViewsConfig, needs: ViewNeeds, *, image_size: int) -> tuple[ViewSpec, ...]:
    """Return one spec for each view that the objective asks for.

    Each is the preset, then overrides, then strength.

    Raises:
        ConfigError: the objective names a preset that does not exist.
    """
    local_size = config.local_size or _local_size(image_size)

    def adapted(view: ViewSpec) -> ViewSpec:
        size = image_size if view.role == "global" else local_size
        return _overridden(replace(view, size=size), config, image_size)

    specs = specified(config, needs, PRESETS, adapted, ViewSpec.clean)
    windows = [specs[of] for of in same_windows(needs.asks)]
    return tuple(spec.in_window_of(of) for spec, of in zip(specs, windows, strict=True))


def _overridden(view: ViewSpec, config: ImageViewsConfig, image_size: int) -> ViewSpec:
    """Return the view with the overrides of `config`."""
    crop = config.crop_scale if view.role == "global" else config.local_crop_scale
    preset_blur = view.blur if image_size > UNBLURRED_SIZE else 0.0
    return replace(
        view,
        crop=_or(crop, view.crop),
        flip=_or(config.flip, view.flip),
        jitter=_or(config.jitter, view.jitter),
        # An override of only the amounts must show: a preset without jitter has probability 0.
        jitter_prob=_or(config.jitter_prob, view.jitter_prob or (0.8 if config.jitter else 0.0)),
        grayscale=_or(config.grayscale, view.grayscale),
        blur=_or(config.blur, preset_blur),
        solarize=_or(config.solarize, view.solarize),
        batch_style=config.batch_style,
        style_area=config.batch_style_area,
    )


def _or(override: _T | None, preset: _T) -> _T:
    return preset if override is None else override


def _local_size(image_size: int) -> int:
    """Return DINO's 96 for 224, scaled to a multiple of 16; half of an image of up to 96 px.

    Half, so that patches of an eighth of the image tile the view.
    """
    if image_size <= 96:
        return max(image_size // 2, 1)
    return max(round(image_size * 3 / 7 / 16), 1) * 16
