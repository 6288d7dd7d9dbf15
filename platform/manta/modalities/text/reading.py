"""From the bytes of a row to its text."""

from __future__ import annotations

import unicodedata

from manta.modalities import BadSample

_CONTROLS = dict.fromkeys([*range(32), *range(127, 160)], " ")
"""Control characters, NUL and line ends among them, are blanks."""
_SHOWN = frozenset("LMNPS")
"""Classes of Unicode that have something to see: letters, marks, numbers, punctuation, symbols."""


def text_of(data: bytes) -> str:
    """Return the text of UTF-8 bytes; control characters are blanks.

    Raises:
        BadSample: they are not UTF-8, or there is nothing to read.
    """
    try:
        text = data.decode("utf-8-sig").translate(_CONTROLS).strip()
    except UnicodeDecodeError as error:
        raise BadSample(
            f"not UTF-8: byte 0x{data[error.start]:02x} at {error.start}; data.encoding reads it"
        ) from None
    if not any(unicodedata.category(letter)[0] in _SHOWN for letter in text):
        raise BadSample("has no text")
    return text


def excerpt(data: bytes, place: float, most: int) -> bytes:
    """Return a part of a long text, at most `most` bytes, which begins and ends at a blank.

    Where there is no blank, it begins and ends between two characters.

    Args:
        place: of the part, from 0 (at the beginning) to 1 (at the end).
    """
    start = round(place * (len(data) - most))
    part = data[start : start + most]
    return _from_blank(part) if start else _to_blank(part)


def _from_blank(part: bytes) -> bytes:
    """Return a part from its first blank on, and up to its last."""
    blank = part.find(b" ", 0, len(part) // 2)
    if blank < 0:
        blank = 0
        while blank < len(part) and part[blank] & 0xC0 == 0x80:  # within a character
            blank += 1
    return _to_blank(part[blank:])


def _to_blank(part: bytes) -> bytes:
    """Return a part up to its last blank; without one, up to its last whole character."""
    blank = part.rfind(b" ", len(part) // 2)
    if blank >= 0:
        return part[:blank]
    return part.decode("utf-8", errors="ignore").encode()
