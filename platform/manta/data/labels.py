"""Labels as people have them: which are none, and how the classes of the others are numbered.

While data are ingested a label is kept as it was found. When all are known, their distinct values
are numbered densely, so that ids of any size or words of any kind make classes 0, 1, 2, ...
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from manta.data.names import shown

MOST_CLASSES = 1_000_000
"""Distinct labels from which on they tell rows apart, not classes."""
_WORDS_FOR_NONE = frozenset(("nan", "<na>", "null", "none", "n/a", "#n/a"))
_MOST_DIGITS = 400
_WHOLE_FLOAT = re.compile(r"-?(?:0|[1-9][0-9]*)\.0+")
_BINARY = {"-1", "1"}


def as_text(label: Any) -> str | None:
    """Return a label as the text by which it is compared, or None if there is none.

    A float that is a whole number is its integer, so that `3`, `3.0` and "3" are one class. Bytes
    that are not UTF-8 are shown. Words such as "None" stay: `number_classes` counts them.
    """
    if label is None:
        return None
    if hasattr(label, "item"):  # a NumPy number
        label = label.item()
    if isinstance(label, float):
        if math.isnan(label):
            return None
        label = int(label) if label.is_integer() else label
    text = shown(str(label).strip())
    if _WHOLE_FLOAT.fullmatch(text):
        text = text.partition(".")[0]
    return text or None


def within(label: Any, classes: int) -> str | None:
    """Return a position among declared classes as text; None for any number outside of them."""
    text = as_text(label)
    number = whole_number(text) if text is not None else None
    return text if number is not None and 0 <= number < classes else None


def whole_number(text: str) -> int | None:
    """Return the integer that a text is the usual form of: "7", not "07" or "7.0".

    More digits than any id has are text.
    """
    digits = text.removeprefix("-")
    if len(digits) > _MOST_DIGITS:
        return None
    if not (digits.isascii() and digits.isdigit()) or (len(digits) > 1 and digits[0] == "0"):
        return None
    return None if text == "-0" else int(text)


def told_apart(names: Sequence[str]) -> list[str]:
    """Return names of which no two are the same: the second "crane" is "crane (2)"."""
    taken, seen, told = set(names), Counter[str](), []
    for name in names:
        seen[name] += 1
        other = name
        if seen[name] > 1:
            while (other := f"{name} ({seen[name]})") in taken:
                seen[name] += 1
        taken.add(other)
        told.append(other)
    return told


@dataclass(frozen=True, slots=True)
class Numbering:
    """Classes of a dataset by their numbers.

    Attributes:
        values: labels as they were found, as text, by class number; None: there are no classes.
        rows: number of rows of each class.
        note: what was understood, if it is not what one would expect.
    """

    values: list[str] | None
    rows: list[int]
    note: str | None = None


def number_classes(counts: Mapping[str, int]) -> Numbering:
    """Return the classes for labels of which `counts` says how many rows have each.

    Negative integers are none, as in many tables, unless -1 and 1 are the only labels. So are
    "None", "NaN" and "null", as programs write what is missing, which a note says; "none" in small
    letters is a class where others are words too. Values are ordered as numbers if all are whole
    numbers, else as text. Fractions are measurements and no classes.
    """
    missing = _missing(counts)
    numbering = _numbered({text: rows for text, rows in counts.items() if text not in missing})
    said = [f"{text!r} on {rows:,} rows means no label" for text, rows in missing.items()]
    return replace(numbering, note="; ".join([*said, *filter(None, [numbering.note])]) or None)


def _missing(counts: Mapping[str, int]) -> dict[str, int]:
    """Return the words that mean that there is no label, with the rows of each."""
    found = {text: rows for text, rows in counts.items() if text.lower() in _WORDS_FOR_NONE}
    words = [text for text in counts if text not in found and whole_number(text) is None]
    if not all(map(_is_measurement, words)):
        found.pop("none", None)
    return found


def _numbered(counts: Mapping[str, int]) -> Numbering:
    numbers = {text: whole_number(text) for text in counts}
    if counts.keys() != _BINARY:
        numbers = {text: n for text, n in numbers.items() if n is None or n >= 0}
    if not numbers:
        return Numbering(None, [])
    if len(numbers) > MOST_CLASSES:
        note = f"{len(numbers):,} different labels tell rows apart, not classes: not used"
        return Numbering(None, [], note)
    if all(_is_measurement(text) for text in numbers) and None in numbers.values():
        example = next(text for text, n in numbers.items() if n is None)
        return Numbering(None, [], f"labels such as {example} are measurements: not used")
    if None in numbers.values():
        values = sorted(numbers)
    else:
        values = sorted(numbers, key=lambda text: (numbers[text], text))
    return Numbering(values, [counts[value] for value in values])


def _is_measurement(text: str) -> bool:
    """Return whether a text is a number in its usual form, with a fraction or without."""
    try:
        return math.isfinite(float(text)) and not (text[:1] == "0" and text[1:2].isdigit())
    except ValueError:
        return False


def declared_classes(names: list[str], counts: Mapping[str, int]) -> Numbering:
    """Return classes that a source has declared, with the rows of each."""
    rows = [counts.get(str(number), 0) for number in range(len(names))]
    return Numbering([str(number) for number in range(len(names))], rows)
