"""Settings of the views of series: presets, overrides, and one strength over all of them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Annotated, Literal

from pydantic import Field

from manta.batch import Role, ViewNeeds
from manta.views import Preset, ViewsConfig, same_windows, specified

MOST_SEGMENTS = 5
"""Segments that a window is cut into at most before they change places."""
SMALLEST_CROP = 0.05
"""Least share of a row to which `strength` shrinks crops."""
Range = tuple[float, float]


@dataclass(frozen=True, slots=True)
class ViewSpec:
    """The distribution that one view is drawn from.

    Attributes:
        length: that the view is stretched to; None: as many values as the crop has.
        crop: range of the crop's length as a share of the row's.
        jitter: deviation of noise, in deviations of the data.
        scale: deviation from 1 of each channel's factor.
        jitter_prob, scale_prob, reverse: probabilities.
        permute: probability that 2 to 5 segments change places.
        frequency: probability that a band of frequencies is taken out.
        band: widest band, as a share of all frequencies.
    """

    role: Role = "global"
    length: int | None = None
    crop: Range = (0.5, 1.0)
    jitter: float = 0.0
    jitter_prob: float = 0.8
    scale: float = 0.0
    scale_prob: float = 0.8
    permute: float = 0.0
    reverse: float = 0.0
    frequency: float = 0.0
    band: float = 0.2

    def scaled(self, strength: float) -> ViewSpec:
        """Return this view at `strength`: 1 leaves it, 0 is the whole row, above 1 is harder.

        Magnitudes and the probabilities of permutation and of a band's loss grow with it up to
        their limits. The largest crop and the reversal change only below 1.
        """
        if strength == 1:
            return self
        gentle = min(strength, 1.0)
        low, high = self.crop
        smallest = max(1 - (1 - low) * strength, min(low, SMALLEST_CROP))
        return replace(
            self,
            crop=(smallest, 1 - (1 - high) * gentle),
            jitter=self.jitter * strength,
            scale=self.scale * strength,
            permute=min(self.permute * strength, 1.0),
            reverse=self.reverse * gentle,
            frequency=min(self.frequency * strength, 1.0),
        )

    def clean(self) -> ViewSpec:
        """Return the window alone, for a target."""
        return ViewSpec("target", self.length, self.crop)

    def in_window_of(self, other: ViewSpec) -> ViewSpec:
        """Return this view in the very window of another, in its order and direction."""
        return replace(self, crop=other.crop, permute=other.permute, reverse=other.reverse)


def _preset(about: str, *views: ViewSpec) -> Preset[ViewSpec]:
    local = replace(views[0], role="local", crop=(0.2, 0.5), permute=0.0)
    return Preset(views, local, about)


_WEAK = ViewSpec(crop=(0.8, 1.0), jitter=0.3, scale=0.5)

PRESETS: dict[str, Preset[ViewSpec]] = {
    "simclr": _preset(
        "Two alike: crops (as in TS2Vec, Yue et al. 2022, each stretched by itself), jitter and "
        "scaling (Um et al. 2017), and a band of frequencies lost (TF-C, Zhang et al. 2022).",
        replace(_WEAK, frequency=0.3),
    ),
    "byol": _preset(
        "Two unlike, as TS-TCC's (Eldele et al. 2021): one crop with jitter and scaling, one whose "
        "segments also change places.",
        _WEAK,
        replace(_WEAK, permute=0.5, frequency=0.3),
    ),
    "multicrop": _preset(
        "Large crops, and short windows of them, after DINO (Caron et al. 2021).",
        _WEAK,
        replace(_WEAK, frequency=0.3),
    ),
    "plain": _preset("A crop and nothing else.", ViewSpec(crop=(0.8, 1.0))),
}

Probability = Annotated[float, Field(ge=0, le=1)]
Share = Annotated[float, Field(gt=0, le=1)]
Amount = Annotated[float, Field(ge=0)]


class SeriesViewsConfig(ViewsConfig):
    """Settings of the augmentation of series.

    None leaves a value to the preset; `strength` scales preset and overrides alike.
    """

    ranges = ("crop", "local_crop")
    name: Literal["series"] = Field("series", description="which view pipeline: that of series")
    strength: float = Field(
        1.0, ge=0, description="scales the whole preset: 0 the whole row, 1 the preset, 2 double"
    )
    stretch: bool = Field(
        True,
        description="every crop is stretched to one length, where rows have one; false: crops keep "
        "their own lengths, as TS2Vec's do",
    )
    crop: tuple[Share, Share] | None = Field(
        None, description="length of global crops, share of the row"
    )
    local_crop: tuple[Share, Share] | None = Field(
        None, description="length of local crops, share of the row"
    )
    local_length: int | None = Field(
        None, ge=2, description="values that local views are stretched to; None: half as many"
    )
    jitter: Amount | None = Field(None, description="deviation of noise, in those of the data")
    jitter_prob: Probability | None = Field(None, description="probability of noise")
    scale: Amount | None = Field(None, description="deviation of each channel's factor from 1")
    scale_prob: Probability | None = Field(None, description="probability of scaling")
    permute: Probability | None = Field(
        None, description="probability that 2 to 5 segments change places"
    )
    reverse: Probability | None = Field(None, description="probability that time runs backwards")
    frequency: Probability | None = Field(
        None, description="probability that a band of frequencies is taken out"
    )
    band: Share | None = Field(None, description="widest such band, share of all frequencies")


_OVERRIDES = (
    *("jitter", "jitter_prob", "scale", "scale_prob"),
    *("permute", "reverse", "frequency", "band"),
)


def specify(
    config: SeriesViewsConfig, needs: ViewNeeds, *, length: int | None
) -> tuple[ViewSpec, ...]:
    """Return one spec for each view that the objective asks for.

    Each is the preset, then overrides, then strength.

    Args:
        length: of global views; None: that of each crop.

    Raises:
        ConfigError: the objective names a preset that does not exist.
    """
    local_length = None if length is None else config.local_length or max(length // 2, 1)

    def adapted(view: ViewSpec) -> ViewSpec:
        own = length if view.role == "global" else local_length
        return _overridden(replace(view, length=own), config)

    specs = list(specified(config, needs, PRESETS, adapted, ViewSpec.clean))
    for view, (ask, of) in enumerate(zip(needs.asks, same_windows(needs.asks), strict=True)):
        if ask.length is not None:
            specs[view] = replace(specs[view], crop=(ask.length, ask.length))
        specs[view] = specs[view].in_window_of(specs[of])
    return tuple(specs)


def _overridden(view: ViewSpec, config: SeriesViewsConfig) -> ViewSpec:
    """Return the view with the overrides of `config`."""
    crop = config.crop if view.role == "global" else config.local_crop
    values = {name: getattr(config, name) for name in _OVERRIDES} | {"crop": crop}
    return replace(view, **{name: value for name, value in values.items() if value is not None})
