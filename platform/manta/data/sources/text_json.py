"""Source of texts in JSON lines: a record a line, of which one key has the text."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Any

from manta.data.sources._base import SOURCES
from manta.data.sources._list_form import value_at
from manta.data.sources._listing import claimed
from manta.data.sources._lists import JSON_LINES, json_records
from manta.data.sources._row_parts import column_of_parts
from manta.data.sources._text import encoding_of
from manta.data.sources._text_files import TextRow, TextRows
from manta.data.sources._values import label_of
from manta.data.sources._words import FOLDERS, NO_LABELS, TEXT_LABELS, TEXTS, usual
from manta.errors import DataError, did_you_mean
from manta.files import Place

_LOOKED_AT = 50
Keys = dict[str, list[Any]]


@SOURCES.register("text_json")
class TextJSON(TextRows):
    """JSON lines with a text under one key of each record.

    `data.column` names the key, or several with commas between them; `a.b` is one inside of
    another.
    """

    kind = "text_json"
    endings = JSON_LINES

    @classmethod
    def claim(cls, place: Place) -> int:
        return 1 if claimed(place, cls.endings) else 0  # images may be in such files too

    def rows(self, place: Place) -> Iterator[TextRow]:
        texts, label, split = self._keys(place)
        group = self.options.group_column
        for number, record in json_records(place, encoding_of(self.options)):
            if isinstance(record, str):
                yield TextRow(number, reason="not a JSON object")
                continue
            told = value_at(record, split)
            yield TextRow(
                number,
                tuple(_text(value_at(record, key)) for key in texts),
                label_of(_one(value_at(record, label))),
                _text(value_at(record, group)),
                None if split is None else "" if told is None else str(told),
            )

    def split_column(self, place: Place) -> str | None:
        return self._keys(place)[2]

    def notes(self) -> list[str]:
        """Return which keys of the first file are read, and what was understood of the parts."""
        texts, label, _ = self._keys(self.listed[0].place)
        labels = [] if label is None else [f"labels: {label}"]
        return [f"text: {', '.join(texts)}", *labels, *super().notes()]

    def _keys(self, place: Place) -> tuple[tuple[str, ...], str | None, str | None]:
        """Return the keys of texts, of the label and of the split.

        Raises:
            DataError: there is no record, or not the key that was asked for.
        """
        keys = _keys_of(place, encoding_of(self.options))
        asked = [one.strip() for one in (self.options.column or "").split(",") if one.strip()]
        named = usual(keys, TEXTS)
        texts = asked or named[:1] or [max(keys, key=lambda key: _mean_length(keys[key]))]
        label = self.options.labels
        if label is None:
            words = [key for key in usual(keys, TEXT_LABELS) if key not in texts]
            label = next((key for key in words if _one(keys[key][0]) == keys[key][0]), None)
        elif label in (NO_LABELS, FOLDERS):
            label = None
        for key in (*texts, label, self.options.group_column):
            if key is not None and value_at(dict.fromkeys(keys, 0), key) is None:
                raise DataError(f"{place.url} has no key {key!r}{did_you_mean(key, keys)}")
        split, _ = column_of_parts({key: keys[key] for key in keys if key not in texts})
        return tuple(texts), label, split


def _keys_of(place: Place, encoding: str | None) -> Keys:
    """Return some of the values of each key, with those inside of others."""
    keys: Keys = {}
    for _, record in islice(json_records(place, encoding), _LOOKED_AT):
        for key, value in record.items() if isinstance(record, dict) else ():
            keys.setdefault(key, []).append(value)
            for inner, one in value.items() if isinstance(value, dict) else ():
                keys.setdefault(f"{key}.{inner}", []).append(one)
    if not keys:
        raise DataError(f"{place.url} has no record; write a JSON object in each line")
    return keys


def _mean_length(values: list[Any]) -> float:
    return sum(len(value) for value in values if isinstance(value, str)) / len(values)


def _one(value: Any) -> Any:
    """Return a value if it can be a label."""
    return None if isinstance(value, (list, dict)) else value


def _text(value: Any) -> str | None:
    if value is None or isinstance(value, (list, dict)):
        return None
    return str(value)
