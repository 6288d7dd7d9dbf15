"""Reading of the little that matters in an image's metadata, and leaving out of the rest.

Cameras, editors and messengers write EXIF, XMP, ICC profiles and texts that no specification
allows. None of it is pixels, so nothing here raises: what cannot be read counts as absent.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from typing import NamedTuple

from PIL import Image

ORIENTATION = 0x0112
_NEW_SUBFILE, _PHOTOMETRIC, _SUB_IFDS, _DNG_VERSION = 0x00FE, 0x0106, 0x014A, 0xC612
_COLOUR_FILTER, _LINEAR_RAW = 32803, 34892
_INTEGERS = {1: "B", 3: "H", 4: "I", 6: "b", 8: "h", 9: "i"}
"""Formats for `struct` of TIFF's integer types."""
_XMP = re.compile(rb"tiff:Orientation(?:=[\"']|>)([1-8])")
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_JPEG_KEPT = (0xE0, 0xEE)
"""Segments that say how JPEG's channels are meant: JFIF's and Adobe's."""
_PNG_KEPT = (b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND")
_WEBP_LEFT = (b"EXIF", b"XMP ", b"ICCP")
_TIFF_LEFT = (700, 33723, 34377, 34665, 34675, 34853, 40965)
"""XMP, IPTC, Photoshop, EXIF, ICC, GPS and interoperability tags."""


class Bare(NamedTuple):
    """An encoded image without its metadata, and its EXIF block as it was."""

    data: bytes
    exif: bytes


def upright(image: Image.Image) -> Image.Image:
    """Return a loaded image, turned as its EXIF, or else its XMP, says."""
    method = _TURNS.get(_orientation(image))
    return image if method is None else image.transpose(method)


def is_raw_camera_file(data: bytes) -> bool:
    """Return whether a TIFF is a camera's raw file, of which Pillow reads a small preview."""
    if data[4:12] == b"\x10\0\0\0CR\2\0":
        return True
    tags = read_tags(data)
    previews = bool(tags.get(_NEW_SUBFILE, 0) & 1) and _SUB_IFDS in tags
    unfinished = tags.get(_PHOTOMETRIC) in (_COLOUR_FILTER, _LINEAR_RAW)
    return previews or unfinished or _DNG_VERSION in tags


def read_tags(tiff: bytes) -> dict[int, int]:
    """Return the first integer of each tag of a TIFF's (or an EXIF block's) first directory.

    Tags of other types have 0. A directory that is cut off gives the tags before the cut.
    """
    return {tag: value for _, tag, value in _entries(tiff) if value is not None}


def without_metadata(data: bytes) -> Bare | None:
    """Return a JPEG, PNG, WebP or TIFF without its metadata; None if there is none to leave out."""
    try:
        if data.startswith(b"\xff\xd8"):
            bare = _bare_jpeg(data)
        elif data.startswith(b"\x89PNG\r\n\x1a\n"):
            bare = _bare_png(data)
        elif data.startswith(b"RIFF") and data[8:12] == b"WEBP":
            bare = _bare_webp(data)
        else:
            bare = Bare(_bare_tiff(data), b"")
    except (struct.error, IndexError):
        return None
    return None if bare.data == data else bare


def _orientation(image: Image.Image) -> int:
    info = image.info
    # Pillow has turned a TIFF while it loaded it, and JPEG XL's decoder does so too, except for a
    # JPEG that it only holds.
    if image.format == "TIFF" or (image.format == "JXL" and not getattr(image, "jpeg", False)):
        return 1
    exif = info.get("exif") or _exif_as_text(info.get("Raw profile type exif"))
    if isinstance(exif, bytes):
        while exif.startswith(b"Exif\0\0"):  # some programs write the header twice
            exif = exif[6:]
        value = next((value for _, tag, value in _entries(exif) if tag == ORIENTATION), None)
        if value is not None:
            return value
    for key in ("XML:com.adobe.xmp", "xmp"):
        text = info.get(key)
        text = text.encode(errors="replace") if isinstance(text, str) else text
        if isinstance(text, bytes) and (match := _XMP.search(text)):
            return int(match[1])
    return 1


def _exif_as_text(text: object) -> bytes | None:
    """Return the EXIF block that ImageMagick has written into a text of a PNG."""
    if not isinstance(text, str):
        return None
    try:
        return bytes.fromhex("".join(text.split("\n")[3:]))
    except ValueError:
        return None


def _entries(tiff: bytes) -> Iterator[tuple[int, int, int | None]]:
    """Yield `(place, tag, first value)` of the first directory of a TIFF.

    The value is None for a tag that is no integer, except 0 for those that point elsewhere.
    """
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(tiff[:4])
    if order is None or len(tiff) < 10:
        return
    start = struct.unpack_from(order + "I", tiff, 4)[0]
    if start + 2 > len(tiff):
        return
    count = struct.unpack_from(order + "H", tiff, start)[0]
    for place in range(start + 2, min(start + 2 + 12 * count, len(tiff) - 11), 12):
        tag, kind, number = struct.unpack_from(order + "HHI", tiff, place)
        code = _INTEGERS.get(kind)
        if code is None or number == 0 or number * struct.calcsize(code) > 4:
            yield place, tag, None if tag == ORIENTATION else 0
        else:
            yield place, tag, struct.unpack_from(order + code, tiff, place + 8)[0]


def _bare_jpeg(data: bytes) -> Bare:
    parts, exif, place = [data[:2]], b"", 2
    while data[place] == 0xFF and (marker := data[place + 1]) != 0xDA:
        if marker == 0xFF:  # padding
            place += 1
            continue
        end = place + 2 + struct.unpack_from(">H", data, place + 2)[0]
        body = data[place + 4 : end]
        if marker == 0xE1 and body.startswith(b"Exif\0\0") and not exif:
            exif = body
        is_metadata = 0xE0 <= marker <= 0xEF or marker == 0xFE
        if not is_metadata or (marker in _JPEG_KEPT and len(body) >= 12):
            parts.append(data[place:end])
        place = end
    return Bare(b"".join([*parts, data[place:]]), exif)


def _bare_png(data: bytes) -> Bare:
    parts, exif, place = [data[:8]], b"", 8
    while place + 8 <= len(data):
        length, name = struct.unpack_from(">I4s", data, place)
        end = place + 12 + length
        if name == b"eXIf":
            exif = data[place + 8 : end - 4]
        elif name in _PNG_KEPT or not name[0] & 0x20:
            parts.append(data[place:end])
        place = end
    return Bare(b"".join(parts), exif)


def _bare_webp(data: bytes) -> Bare:
    parts, exif, place = [], b"", 12
    while place + 8 <= len(data):
        name, length = struct.unpack_from("<4sI", data, place)
        end = place + 8 + length + length % 2
        if name == b"EXIF":
            exif = data[place + 8 : place + 8 + length]
        elif name == b"VP8X":
            flags = data[place + 8] & ~0x2C & 0xFF  # no ICC, EXIF and XMP any more
            parts.append(data[place : place + 8] + bytes([flags]) + data[place + 9 : end])
        elif name not in _WEBP_LEFT:
            parts.append(data[place:end])
        place = end
    body = b"".join(parts)
    return Bare(b"RIFF" + struct.pack("<I", 4 + len(body)) + b"WEBP" + body, exif)


def _bare_tiff(data: bytes) -> bytes:
    """Return a TIFF whose tags of metadata have numbers that nobody reads."""
    order = "<" if data[:2] == b"II" else ">"
    bare = bytearray(data)
    for place, tag, _ in _entries(data):
        if tag in _TIFF_LEFT:
            struct.pack_into(order + "H", bare, place, 65000 + tag % 500)
    return bytes(bare)
