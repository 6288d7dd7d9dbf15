"""Parts of a configuration that carry a `name`, and the rule of what another name brings.

The rule: *another name brings its own defaults.* Settings that belonged to the old name are
dropped, even if the new one has settings that are called the same: a temperature of SimCLR says
nothing about DINO. What survives are the settings that a section has under any name, such as
`optimizer.lr` or `encoder.stem`.
"""

from __future__ import annotations

import types
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from manta.config.sections import Experiment, with_view_pipeline
from manta.config.text import as_text
from manta.errors import ConfigError
from manta.evaluators import EVALUATORS, EvaluatorConfig
from manta.modalities import MODALITIES
from manta.modalities.config import DataConfig
from manta.objectives import OBJECTIVES, ObjectiveConfig
from manta.schedules import SCHEDULES, Schedule
from manta.views import VIEWS, ViewsConfig


@dataclass(frozen=True, slots=True)
class Kind:
    """What a `name` is chosen from.

    Attributes:
        noun: "objective", "evaluator", "schedule", "modality" or "view pipeline".
        names: all of them; may import every component.
        config: the model of the settings under a name.
        key: the setting that holds the name.
        default: the name where none is given.
        base: model of the settings that every name has, which survive another name.
    """

    noun: str
    names: Callable[[], Iterable[str]]
    config: Callable[[str], type[BaseModel]]
    key: str = "name"
    default: str | None = None
    base: type[BaseModel] | None = None


OBJECTIVE = Kind("objective", lambda: OBJECTIVES, lambda name: OBJECTIVES[name].Config)
EVALUATOR = Kind("evaluator", lambda: EVALUATORS, lambda name: EVALUATORS[name].Config)
SCHEDULE = Kind("schedule", lambda: SCHEDULES, lambda name: SCHEDULES[name])
MODALITY = Kind(
    "modality",
    lambda: MODALITIES,
    lambda name: MODALITIES[name].Config,
    key="modality",
    default="image",
    base=DataConfig,
)
VIEW_PIPELINE = Kind(
    "view pipeline",
    lambda: VIEWS,
    lambda name: VIEWS[name].Config,
    default="image",
    base=ViewsConfig,
)


@dataclass(frozen=True, slots=True)
class Part:
    """The declared type of a place in a configuration that holds settings.

    Attributes:
        fixed: the model, where it is the same under any name.
        kind: what decides the model otherwise.
        many: the place is a list of such parts.
    """

    fixed: type[BaseModel] | None = None
    kind: Kind | None = None
    many: bool = False

    @property
    def has_name(self) -> bool:
        """Whether a name alone can stand for the part."""
        if self.kind is not None:
            return self.kind.base is None
        return self.fixed is not None and "name" in self.fixed.model_fields

    @property
    def key(self) -> str:
        """The setting that holds the name."""
        return self.kind.key if self.kind is not None else "name"

    @property
    def one(self) -> Part:
        """An entry of the list."""
        return Part(self.fixed, self.kind)

    def model(self, name: Any) -> type[BaseModel] | None:
        """Return the model of the settings under `name`; None where there is no such name."""
        if self.kind is None:
            return self.fixed
        try:
            return self.kind.config(name) if isinstance(name, str) else None
        except (ConfigError, KeyError):
            return None

    @property
    def usual(self) -> type[BaseModel] | None:
        """The model of the settings where no name is given."""
        default = self.kind.default if self.kind is not None else None
        return self.fixed if default is None else self.model(default)

    def name_in(self, settings: Any, default: Any = None) -> Any:
        """Return the name that settings have, as it was written; else a default.

        Args:
            default: settings that stand where none are given.
        """
        fallback = self.kind.default if self.kind is not None else None
        for one in (settings, default):
            if isinstance(one, Mapping) and self.key in one:
                return one[self.key]
        return fallback

    def model_of(self, settings: Any) -> type[BaseModel] | None:
        """Return the model of some settings; None where they have no name that there is."""
        return self.model(as_text(self.name_in(settings)))

    def under(self, name: str, settings: Mapping[str, Any]) -> dict[str, Any]:
        """Return the settings that remain when the part gets another name: the rule."""
        if self.fixed is None:
            base = self.kind.base if self.kind is not None else None
            shared = () if base is None else base.model_fields
            kept = {key: value for key, value in settings.items() if key in shared}
            return {**kept, self.key: name}
        of_name = {"name", *getattr(self.fixed, "of_name", ())}
        kept = {key: value for key, value in settings.items() if key not in of_name}
        return {"name": name, **kept}


def part_of(field: FieldInfo | None) -> Part | None:
    """Return what a field of a model holds; None for plain values."""
    return None if field is None else _declared(field.annotation)


def _declared(annotation: Any) -> Part | None:
    every = list(members(annotation))
    for member in every:
        if get_origin(member) is list:
            entry = _declared(get_args(member)[0])
            return None if entry is None else Part(entry.fixed, entry.kind, many=True)
    models = [one for one in every if isinstance(one, type) and issubclass(one, BaseModel)]
    if not models:
        return None
    if issubclass(models[0], Schedule):
        return Part(kind=SCHEDULE)
    if models[0] is ObjectiveConfig:
        return Part(kind=OBJECTIVE)
    if models[0] is EvaluatorConfig:
        return Part(kind=EVALUATOR)
    if models[0] is DataConfig:
        return Part(kind=MODALITY)
    if models[0] is ViewsConfig:
        return Part(kind=VIEW_PIPELINE)
    return Part(fixed=models[0])


def members(annotation: Any) -> Iterator[Any]:
    """Yield the types of which a value has one: those of a union, without their annotations."""
    origin = get_origin(annotation)
    if origin is Annotated:
        yield from members(get_args(annotation)[0])
    elif origin in (Union, types.UnionType):
        for one in get_args(annotation):
            yield from members(one)
    else:
        yield annotation


def field_default(field: FieldInfo | None) -> Any:
    """Return a field's default as plain data; None where it has none."""
    if field is None or field.is_required():
        return None
    value = field.get_default(call_default_factory=True, validated_data={})
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json")
    return list(value) if isinstance(value, tuple) else value


def find_part(
    tree: Any, path: Sequence[str | int], root: type[BaseModel] = Experiment
) -> tuple[Part | None, Any]:
    """Walk `path` into plain data.

    Args:
        tree: plain data of `root`, perhaps with mistakes; its names decide the models.
        path: keys and positions. Tags of a schedule's union, as pydantic reports them, are skipped.

    Returns:
        What is declared there, None for a plain value or nothing; and the data there, or defaults.
    """
    part: Part | None = Part(fixed=root)
    here: Any = (
        with_view_pipeline(tree) if root is Experiment and isinstance(tree, Mapping) else tree
    )
    for key in path:
        if part is None:
            return None, None
        if part.many:
            position = int(key) if str(key).isdigit() else -1
            inside = isinstance(here, list) and 0 <= position < len(here)
            part, here = part.one, here[position] if inside else None
            continue
        if part.kind is SCHEDULE and (key in SCHEDULES or key == "number"):
            continue
        settings = here if isinstance(here, Mapping) else {}
        model = part.model_of(settings)
        field = model.model_fields.get(str(key)) if model is not None else None
        part, here = part_of(field), settings.get(key, field_default(field))
    return part, here


def model_at(
    tree: Any, path: Sequence[str | int], root: type[BaseModel] = Experiment
) -> type[BaseModel] | None:
    """Return the model of the settings at `path`, by the names that the data have.

    None where there is a plain value, nothing, or a name that is not known.
    """
    part, here = find_part(tree, path, root)
    if part is None or part.many:
        return None
    return part.model_of(here)


def rename(
    tree: dict[str, Any], path: Sequence[str | int], name: str, root: type[BaseModel] = Experiment
) -> dict[str, Any]:
    """Give the part at `path` another name, in place: the new one's own defaults follow.

    Args:
        tree: plain data of `root`; the settings at `path` are a dictionary.
        path: of the part, without `name`: `("optimizer", "schedule")`.

    Returns:
        What was dropped: settings of the old name. The new one's are not written out, since a
        field that is not given is its default.
    """
    part, here = find_part(tree, path, root)
    if part is None or not isinstance(here, dict) or part.name_in(here) == name:
        return {}
    remaining = part.under(name, here)
    dropped = {key: value for key, value in here.items() if key not in remaining}
    here.clear()
    here.update(remaining)
    return dropped
