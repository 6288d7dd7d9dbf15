"""Building of encoders by name: any timm model, or one that a user's package registered."""

from __future__ import annotations

from collections.abc import Iterator

from manta.encoders._config import ENCODERS, FILES, EncoderConfig
from manta.encoders._protocols import Encoder
from manta.encoders.catalogue import check_name, timm_names
from manta.encoders.forms import check_takes, forms_of, made
from manta.encoders.weights import load_into, own_weights
from manta.errors import ConfigError
from manta.spec import Spec


def build(config: EncoderConfig, spec: Spec) -> Encoder:
    """Build the encoder, freshly initialised from torch's global generator.

    Args:
        spec: of what it will be given.

    Raises:
        ConfigError: no such encoder, one that takes something else, arguments that it refuses, one
            that names a file of weights, or weights that cannot be had or do not fit.
    """
    weights = own_weights(config.pretrained)
    if weights is not None:
        encoder = build(config.model_copy(update={"pretrained": False}), spec)
        load_into(encoder, weights)
        return encoder
    if config.name in ENCODERS:
        factory = ENCODERS[config.name]
        check_takes(config.name, forms_of(factory), spec)
        encoder = made(factory, config, spec)
        check_takes(config.name, encoder.takes, spec)
        return encoder
    check_name(config.name)
    check_takes(config.name, Encoder.takes, spec)
    for argument in FILES:
        if argument in config.args:
            raise ConfigError(
                f"encoder.args.{argument} names files that timm would load, and could unpickle; "
                "leave it out, and set encoder.pretrained=true for timm's own weights"
            )
    from manta.encoders.timm import TimmEncoder

    return TimmEncoder.create(config, spec)


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
