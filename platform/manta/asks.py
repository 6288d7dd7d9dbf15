"""What an objective asks of the view pipeline: views, their places in time, and hidden tokens."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
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
class Same:
    """The very window of the other view: place, size, direction of time, mirroring."""


@dataclass(frozen=True, slots=True)
class Next:
    """A window that begins `steps` units of the source after the other one's begin."""

    steps: float


@dataclass(frozen=True, slots=True)
class Within:
    """A window that begins between `low` and `high` units after the other one, before it if < 0."""

    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Decreasing:
    """A window up to `most` units before or after the other one, near ones likelier.

    The probability falls in a straight line to 0 at `most`, as that of CVRL (Qian et al. 2021).
    """

    most: float


Gap = Same | Next | Within | Decreasing


@dataclass(frozen=True, slots=True)
class Ask:
    """One view that an objective wants.

    Attributes:
        role: "global" views cover much of the sample, "local" ones a small part; a "target" is a
            clean twin: a window as a global one's, with no other augmentation.
        field: of the row; None: its main one.
        preset: of this view, whatever `views.preset` is; None: the objective's.
        strength: times `views.strength`.
        after: number of the view that it is placed from; None: anywhere. It comes before this one.
        gap: from that view to this one, in units of the source as those of `View.box`: values of a
            series, samples of a clip. None: anywhere.
        length: of the window; of series as a share of the row, of clips of the usual window. None:
            the pipeline's.
        mask: of its tokens; None: nothing is hidden.
    """

    role: Role = "global"
    field: str | None = None
    preset: str | None = None
    strength: float = 1.0
    after: int | None = None
    gap: Gap | None = None
    length: float | None = None
    mask: Mask | None = None


class _Alike(tuple[Ask, ...]):
    """Asks that the numbers of views made, and make again if `dataclasses.replace` changes them."""


@dataclass(frozen=True, slots=True)
class ViewNeeds:
    """An objective's requirements of the view pipeline.

    They are either a tuple of `asks`, one for each view in turn, or, for alike views, the numbers
    of global and local ones with one mask, which are short for such a tuple.

    Attributes:
        preset: the view preset that `views.preset: auto` means for this objective.
        global_views, local_views: number of each; with `asks`, how many of those they are.
        mask_ratio: fraction of tokens to hide in every view, short for `Mask("uniform", ratio)`.
        mask_grid: sides of the encoder's token grid, such as `(rows, columns)`; needed with a mask
            of samples of one size.
        strengths: of each global view in turn, times `views.strength`; None: all alike. Local views
            have the first.
        mask: of every view; None for no masks, and with `asks`, which have masks of their own.
        asks: one for each view, in the order of `Batch.views`.
        token_lengths: of an encoder of ragged rows, which gives how many tokens each row of a view
            has, `[B]` int64; needed with a mask of rows with lengths of their own.
    """

    preset: str = "simclr"
    global_views: int = 2
    local_views: int = 0
    mask_ratio: float | None = None
    mask_grid: tuple[int, ...] | None = None
    strengths: tuple[float, ...] | None = None
    mask: Mask | None = None
    asks: tuple[Ask, ...] = ()
    token_lengths: Callable[[Any], Any] | None = None

    def __post_init__(self) -> None:
        values: dict[str, Any]
        if self.asks and not isinstance(self.asks, _Alike):
            if (self.mask, self.mask_ratio, self.strengths) != (None, None, None):
                raise ValueError("masks and strengths are of each ask; give them to `Ask`")
            for place, ask in enumerate(self.asks):
                _check(place, ask)
            values = {"global_views": self._count("global"), "local_views": self._count("local")}
        else:
            values = {} if self.mask_ratio is None else {"mask": Mask("uniform", self.mask_ratio)}
            values["asks"] = self._alike(values.get("mask", self.mask))
        for name, value in values.items():
            object.__setattr__(self, name, value)

    def _alike(self, mask: Mask | None) -> tuple[Ask, ...]:
        """Return the asks that the numbers of views are short for."""
        shares = self.strengths or (1.0,)
        strengths = [shares[view % len(shares)] for view in range(self.global_views)]
        local = Ask("local", strength=shares[0], mask=mask)
        views = [Ask("global", strength=strength, mask=mask) for strength in strengths]
        return _Alike((*views, *[local] * self.local_views))

    def _count(self, role: Role) -> int:
        return sum(ask.role == role for ask in self.asks)

    @property
    def masks(self) -> tuple[Mask, ...]:
        """Return the masks that any view has."""
        return tuple(ask.mask for ask in self.asks if ask.mask is not None)

    def __str__(self) -> str:
        """Return a text such as "2 global + 4 local, masked" or "1 target + 1 global"."""
        parts = [f"{self._count(role)} {role}" for role in ("target", "global", "local")]
        views = " + ".join(part for part in parts if not part.startswith("0 "))
        return f"{views}, masked" if self.masks else views


def _check(place: int, ask: Ask) -> None:
    """Check one ask by itself.

    Raises:
        ValueError: it is placed from none or from a view that comes later.
    """
    if (ask.after is None) != (ask.gap is None):
        raise ValueError(f"ask {place}: `after` and `gap` are given together")
    if ask.after is not None and not 0 <= ask.after < place:
        raise ValueError(f"ask {place}: `after` is the number of an earlier view, not {ask.after}")
    if ask.length is not None and not 0 < ask.length <= 1:
        raise ValueError(f"ask {place}: `length` is a share in (0, 1], not {ask.length:g}")
