"""What a registered encoder takes: grids, sequences, token numbers or a modality's own kind."""

from __future__ import annotations

import inspect
import typing
from collections.abc import Callable
from typing import Any, cast

from manta.encoders._config import ENCODERS, EncoderConfig, EncoderFactory
from manta.encoders._protocols import Encoder
from manta.errors import ConfigError
from manta.spec import ANY_FORM, Form, Spec

_WORDS: dict[Form, str] = {
    "grid": "grids",
    "sequence": "sequences",
    "ids": "token numbers",
    "parts": "several inputs",
}
_ANYTHING: tuple[Form, ...] = (ANY_FORM,)


def forms_of(factory: EncoderFactory) -> tuple[Form, ...]:
    """Return what a factory's encoders take, as far as this is known before one is built.

    That is `takes` of the factory, which may be a class, or else of the class that it is annotated
    to return. Nothing is ruled out for a factory that says neither.
    """
    takes = getattr(factory, "takes", None) or getattr(_returned(factory), "takes", _ANYTHING)
    return cast(tuple[Form, ...], takes)


def check_takes(name: str, takes: tuple[Form, ...], spec: Spec) -> None:
    """Check that an encoder takes what it will be given.

    Raises:
        ConfigError: one line that names encoders which do.
    """
    if spec.form in takes or ANY_FORM in takes:
        return
    # Only those that say so themselves: to build every encoder for a message takes too long.
    others = [one for one, factory in ENCODERS.items() if spec.form in _stated(factory)]
    advice = f"try {' or '.join(f'encoder.name={one}' for one in others[:3])}"
    raise ConfigError(
        f"encoder.name={name} takes {' or '.join(_WORDS.get(form, form) for form in takes)}, and "
        f"data.modality gives {spec}; {advice if others else 'register an encoder that takes them'}"
    )


def made(factory: EncoderFactory, config: EncoderConfig, spec: Spec) -> Encoder:
    """Return the encoder of a factory `(config, spec)`, or of one `(config, image_size)`.

    Raises:
        ConfigError: the factory wants the side of square images, and the input is none.
    """
    if not _wants_side(factory):
        return factory(config, spec)
    if not spec.is_image:
        raise ConfigError(
            f"encoder.name={config.name} takes square RGB images, and data.modality gives {spec}; "
            "let its second argument be `spec` in place of `image_size`"
        )
    return cast(Callable[[EncoderConfig, int], Encoder], factory)(config, spec.side)


def _wants_side(factory: EncoderFactory) -> bool:
    """Return whether a factory's second parameter is a number of pixels, as it was before specs."""
    parameters = list(inspect.signature(factory).parameters.values())
    if len(parameters) < 2:
        return False
    return parameters[1].name == "image_size" or parameters[1].annotation in (int, "int")


def _stated(factory: EncoderFactory) -> tuple[Form, ...]:
    forms = forms_of(factory)
    return () if forms == _ANYTHING else forms


def _returned(factory: EncoderFactory) -> Any:
    """Return the class that a factory is annotated to return, where it is a kind of encoder."""
    try:
        kind = typing.get_type_hints(factory).get("return")
    except (NameError, TypeError):  # a name that is imported for type checkers alone, or a lambda
        return None
    return kind if isinstance(kind, type) and kind is not Encoder else None
