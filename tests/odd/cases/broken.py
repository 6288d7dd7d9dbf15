"""Files that are cut off, joined, garbled or say wrong things of themselves."""

from __future__ import annotations

import struct
import zlib

import numpy as np
from PIL import Image

from odd.case import Case
from odd.pictures import (
    chunk,
    encode,
    noise,
    pattern,
    picture,
    segment,
    stored,
    tiff_block,
    with_chunk,
    with_exif,
    with_segment,
)

KINDS = ("JPEG", "PNG", "GIF", "WEBP", "BMP", "TIFF", "JPEG2000", "TGA", "PCX")


def cut(kind: str, share: float = 0.5) -> bytes:
    data = encode(noise(), kind)
    return data[: int(len(data) * share)]


def replaced(data: bytes, old: bytes, new: bytes) -> bytes:
    assert old in data
    return data.replace(old, new, 1)


def png_header(width: int, height: int, bits: int = 8, kind: int = 2) -> bytes:
    """Return a PNG whose header says this, and whose pixels are those of the pattern."""
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, bits, kind, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + encode(pattern(), "PNG")[33:]


def jpeg_header(bits: int, channels: int) -> bytes:
    """Return the first bytes of a JPEG with so many bits and channels."""
    frame = struct.pack(">BHHB", bits, 32, 48, channels) + b"\1\x11\0" * channels
    return b"\xff\xd8" + segment(0xC0, frame) + segment(0xDA, b"\1\1\0\0\x3f\0") + b"\xff\xd9"


def icon_of(png: bytes) -> bytes:
    """Return an icon that says it is 32 x 32."""
    entry = struct.pack("<BBBBHHII", 32, 32, 0, 0, 1, 32, len(png), 22)
    return struct.pack("<HHH", 0, 1, 1) + entry + png


def looping_tiff() -> bytes:
    """Return a TIFF whose only directory is followed by itself."""
    data = bytearray(encode(pattern(), "TIFF"))
    start = struct.unpack_from("<I", data, 4)[0]
    count = struct.unpack_from("<H", data, start)[0]
    struct.pack_into("<I", data, start + 2 + 12 * count, start)
    return bytes(data)


def flipped(start: int) -> bytes:
    data = bytearray(encode(pattern()))
    for place in range(start, min(start + 40, len(data))):
        data[place] ^= 0x55
    return bytes(data)


def lossless_jpeg() -> bytes:
    return replaced(encode(pattern()), b"\xff\xc0", b"\xff\xc3")


def large_bits() -> bytes:
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 20_000, 20_000, 1, 0, 0, 0, 0))
    rows = chunk(b"IDAT", zlib.compress(bytes(2501 * 20_000), 1))
    return b"\x89PNG\r\n\x1a\n" + header + rows + chunk(b"IEND", b"")


def no_end(data: bytes) -> bytes:
    return data[: data.rindex(b"IEND") - 4]


CUT = [
    *(
        picture(f"cut/half_{kind}", lambda kind=kind: cut(kind), reason="truncated")
        for kind in KINDS
    ),
    *(
        picture(f"cut/last_rows_{kind}", lambda kind=kind: cut(kind, 0.96), reason="truncated")
        for kind in ("JPEG", "PNG", "WEBP", "BMP", "TIFF")
    ),
    *(
        picture(
            f"cut/first_bytes_{kind}",
            lambda kind=kind: encode(noise(), kind)[:20],
            reason="truncated",
        )
        for kind in KINDS[:6]
    ),
    picture("cut/one_byte", lambda: b"\xff", reason="not an image"),
    picture("cut/jpeg_magic_alone", lambda: b"\xff\xd8\xff", reason="truncated"),
    picture("cut/progressive", lambda: encode(noise(), progressive=True)[:4000], reason="trunc"),
    picture("cut/exif_and_pixels", lambda: cut_photo(), reason="truncated"),
    picture("cut/png_without_end", lambda: no_end(encode(pattern(), "PNG"))),
    picture("cut/jpeg_without_end", lambda: encode(pattern())[:-2], reason="truncated"),
    picture("cut/gif_without_end", lambda: encode(Image.new("P", (48, 32)), "GIF")[:-1], (0, 0, 0)),
    picture("cut/zeros_after_half", lambda: cut("PNG") + bytes(6000), reason="truncated"),
]


def cut_photo() -> bytes:
    return with_exif(encode(noise()), tiff_block([(0x010F, 2, 9, b"a camera\0")]))[:-3000]


JOINED = [
    picture("joined/garbage_after", lambda: encode(pattern()) + b"\xff\xd8garbage" * 99),
    picture("joined/two_jpegs", lambda: encode(pattern()) + encode(noise())),
    picture("joined/png_and_zip", lambda: encode(pattern(), "PNG") + b"PK\3\4" + bytes(99)),
    picture("joined/video_after", lambda: encode(pattern()) + bytes(4) + b"ftypmp42" + bytes(999)),
    picture("joined/zeros_after", lambda: encode(pattern()) + bytes(4096)),
    picture(
        "joined/thumbnail_inside",
        lambda: with_exif(
            encode(stored(6)), tiff_block([(0x0112, 3, 1, b"\6\0")]) + encode(noise(16, 16))
        ),
    ),
    picture(
        "joined/line_before",
        lambda: b"\n" + encode(pattern()),
        reason="JPEG that begins at byte 1",
    ),
    picture(
        "joined/page_before",
        lambda: b"<br />\n<b>Warning</b>\n" + encode(pattern(), "PNG"),
        reason="a PNG that begins at byte 22",
    ),
]

WRONG = [
    picture("wrong/png_name", lambda: encode(pattern(), "PNG"), file="a.webp"),
    picture("wrong/jpeg_name", lambda: encode(pattern()), file="a.png"),
    picture("wrong/no_suffix", lambda: encode(pattern(), "PNG"), file="a"),
    picture("wrong/upper_case", lambda: encode(pattern()), file="A.JPEG"),
    picture("wrong/png_crc_of_header", lambda: bad_crc(b"IHDR"), reason="truncated or broken"),
    picture("wrong/png_crc_of_pixels", lambda: bad_crc(b"IDAT")),
    picture("wrong/png_no_pixels", lambda: no_pixels(), reason="truncated or broken"),
    picture("wrong/png_width_0", lambda: png_header(0, 32), reason="truncated or broken"),
    picture("wrong/png_height_0", lambda: png_header(48, 0), reason="truncated or broken"),
    picture(
        "wrong/png_too_tall",
        lambda: png_header(48, 64),
        np.pad(pattern(), ((0, 32), (0, 0), (0, 0))),
    ),
    picture("wrong/png_bomb", lambda: png_header(60_000, 60_000), reason="decompression bomb"),
    picture("wrong/png_negative", lambda: png_header(2**31, 2**31), reason="decompression bomb"),
    picture("wrong/png_of_3_bits", lambda: png_header(48, 32, 3), reason="truncated or broken"),
    picture("wrong/png_of_kind_5", lambda: png_header(48, 32, 8, 5), reason="truncated or broken"),
    picture("wrong/png_no_palette", lambda: png_header(48, 32, 8, 3), reason="truncated or broken"),
    picture("wrong/icon_bomb", lambda: icon_of(large_bits()), reason="decompression bomb"),
    picture("wrong/icon_larger", lambda: icon_of(encode(pattern(), "PNG"))),
    picture("wrong/icon_of_nothing", lambda: b"\0\0\1\0\0\0", reason="not an image"),
    picture("wrong/jpeg_of_12_bits", lambda: jpeg_header(12, 3), reason="12-bit"),
    picture("wrong/jpeg_of_2_channels", lambda: jpeg_header(8, 2), reason="2-layer"),
    picture("wrong/jpeg_no_tables", lambda: jpeg_header(8, 1), reason="truncated or broken"),
    picture("wrong/jpeg_lossless", lossless_jpeg, reason="truncated or broken"),
    picture("wrong/jpeg_height_0", lambda: jpeg_of_height(0), reason="truncated or broken"),
    picture(
        "wrong/jpeg_no_frame",
        lambda: with_segment(b"\xff\xd8\xff\xd9", bytes(9)),
        reason="truncated or broken",
    ),
    picture(
        "wrong/gif_of_0_pixels", lambda: b"GIF89a\0\0\0\0\0\0\0;", reason="truncated or broken"
    ),
    picture("wrong/gif_frame_outside", lambda: gif_outside(), (0, 0, 0)),
    picture("wrong/tiff_loop", looping_tiff),
    picture("wrong/tiff_empty_directory", lambda: tiff_block([]), reason="truncated or broken"),
    picture(
        "wrong/tiff_far_directory", lambda: b"MM\0*\x7f\xff\xff\xff", reason="truncated or broken"
    ),
    picture("wrong/webp_length", lambda: webp_of_length(0xFFFF)),
    picture(
        "wrong/webp_no_picture",
        lambda: b"RIFF\x0c\0\0\0WEBPVP8 \0\0\0\0",
        reason="truncated or broken",
    ),
    picture("wrong/bmp_of_length_0", lambda: bmp(34, "<I", 0)),
    picture("wrong/bmp_far_pixels", lambda: bmp(10, "<I", 2**31), reason="truncated"),
    picture("wrong/bmp_of_5_bits", lambda: bmp(28, "<H", 5), reason="depth (5)"),
    picture("wrong/ppm_no_size", lambda: b"P6\n48\n", reason="EOF"),
    picture("wrong/ppm_of_0", lambda: b"P6 0 0 255\n", reason="not an image"),
    picture(
        "wrong/xpm_of_text", lambda: b"/* XPM */ is what this text is about", reason="not an image"
    ),
    picture(
        "wrong/half_html", lambda: encode(pattern())[:20] + b"<html>", reason="truncated or broken"
    ),
]


def bad_crc(name: bytes) -> bytes:
    data = bytearray(encode(pattern(), "PNG"))
    place = data.index(name)
    length = struct.unpack_from(">I", data, place - 4)[0]
    data[place + 4 + length] ^= 0xFF
    return bytes(data)


def no_pixels() -> bytes:
    return replaced(with_chunk(encode(pattern(), "PNG"), b""), b"IDAT", b"tEXt")


def jpeg_of_height(height: int) -> bytes:
    old, new = struct.pack(">BHH", 8, 32, 48), struct.pack(">BHH", 8, height, 48)
    return replaced(encode(pattern()), old, new)


def gif_outside() -> bytes:
    """Return a GIF of 8 x 8 pixels whose frame says that it is larger."""
    data = encode(Image.new("P", (48, 32)), "GIF")
    return data[:6] + struct.pack("<HH", 8, 8) + data[10:]


def webp_of_length(length: int) -> bytes:
    data = encode(pattern(), "WEBP")
    return data[:4] + struct.pack("<I", length) + data[8:]


def bmp(place: int, kind: str, value: int) -> bytes:
    data = bytearray(encode(pattern(), "BMP"))
    struct.pack_into(kind, data, place, value)
    return bytes(data)


CASES: list[Case] = [*CUT, *JOINED, *WRONG]
