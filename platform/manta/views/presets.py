"""Presets by what views are for, and how a pipeline's settings become one spec for each view."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from manta.batch import Role, ViewNeeds
from manta.errors import ConfigError, did_you_mean
from manta.views.config import ViewsConfig


class Scalable(Protocol):
    """The distribution that one view is drawn from."""

    @property
    def role(self) -> Role: ...

    def scaled(self: S, strength: float) -> S:
        """Return this view at `strength`: 0 leaves the sample alone, 1 is the preset."""
        ...


S = TypeVar("S", bound=Scalable)


@dataclass(frozen=True, slots=True)
class Preset(Generic[S]):
    """Augmentations by what they are for: global views take `views` in turn, local ones `local`.

    Attributes:
        about: where they come from, and what is different here.
    """

    views: tuple[S, ...]
    local: S
    about: str


def specified(
    config: ViewsConfig,
    needs: ViewNeeds,
    presets: Mapping[str, Preset[S]],
    adapted: Callable[[S], S],
) -> tuple[S, ...]:
    """Return one spec for each view that the objective needs, globals first.

    Each is the preset, then what `adapted` makes of it, then strength.

    Args:
        adapted: sets the size of a view, and what the settings override.

    Raises:
        ConfigError: the objective names a preset that does not exist.
    """
    name = needs.preset if config.preset == "auto" else config.preset
    if name not in presets:
        raise ConfigError(f"views.preset: no preset is named {name!r}{did_you_mean(name, presets)}")
    preset = presets[name]
    views = [preset.views[i % len(preset.views)] for i in range(needs.global_views)]
    views += [preset.local] * needs.local_views
    shares = needs.strengths or (1.0,)
    specs = []
    for i, view in enumerate(views):
        share = shares[i % len(shares) if view.role == "global" else 0]
        specs.append(adapted(view).scaled(config.strength * share))
    return tuple(specs)
