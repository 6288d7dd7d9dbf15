"""Arguments for timm's models: those that make no sense here, and what timm said of the others."""

from __future__ import annotations

import inspect
import re
import sys
import traceback
from collections.abc import Iterable, Mapping
from typing import Any

from manta.errors import ConfigError, did_you_mean

_CHANNELS = "images come with 3 channels here, grey ones too; leave it out"
_CLASSIFIER = "an encoder has no classifier, and the evaluators train their own; leave it out"
_FEATURES = "an encoder gives one vector for an image, and maps where an objective asks for them"
_REFUSED: dict[str, tuple[tuple[Any, ...], str]] = {
    "in_chans": ((3,), _CHANNELS),
    "num_classes": ((0,), _CLASSIFIER),
    "features_only": ((False,), f"{_FEATURES}; leave it out"),
    "out_indices": ((), f"{_FEATURES}; leave it out"),
    "feature_cls": ((), f"{_FEATURES}; leave it out"),
    "pretrained": ((), "it is a setting of its own: encoder.pretrained"),
    "model_name": ((), "it is a setting of its own: encoder.name"),
    "device": ((), "the workers choose theirs: resources.gpu"),
    "dtype": ((), "the run chooses it: train.precision"),
    "scriptable": ((False,), "Manta compiles otherwise: train.compile"),
    "pretrained_strict": ((True,), "weights that do not fit are no start; leave it out"),
}
"""Arguments that have another place or none here: values that change nothing, and the reason."""
_PARTS = ("drop_rate", "drop_path_rate", "proj_drop_rate", "attn_drop_rate", "pos_drop_rate")
_NO_POOL = ("", "none", "null")
_UNEXPECTED = re.compile(r"(\w+)(?:\.__init__)?\(\) got an unexpected keyword argument '(\w+)'")


def check_arguments(args: Mapping[str, Any], *, channels: int = 3) -> None:
    """Check the arguments whose meaning is the same for all of timm's models.

    Args:
        channels: of the data.

    Raises:
        ConfigError: one of them cannot be given here, or cannot have this value.
    """
    for key, (harmless, reason) in _REFUSED.items():
        if key == "in_chans" and channels != 3:
            harmless, reason = (channels,), f"the data have {channels} channels; leave it out"
        if key in args and args[key] not in harmless and args[key] is not None:
            raise ConfigError(f"encoder.args.{key}: {reason}")
    pool = args.get("global_pool")
    if (isinstance(pool, str) and pool.strip().lower() in _NO_POOL) or pool is False:
        raise ConfigError(
            "encoder.args.global_pool: without pooling there is no vector of an image; leave it "
            "out, or avg, max or what else this model has"
        )
    for key in _PARTS:
        value = args.get(key)
        if value is None:
            continue
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 1:
            raise ConfigError(
                f"encoder.args.{key}: must be a number from 0 to below 1 (got {value!r})"
            )


def refused(
    name: str, args: Mapping[str, Any], error: Exception, *, weights: str | None = None
) -> ConfigError:
    """Return timm's refusal of the arguments as one line that names the fix.

    Args:
        weights: where weights were to be loaded from.
    """
    said = " ".join(str(error).split()) or _where(error)
    if isinstance(error, KeyError):
        said = f"nothing is named {said}"
    if (unexpected := _UNEXPECTED.search(said)) is not None:
        kind, key = unexpected.groups()
        near = _nearest(key, _parameters(kind))
        return ConfigError(
            f"encoder: timm cannot build {name!r} with encoder.args.{key}: it has no such "
            f"argument{near}"
        )
    if "No pretrained weights exist" in said:
        return ConfigError(
            f"encoder.pretrained: timm has no weights of {name!r}; set it to false, or choose one "
            "of timm.list_pretrained()"
        )
    if weights is not None:
        reason = f"{type(error).__name__}: {said}"[:160]
        if "No suitable checkpoints" in said:
            reason = "there are none"
        return ConfigError(
            f"encoder.pretrained: the weights in {weights} cannot be loaded into {name!r} "
            f"({reason})"
        )
    with_args = f" with {dict(args)}" if args else ""
    return ConfigError(f"encoder: timm cannot build {name!r}{with_args}: {said[:200]}")


def _where(error: Exception) -> str:
    """Return the kind of an error without words, and the line of timm that was not satisfied."""
    frames = traceback.extract_tb(error.__traceback__)
    if not frames:
        return type(error).__name__
    last = frames[-1]
    file = "/".join(last.filename.split("/")[-3:])
    return f"it requires `{last.line}` ({type(error).__name__} in {file}, line {last.lineno})"


def _parameters(kind: str) -> list[str]:
    """Return the parameters of a class or function of timm, by its name."""
    for module in [one for name, one in sys.modules.items() if name.startswith("timm.models.")]:
        found = getattr(module, kind, None)
        if callable(found):
            return [key for key in inspect.signature(found).parameters if key != "kwargs"]
    return []


def _nearest(key: str, known: Iterable[str]) -> str:
    hint = did_you_mean(key, known)
    return hint if hint.startswith("; did you mean") else "; leave it out"
