"""Settings of the views of sentences: presets, overrides, and one strength over all of them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Annotated, Literal

from pydantic import Field

from manta.batch import Role, ViewNeeds
from manta.views import Preset, ViewsConfig, same_windows, specified

SMALLEST_CROP = 0.05
"""Least share of a row to which `strength` shrinks crops."""
_MOST = 0.9
"""Largest share of a row's tokens that `strength` changes in one way."""
Range = tuple[float, float]


@dataclass(frozen=True, slots=True)
class ViewSpec:
    """The distribution that one view is drawn from.

    Attributes:
        crop: range of the crop's length as a share of the row's.
        delete: share of the tokens that are left out, each by itself.
        mask: share of the tokens in whose place the mask stands, in stretches of `span`.
        span: tokens of such a stretch; shorter where the row is.
        replace: share of the tokens in whose place another one stands, drawn from all alike.
        shuffle: how far a token may move, in tokens.
    """

    role: Role = "global"
    crop: Range = (1.0, 1.0)
    delete: float = 0.0
    mask: float = 0.0
    span: int = 3
    replace: float = 0.0
    shuffle: float = 0.0

    def scaled(self, strength: float) -> ViewSpec:
        """Return this view at `strength`: 1 leaves it, 0 is the whole row, above 1 is harder.

        All shares and the distance grow with it; the largest crop changes only below 1.
        """
        if strength == 1:
            return self
        low, high = self.crop
        smallest = max(1 - (1 - low) * strength, min(low, SMALLEST_CROP))
        return replace(
            self,
            crop=(smallest, 1 - (1 - high) * min(strength, 1.0)),
            delete=min(self.delete * strength, _MOST),
            mask=min(self.mask * strength, _MOST),
            replace=min(self.replace * strength, _MOST),
            shuffle=self.shuffle * strength,
        )

    def clean(self) -> ViewSpec:
        """Return the window alone, for a target."""
        return ViewSpec("target", self.crop)

    def in_window_of(self, other: ViewSpec) -> ViewSpec:
        """Return this view in the very window of another, token by token."""
        return replace(self, crop=other.crop, delete=other.delete, shuffle=other.shuffle)


def _preset(about: str, *views: ViewSpec) -> Preset[ViewSpec]:
    return Preset(views, ViewSpec("local", crop=(0.3, 0.6)), about)


_WHOLE = ViewSpec()
_HALF = ViewSpec(delete=0.5)

PRESETS: dict[str, Preset[ViewSpec]] = {
    "simclr": _preset(
        "Two alike: a half of the tokens each, as CLEAR leaves out words (Wu et al. 2020; 0.7 of "
        "them). Crops, which lose how a question begins, were worse (docs/modalities.md).",
        _HALF,
    ),
    "byol": _preset(
        "Two unlike, as Mirror-BERT's (Liu et al. 2021): the whole sentence, and one with a masked "
        "stretch of tokens (theirs: letters); an encoder's dropout makes the rest.",
        _WHOLE,
        ViewSpec(mask=0.25, span=3),
    ),
    "multicrop": _preset(
        "A half of the tokens each, and short crops, after DINO (Caron et al. 2021).",
        _HALF,
        replace(_HALF, shuffle=3.0),
    ),
    "plain": _preset(
        "The sentence as it is: an encoder's dropout is all (SimCSE, Gao et al. 2021).", _WHOLE
    ),
}

Share = Annotated[float, Field(ge=0, lt=1)]
Part = Annotated[float, Field(gt=0, le=1)]


class TextViewsConfig(ViewsConfig):
    """Settings of the augmentation of sentences.

    None leaves a value to the preset; `strength` scales preset and overrides alike.
    """

    ranges = ("crop", "local_crop")
    name: Literal["text"] = Field("text", description="which view pipeline: that of sentences")
    strength: float = Field(
        1.0, ge=0, description="scales the whole preset: 0 the whole row, 1 the preset, 2 double"
    )
    crop: tuple[Part, Part] | None = Field(
        None, description="length of global crops, share of the row's tokens"
    )
    local_crop: tuple[Part, Part] | None = Field(
        None, description="length of local crops, share of the row's tokens"
    )
    delete: Share | None = Field(None, description="share of the tokens that are left out")
    mask: Share | None = Field(
        None, description="share of the tokens in whose place the mask stands, in stretches"
    )
    span: int | None = Field(None, ge=1, description="tokens of such a stretch")
    replace: Share | None = Field(
        None, description="share of the tokens in whose place any other stands"
    )
    shuffle: Annotated[float, Field(ge=0)] | None = Field(
        None, description="how far a token may move, in tokens"
    )


_OVERRIDES = ("delete", "mask", "span", "replace", "shuffle")


def specify(config: TextViewsConfig, needs: ViewNeeds) -> tuple[ViewSpec, ...]:
    """Return one spec for each view that the objective asks for.

    Each is the preset, then overrides, then strength.

    Raises:
        ConfigError: the objective names a preset that does not exist.
    """

    def adapted(view: ViewSpec) -> ViewSpec:
        crop = config.crop if view.role == "global" else config.local_crop
        given = {name: getattr(config, name) for name in _OVERRIDES} | {"crop": crop}
        return replace(view, **{name: value for name, value in given.items() if value is not None})

    specs = list(specified(config, needs, PRESETS, adapted, ViewSpec.clean))
    for view, (ask, of) in enumerate(zip(needs.asks, same_windows(needs.asks), strict=True)):
        if ask.length is not None:
            specs[view] = replace(specs[view], crop=(ask.length, ask.length))
        if of != view:
            specs[view] = specs[view].in_window_of(specs[of])
    return tuple(specs)
