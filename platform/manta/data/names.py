"""Names of files as text: bytes that are not UTF-8 are shown, and no two names look the same."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from typing import Any

_LIKE_SHOWN = re.compile(r"\\(x[89a-f][0-9a-f]|ud[89a-f][0-9a-f]{2})")
"""What `shown` writes for an odd byte; a name with these very letters is marked as well."""


def shown(name: str) -> str:
    r"""Return a name of a file as text that can be stored, printed and copied.

    An ordinary name is returned as it is. A byte that is not UTF-8 (Python holds it as a lone
    surrogate) becomes `\xNN` and a backslash beside it `\\`: put between `$'` and `'`, the text is
    the file's name to a shell. A name that really holds the letters `\xNN` gets `\\` too, so two
    names are never shown alike.
    """
    if name.isascii() and "\\" not in name:
        return name  # the usual case
    if _is_utf8(name) and not _LIKE_SHOWN.search(name):
        return name
    return "".join(_letter(letter) for letter in name)


def _is_utf8(name: str) -> bool:
    return not any("\ud800" <= letter <= "\udfff" for letter in name)


def _letter(letter: str) -> str:
    code = ord(letter)
    if letter == "\\":
        return "\\\\"
    if 0xDC80 <= code <= 0xDCFF:  # a byte of a name, as `os.fsdecode` holds it
        return f"\\x{code - 0xDC00:02x}"
    return f"\\u{code:04x}" if 0xD800 <= code <= 0xDFFF else letter


def text_of(scalar: Any) -> str | None:
    """Return an Arrow scalar of text, in which bytes that are not UTF-8 stay lone surrogates."""
    return None if scalar is None else os.fsdecode(scalar.as_buffer().to_pybytes())


def first_names(names: Sequence[str], most: int = 4) -> str:
    """Return the first of some names in a line, and how many more there are."""
    more = f" and {len(names) - most:,} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
