"""Settings of a pydantic model as plain data: names, types, defaults, ranges, descriptions."""

from __future__ import annotations

import types
from collections.abc import Iterable, Iterator
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from manta.config.named import SCHEDULE, members, part_of
from manta.evaluators import EvaluatorConfig
from manta.objectives import ObjectiveConfig

_BOUNDS = (("gt", "> {}"), ("ge", ">= {}"), ("lt", "< {}"), ("le", "<= {}"))
_WORDS = {type(None): "null", Any: "any", float: "float", int: "int", str: "str", bool: "bool"}


def field_rows(model: type[BaseModel], prefix: str = "", given: Any = None) -> list[dict[str, Any]]:
    """Return one mapping for each setting of a model, those of nested settings included.

    Args:
        prefix: dotted path of the model in a configuration.
        given: values that replace the fields' defaults: an instance of the model, or a mapping.

    Returns:
        Mappings with `key` (dotted path), `type`, `default` (plain data), `required`, `range` and
        `choices` (or None), and `description`. JSON-able. A `name` that can be nothing else has
        none.
    """
    rows = []
    for name, field in model.model_fields.items():
        choices = _choices(field.annotation)
        if name == "name" and choices is not None and len(choices) == 1:
            continue
        key = f"{prefix}.{name}" if prefix else name
        words, default = type_words(field.annotation), _default(field, name, given)
        part = part_of(field)
        nested = part.usual if part is not None and not part.many else None
        rows.append(
            {
                "key": key,
                "type": words,
                # A section inside has its defaults in the rows that follow.
                "default": None if words == "settings" else _plain(default),
                "required": field.is_required() and default is None,
                "range": _range(field),
                "choices": choices,
                "description": description(model, name),
            }
        )
        if nested is not None:
            rows += field_rows(nested, key, default)
    return rows


def description(model: type[BaseModel], name: str) -> str:
    """Return a field's description; what a subclass leaves out, its base class says."""
    for kind in model.__mro__:
        field = getattr(kind, "__pydantic_fields__", {}).get(name)
        if field is not None and field.description:
            return " ".join(field.description.split())
    return ""


def type_words(annotation: Any) -> str:
    """Return a type in the words of YAML: "int or null", "list of float", "choice"."""
    part = part_of(FieldInfo(annotation=annotation))
    if part is not None and part.kind is SCHEDULE:
        has_number = float in list(members(annotation))
        return "float or schedule" if has_number else "schedule"
    words: list[str] = []
    for member in members(annotation):
        word = _type_word(member)
        if word not in words and not (member is bool and words == ["choice"]):
            words.append(word)
    return " or ".join(words)


def _type_word(member: Any) -> str:
    origin, inner = get_origin(member), get_args(member)
    if origin is Literal:
        return "choice"
    if origin is tuple and inner[-1] is not Ellipsis:
        return f"[{', '.join(type_words(one) for one in inner)}]"
    if origin in (list, tuple):
        return f"list of {type_words(inner[0])}"
    if origin is dict or member is dict:
        return "mapping"
    if member in _WORDS:
        return _WORDS[member]
    if isinstance(member, type) and issubclass(member, BaseModel):
        kinds = {ObjectiveConfig: "objective", EvaluatorConfig: "evaluators"}
        return kinds.get(member, "settings")
    return str(getattr(member, "__name__", member))


def _choices(annotation: Any) -> list[Any] | None:
    """Return the values that a choice is made from; None where any value of the type will do."""
    values: list[Any] = []
    for member in members(annotation):
        if get_origin(member) is Literal:
            values += get_args(member)
        elif member is bool and values:
            values += [True, False]
        elif member is type(None) and values:
            values.append(None)
    return values or None


def _range(field: FieldInfo) -> str | None:
    """Return the bounds of a number, or of the entries of a list, in words."""
    outside = _bounds(field.metadata)
    by_type = {type_words(one): _inner_bounds(one) for one in _constrained(field.annotation)}
    inside = [bounds for bounds in by_type.values() if bounds]
    if len(set(map(tuple, inside))) > 1:
        parts = [f"{name}: {', '.join(bounds)}" for name, bounds in by_type.items() if bounds]
        return "; ".join(parts)
    return ", ".join((inside[0] if inside else []) + outside) or None


def _constrained(annotation: Any) -> Iterator[Any]:
    """Yield the members of a union with their constraints; none of a schedule's, or of settings."""
    if get_origin(annotation) in (Union, types.UnionType):
        for one in get_args(annotation):
            yield from _constrained(one)
    elif part_of(FieldInfo(annotation=annotation)) is None:
        yield annotation


def _inner_bounds(annotation: Any) -> list[str]:
    """Return the bounds that an annotation has itself and on its entries, if they are alike."""
    if get_origin(annotation) is Annotated:
        inner, *metadata = get_args(annotation)
        unpacked = [
            one for m in metadata for one in (m.metadata if isinstance(m, FieldInfo) else [m])
        ]
        return _bounds(unpacked) + _inner_bounds(inner)
    if get_origin(annotation) in (list, tuple):
        entries = [_inner_bounds(one) for one in get_args(annotation) if one is not Ellipsis]
        return entries[0] if all(one == entries[0] for one in entries) else []
    return []


def _bounds(metadata: Iterable[Any]) -> list[str]:
    words = []
    for one in metadata:
        limits = [(form, getattr(one, name, None)) for name, form in _BOUNDS]
        words += [form.format(value) for form, value in limits if value is not None]
        if length := getattr(one, "min_length", None):
            words.append(f"{length} or more entries")
        if named := getattr(getattr(one, "func", None), "range", None):
            words.append(named)
    return words


def _default(field: FieldInfo, name: str, given: Any) -> Any:
    if isinstance(given, BaseModel):
        return getattr(given, name)
    if isinstance(given, dict) and name in given:
        return given[name]
    if field.is_required():
        return None
    return field.get_default(call_default_factory=True, validated_data={})


def _plain(value: Any) -> Any:
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json")
    return list(value) if isinstance(value, tuple) else value
