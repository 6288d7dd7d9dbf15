"""Settings of an encoder, and the registry of those that are not timm's."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    field_validator,
    model_serializer,
    model_validator,
)

from manta.encoders._protocols import Encoder
from manta.encoders.sources import is_plain, meaning, weights_source
from manta.registry import Registry
from manta.spec import Spec

_WORDS = {"true": True, "yes": True, "on": True, "1": True}
_WORDS |= {"false": False, "no": False, "off": False, "0": False, "none": False}


class EncoderConfig(BaseModel):
    """Settings of the backbone.

    A name that stands for a folder or a repository is replaced by what is described there.

    Attributes:
        of_name: fields that belong to the model of this name, and are dropped with it.
    """

    model_config = ConfigDict(extra="forbid", coerce_numbers_to_str=True)
    of_name: ClassVar[tuple[str, ...]] = ("args",)

    name: str = Field(
        "resnet18",
        description="a timm model, with a tag of weights or without; a registered encoder; "
        "hf-hub:OWNER/NAME; or local-dir:FOLDER",
    )
    stem: Literal["default", "small"] = Field(
        "default",
        description="small suits images of 32 to 64 px: a 3x3 stride-1 stem without max-pool for "
        "convolutional networks, patches of an eighth of the image for transformers; "
        "default leaves the model as timm has it",
    )
    pretrained: bool | str = Field(
        False,
        description="start from the weights that the name stands for (timm's need the hub or its "
        "cache), or from those in local-dir:FOLDER",
    )
    args: dict[str, Any] = Field(
        default_factory=dict, description="further arguments of the model, for timm.create_model"
    )

    @model_validator(mode="before")
    @classmethod
    def _as_meant(cls, given: Any) -> Any:
        name = given.get("name") if isinstance(given, Mapping) else None
        if name == "concatenation":
            return _with_parts(given)
        if not isinstance(name, str) or is_plain(name) or name in ENCODERS:
            return given
        meant = meaning(name)
        replaced = dict(given) | {"name": meant.name}
        if meant.args and isinstance(given.get("args", {}), Mapping):
            replaced["args"] = meant.args | dict(given.get("args", {}))
        if meant.stem is not None:
            replaced.setdefault("stem", meant.stem)
        if meant.weights is not None and _as_bool(given.get("pretrained", False)) is True:
            replaced["pretrained"] = meant.weights
        return replaced

    @field_validator("pretrained", mode="before")
    @classmethod
    def _weights(cls, given: Any) -> Any:
        given = _as_bool(given)
        return weights_source(given) if isinstance(given, str) else given


class RunEncoderConfig(EncoderConfig):
    """Settings of a run's own encoder, which may begin at the weights of a model."""

    start: str | None = Field(
        None,
        description="begin from the weights of a model: a run, models:/NAME/VERSION, timm:NAME, or "
        "a folder; what does not fit this encoder keeps its random weights",
    )

    @model_validator(mode="before")
    @classmethod
    def _of_any_encoder(cls, given: Any) -> Any:
        if isinstance(given, EncoderConfig) and not isinstance(given, cls):
            return given.model_dump(exclude_unset=True)
        return given

    @field_validator("start")
    @classmethod
    def _something_named(cls, given: str | None) -> str | None:
        named = "" if given is None else given.strip()
        return None if named.lower() in ("", "none", "null", "false") else named

    @model_validator(mode="after")
    def _one_beginning(self) -> RunEncoderConfig:
        if self.start is not None and self.pretrained:
            raise ValueError(
                f"start={self.start} and pretrained={self.pretrained} both say which weights to "
                "begin from; leave one out"
            )
        return self

    @model_serializer(mode="wrap")
    def _without_absent_start(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Return plain data as they were before there was a start, where there is none.

        Fingerprints, saved encoders and parameters in MLflow stay what they were.
        """
        plain: dict[str, Any] = handler(self)
        if plain.get("start", "") is None:
            del plain["start"]
        return plain


def names_weights(name: str) -> bool:
    """Return whether an encoder's name says which weights it has: by a tag, or by their place."""
    return bool(set(name.strip().rstrip("/.:")) & set("./:")) and name not in ENCODERS


def _with_parts(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings of a concatenation, with what the name of its parts stands for."""
    args = given.get("args")
    part = args.get("encoder") if isinstance(args, Mapping) else None
    name = part.get("name") if isinstance(part, Mapping) else None
    if not isinstance(part, Mapping) or not isinstance(name, str) or is_plain(name):
        return dict(given)
    asked = {"pretrained": given.get("pretrained", False)}
    meant = EncoderConfig.model_validate(dict(part) | asked).model_dump(mode="json")
    return dict(given) | {"args": dict(args or {}) | {"encoder": meant}}


def _as_bool(given: Any) -> Any:
    """Return the truth value that was written in one of YAML's ways, and anything else as it is."""
    if isinstance(given, int | str):
        return _WORDS.get(str(given).strip().lower(), given)
    return given


EncoderFactory = Callable[[EncoderConfig, Spec], Encoder]
FILES = ("checkpoint_path", "pretrained_cfg", "pretrained_cfg_overlay", "cache_dir")
"""Arguments of `timm.create_model` by which an experiment could make it unpickle any file."""
ENCODERS: Registry[EncoderFactory] = Registry("encoders", "manta.encoders")
"""Registry of factories `(config, spec) -> Encoder`; timm models need no entry.

A factory `(config, image_size)`, for square RGB images alone, gets their side in pixels.
"""
