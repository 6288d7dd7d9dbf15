"""What an objective asks of the view pipeline: views, their places in time, and hidden tokens."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

Role = Literal["global", "local", "target"]


@dataclass(frozen=True, slots=True)
class Mask:
    """Tokens that are hidden from the encoder.

    Attributes:
        kind: name of an entry of `manta.views.masks.MASKS` (`manta list masks`).
        ratio: share of a row's tokens that is hidden.
        settings: further numbers of the kind, such as `{"length": 10}` of "span".
    """

    kind: str = "uniform"
    ratio: float = 0.75
    settings: Mapping[str, Any] = dataclasses.field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ViewNeeds:
    """An objective's requirements of the view pipeline.

    Attributes:
        preset: the view preset that `views.preset: auto` means for this objective.
        global_views, local_views: number of each.
        mask_ratio: fraction of tokens to hide in every view, short for `Mask("uniform", ratio)`.
        mask_grid: sides of the encoder's token grid, such as `(rows, columns)`; needed with a mask
            of samples of one size.
        strengths: of each global view in turn, times `views.strength`; None: all alike.
        mask: of every view; None for no masks.
    """

    preset: str = "simclr"
    global_views: int = 2
    local_views: int = 0
    mask_ratio: float | None = None
    mask_grid: tuple[int, ...] | None = None
    strengths: tuple[float, ...] | None = None
    mask: Mask | None = None

    def __post_init__(self) -> None:
        if self.mask is None and self.mask_ratio is not None:
            object.__setattr__(self, "mask", Mask("uniform", self.mask_ratio))

    def __str__(self) -> str:
        """Return a text such as "2 global + 4 local, masked"."""
        local = f" + {self.local_views} local" if self.local_views else ""
        masked = ", masked" if self.mask is not None else ""
        return f"{self.global_views} global{local}{masked}"
