"""Building of encoders by name: any timm model, or one that a user's package registered."""

from __future__ import annotations

from collections.abc import Iterator

from manta.encoders._config import ENCODERS, FILES, EncoderConfig
from manta.encoders._protocols import Encoder
from manta.encoders.catalogue import check_name, timm_names
from manta.encoders.weights import load_into, own_weights
from manta.errors import ConfigError


def build(config: EncoderConfig, *, image_size: int) -> Encoder:
    """Build the encoder, freshly initialised from torch's global generator.

    Raises:
        ConfigError: no such encoder, arguments that it refuses, one that names a file of weights,
            or weights that cannot be had or do not fit.
    """
    weights = own_weights(config.pretrained)
    if weights is not None:
        encoder = build(config.model_copy(update={"pretrained": False}), image_size=image_size)
        load_into(encoder, weights)
        return encoder
    if config.name in ENCODERS:
        return ENCODERS[config.name](config, image_size)
    check_name(config.name)
    for argument in FILES:
        if argument in config.args:
            raise ConfigError(
                f"encoder.args.{argument} names files that timm would load, and could unpickle; "
                "leave it out, and set encoder.pretrained=true for timm's own weights"
            )
    from manta.encoders.timm import TimmEncoder

    return TimmEncoder.create(config, image_size=image_size)


def check_known(name: str) -> None:
    """Check that there is an encoder of this name.

    Raises:
        ConfigError: one line that says what may have been meant.
    """
    if name not in ENCODERS:
        check_name(name)


def names() -> Iterator[str]:
    """Yield every encoder that `encoder.name` takes."""
    yield from ENCODERS
    yield from timm_names()
