"""Building of encoders by name: any timm model, or one that a user's package registered."""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from functools import lru_cache

from manta.encoders._config import ENCODERS, FILES, EncoderConfig
from manta.encoders._protocols import Encoder
from manta.errors import ConfigError


def build(config: EncoderConfig, *, image_size: int) -> Encoder:
    """Build the encoder, freshly initialised from torch's global generator.

    Raises:
        ConfigError: no such encoder, arguments that it refuses, or one that names a file of
            weights.
    """
    if config.name in ENCODERS:
        return ENCODERS[config.name](config, image_size)
    if config.name not in _timm_names():
        near = difflib.get_close_matches(config.name, _timm_names(), n=1)
        hint = f"did you mean {near[0]!r}?" if near else "see `manta list encoders`"
        raise ConfigError(f"encoder.name: timm has no model {config.name!r}; {hint}")
    for argument in FILES:
        if argument in config.args:
            raise ConfigError(
                f"encoder.args.{argument} names files that timm would load, and could unpickle; "
                "leave it out, and set encoder.pretrained=true for timm's own weights"
            )
    from manta.encoders.timm import TimmEncoder

    return TimmEncoder.create(config, image_size=image_size)


def names() -> Iterator[str]:
    """Yield every encoder that `encoder.name` takes."""
    yield from ENCODERS
    yield from _timm_names()


@lru_cache(maxsize=1)
def _timm_names() -> tuple[str, ...]:
    import timm

    return tuple(timm.list_models())
