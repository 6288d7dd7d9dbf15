"""The contract of a kind of mask, and their registry."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from torch import Tensor

from manta.batch import Mask
from manta.errors import ConfigError
from manta.registry import Registry
from manta.views.masks._tokens import Tokens


class MaskKind(BaseModel, ABC):
    """Way to choose the hidden tokens of every row; its fields are the mask's settings.

    A subclass is registered by `@MASKS.register(name)`. What it draws of a row must not depend on
    the other rows of the batch, nor on how far the row is padded: `Tokens` has the numbers.

    Attributes:
        axes: least number of axes of the grid.
        ragged: whether rows may have lengths of their own.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    axes: ClassVar[int] = 1
    ragged: ClassVar[bool] = True
    ratio: float = Field(0.75, ge=0, le=1, description="share of a row's tokens that is hidden")

    @property
    def equal(self) -> bool:
        """Whether each row of a grid hides equally many.

        An encoder that leaves hidden tokens out needs that.
        """
        return True

    @abstractmethod
    def draw(self, tokens: Tokens) -> Tensor:
        """Draw which tokens are hidden, `[B, T]` bool; False after the end of a row."""


MASKS: Registry[type[MaskKind]] = Registry("masks", "manta.views.masks")


def mask_kind(mask: Mask) -> MaskKind:
    """Return the kind of a mask with its settings.

    Raises:
        ConfigError: there is no such kind, or it has no such setting.
    """
    try:
        return MASKS[mask.kind].model_validate({"ratio": mask.ratio, **mask.settings})
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise ConfigError(f"mask {mask.kind!r}: {where}: {first['msg']}") from None


def draw_mask(mask: Mask, tokens: Tokens) -> Tensor:
    """Draw the hidden tokens of rows, `[B, T]` bool.

    Raises:
        ConfigError: the mask is not for such tokens.
    """
    kind = mask_kind(mask)
    check_mask(mask.kind, kind, tokens.grid, is_ragged=tokens.lengths is not None)
    return kind.draw(tokens)


def check_mask(
    name: str, kind: MaskKind, grid: tuple[int, ...], *, is_ragged: bool = False
) -> None:
    """Check that a kind of mask can be drawn over a grid of tokens.

    Raises:
        ConfigError: it cannot.
    """
    if is_ragged and (len(grid) != 1 or not kind.ragged):
        raise ConfigError(
            f"mask {name!r} needs samples of one size, and these have lengths of their own; "
            "choose the mask 'span'"
        )
    if len(grid) < kind.axes:
        raise ConfigError(
            f"mask {name!r} needs a grid of {kind.axes} axes of tokens or more, and the encoder's "
            f"is {grid}; choose the mask 'span'"
        )
