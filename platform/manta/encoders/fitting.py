"""Trial of an encoder on samples of the sizes that a run will have, before the run starts."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from manta.encoders._build import build
from manta.encoders._config import ENCODERS, EncoderConfig
from manta.encoders._protocols import Encoder
from manta.encoders.catalogue import has_fixed_size, input_size
from manta.encoders.trial import runs_somewhere
from manta.errors import ConfigError
from manta.spec import Spec

ROWS = 2
"""Samples of a trial: BatchNorm needs two where a map has shrunk to one cell."""
STEPS = (8, 14, 16, 28, 32)
"""Sides that sizes are multiples of in one family or another."""
USUAL = (64, 96, 128, 160)
MOST_TRIED = 4


def check_fits(
    encoder: Encoder, config: EncoderConfig, spec: Spec, *, others: Iterable[Spec] = ()
) -> None:
    """Pass samples of every size through the encoder, in training and in evaluation mode.

    Its weights, statistics and mode stay as they are, and so do torch's generators.

    Args:
        config: built the encoder for `spec`.
        others: of further views, such as local ones.

    Raises:
        ConfigError: one line that names a size, or another setting, that would fit.
    """
    if (reason := problem(encoder, spec)) is not None:
        advice = _advice(config, spec) if spec.is_image else "choose another encoder"
        raise ConfigError(
            f"encoder: {config.name!r} cannot take {_words(spec)} ({reason}); {advice}"
        )
    for other in sorted(set(others) - {spec}, key=lambda one: one.sides):
        if (reason := problem(encoder, other)) is None:
            continue
        if not other.is_image:
            raise ConfigError(
                f"encoder: {config.name!r} cannot take views of {other} ({reason}); choose another "
                "encoder, or an objective without local views"
            )
        size = other.side
        fitting = _first(
            side
            for side in (*_candidates(size), spec.side)
            if problem(encoder, Spec.image(side)) is None
        )
        way = "choose another encoder"
        if fitting is not None:
            way = f"set views.local_size={fitting}"
        raise ConfigError(
            f"views.local_size: {config.name!r} cannot take local views of {size} px "
            f"({reason}); {way}"
        )


def check_name_fits(config: EncoderConfig, spec: Spec) -> None:
    """Check, without computing, that an encoder can be built and takes this input.

    Raises:
        ConfigError: as `check_fits`.
    """
    if not _fits(config, spec):
        check_fits(build(config, spec), config, spec)


def problem(encoder: Encoder, spec: Spec) -> str | None:
    """Return in a few words why the encoder cannot embed such samples, or None if it can."""
    training = encoder.training
    before = {name: buffer.clone() for name, buffer in encoder.named_buffers()}
    noun = "image" if spec.is_image else "sample"
    try:
        with torch.random.fork_rng(devices=[]), torch.no_grad():
            x = spec.example(ROWS, generator=torch.Generator().manual_seed(0))
            for mode in (True, False):
                encoder.train(mode)
                if (reason := _unlike_vectors(encoder(x), encoder, noun)) is not None:
                    return reason
    except Exception as error:  # torch and timm have many kinds
        said = " ".join(str(error).split()).rstrip(".")
        return said[:120] or type(error).__name__
    finally:
        encoder.train(training)
        for name, buffer in encoder.named_buffers():
            buffer.copy_(before[name])
    return None


def _words(spec: Spec) -> str:
    return f"images of {spec.side} px" if spec.is_image else str(spec)


def _unlike_vectors(pooled: Any, encoder: Encoder, noun: str = "image") -> str | None:
    if not isinstance(pooled, Tensor):
        return f"it gives a {type(pooled).__name__}, not a vector of each {noun}"
    if tuple(pooled.shape) != (ROWS, encoder.embed_dim):
        shape = list(pooled.shape[1:])
        article = "an" if noun == "image" else "a"
        return f"it gives {shape} numbers of {article} {noun}, not a vector of {encoder.embed_dim}"
    if not pooled.is_meta and not bool(torch.isfinite(pooled).all()):
        return "its output is not finite at its first, random weights"
    return None


def _advice(config: EncoderConfig, spec: Spec) -> str:
    """Return what would fit images instead, each of it tried."""
    image_size = spec.side
    if (given := config.args.get("img_size")) not in (None, image_size):
        rest = {key: value for key, value in config.args.items() if key != "img_size"}
        if _fits(config.model_copy(update={"args": rest}), spec):
            return f"leave out encoder.args.img_size={given}, which contradicts data.image_size"
    ways = []
    of_one_size = config.name not in ENCODERS and has_fixed_size(config.name)
    sizes = itertools.islice(_candidates(image_size), 2 if of_one_size else None)
    fitting = _first(side for side in sizes if _fits(config, Spec.image(side)))
    if fitting is not None:
        ways.append(f"data.image_size={fitting}")
    if config.name not in ENCODERS:
        own = input_size(config.name)
        if fitting != own and _fits(config, Spec.image(own)):
            ways.append(f"data.image_size={own}, its own")
    other = "default" if config.stem == "small" else "small"
    if _fits(config.model_copy(update={"stem": other}), spec):
        ways.append(f"encoder.stem={other}")
    return f"fitting: {', or '.join(ways)}" if ways else "choose another encoder"


def _fits(config: EncoderConfig, spec: Spec) -> bool:
    """Return whether an encoder of these settings takes such samples."""
    plain = config.model_copy(update={"pretrained": False})
    return _embeds(plain.model_dump_json(exclude={"start"}), spec)


@lru_cache(maxsize=256)
def _embeds(config: str, spec: Spec) -> bool:
    def embeds() -> bool:
        encoder = build(EncoderConfig.model_validate_json(config), spec)
        pooled = encoder.eval()(spec.example(ROWS))
        return _unlike_vectors(pooled, encoder) is None

    return runs_somewhere(embeds)


def _candidates(size: int) -> Iterator[int]:
    """Yield sizes that may fit instead of one: nearest first, then usual ones above it."""
    near = {
        (size // step + more) * step for step in STEPS for more in (0, 1) if size // step + more
    }
    nearest = sorted(near - {size}, key=lambda one: (abs(one - size), -one))[:MOST_TRIED]
    yield from nearest
    yield from (one for one in USUAL if one > size and one not in nearest)


def _first(sizes: Iterator[int]) -> int | None:
    return next(sizes, None)
