"""Form of a list of files: which cell of a row is the path, which the label, which the split."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import islice
from typing import Any

from manta.data.names import shown
from manta.data.sources import _lists
from manta.data.sources._base import Label, SourceOptions
from manta.data.sources._layout import is_image_name
from manta.data.sources._list_rows import Entry, Form
from manta.data.sources._lists import in_words
from manta.data.sources._row_parts import FLAGS, column_of_parts
from manta.data.sources._values import label_of, word_label
from manta.data.sources._words import (
    FOLDERS,
    IMAGES,
    LABELS,
    NO_LABELS,
    PATHS,
    normal,
    usual,
)
from manta.errors import DataError, did_you_mean
from manta.files import Place
from manta.modalities import noun_of

_RECORDS = 50
_NUMBERS = re.compile(r"[-+.\d]+(?:\s+[-+.\d]+)+")


def form_of(place: Place, options: SourceOptions) -> Form:
    """Return the form of a list, from its name and its first rows.

    Raises:
        DataError: a column that was asked for is not there, or two might have the images.
    """
    if place.suffix in (*_lists.JSON_LINES, ".json"):
        return _json_form(place, options)
    separator = _lists.separator_of(place)
    if separator is not None:
        return _delimited_form(place, separator, options)
    if place.suffix in _lists.DELIMITED:
        return _delimited_form(place, _lists.DELIMITED[place.suffix], options)
    if options.group_column is not None:
        raise DataError(
            f"{place.url} has no columns, and so none of groups: {options.group_column}"
        )
    pattern = _lists.spaced_pattern(place)
    return _spaced_form(place, pattern, options) if pattern else Form(["path"], 0)


def entries(place: Place, form: Form, options: SourceOptions) -> Iterator[Entry]:
    """Yield the rows of a list."""
    if place.suffix in (*_lists.JSON_LINES, ".json"):
        for number, record in _lists.json_records(place):
            if isinstance(record, str):
                yield Entry(place.name, reason=record)
            else:
                yield from _of_record(place, number, record, form)
    elif form.separator is not None:
        rows = _lists.delimited_rows(place, form.separator)
        for number, cells in islice(rows, form.skipped, None):
            yield _of_cells(place, number, cells, form)
    else:
        for number, line in _lists.plain_lines(place):
            found = form.pattern.fullmatch(line) if form.pattern is not None else None
            if found is None:
                yield Entry(line, number=number)
            else:
                label = found["label"] if form.label is not None else None
                yield Entry(_lists.unquoted(found["path"]), _word(label), number=number)


def _of_cells(place: Place, number: int, cells: list[str], form: Form) -> Entry:
    path, label, split, group = (
        cells[column] if column is not None and column < len(cells) else ""
        for column in (form.path, form.label, form.split, form.group)
    )
    if "\n" in path or "\r" in path or "\n" in label:
        raise DataError(
            f"{place.url}, line {number}: a quote is not closed on its line; close it, or write "
            "it twice"
        )
    if not path:
        return Entry(place.name, reason=f"names no file: line {number}")
    told = in_words(split) or None
    return Entry(path, _word(label), told, number=number, group=in_words(group) or None)


def _of_record(place: Place, number: int, record: dict[str, Any], form: Form) -> Iterator[Entry]:
    value, label = value_at(record, form.path), value_at(record, form.label)
    split, group = value_at(record, form.split), value_at(record, form.group)
    if isinstance(label, (list, dict)):
        label = label[0] if isinstance(label, list) and len(label) == 1 else None
    for one in value if isinstance(value, list) else [value]:
        if isinstance(one, dict):
            one = one.get("bytes") or one.get("path") or one.get("file_name")
        text = one if isinstance(one, str) else ""
        if text:
            told = None if split is None else str(split)
            its_group = None if group is None else str(group)
            yield Entry(text, label_of(label), told, number=number, group=its_group)
        else:
            yield Entry(place.name, reason=f"a record without {form.path}")


def value_at(record: Any, key: str | None) -> Any:
    """Return the value of a key, or of a nested one written `a.b`."""
    if key is None or (isinstance(record, dict) and key in record):
        return None if key is None else record[key]
    for part in key.split("."):
        record = record.get(part) if isinstance(record, dict) else None
    return record


def _word(text: str | None) -> Label:
    """Return a label, or None if there is none or are several numbers."""
    text = in_words(text or "").strip()
    return None if _NUMBERS.fullmatch(text) else word_label(text)


def _spaced_form(place: Place, pattern: re.Pattern[str], options: SourceOptions) -> Form:
    lines = [line for _, line in islice(_lists.plain_lines(place), _lists.SAMPLE)]
    words = [found["label"] for line in lines if (found := pattern.fullmatch(line))]
    counts_rows = words[0].isdigit() and len(set(words)) == len(words) > 2
    is_number_first = pattern.fullmatch(lines[0]) is not None and lines[0].startswith(words[0])
    several = all(_NUMBERS.fullmatch(word) for word in words)
    notes = []
    if several:
        notes.append("no labels: several numbers a line are not one class")
    if is_number_first and counts_rows:
        notes.append("no labels: the numbers before the paths count the lines")
    wanted = not notes and options.labels not in (NO_LABELS, FOLDERS)
    return Form(["path", "label"], 0, 1 if wanted else None, pattern=pattern, notes=tuple(notes))


def _delimited_form(place: Place, separator: str, options: SourceOptions) -> Form:
    rows = _lists.sample_rows(place, separator)
    width = max((len(row) for row in rows), default=1)
    header = _header(rows, options)
    body = rows[1:] if header else rows
    images = [
        column for column in range(width) if _mostly_images([_cell(row, column) for row in body])
    ]
    names = [*header, *map(str, range(len(header) + 1, width + 1))]
    _refuse_pixels(place, names, body)
    path = _path_column(place, names, images, options, has_header=bool(header))
    label, split, notes = _other_columns(
        place, names, path, images, options, body if header else None
    )
    asked = options.group_column
    group = None if asked is None else _position(place, names, asked)
    return Form(names, path, label, split, 1 if header else 0, separator, None, notes, group)


def _cell(row: list[str], column: int) -> str:
    return row[column] if column < len(row) else ""


def _mostly_images(cells: list[str]) -> bool:
    filled = [cell for cell in cells if cell]
    return bool(filled) and 2 * sum(is_image_name(cell) for cell in filled) > len(filled)


def _header(rows: list[list[str]], options: SourceOptions) -> list[str]:
    """Return the names of the columns if the first row holds them, else an empty list."""
    if not rows:
        return []
    first = rows[0]
    if any(is_image_name(cell) for cell in first):
        return []
    asked = {options.column, options.labels, options.group_column} - {None, NO_LABELS, FOLDERS}
    names = {normal(cell) for cell in first}
    is_named = bool(names & {*PATHS, *IMAGES, *LABELS} or asked & set(first))
    has_images = any(is_image_name(cell) for row in rows[1:] for cell in row)
    return [shown(in_words(cell)) for cell in first] if is_named or has_images else []


def _refuse_pixels(place: Place, names: list[str], body: list[list[str]]) -> None:
    """Check that the cells are not pixels.

    Raises:
        DataError: they are, as in some tables of small images.
    """
    numbered = sum(bool(re.fullmatch(r"(?:pixel|px|p)_?\d+|\d+x\d+", name)) for name in names)
    long = [cell for row in body[:3] for cell in row if len(cell) > 400]
    if numbered > 48 or any(_NUMBERS.fullmatch(cell[:400]) for cell in long):
        raise DataError(
            f"{place.url} holds pixels as numbers, not files; write each row as an image file, or "
            "the table as Parquet with a column of encoded images"
        )


def _path_column(
    place: Place, names: list[str], images: list[int], options: SourceOptions, *, has_header: bool
) -> int:
    if options.column is not None:
        return _position(place, names, options.column)
    if len(images) == 1:
        return images[0]
    fitting = [names[column] for column in images] if images else names
    named = usual(fitting, tuple(dict.fromkeys((*PATHS, *IMAGES)))) if has_header else []
    if named:
        return names.index(named[0])
    if len(images) > 1 and has_header:
        kind = noun_of(options.modality).singular
        raise DataError(
            f"{place.url} has {len(images)} columns of {kind} files: {', '.join(fitting)}; choose "
            f"one, as in data.column={fitting[0]}"
        )
    return images[0] if images else 0


def _position(place: Place, names: list[str], asked: str) -> int:
    """Return the position of a column by its name, or by its number from 1."""
    if asked in names:
        return names.index(asked)
    same = [position for position, name in enumerate(names) if normal(name) == normal(asked)]
    if len(same) == 1:
        return same[0]
    raise DataError(f"{place.url} has no column {asked!r}{did_you_mean(asked, names)}")


def _other_columns(
    place: Place,
    names: list[str],
    path: int,
    images: list[int],
    options: SourceOptions,
    body: list[list[str]] | None,
) -> tuple[int | None, int | None, tuple[str, ...]]:
    """Return the columns of the labels and of the splits, and notes on the choice.

    Args:
        body: rows of a list that has a header.
    """
    asked = options.group_column
    group = None if asked is None else _position(place, names, asked)
    rest = [c for c in range(len(names)) if c not in (path, group) and c not in images]
    by_name = {names[column]: column for column in rest}
    values = {name: [_cell(row, column) for row in body or ()] for name, column in by_name.items()}
    told, unclear = column_of_parts({} if body is None else values)
    split = None if told is None else by_name[told]
    notes = [*unclear]
    others = [names[column] for column in images if column != path]
    if others:
        plural = noun_of(options.modality).plural
        notes.append(f"{plural}: {names[path]} (also: {', '.join(others)}; data.column chooses)")
    if options.labels in (NO_LABELS, FOLDERS):
        return None, split, tuple(notes)
    if options.labels is not None:
        return _position(place, names, options.labels), split, tuple(notes)
    words = [c for c in rest if c != split and normal(names[c]) not in FLAGS]
    named = [] if body is None else usual((names[column] for column in words), LABELS)
    if named:
        label: int | None = by_name[named[0]]
    elif len(words) == 1:
        label = words[0]
    elif words and body is None:
        label = min(words, key=lambda column: (abs(column - path), column < path))
        notes.append(f"labels: column {label + 1} of {len(names)} (data.labels chooses)")
    else:
        label = None
        if words:
            listed = ", ".join(names[column] for column in words[:6])
            notes.append(f"no labels: none of the columns {listed}; data.labels chooses one")
    if named[1:]:
        notes.append(f"labels: {named[0]} (also: {', '.join(named[1:])}; data.labels chooses)")
    return label, split, tuple(notes)


def _json_form(place: Place, options: SourceOptions) -> Form:
    records = [record for _, record in islice(_lists.json_records(place), _RECORDS)]
    keys: dict[str, list[Any]] = {}
    for record in records:
        if isinstance(record, dict):
            for key, value in _flat(record):
                keys.setdefault(key, []).append(value)
    images = [key for key, values in keys.items() if _are_images(values)]
    asked = options.column
    if asked is not None and asked not in keys:
        raise DataError(f"{place.url} has no key {asked!r}{did_you_mean(asked, keys)}")
    named = usual(images or keys, tuple(dict.fromkeys((*PATHS, *IMAGES))))
    path = asked or (images[0] if len(images) == 1 else named[0] if named else None)
    if path is None:
        raise DataError(
            f"{place.url} has no key with the path of an image among {', '.join(keys) or 'none'}; "
            "give its name by data.column"
        )
    group = options.group_column
    if group is not None and group not in keys:
        raise DataError(f"{place.url} has no key {group!r}{did_you_mean(group, keys)}")
    rest = [key for key in keys if key not in (path, group) and key not in images]
    labels = usual(rest, LABELS)
    wanted = options.labels
    if wanted not in (None, NO_LABELS, FOLDERS) and wanted not in keys:
        raise DataError(f"{place.url} has no key {wanted!r}{did_you_mean(wanted, keys)}")
    label = (labels[0] if labels else None) if wanted is None else wanted
    split, unclear = column_of_parts({key: keys[key] for key in rest})
    wanted = None if label in (NO_LABELS, FOLDERS) else label
    return Form(list(keys), path, wanted, split, notes=unclear, group=group)


def _flat(record: dict[str, Any], above: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in record.items():
        yield f"{above}{key}", value
        if isinstance(value, dict) and not above and not {"bytes", "path"} & set(value):
            yield from _flat(value, f"{key}.")


def _are_images(values: list[Any]) -> bool:
    texts = [value[0] if isinstance(value, list) and value else value for value in values]
    texts = [
        (text.get("path") or text.get("bytes")) if isinstance(text, dict) else text
        for text in texts
    ]
    filled = [text for text in texts if isinstance(text, str) and text]
    fitting = [text for text in filled if is_image_name(text) or text.startswith("data:image")]
    return bool(filled) and 2 * len(fitting) > len(filled)
