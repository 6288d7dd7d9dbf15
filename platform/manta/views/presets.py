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
    clean: Callable[[S], S] | None = None,
) -> tuple[S, ...]:
    """Return one spec for each view that the objective asks for.

    Each is the preset, then what `adapted` makes of it, then strength.

    Args:
        adapted: sets the size of a view, and what the settings override.
        clean: leaves of a global view its window alone, in the role "target"; None where the
            pipeline has no targets.

    Raises:
        ConfigError: the objective names a preset that does not exist.
    """
    usual = needs.preset if config.preset == "auto" else config.preset
    specs, whole = [], 0
    for ask in needs.asks:
        name = ask.preset or usual
        if name not in presets:
            raise ConfigError(
                f"views.preset: no preset is named {name!r}{did_you_mean(name, presets)}"
            )
        views = presets[name].views
        view = presets[name].local if ask.role == "local" else views[whole % len(views)]
        whole += ask.role == "global"
        spec = adapted(view).scaled(config.strength * ask.strength)
        specs.append(clean(spec) if clean and ask.role == "target" else spec)
    return tuple(specs)
