"""Bytes of one series: a small header, the names of its channels, and little-endian float32."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from manta.modalities import BadSample

Values = npt.NDArray[np.float32]
_MARK, _VERSION = b"MSER", 1
_HEADER = struct.Struct("<4sHHII")
"""Mark, version, channels, rows of values, and bytes of the names."""


class Series(NamedTuple):
    """A series as it is stored.

    Attributes:
        values: `[T, C]` float32; NaN where a value is missing.
        names: of the channels; empty where there are none.
    """

    values: Values
    names: tuple[str, ...]


def pack(values: npt.ArrayLike, names: Sequence[str] = ()) -> bytes:
    """Return the bytes of a series.

    Args:
        values: `[T, C]`, or `[T]` of one channel; NaN where a value is missing.
        names: of the channels.

    Raises:
        BadSample: it has other axes than these two, or too many channels.
    """
    array = np.asarray(values)
    array = array[:, None] if array.ndim == 1 else array
    if array.ndim != 2 or array.dtype.kind not in "fiub":
        raise BadSample(f"not numbers of time and channel, but {array.dtype} {array.shape}")
    if array.shape[1] > 0xFFFF:
        raise BadSample(f"{array.shape[1]:,} channels, of which 65,535 can be stored")
    if names and len(names) != array.shape[1]:
        raise BadSample(f"{array.shape[1]} channels, and {len(names)} names of them")
    text = "\n".join(names).encode()
    with np.errstate(over="ignore"):  # what float32 cannot hold is infinite, and so missing
        content = np.ascontiguousarray(array, dtype="<f4").tobytes()
    header = _HEADER.pack(_MARK, _VERSION, array.shape[1], array.shape[0], len(text))
    return header + text + content


def unpack(data: bytes) -> Series:
    """Return the series that `pack` made bytes of.

    Raises:
        BadSample: they are others, or are cut off.
    """
    if len(data) < _HEADER.size or data[: len(_MARK)] != _MARK:
        raise BadSample("not a series as Manta stores it")
    _, version, channels, length, named = _HEADER.unpack_from(data)
    start = _HEADER.size + named
    if version != _VERSION:
        raise BadSample(f"a series of version {version}, and {_VERSION} is read")
    if len(data) != start + 4 * channels * length:
        raise BadSample("a series that is cut off")
    values = np.frombuffer(data, dtype="<f4", offset=start).reshape(length, channels)
    text = data[_HEADER.size : start].decode(errors="replace")
    return Series(values.astype(np.float32), tuple(text.split("\n")) if text else ())
