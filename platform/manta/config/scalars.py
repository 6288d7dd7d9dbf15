"""Numbers of a recipe or an override, as the setting that they are for wants them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, get_args, get_origin

from manta.config.named import Part, members, part_of
from manta.config.text import Blank, as_text, plain


def settled(part: Part | None, annotation: Any, value: Any) -> Any:
    """Return plain data in which a number for a text is the text that was written.

    Args:
        part: what holds the settings of `value`; None for a plain value.
        annotation: type of a plain value.
        value: from `manta.config.text.parse_written`, perhaps with mistakes.
    """
    if part is not None and part.many:
        is_list = isinstance(value, list)
        return [settled(part.one, None, one) for one in value] if is_list else plain(value)
    if part is None or not isinstance(value, Mapping):
        return _scalar(annotation, value)
    model = part.model(value.get("name"))
    fields = {} if model is None else model.model_fields
    return {
        plain(key): settled(part_of(fields.get(key)), _type(fields.get(key)), one)
        for key, one in value.items()
    }


def _type(field: Any) -> Any:
    return Any if field is None else field.annotation


def _scalar(annotation: Any, value: Any) -> Any:
    types = list(members(annotation))
    if isinstance(value, (Mapping, list)):
        # The values of `dict[str, str]`, the entries of `list[str]` and `tuple[str, ...]`.
        generic = [one for one in types if get_args(one)]
        entry = Any
        if generic:
            entry = get_args(generic[0])[-1 if get_origin(generic[0]) is dict else 0]
        if isinstance(value, Mapping):
            return {plain(key): _scalar(entry, one) for key, one in value.items()}
        return [_scalar(entry, one) for one in value]
    if isinstance(value, Blank):
        return None if type(None) in types else ""
    is_text = str in types and int not in types and float not in types
    return as_text(value) if is_text else plain(value)
