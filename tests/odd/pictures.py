"""Making of odd pictures, byte by byte, for the cases of the corpus."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from odd.case import Case

Pixels = npt.NDArray[np.uint8]
RED, GREEN, BLUE, BLACK, WHITE = (
    (255, 0, 0),
    (0, 255, 0),
    (0, 0, 255),
    (0, 0, 0),
    (255, 255, 255),
)


def pattern() -> Pixels:
    """Return 32 x 48 pixels of which no turn or reflection looks like another."""
    pixels = np.zeros((32, 48, 3), dtype=np.uint8)
    pixels[:16, :24], pixels[:16, 24:], pixels[16:, :24] = RED, GREEN, BLUE
    return pixels


def stored(orientation: int) -> Pixels:
    """Return the pixels that a file of this orientation holds, so that `pattern` is seen."""
    upright = pattern()
    return np.ascontiguousarray(
        {
            1: upright,
            2: upright[:, ::-1],
            3: upright[::-1, ::-1],
            4: upright[::-1],
            5: upright.transpose(1, 0, 2),
            6: np.rot90(upright),
            7: upright[::-1, ::-1].transpose(1, 0, 2),
            8: np.rot90(upright, -1),
        }[orientation]
    )


def encode(pixels: Pixels | Image.Image, kind: str = "JPEG", **options: object) -> bytes:
    """Return an encoded image; JPEG loses next to nothing."""
    image = pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)
    if kind == "JPEG":
        options = {"quality": 95, "subsampling": 0, **options}
    if kind == "WEBP":
        options = {"lossless": True, **options}
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def noise(height: int = 64, width: int = 64) -> Pixels:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)


def tiff_block(entries: list[tuple[int, int, int, bytes]], order: str = "<") -> bytes:
    """Return a TIFF block of `(tag, type, count, value)` entries, as in EXIF.

    Values over 4 bytes come after the directory.
    """
    head = (b"II" if order == "<" else b"MM") + struct.pack(order + "HI", 42, 8)
    place = 8 + 2 + 12 * len(entries) + 4
    body, tail = struct.pack(order + "H", len(entries)), b""
    for tag, kind, count, value in entries:
        if len(value) > 4:
            tail, value = tail + value, struct.pack(order + "I", place + len(tail))
        body += struct.pack(order + "HHI", tag, kind, count) + value.ljust(4, b"\0")
    return head + body + bytes(4) + tail


def orientation(value: int, order: str = "<") -> tuple[int, int, int, bytes]:
    return (0x0112, 3, 1, struct.pack(order + "H", value))


def segment(marker: int, payload: bytes) -> bytes:
    return bytes([0xFF, marker]) + struct.pack(">H", len(payload) + 2) + payload


def with_segment(jpeg: bytes, payload: bytes, marker: int = 0xE1) -> bytes:
    """Return a JPEG with another segment right after its first two bytes."""
    return jpeg[:2] + segment(marker, payload) + jpeg[2:]


def with_exif(jpeg: bytes, block: bytes) -> bytes:
    return with_segment(jpeg, b"Exif\0\0" + block)


def chunk(name: bytes, payload: bytes, *, crc: int | None = None) -> bytes:
    check = zlib.crc32(name + payload) if crc is None else crc
    return struct.pack(">I", len(payload)) + name + payload + struct.pack(">I", check)


def with_chunk(png: bytes, new: bytes) -> bytes:
    """Return a PNG with another chunk before its pixels."""
    place = png.index(b"IDAT") - 4
    return png[:place] + new + png[place:]


def picture(
    name: str,
    data: Callable[[], bytes],
    pixels: Pixels | tuple[int, int, int] | None = None,
    *,
    file: str = "a.jpg",
    reason: str | None = None,
) -> Case:
    """Return the case of one odd file beside two plain ones, which must be taken either way.

    Args:
        pixels: what is seen; None with a `reason`.
        reason: part of why it is set aside.
    """

    def make(folder: Path) -> Path:
        (folder / file).write_bytes(data())
        (folder / "plain.png").write_bytes(encode(pattern(), "PNG"))
        (folder / "proper.png").write_bytes(encode(pattern(), "PNG"))
        return folder

    if reason is not None:
        return Case(name=name, make=make, rows=2, quarantined={file: reason}, pixels={0: pattern()})
    return Case(name=name, make=make, rows=3, pixels={0: pattern() if pixels is None else pixels})
