"""Reading of WAV files with NumPy alone, so that the usual sounds need no optional library."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from manta.modalities import BadSample

Wave = npt.NDArray[np.float32]
_PCM, _FLOAT, _EXTENSIBLE = 1, 3, 0xFFFE
_WIDTHS = {_PCM: (8, 16, 24, 32), _FLOAT: (32, 64)}
_UNKNOWN_SIZE = 0x7FFFFF00
"""Sizes from here on are those of a program that could not know the length when it began."""
_RATES = 100, 1_000_000


@dataclass(frozen=True, slots=True)
class Wav:
    """An opened WAV file.

    Attributes:
        rate: samples of a channel in a second.
        frames: samples of a channel.
    """

    rate: int
    channels: int
    frames: int
    is_float: bool
    bits: int
    content: memoryview

    def mono(self, start: int, stop: int) -> Wave:
        """Return the mean of the channels from one frame to another, full scale at 1."""
        width = self.bits // 8 * self.channels
        part = self.content[start * width : stop * width]
        frames = self._values(part).reshape(-1, self.channels)
        wave: Wave = frames.mean(axis=1, dtype=np.float32)
        return wave

    def _values(self, part: memoryview) -> Wave:
        values: Wave
        if self.is_float:
            with np.errstate(over="ignore"):  # what float32 cannot hold is infinite, and refused
                values = np.frombuffer(part, f"<f{self.bits // 8}").astype(np.float32)
            return values
        if self.bits == 8:
            values = np.frombuffer(part, np.uint8).astype(np.float32) - np.float32(128)
        elif self.bits == 24:
            # The three bytes become the upper ones of four.
            wide = np.zeros((len(part) // 3, 4), dtype=np.uint8)
            wide[:, 1:] = np.frombuffer(part, np.uint8).reshape(-1, 3)
            values = wide.reshape(-1).view("<i4").astype(np.float32)
        else:
            values = np.frombuffer(part, f"<i{self.bits // 8}").astype(np.float32)
        full_scale = 2.0 ** ((32 if self.bits == 24 else self.bits) - 1)
        scaled: Wave = values * np.float32(1 / full_scale)
        return scaled


def open_wav(data: bytes) -> Wav | None:
    """Return the opened file; None where its kind is not read here, such as A-law.

    Raises:
        BadSample: its header is wrong, or it is cut off.
    """
    layout: bytes | None = None
    for name, start, size in _chunks(data):
        if name == b"fmt ":
            layout = bytes(data[start : start + size])
        elif name == b"data":
            if layout is None:
                raise BadSample("wrong WAV header: no format before the samples")
            is_stream = size >= _UNKNOWN_SIZE or (size == 0 and not _says_size(data))
            content = memoryview(data)[start:]
            return _opened(layout, content, len(content) if is_stream else size)
    raise BadSample("wrong WAV header: no samples" if len(data) >= 44 else "truncated WAV")


def _says_size(data: bytes) -> bool:
    """Return whether the program that wrote a file knew its size at the end."""
    (size,) = struct.unpack_from("<I", data, 4)
    return bool(0 < size < _UNKNOWN_SIZE)


def _chunks(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Yield name, start and stated size of each chunk."""
    place = 12
    while place + 8 <= len(data):
        name, size = struct.unpack_from("<4sI", data, place)
        yield name, place + 8, size
        place += 8 + size + size % 2


def _opened(layout: bytes, content: memoryview, size: int) -> Wav | None:
    if len(layout) < 16:
        raise BadSample("wrong WAV header: a format of less than 16 bytes")
    tag, channels, rate, _, align, bits = struct.unpack_from("<HHIIHH", layout)
    if tag == _EXTENSIBLE and len(layout) >= 26:
        (tag,) = struct.unpack_from("<H", layout, 24)
    if tag not in _WIDTHS:
        return None
    if bits not in _WIDTHS[tag]:
        raise BadSample(f"wrong WAV header: {bits} bits a sample")
    if channels == 0 or align != channels * bits // 8:
        raise BadSample(f"wrong WAV header: {channels} channels of {bits} bits in {align} bytes")
    if not _RATES[0] <= rate <= _RATES[1]:
        raise BadSample(f"wrong WAV header: {rate:,} samples a second")
    if size > len(content):
        raise BadSample(f"truncated: {len(content):,} of {size:,} bytes of samples")
    frames = size // align
    return Wav(rate, channels, frames, tag == _FLOAT, bits, content[: frames * align])
