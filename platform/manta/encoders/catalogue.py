"""timm's catalogue of models: names, tags of weights, and what a wrong name may have meant."""

from __future__ import annotations

import difflib
import inspect
import re
from functools import lru_cache

from manta.errors import ConfigError

SMALL_GRID = 8
"""Patches along a side that `stem: small` gives a transformer: 4-pixel patches at 32 px."""


@lru_cache(maxsize=1)
def timm_names() -> tuple[str, ...]:
    """Return the names of all of timm's models, without tags."""
    import timm

    return tuple(timm.list_models())


def check_name(name: str) -> None:
    """Check that timm has a model of this name, and weights of its tag if it has one.

    Raises:
        ConfigError: one line that says what may have been meant.
    """
    from timm.models import get_arch_pretrained_cfgs, is_model

    model, _, tag = name.partition(".")
    # timm still builds what it has renamed, by its old name, which it does not list.
    if model not in timm_names() and not is_model(model):
        raise ConfigError(f"encoder.name: timm has no model {name!r}; {_hint(model)}")
    if not tag:
        if name != model:
            raise ConfigError(f"encoder.name: {name!r} ends in a dot; did you mean {model!r}?")
        return
    tags = [full.partition(".")[2] for full in get_arch_pretrained_cfgs(model)]
    if tag not in tags:
        near = difflib.get_close_matches(tag, tags, n=1) or tags[:1]
        known = f"did you mean {f'{model}.{near[0]}'!r}?" if near and near[0] else "leave it out"
        raise ConfigError(f"encoder.name: timm has no weights {tag!r} of {model!r}; {known}")


def takes_patches(name: str) -> bool:
    """Return whether the model is one of timm's vision transformers."""
    import timm

    module = inspect.getmodule(timm.model_entrypoint(current_name(name).partition(".")[0]))
    return module is not None and module.__name__.endswith("vision_transformer")


def input_size(name: str) -> int:
    """Return the side in pixels of the images that timm trained the model on."""
    import timm

    stated = timm.models.get_pretrained_cfg(current_name(name))
    return 224 if stated is None else int(stated.input_size[-1])


def has_fixed_size(name: str) -> bool:
    """Return whether timm builds the model for images of one size."""
    import timm

    stated = timm.models.get_pretrained_cfg(current_name(name))
    return stated is not None and bool(stated.fixed_input_size)


def nearest_name(name: str) -> str | None:
    """Return the model that a wrong name most likely meant, or None.

    `ResNet-18` is `resnet18`, and `vit_small` the shortest name that goes on after it.
    """
    known = timm_names()
    wanted = _letters(name)
    if same := [one for one in known if _letters(one) == wanted]:
        return same[0]
    lower = re.sub(r"[-. ]+", "_", name.lower())
    if wanted and (longer := [one for one in known if one.startswith(f"{lower}_")]):
        return _usual(longer)
    if len(wanted) > 3 and (longer := [one for one in known if _letters(one).startswith(wanted)]):
        return _usual(longer)
    near = difflib.get_close_matches(lower, known, n=1)
    return near[0] if near else None


def current_name(name: str) -> str:
    """Return the name that timm gives a model today, with its tag, if this is an old one."""
    from timm.models import get_deprecated_models

    return get_deprecated_models().get(name) or name


def _usual(names: list[str]) -> str:
    """Return the name that is most likely meant: patches of 16 pixels, the shortest, the first."""
    return min(names, key=lambda name: ("patch" in name and "patch16" not in name, len(name)))


def _letters(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())


def _hint(name: str) -> str:
    near = nearest_name(name)
    return f"did you mean {near!r}?" if near else "see `manta list encoders`"
