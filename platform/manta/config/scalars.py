"""Values of a recipe or an override, as the setting that they are for wants them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Literal, get_args, get_origin

from manta.config.named import Part, members, part_of
from manta.config.text import Blank, Verbatim, Written, WrittenNull, as_text, plain


def settled(part: Part | None, annotation: Any, value: Any) -> Any:
    """Return plain data in which what stands for a text is the text that was written.

    Args:
        part: what holds the settings of `value`; None for a plain value.
        annotation: type of a plain value.
        value: from `manta.config.text`, perhaps with mistakes.

    Raises:
        ConfigError: a value that is not YAML is for something else.
    """
    if part is not None and part.many:
        is_list = isinstance(value, list)
        return [settled(part.one, None, one) for one in value] if is_list else plain(value)
    if part is None or not isinstance(value, Mapping):
        return _scalar(annotation, value)
    model = part.model_of(value)
    fields = {} if model is None else model.model_fields
    return {
        plain(key): settled(part_of(fields.get(key)), _type(fields.get(key)), one)
        for key, one in value.items()
    }


def _type(field: Any) -> Any:
    return Any if field is None else field.annotation


def _scalar(annotation: Any, value: Any) -> Any:
    types = list(members(annotation))
    if isinstance(value, Blank):
        return None if type(None) in types else ""
    if _stands_for_text(types, value):
        return as_text(value)
    if isinstance(value, Verbatim):
        return value
    if isinstance(value, Mapping):
        key, entry = next(_arguments(types, dict), (Any, Any))
        return {_scalar(key, name): _scalar(entry, one) for name, one in value.items()}
    if isinstance(value, list):
        entry = next(_arguments(types, list, tuple), (Any,))[0]
        return [_scalar(entry, one) for one in value]
    return plain(value)


def _arguments(types: list[Any], *generic: Any) -> Iterator[tuple[Any, ...]]:
    """Yield the types of the entries that a value of one of the generic types holds."""
    yield from (get_args(one) for one in types if get_origin(one) in generic)


def _stands_for_text(types: list[Any], value: Any) -> bool:
    """Return whether a value is for a text, or for a choice, and was written without quotes."""
    if not isinstance(value, Written):
        return False
    if isinstance(value, WrittenNull):
        return not (value.is_tagged or (value.is_meant and type(None) in types)) and str in types
    if any(value.text in choices for choices in _arguments(types, Literal)):
        return True
    holders = (dict,) if isinstance(value, Mapping) else (list, tuple)
    is_entries = isinstance(value, (Mapping, list)) and any(_arguments(types, *holders))
    return str in types and int not in types and float not in types and not is_entries
