"""Photographs whose EXIF, XMP, colour profile or texts are odd: only the orientation matters."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable

from PIL import Image, ImageCms

from odd.case import Case
from odd.pictures import (
    chunk,
    encode,
    orientation,
    pattern,
    picture,
    stored,
    tiff_block,
    with_chunk,
    with_exif,
    with_segment,
)

XMP = b"http://ns.adobe.com/xap/1.0/\0"
MAKE = (0x010F, 2, 6, b"Camera")


def turned(block: Callable[[], bytes], value: int = 6) -> Callable[[], bytes]:
    """Return the maker of a JPEG that is stored turned, with this EXIF block."""
    return lambda: with_exif(encode(stored(value)), block())


def lying(block: Callable[[], bytes]) -> Callable[[], bytes]:
    """Return the maker of an upright JPEG whose EXIF says nothing that can be followed."""
    return lambda: with_exif(encode(pattern()), block())


def xmp(value: str) -> bytes:
    return f'<x:xmpmeta><rdf:Description tiff:Orientation="{value}"/></x:xmpmeta>'.encode()


def from_pillow(value: int) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = value
    exif[0x010F] = "Camera"
    return exif.tobytes()


def icc() -> bytes:
    return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def png(value: int = 1, **options: object) -> bytes:
    return encode(stored(value), "PNG", **options)


def imagemagick(value: int) -> bytes:
    block = from_pillow(value)
    text = b"Raw profile type exif\0\0" + zlib.compress(
        f"\nexif\n{len(block):8}\n{block.hex()}\n".encode()
    )
    return with_chunk(png(value), chunk(b"zTXt", text))


def webp(value: int, exif: bytes) -> bytes:
    return encode(stored(value), "WEBP", exif=exif)


def bad_tags_of_tiff() -> bytes:
    data = encode(pattern(), "TIFF", exif=from_pillow(1))
    return data.replace(b"Camera", b"\xff\xfe\xfd\xfc\xfb\xfa")


def tiff_with_lost_exif() -> bytes:
    """Return a TIFF whose tag of EXIF points behind the end of the file."""
    image = Image.fromarray(pattern())
    plain = encode(image, "TIFF", tiffinfo={0x013B: "someone"})
    return plain.replace(struct.pack("<HHI", 0x013B, 2, 8), struct.pack("<HHI", 0x8769, 4, 1))


RATIONAL = (0x011A, 10, 1, struct.pack("<ii", -72, 1))
"""Negative resolution, which Pillow would write back into a type without signs."""

EXIF = [
    *(
        picture(
            f"exif/orientation_{value}",
            lambda value=value: with_exif(
                encode(stored(value)), tiff_block([orientation(value), MAKE])
            ),
        )
        for value in range(1, 9)
    ),
    picture("exif/odd_rational", turned(lambda: tiff_block([orientation(6), RATIONAL]))),
    picture(
        "exif/rational_as_text",
        turned(lambda: tiff_block([orientation(6), (0x011A, 2, 8, b"72/one \0"), MAKE])),
    ),
    picture(
        "exif/infinite_rational",
        turned(
            lambda: tiff_block(
                [orientation(6), (0x0128, 3, 1, b"\3\0"), (0x011A, 12, 1, struct.pack("<d", 1e999))]
            )
        ),
    ),
    picture(
        "exif/doubled_header", turned(lambda: b"Exif\0\0" + tiff_block([orientation(6), MAKE]))
    ),
    picture("exif/tripled_header", turned(lambda: b"Exif\0\0" * 2 + tiff_block([orientation(6)]))),
    picture("exif/two_blocks", lambda: with_exif(turned(lambda: b"junk")(), b"MM"), stored(6)),
    picture(
        "exif/big_endian",
        turned(lambda: tiff_block([orientation(8, ">"), RATIONAL], ">"), 8),
    ),
    picture(
        "exif/long_orientation",
        turned(lambda: tiff_block([(0x0112, 4, 1, struct.pack("<I", 3))]), 3),
    ),
    picture("exif/byte_orientation", turned(lambda: tiff_block([(0x0112, 1, 1, b"\6")]))),
    picture(
        "exif/unsorted_tags",
        turned(lambda: tiff_block([MAKE, (0x9999, 77, 3, b"abc"), orientation(6)])),
    ),
    picture(
        "exif/more_tags_than_there_are",
        turned(lambda: tiff_block([orientation(6)]).replace(b"\1\0\x12\1", b"\xff\xff\x12\1")),
    ),
    picture("exif/cut_after_orientation", turned(lambda: tiff_block([orientation(6), MAKE])[:24])),
    picture("exif/cut_in_directory", lying(lambda: tiff_block([orientation(6)])[:14])),
    picture("exif/cut_in_header", lying(lambda: b"II*")),
    picture("exif/empty", lying(lambda: b"")),
    picture("exif/far_directory", lying(lambda: b"II*\0\xff\xff\xff\xff")),
    picture("exif/no_byte_order", lying(lambda: b"XX*\0\x08\0\0\0\1\0")),
    picture("exif/zeros", lying(lambda: bytes(500))),
    picture("exif/orientation_0", lying(lambda: tiff_block([orientation(0)]))),
    picture("exif/orientation_9", lying(lambda: tiff_block([orientation(9)]))),
    picture("exif/orientation_300", lying(lambda: tiff_block([orientation(300)]))),
    picture("exif/orientation_as_text", lying(lambda: tiff_block([(0x0112, 2, 2, b"6\0")]))),
    picture("exif/orientation_as_rational", lying(lambda: tiff_block([(0x0112, 5, 1, bytes(8))]))),
    picture("exif/orientation_of_none", lying(lambda: tiff_block([(0x0112, 3, 0, b"\6\0")]))),
    picture(
        "exif/lost_sub_directories",
        turned(
            lambda: tiff_block(
                [orientation(6), (0x8769, 4, 1, b"\xff\xff\xff\x7f"), (0x8825, 2, 4, b"gps\0")]
            )
        ),
    ),
    picture(
        "exif/huge_maker_note",
        turned(lambda: tiff_block([orientation(6), (0x927C, 7, 60_000, bytes(60_000))])),
    ),
    picture("exif/in_png", lambda: png(6, exif=from_pillow(6))),
    picture(
        "exif/in_png_odd_rational", lambda: png(6, exif=tiff_block([orientation(6), RATIONAL]))
    ),
    picture("exif/in_png_doubled_header", lambda: png(6, exif=b"Exif\0\0" * 2 + from_pillow(6))),
    picture("exif/in_png_as_text", lambda: imagemagick(6)),
    picture(
        "exif/in_png_as_no_text",
        lambda: with_chunk(png(), chunk(b"tEXt", b"Raw profile type exif\0\nexif\n 12\nzzzz")),
    ),
    picture("exif/in_webp", lambda: webp(6, from_pillow(6)[6:])),
    picture("exif/in_webp_odd_rational", lambda: webp(6, tiff_block([orientation(6), RATIONAL]))),
    picture("exif/in_webp_junk", lambda: webp(1, b"junk")),
    picture("exif/in_tiff", lambda: encode(stored(6), "TIFF", exif=from_pillow(6))),
    picture("exif/in_tiff_bad_text", bad_tags_of_tiff),
    picture("exif/in_tiff_lost", tiff_with_lost_exif),
]

OTHERS = [
    picture("xmp/alone", lambda: with_segment(encode(stored(6)), XMP + xmp("6"))),
    picture(
        "xmp/exif_first",
        lambda: with_exif(
            with_segment(encode(stored(8)), XMP + xmp("6")), tiff_block([orientation(8)])
        ),
    ),
    picture("xmp/in_png", lambda: png_with_xmp("3", 3)),
    picture("xmp/nonsense", lambda: with_segment(encode(pattern()), XMP + xmp("99") + b"\xff\xfe")),
    picture("icc/junk", lambda: encode(pattern(), icc_profile=b"not a profile")),
    picture("icc/junk_in_png", lambda: png(icc_profile=bytes(300))),
    picture("icc/not_compressed", lambda: with_chunk(png(), chunk(b"iCCP", b"icc\0\0 no zlib"))),
    picture("icc/too_large", lambda: png(icc_profile=bytes(3 << 20))),
    picture("icc/whole", lambda: encode(pattern(), icc_profile=icc())),
    picture(
        "icc/part_3_of_2",
        lambda: with_segment(encode(pattern()), b"ICC_PROFILE\0\3\2" + bytes(9), 0xE2),
    ),
    picture("icc/no_part", lambda: with_segment(encode(pattern()), b"ICC_PROFILE\0", 0xE2)),
    picture("icc/of_cmyk", lambda: encode(pattern(), icc_profile=icc().replace(b"RGB ", b"CMYK"))),
    picture(
        "text/huge",
        lambda: with_chunk(png(), chunk(b"zTXt", b"note\0\0" + zlib.compress(bytes(9 << 20)))),
    ),
    picture(
        "text/huge_and_turned",
        lambda: with_chunk(
            png(6, exif=from_pillow(6)), chunk(b"zTXt", b"n\0\0" + zlib.compress(bytes(9 << 20)))
        ),
    ),
    picture("text/wrong_crc", lambda: with_chunk(png(), chunk(b"tEXt", b"a\0b", crc=1))),
    picture("text/not_latin", lambda: with_chunk(png(), chunk(b"tEXt", b"\xff\xfe\0\xd8"))),
    picture("text/odd_itxt", lambda: with_chunk(png(), chunk(b"iTXt", b"a\0\1\7"))),
    picture("text/short_phys", lambda: with_chunk(png(), chunk(b"pHYs", b"\0"))),
    picture("segment/empty_jfif", lambda: with_segment(encode(pattern()), b"JFIF", 0xE0)),
    picture(
        "segment/photoshop_cut",
        lambda: with_segment(encode(pattern()), b"Photoshop 3.0\x008BIM\4\4", 0xED),
    ),
    picture(
        "segment/cut_and_turned",
        lambda: with_segment(
            turned(lambda: tiff_block([orientation(6), RATIONAL]))(),
            b"Photoshop 3.0\x008BIM\4\4",
            0xED,
        ),
    ),
    picture("segment/odd_mpo", lambda: with_segment(encode(pattern()), b"MPF\0II*\0", 0xE2)),
    picture("segment/flashpix", lambda: with_segment(encode(pattern()), b"FPXR\0", 0xE2)),
    picture(
        "segment/comment_of_60_kb",
        lambda: with_segment(encode(pattern()), b"\xff" * 60_000, 0xFE),
    ),
]


def png_with_xmp(value: str, turned_by: int) -> bytes:
    text = b"XML:com.adobe.xmp\0\0\0\0\0" + xmp(value)
    return with_chunk(png(turned_by), chunk(b"iTXt", text))


CASES: list[Case] = [*EXIF, *OTHERS]
