"""Values of a table's cells: images in all the ways people store them, and labels as found."""

from __future__ import annotations

import base64
import binascii
import io
import math
import os
import re
from collections.abc import Callable, Iterator
from datetime import date, datetime, time
from decimal import Decimal
from typing import Any, NamedTuple
from urllib.parse import unquote_to_bytes

import numpy as np
import pyarrow as pa
from PIL import Image

from manta.data.labels import whole_number
from manta.data.names import text_of
from manta.data.sources._base import Label
from manta.data.sources._columns import is_binary, is_list, is_text, plain

NULL = "the image column is null"
_INT64 = range(-(2**63), 2**63)
_LONGEST_PATH = 4096
_BASE64 = re.compile(r"[A-Za-z0-9+/_\s-]+={0,2}\s*")
_DATA_URL = re.compile(r"data:[^,]{0,100},", re.IGNORECASE)
_IMAGE_STARTS: tuple[bytes, ...] = (
    b"\xff\xd8\xff",
    b"\x89PNG",
    b"GIF8",
    b"RIFF",
    b"BM",
    b"II*\x00",
    b"MM\x00*",
)
_IMAGE_STARTS += (b"P5", b"P6", b"\x00\x00\x01\x00", b"\xff\x0a", b"\x00\x00\x00")


class Cell(NamedTuple):
    """One image of a cell.

    Attributes:
        data: its encoded bytes, if they are in the table.
        path: its name, or where to read it if there are no bytes.
        reason: why there is no image.
    """

    data: bytes | None = None
    path: str | None = None
    reason: str | None = None


def cells(column: Any) -> Iterator[list[Cell]]:
    """Yield the images of each row of an Arrow array: one, or those of a list."""
    found = _encoded(column)
    if found is None:
        found = (list(_images(scalar)) for scalar in column)
    yield from found


def _encoded(column: Any) -> Iterator[list[Cell]] | None:
    """Return the images of bytes, or of bytes and paths, as most tables have them; None of others.

    A whole column becomes Python values about ten times faster than value by value.
    """
    kind, paths = column.type, None
    if pa.types.is_struct(kind):
        types = {field.name: field.type for field in kind}
        if len(types) != kind.num_fields or not types.keys() <= {"bytes", "path"}:
            return None
        if "bytes" not in types or not _is_simple(types.get("path", pa.string()), is_text):
            return None
        names = [field.name for field in kind]
        fields = dict(zip(names, column.flatten(), strict=True))  # null where the struct is null
        paths, column = fields.get("path"), fields["bytes"]
    if not _is_simple(column.type, is_binary):
        return None
    try:
        texts = [None] * len(column) if paths is None else paths.to_pylist()
    except UnicodeDecodeError:
        return None
    return ([_cell(*pair)] for pair in zip(column.to_pylist(), texts, strict=True))


def _is_simple(kind: Any, fits: Callable[[Any], bool]) -> bool:
    return plain(kind) == kind and fits(kind)


def _cell(data: bytes | None, path: str | None) -> Cell:
    if data is not None:
        return Cell(data, path)
    return Cell(path=path) if path else Cell(path=path, reason=NULL)


def _images(scalar: Any) -> Iterator[Cell]:
    scalar = _plain(scalar)
    if scalar is None:
        yield Cell(reason=NULL)
    elif is_binary(scalar.type):
        yield Cell(scalar.as_buffer().to_pybytes())
    elif is_text(scalar.type):
        yield from_text(scalar)
    elif pa.types.is_struct(scalar.type):
        yield _from_struct(scalar)
    elif is_list(scalar.type):
        yield from _from_list(scalar.values)
    else:
        yield Cell(reason=f"a value of type {scalar.type} is not an image")


def _plain(scalar: Any) -> Any:
    """Return a scalar without its dictionary, run-end or extension wrapping; None if it is null."""
    while scalar is not None and scalar.is_valid and plain(scalar.type) != scalar.type:
        scalar = scalar.value
    return scalar if scalar is not None and scalar.is_valid else None


def _from_struct(scalar: Any) -> Cell:
    names = {field.name for field in scalar.type}
    path = text_of(_plain(scalar["path"])) if "path" in names else None
    inner = next(_images(scalar["bytes"]), Cell()) if "bytes" in names else Cell(reason=NULL)
    if inner.data is not None:
        return Cell(inner.data, path)
    if path and inner.reason == NULL:
        return Cell(path=path)
    return Cell(path=path, reason=inner.reason) if inner.reason else inner


def _from_list(values: Any) -> Iterator[Cell]:
    """Yield the image whose bytes or pixels the items are, or the images that they are."""
    kind = plain(values.type)
    if len(values) == 0:
        yield Cell(reason="the list of images is empty")
    elif pa.types.is_integer(kind):
        yield _from_numbers(values)
    elif is_list(kind) and _innermost_is_integer(kind):
        yield _from_pixels(values.to_pylist())
    else:
        for item in values:
            yield from _images(item)


def _innermost_is_integer(kind: Any) -> bool:
    while is_list(kind):
        kind = plain(plain(kind).value_type)
    return bool(pa.types.is_integer(kind))


def _from_numbers(values: Any) -> Cell:
    """Return the image whose encoded bytes are given as numbers, signed ones too."""
    numbers = values.to_numpy(zero_copy_only=False)
    if not np.issubdtype(numbers.dtype, np.integer):
        return Cell(reason="a byte of the list is null")
    if numbers.min() < -128 or numbers.max() > 255:
        return Cell(reason="the list holds numbers that are not bytes")
    return Cell(numbers.astype(np.uint8).tobytes())


def _from_pixels(rows: list[Any]) -> Cell:
    """Return an image given as pixels, `[height, width]` with or without channels, as PNG."""
    try:
        pixels = np.array(rows)
    except ValueError:
        return Cell(reason="its rows of pixels are not all of one length")
    if pixels.ndim == 3 and pixels.shape[0] in (1, 3, 4) and pixels.shape[2] not in (1, 3, 4):
        pixels = pixels.transpose(1, 2, 0)
    if pixels.ndim == 3 and pixels.shape[2] == 1:
        pixels = pixels[:, :, 0]
    fits = pixels.ndim == 2 or (pixels.ndim == 3 and pixels.shape[2] in (3, 4))
    if not fits or pixels.size == 0 or not np.issubdtype(pixels.dtype, np.integer):
        return Cell(reason=f"pixels of the shape {list(pixels.shape)} are not an image")
    if pixels.min() < 0 or pixels.max() > 255:
        return Cell(reason="its pixels are not all from 0 to 255")
    file = io.BytesIO()
    Image.fromarray(pixels.astype(np.uint8)).save(file, "PNG")
    return Cell(file.getvalue())


def from_text(value: Any) -> Cell:
    """Return the image that a text holds in base64 or as a data URL, or the path that it is."""
    text = value if isinstance(value, str) else text_of(value)
    text = (text or "").strip()
    if not text:
        return Cell(reason="the image column is empty")
    data_url = _DATA_URL.match(text)
    if data_url is not None:
        content = text[data_url.end() :]
        data = (
            _decoded(content)
            if data_url[0].lower().endswith(";base64,")
            else unquote_to_bytes(content)
        )
        return Cell(data) if data else Cell(reason="its data URL is broken")
    data = _decoded(text) if len(text) >= 24 else None
    if data is not None and (data.startswith(_IMAGE_STARTS) or len(text) > _LONGEST_PATH):
        return Cell(data)
    if len(text) > _LONGEST_PATH:
        return Cell(reason="a text that is neither a path nor an image in base64")
    return Cell(path=text)


def _decoded(text: str) -> bytes | None:
    """Return the bytes of base64 in any of its forms, or None."""
    if not _BASE64.fullmatch(text):
        return None
    letters = "".join(text.split()).rstrip("=").translate(str.maketrans("-_", "+/"))
    try:
        return base64.b64decode(letters + "=" * (-len(letters) % 4), validate=True)
    except (binascii.Error, ValueError):
        return None


def labels(column: Any) -> list[Label]:
    """Return the labels of an Arrow array as they are found."""
    if pa.types.is_integer(column.type) and not pa.types.is_uint64(column.type):
        return list(column.to_pylist())
    return [label_of(_value(scalar)) for scalar in column]


def _value(scalar: Any) -> Any:
    scalar = _plain(scalar)
    if scalar is None:
        return None
    return text_of(scalar) if is_text(scalar.type) else scalar.as_py()


def label_of(value: Any) -> Label:
    """Return a value as a label: a number or text, None if it is empty.

    Whole numbers that 64 bits do not hold become text, and bytes that are not UTF-8 surrogates.
    """
    if value is None or value == "":
        return None
    if isinstance(value, bool):
        return int(value)
    if isinstance(value, int):
        return value if value in _INT64 else str(value)
    if isinstance(value, float):
        return None if math.isnan(value) else value
    if isinstance(value, Decimal):
        return label_of(int(value)) if value == value.to_integral_value() else float(value)
    if isinstance(value, (date, datetime, time)):
        return value.isoformat()
    if isinstance(value, bytes):
        return os.fsdecode(value).strip() or None
    return str(value).strip() or None


def word_label(text: str) -> Label:
    """Return a label that is written as text: an integer if it is one in its usual form."""
    text = text.strip()
    number = whole_number(text)
    return label_of(text if number is None else number)
