"""Lists of files as text: their encoding, lines, separators and records."""

from __future__ import annotations

import codecs
import csv
import io
import json
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from typing import IO, Any

from manta.data.names import shown
from manta.data.sources._layout import IMAGE_SUFFIXES, is_image_name
from manta.errors import DataError
from manta.files import Place

DELIMITED = {".csv": ",", ".tsv": "\t"}
PLAIN = (".txt", ".lst", ".list")
JSON_LINES = (".jsonl", ".ndjson")
SUFFIXES = (*PLAIN, *DELIMITED, *JSON_LINES, ".json")
_SEPARATORS = ",;\t|"
SAMPLE = 200
MOST_CELL = 1 << 30
_IMAGE = rf".*(?:{'|'.join(map(re.escape, sorted(IMAGE_SUFFIXES)))})"
_LABELLED = re.compile(rf"(?P<path>{_IMAGE})\s+(?P<label>\S+(?:\s+\S+)*)", re.IGNORECASE)
_NUMBERED = re.compile(rf"(?P<label>\d+)\s+(?P<path>{_IMAGE})", re.IGNORECASE)
_BOMS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_MARKED = ("utf-16", "utf-32")
_WIDE = ("utf-16", "utf-32", "utf_16", "utf_32")
_NO_TEXT = (b"\x89PNG", b"\xff\xd8\xff", b"\x1f\x8b", b"PK\x03\x04", b"BZh91AY&SY", b"%PDF-")
"""Beginnings of images, archives and documents."""
_CONTROLS = bytes(code for code in range(32) if code not in b"\t\n\v\f\r\x1a\x1b")

Numbered = tuple[int, list[str]]
"""Line number, from 1, and the cells of a row."""


@contextmanager
def text_of_list(
    place: Place, newline: str | None = None, encoding: str | None = None
) -> Iterator[IO[str]]:
    """Yield a list's text: UTF-8, or UTF-16 and UTF-32 by their marks.

    Bytes that are not UTF-8 become lone surrogates, as in names of files.

    Args:
        encoding: of a text without a mark; None: it is found out.
    """
    try:
        opened = place.open()
    except OSError as error:
        raise DataError(f"{place.url} cannot be read: {error.strerror or error}") from None
    with opened as raw:
        start = raw.read(4096)
        raw.seek(0)
        marked = _encoding(start)
        is_marked = marked in _MARKED or start.startswith(codecs.BOM_UTF8)
        encoding = marked if encoding is None or is_marked else encoding
        if marked == "utf-8" and _is_binary(start):
            raise DataError(
                f"{place.url} is not a text file; a list holds a path in each line, and an archive "
                "is unpacked first"
            )
        errors = "replace" if encoding.startswith(_WIDE) else "surrogateescape"
        with io.TextIOWrapper(raw, encoding=encoding, errors=errors, newline=newline) as text:
            if start.startswith(codecs.BOM_UTF8):
                text.read(1)
            yield text


def _encoding(start: bytes) -> str:
    encoding = next((name for mark, name in _BOMS if start.startswith(mark)), "utf-8")
    if encoding == "utf-8-sig":
        return "utf-8"  # its mark is skipped, and the bytes after it may be anything
    if encoding == "utf-8" and not start.startswith(_NO_TEXT):
        fewer, more = sorted((start[::2].count(0), start[1::2].count(0)))
        if more > 2 and fewer == 0 and more > len(start) // 16:
            return "utf-16-le" if 0 in start[1::2] else "utf-16-be"
    return encoding


def _is_binary(start: bytes) -> bool:
    controls = len(start) - len(start.translate(None, _CONTROLS))
    return start.startswith(_NO_TEXT) or controls > len(start) // 16


def in_words(cell: str) -> str:
    """Return a word in which bytes that are not UTF-8 are read as Windows writes them."""
    if not any("\udc80" <= letter <= "\udcff" for letter in cell):
        return cell
    data = cell.encode("utf-8", "surrogateescape")
    try:
        return data.decode("cp1252")
    except UnicodeDecodeError:
        return data.decode("latin-1")


def plain_lines(place: Place) -> Iterator[tuple[int, str]]:
    """Yield `(number, line)` of the lines that are neither blank nor a comment."""
    with text_of_list(place) as lines:
        for number, line in enumerate(lines, 1):
            line = line.strip()
            if line and not _is_comment(line, place):
                yield number, unquoted(line)


def unquoted(line: str) -> str:
    """Return a text without the quotes around it."""
    quoted = len(line) > 1 and line[0] == line[-1] and line[0] in "\"'"
    return line[1:-1] if quoted and line[0] not in line[1:-1] else line


def _is_comment(line: str, place: Place) -> bool:
    return line.startswith("#") and not _is_beside(line, place)


def delimited_rows(place: Place, separator: str) -> Iterator[Numbered]:
    """Yield the rows that are not empty, with the white space around cells left out.

    Raises:
        DataError: a line cannot be read.
    """
    csv.field_size_limit(MOST_CELL)
    with text_of_list(place, newline="") as lines:
        rows = csv.reader(lines, delimiter=separator, skipinitialspace=True)
        first = 1
        try:
            for row in rows:
                cells = [cell.strip() for cell in row]
                if any(cells) and not _is_comment(separator.join(row).strip(), place):
                    yield first, cells
                first = rows.line_num + 1
        except csv.Error as error:
            raise DataError(f"{place.url}, line {first}: {error}; mend the line") from None


def sample_rows(place: Place, separator: str) -> list[list[str]]:
    """Return the first rows of a list."""
    return [cells for _, cells in islice(delimited_rows(place, separator), SAMPLE)]


def separator_of(place: Place) -> str | None:
    """Return the character that separates the cells of a list, or None if it has one column.

    That of its suffix counts if it fits as well as another one.
    """
    usual = DELIMITED.get(place.suffix)
    lines = [line for _, line in islice(plain_lines(place), SAMPLE)]
    if usual is None and _are_files(lines, place):
        return None
    if usual is not None:
        return best_separator(lines, usual)
    fitting = [one for one in "\t" + _SEPARATORS if _has_paths_and_words(lines, one)]
    return best_separator(lines, "\t", "".join(fitting))


def best_separator(lines: list[str], usual: str, others: str = _SEPARATORS) -> str | None:
    """Return the character that cuts most lines into as many cells as the first, or None.

    Args:
        usual: is taken if it fits as well as another one.
        others: to try.
    """
    best, best_fit = None, 0.0
    for separator in dict.fromkeys(usual * (usual in others) + others):
        widths = [len(row) for row in csv.reader(lines, delimiter=separator)]
        widest = max(widths, default=1)
        fit = sum(width == widths[0] for width in widths) / len(widths) if widest > 1 else 0.0
        if widths and widths[0] == 1:
            fit /= 2  # more likely a comma within a path than a column that the first line lacks
        if fit > best_fit:
            best, best_fit = separator, fit
    return best


def _has_paths_and_words(lines: list[str], separator: str) -> bool:
    """Return whether in all rows but the first one column has images and another has none."""
    rows = list(csv.reader(lines, delimiter=separator))
    rows = rows[1:] if len(rows) > 1 else rows
    if not rows or any(len(row) < 2 for row in rows):
        return False
    columns = list(zip(*rows, strict=False))
    images = [all(is_image_name(cell.strip()) for cell in column) for column in columns]
    return any(images) and not all(images)


def spaced_pattern(place: Place) -> re.Pattern[str] | None:
    """Return how `path label` or `label path` is written on each line of a list, or None."""
    lines = [line for _, line in islice(plain_lines(place), SAMPLE)]
    for pattern in (_LABELLED, _NUMBERED):
        if lines and not _are_files(lines, place) and all(_fits(pattern, line) for line in lines):
            return pattern
    return None


def _are_files(lines: list[str], place: Place) -> bool:
    """Return whether one of the first whole lines is the name of a file beside a list."""
    return any(_is_beside(line, place) for line in lines[:10])


def _is_beside(line: str, place: Place) -> bool:
    # Not by a Place, which would take a line such as "# see https://..." for a URL.
    return place.is_local and os.path.exists(os.path.join(place.parent.url, line))


def _fits(pattern: re.Pattern[str], line: str) -> bool:
    found = pattern.fullmatch(line)
    return bool(found and not is_image_name(found["label"]))


def json_records(
    place: Place, encoding: str | None = None
) -> Iterator[tuple[int, dict[str, Any] | str]]:
    """Yield `(number, record)` of JSON lines or a JSON list; a text is why a line is no record.

    Args:
        encoding: of JSON lines without a mark; None: it is found out.

    Raises:
        DataError: a `.json` file holds something else than a list of records.
    """
    if place.suffix == ".json":
        yield from enumerate(_json_list(place), 1)
        return
    with text_of_list(place, encoding=encoding) as lines:
        for number, line in enumerate(lines, 1):
            if not line.strip():
                continue
            try:
                record = json.loads(line)
            except (ValueError, RecursionError):
                record = None
            is_record = isinstance(record, dict)
            yield number, record if is_record else f"not a JSON object: line {number}"


def _json_list(place: Place) -> list[dict[str, Any] | str]:
    with text_of_list(place) as text:
        try:
            content = json.load(text)
        except (ValueError, RecursionError) as error:
            raise DataError(f"{place.url} is not JSON: {shown(str(error))}") from None
    if isinstance(content, dict) and isinstance(content.get("images"), list):
        if "annotations" in content:
            raise DataError(
                f"{place.url} holds annotations of objects (COCO), not a list of images; give the "
                "folder of the images, or a .csv of paths and labels"
            )
        content = content["images"]
    if isinstance(content, dict) and all(_is_value(value) for value in content.values()):
        return [{"path": path, "label": label} for path, label in content.items()]
    if not isinstance(content, list):
        raise DataError(f'{place.url} is not a list; write [{{"path": ..., "label": ...}}, ...]')
    return [
        item
        if isinstance(item, dict)
        else {"path": item}
        if isinstance(item, str)
        else f"not a JSON object: item {number}"
        for number, item in enumerate(content, 1)
    ]


def _is_value(value: Any) -> bool:
    return value is None or isinstance(value, (str, int, float))
