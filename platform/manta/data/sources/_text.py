"""What sources of text have in common: how files are opened, and texts as the bytes of samples."""

from __future__ import annotations

import codecs
from collections.abc import Iterator
from typing import IO

from manta.data.sources._base import Label, Sample, SourceOptions
from manta.data.sources._listing import Files
from manta.errors import DataError

LONGEST = 1 << 26
"""Characters of the longest text that is read; what is longer is set aside, not held in memory."""
TOO_LONG = f"is longer than {LONGEST >> 20} million characters"
NO_TEXT = "has no text"
OPEN_ENDED = (".txt", ".text")
"""Endings of files of text whose form only their content tells."""


class TextFiles(Files):
    """Source of text in files."""

    modality = "text"


def encoding_of(options: SourceOptions) -> str | None:
    """Return the encoding that `data.encoding` gives to files without a mark, if it does.

    Raises:
        DataError: there is none of that name.
    """
    name = dict(options.settings).get("encoding")
    if name is None:
        return None
    try:
        return codecs.lookup(name).name
    except LookupError:
        raise DataError(
            f"data.encoding: {name!r} is no encoding; such are utf-8, latin-1, cp1252, shift_jis"
        ) from None


def bytes_of(text: str) -> bytes:
    """Return a text as UTF-8; of what was no text in its file, the bytes that were there."""
    try:
        return text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:  # half of a pair, which JSON can write
        return text.encode("utf-8", "surrogatepass")


def text_sample(path: str, text: str | None, label: Label = None, group: Label = None) -> Sample:
    """Return the sample of a text; of one that is missing, the reason."""
    text = (text or "").strip()
    if not text:
        return Sample(path, None, label, NO_TEXT, group)
    return Sample(path, bytes_of(text), label, None, group)


def bounded_lines(text: IO[str]) -> Iterator[tuple[int, str | None]]:
    """Yield `(number, line)` with the ends of lines as they are; None for one that is too long."""
    number = 0
    while line := text.readline(LONGEST):
        number += 1
        if len(line) < LONGEST or line.endswith(("\n", "\r")):
            yield number, line
            continue
        while line and not line.endswith(("\n", "\r")):
            line = text.readline(LONGEST)
        yield number, None
