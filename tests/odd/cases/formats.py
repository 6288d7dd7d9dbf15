"""Pictures of every format and colour mode, all called `a.jpg`, and what is no picture at all."""

from __future__ import annotations

import gzip
import io
import json
import struct
import zipfile
import zlib
from pathlib import Path

import numpy as np
from PIL import Image

from odd.case import Case
from odd.pictures import (
    BLACK,
    BLUE,
    GREEN,
    RED,
    WHITE,
    Pixels,
    chunk,
    encode,
    pattern,
    picture,
    tiff_block,
)

GREY = (100, 100, 100)


def flat(mode: str, colour: object, size: tuple[int, int] = (48, 32)) -> Image.Image:
    return Image.new(mode, size, colour)  # type: ignore[arg-type]


def on_white() -> Pixels:
    """Return the pattern whose right half is seen through to white."""
    pixels = pattern()
    pixels[:, 24:] = WHITE
    return pixels


def with_alpha(mode: str = "RGBA") -> Image.Image:
    alpha = np.full((32, 48, 1), 255, dtype=np.uint8)
    alpha[:, 24:] = 0
    image = Image.fromarray(np.concatenate([pattern(), alpha], axis=2))
    return image if mode == "RGBA" else image.convert(mode)


def palette(transparency: bytes | int | None) -> bytes:
    image = Image.fromarray((pattern()[:, :, 0] > 0).astype(np.uint8))  # 1 where it is red
    image = image.convert("P")
    image.putpalette([*WHITE, *RED])
    options = {} if transparency is None else {"transparency": transparency}
    return encode(image, "PNG", **options)


def red_on_white() -> Pixels:
    pixels = np.full((32, 48, 3), 255, dtype=np.uint8)
    pixels[:16, :24] = RED
    return pixels


def animation(kind: str) -> bytes:
    first, *others = (flat("RGB", colour) for colour in (RED, GREEN, BLUE))
    return encode(first, kind, save_all=True, append_images=others)


def png_of(bits: int, kind: int, row: bytes, *extra: bytes) -> bytes:
    """Return a PNG of 32 equal rows of 48 pixels."""
    header = struct.pack(">IIBBBBB", 48, 32, bits, kind, 0, 0, 0)
    pixels = zlib.compress((b"\0" + row) * 32)
    parts = [chunk(b"IHDR", header), *extra, chunk(b"IDAT", pixels), chunk(b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def planar_tiff() -> bytes:
    """Return a TIFF that has one plane after the other."""
    planes = np.ascontiguousarray(pattern().transpose(2, 0, 1)).tobytes()
    size, first = 48 * 32, 8
    directory = first + len(planes)
    entries = [(256, 48), (257, 32), (259, 1), (262, 2), (277, 3), (278, 32), (284, 2)]
    after = directory + 2 + 12 * (len(entries) + 3) + 4
    rows = [struct.pack("<HHII", tag, 3, 1, value) for tag, value in entries]
    rows += [
        struct.pack("<HHII", 258, 3, 3, after),
        struct.pack("<HHII", 273, 4, 3, after + 6),
        struct.pack("<HHII", 279, 4, 3, after + 18),
    ]
    rows.sort()
    tail = struct.pack(
        "<3H3I3I", 8, 8, 8, *(first + size * plane for plane in range(3)), *[size] * 3
    )
    head = b"II*\0" + struct.pack("<I", directory)
    return head + planes + struct.pack("<H", len(rows)) + b"".join(rows) + bytes(4) + tail


def deep(kind: str = "PNG", order: str = "<") -> bytes:
    values = np.full((32, 48), 100 * 256 + 77, dtype=order + "u2")
    image = Image.frombytes("I;16" if order == "<" else "I;16B", (48, 32), values.tobytes())
    return encode(image, kind)


def floats(*values: float) -> bytes:
    pixels = np.resize(np.array(values, dtype=np.float32), (32, 48))
    return encode(Image.fromarray(pixels), "TIFF")


def greys(*values: int) -> Pixels:
    grey = np.resize(np.array(values, dtype=np.uint8), (32, 48))
    return np.repeat(grey[:, :, None], 3, axis=2)


def top_down_bmp() -> bytes:
    header = struct.pack("<IiiHHIIiiII", 40, 48, -32, 1, 24, 0, 0, 0, 0, 0, 0)
    pixels = pattern()[:, :, ::-1].tobytes()
    return b"BM" + struct.pack("<IHHI", 54 + len(pixels), 0, 0, 54) + header + pixels


def plain_ppm(kind: str) -> bytes:
    numbers = " ".join(str(value) for value in pattern().flatten())
    return f"P{kind}\n# by hand\n48 32\n255\n{numbers}\n".encode()


ARITHMETIC = bytes.fromhex(
    "ffd8ffdb0043000302020302020303030304030304050805050404050a070706080c0a0c0c0b0a0b0b0d0e12100d"
    "0e110e0b0b1016101113141515150c0f171816141812141514ffc9000b080008000801011100ffcc000600101005"
    "ffda0008010100003f00ff00b7ffd9"
)
"""8 x 8 grey pixels by `cjpeg -arithmetic`."""
READ = [
    picture("format/png", lambda: encode(pattern(), "PNG")),
    picture("format/progressive_jpeg", lambda: encode(pattern(), progressive=True)),
    picture("format/grey_jpeg", lambda: encode(flat("L", 100)), GREY),
    picture("format/cmyk_jpeg", lambda: encode(flat("CMYK", (0, 255, 255, 0))), RED),
    picture("format/jpeg_with_restarts", lambda: encode(pattern(), restart_marker_blocks=1)),
    picture("format/jpeg_of_channels_rgb", lambda: encode(pattern(), keep_rgb=True)),
    picture("format/arithmetic_jpeg", lambda: ARITHMETIC, GREY),
    picture("format/mpo", lambda: animation("MPO"), RED),
    picture("format/gif", lambda: encode(flat("RGB", BLUE), "GIF"), BLUE),
    picture("format/moving_gif", lambda: animation("GIF"), RED),
    picture("format/moving_webp", lambda: animation("WEBP"), RED),
    picture("format/moving_png", lambda: animation("PNG"), RED),
    picture("format/webp", lambda: encode(pattern(), "WEBP")),
    picture("format/bmp", lambda: encode(pattern(), "BMP")),
    picture("format/bmp_top_down", top_down_bmp),
    picture("format/bmp_one_bit", lambda: encode(flat("1", 1), "BMP"), WHITE),
    picture("format/ico", lambda: encode(flat("RGB", RED, (32, 32)), "ICO"), RED),
    picture("format/ppm", lambda: encode(pattern(), "PPM")),
    picture("format/ppm_as_text", lambda: plain_ppm("3")),
    picture("format/pgm_16_bit", lambda: deep("PPM"), GREY),
    picture("format/pcx", lambda: encode(pattern(), "PCX")),
    picture("format/tga", lambda: encode(pattern(), "TGA")),
    picture("format/tga_packed", lambda: encode(pattern(), "TGA", compression="tga_rle")),
    picture("format/sgi", lambda: encode(pattern(), "SGI")),
    picture("format/dds", lambda: encode(pattern(), "DDS")),
    picture("format/jpeg_2000", lambda: encode(pattern(), "JPEG2000")),
    picture("format/jpeg_2000_bare", lambda: encode(pattern(), "JPEG2000", no_jp2=True)),
    *(
        picture(
            f"tiff/{packing}",
            lambda packing=packing: encode(pattern(), "TIFF", compression=packing),
        )
        for packing in ("tiff_lzw", "tiff_adobe_deflate", "packbits", "jpeg")
    ),
    picture("tiff/many_pages", lambda: animation("TIFF"), RED),
    picture("tiff/planes", planar_tiff),
    picture(
        "tiff/pixels_like_a_raw_file", lambda: planar_tiff()[:8] + b"CR\2\0" + planar_tiff()[12:]
    ),
    picture("tiff/big", lambda: encode(pattern(), "TIFF", big_tiff=True)),
    picture("tiff/cmyk", lambda: encode(flat("CMYK", (0, 255, 255, 0)), "TIFF"), RED),
    picture("tiff/lab", lambda: encode(flat("LAB", (255, 128, 128)), "TIFF"), WHITE),
    picture("tiff/ycbcr", lambda: encode(flat("YCbCr", (100, 128, 128)), "TIFF"), GREY),
    picture("tiff/float_of_255", lambda: floats(0, 100, 255), greys(0, 100, 255)),
    picture("tiff/float_of_1", lambda: floats(0, 0.4, 1), greys(0, 102, 255)),
    picture("tiff/float_nan", lambda: floats(float("nan"), 0.4, 1), greys(0, 102, 255)),
    picture("tiff/float_all_nan", lambda: floats(float("nan")), (0, 0, 0)),
    picture(
        "tiff/float_infinite",
        lambda: floats(float("inf"), -float("inf"), 0.4),
        greys(255, 0, 102),
    ),
    picture("tiff/float_negative", lambda: floats(-5, 0.4, 1), greys(0, 102, 255)),
    picture("tiff/deep_big_endian", lambda: deep("TIFF", ">"), GREY),
    picture(
        "tiff/negative_whole",
        lambda: encode(Image.fromarray(np.full((32, 48), -9, dtype=np.int32)), "TIFF"),
        (0, 0, 0),
    ),
]
MODES = [
    picture("mode/deep_grey", deep, GREY),
    picture("mode/deep_rgb", lambda: png_of(16, 2, b"\x64\xff" * 144), GREY),
    picture("mode/deep_rgba", lambda: png_of(16, 6, (b"\x64\0" * 3 + b"\xff\xff") * 48), GREY),
    picture("mode/two_bits", lambda: png_of(2, 0, b"\xff" * 12), WHITE),
    picture("mode/one_bit", lambda: encode(flat("1", 1), "PNG"), WHITE),
    picture("mode/one_bit_clear", lambda: encode(flat("1", 0), "PNG", transparency=0), WHITE),
    picture("mode/grey_clear", lambda: encode(flat("L", 100), "PNG", transparency=100), WHITE),
    picture("mode/grey_not_clear", lambda: encode(flat("L", 100), "PNG", transparency=7), GREY),
    picture(
        "mode/rgb_clear",
        lambda: encode(pattern(), "PNG", transparency=GREEN),
        np.where((pattern() == GREEN).all(-1, keepdims=True), np.uint8(255), pattern()),
    ),
    picture("mode/rgba", lambda: encode(with_alpha(), "PNG"), on_white()),
    picture("mode/rgba_webp", lambda: encode(with_alpha(), "WEBP"), on_white()),
    picture("mode/rgba_tiff", lambda: encode(with_alpha(), "TIFF"), on_white()),
    picture("mode/rgba_ico", lambda: encode(flat("RGBA", (*RED, 0), (32, 32)), "ICO"), WHITE),
    picture("mode/grey_alpha", lambda: encode(flat("LA", (0, 0)), "PNG"), WHITE),
    picture("mode/grey_alpha_half", lambda: encode(flat("LA", (0, 155)), "PNG"), GREY),
    picture("mode/palette", lambda: palette(None), red_on_white()),
    picture("mode/palette_clear_int", lambda: palette(1), WHITE),
    picture("mode/palette_clear_bytes", lambda: palette(b"\x80\xff"), red_on_white()),
    picture("mode/palette_clear_long", lambda: palette(b"\xff" * 9), red_on_white()),
    picture("mode/gif_clear", lambda: encode(flat("P", 0), "GIF", transparency=0), WHITE),
    picture(
        "mode/palette_too_short",
        lambda: png_of(8, 3, b"\0\1\2" * 16, chunk(b"PLTE", bytes(RED))),
        np.tile(np.array([RED, BLACK, BLACK], dtype=np.uint8), (32, 16, 1)),
    ),
    picture("size/1x1", lambda: encode(flat("RGB", BLUE, (1, 1)), "PNG"), BLUE),
    picture("size/1x5000", lambda: encode(flat("RGB", BLUE, (1, 5000)), "PNG"), BLUE),
    picture("size/5000x1", lambda: encode(flat("RGB", BLUE, (5000, 1))), BLUE),
    picture("size/1x1_jpeg", lambda: encode(flat("RGB", BLUE, (1, 1))), BLUE),
]


def raw(*tags: tuple[int, object]) -> bytes:
    """Return a small TIFF, as a camera's raw file begins with, that has these tags."""
    return encode(pattern(), "TIFF", tiffinfo=dict(tags))


def mp4(*brands: bytes) -> bytes:
    major, *others = brands
    content = major + bytes(4) + b"".join(others)
    return struct.pack(">I", 8 + len(content)) + b"ftyp" + content + bytes(500)


def zipped() -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("a.jpg", encode(pattern()))
    return file.getvalue()


def no_picture(name: str, data: bytes, reason: str) -> Case:
    return picture(f"no_picture/{name}", lambda: data, reason=reason)


POSTSCRIPT = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\n(x) run\n"
SVG = b'<?xml version="1.0"?>\n<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"/>'
S3 = b'<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>AccessDenied</Code></Error>'
LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:12\nsize 345\n"
NOT_READ = [
    no_picture("postscript", POSTSCRIPT, "PostScript"),
    no_picture("postscript_with_preview", b"\xc5\xd0\xd3\xc6" + bytes(99), "PostScript"),
    no_picture("pdf", b"%PDF-1.4\n%\xe2\xe3\n1 0 obj\n", "PDF"),
    no_picture("wmf", b"\xd7\xcd\xc6\x9a" + bytes(99), "WMF"),
    no_picture("emf", b"\1\0\0\0" + bytes(36) + b" EMF" + bytes(99), "EMF"),
    no_picture("fits", b"SIMPLE  =                    T".ljust(2880), "FITS"),
    no_picture("svg", SVG, "SVG"),
    no_picture("html", b"\n<!DOCTYPE html>\n<html><body>404</body></html>", "HTML"),
    no_picture("html_after_mark", b"\xef\xbb\xbf<HTML><head>", "HTML"),
    no_picture("json", json.dumps({"error": "Forbidden"}).encode(), "JSON"),
    no_picture("xml", S3, "XML"),
    no_picture("text", "Fotos vom Sommer, schön sortiert".encode(), "text"),
    no_picture("git_lfs", LFS, "git lfs pull"),
    no_picture(
        "apple_double", b"\0\5\x16\7\0\2\0\0Mac OS X" + bytes(99), "metadata of another file"
    ),
    no_picture("zip", zipped(), "ZIP"),
    no_picture("gzip", gzip.compress(encode(pattern()), mtime=0), "gzip"),
    no_picture("mp4", mp4(b"isom", b"mp41"), "video"),
    no_picture("mov", struct.pack(">I", 8) + b"wide" + bytes(99), "video"),
    no_picture("wav", b"RIFF\x24\0\0\0WAVEfmt " + bytes(99), "sound"),
    no_picture("dicom", bytes(128) + b"DICM" + bytes(99), "DICOM"),
    no_picture("numpy", b"\x93NUMPY\1\0" + bytes(99), "NumPy"),
    no_picture("zeros", bytes(5000), "only zeros"),
    no_picture("nothing", b"", "zero bytes"),
    no_picture("heic", mp4(b"heic", b"mif1"), "HEIC"),
    no_picture("heic_sequence", mp4(b"msf1", b"hevc"), "HEIC"),
    no_picture("avif_broken", mp4(b"mif1", b"avif"), "AVIF"),
    no_picture("jpeg_xl", b"\xff\x0a" + bytes(99), "JPEG XL"),
    no_picture("jpeg_xl_boxed", b"\0\0\0\x0cJXL \r\n\x87\n" + bytes(99), "JPEG XL"),
    no_picture("raw_dng", raw((50706, b"\1\4\0\0")), "raw file"),
    no_picture("raw_nef", raw((254, 1), (330, 8)), "raw file"),
    no_picture("raw_cr2", b"II*\0\x10\0\0\0CR\2\0" + bytes(99), "raw file"),
    no_picture("raw_cr3", mp4(b"crx ", b"isom"), "raw file"),
    no_picture("raw_raf", b"FUJIFILMCCD-RAW 0201" + bytes(99), "raw file"),
    no_picture("raw_mosaic", tiff_block([(262, 3, 1, struct.pack("<H", 32803))]), "raw file"),
    no_picture("noise", np.random.default_rng(3).bytes(999), "not an image"),
]


def phone(folder: Path) -> Path:
    for number in range(10):
        (folder / f"IMG_{number:04d}.HEIC").write_bytes(mp4(b"heic", b"mif1"))
    return folder


CASES: list[Case] = [
    *READ,
    *MODES,
    *NOT_READ,
    Case(name="format/a_phone", make=phone, error="HEIC"),
]
