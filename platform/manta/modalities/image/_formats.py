"""Recognition of a file's format by its first bytes: what is read, by what, and what is not.

Names of files say nothing here: photographs come as `.jpg` that are PNG, HEIC or a web page.
"""

from __future__ import annotations

import importlib
import logging
from functools import cache
from typing import NamedTuple

from PIL import Image, features

from manta.modalities.image._metadata import is_raw_camera_file

# Only formats that Pillow decodes itself, inside this process, and that begin with bytes of their
# own. Left out for good are EPS (Pillow starts Ghostscript, a whole programming language, on bytes
# from anywhere), WMF, EMF, BUFR, GRIB, HDF5 and MPEG (nothing, or a handler that another library
# has put there, would read them), PDF (which Pillow only writes), FITS (numbers of a telescope,
# whose range is nobody's [0, 255]), and formats without a mark, as which text or noise may pass
# (GBR, IM, IMT, IPTC, MCIDAS, PCD, SPIDER). TGA has no mark either, but its header is strict; it
# comes last.
_ALLOWED = (
    *("PNG", "JPEG", "GIF", "WEBP", "BMP", "DIB", "TIFF", "JPEG2000", "AVIF", "HEIF", "JXL"),
    *("PPM", "ICO", "CUR", "ICNS", "PSD", "QOI", "DDS", "SGI", "PCX", "DCX", "SUN", "MSP", "XBM"),
    *("XPM", "FLI", "BLP", "FTEX", "PIXAR", "XVTHUMB", "TGA"),
)
FIRST = {
    b"\x89PNG": "PNG",
    b"GIF8": "GIF",
    b"BM": "BMP",
    b"II*\x00": "TIFF",
    b"MM\x00*": "TIFF",
    b"II+\x00": "TIFF",
    b"MM\x00+": "TIFF",
}
_HEIC_BRANDS = (b"heic", b"heix", b"hevc", b"hevx", b"heim", b"heis", b"hevm", b"hevs")
_CONVERT = "(convert it to JPEG or PNG)"
RAW = f"a camera's raw file {_CONVERT}"

# Pillow says in a log, beside its exception, that a TIFF has too many channels.
logging.getLogger("PIL.TiffImagePlugin").setLevel(logging.CRITICAL)


class Library(NamedTuple):
    """Reader of a format that Pillow may lack.

    Attributes:
        format: its name in Pillow's registry.
        module: what registers it there.
        remedy: command that installs it.
    """

    format: str
    module: str
    remedy: str


LIBRARIES = {
    "HEIC": Library("HEIF", "pillow_heif", "pip install 'manta-ssl[heif]'"),
    "JPEG XL": Library("JXL", "pillow_jxl", "pip install 'manta-ssl[jxl]'"),
    "AVIF": Library("AVIF", "pillow_avif", "pip install 'pillow>=11.3'"),
}


class MissingLibrary(Exception):
    """A format is known, and what reads it is not installed; the message names both."""


def formats_for(data: bytes) -> tuple[str, ...]:
    """Return the formats that Pillow may try on these bytes, in order.

    Raises:
        MissingLibrary: an optional library would read them.
    """
    for mark, name in FIRST.items():
        if data.startswith(mark):
            return (name,)
    if data.startswith(b"RIFF") and data[8:12] == b"WEBP":
        return ("WEBP",)
    kind = library_for(data)
    if kind is None:
        return _allowed()
    if (remedy := missing(kind)) is not None:
        raise MissingLibrary(f"{kind} ({remedy})")
    return (LIBRARIES[kind].format,)


def library_for(data: bytes) -> str | None:
    """Return which of `LIBRARIES` is for these bytes, or None."""
    if data.startswith((b"\xff\x0a", b"\x00\x00\x00\x0cJXL \r\n\x87\n")):
        return "JPEG XL"
    brands = _brands(data)
    if b"avif" in brands or b"avis" in brands:
        return "AVIF"
    is_heic = any(brand in brands for brand in (*_HEIC_BRANDS, b"mif1", b"msf1"))
    return "HEIC" if is_heic else None


@cache
def missing(kind: str) -> str | None:
    """Make Pillow able to read a format of `LIBRARIES`; return what helps if it cannot, or None."""
    library = LIBRARIES[kind]
    if kind == "AVIF" and _pillow_reads_avif():
        Image.init()
        return None
    try:
        module = importlib.import_module(library.module)
        if kind == "HEIC":
            module.register_heif_opener()
    except ModuleNotFoundError:
        return f"{library.remedy} reads it"
    except Exception as error:  # it is there, and built for another Pillow or machine
        return f"{library.module} cannot be loaded: {' '.join(str(error).split())[:100]}"
    return None if library.format in Image.OPEN else f"{library.remedy} reads it"


def _pillow_reads_avif() -> bool:
    return "avif" in features.modules and bool(features.check_module("avif"))


def needs_library(data: bytes) -> bool:
    """Return whether another machine with the same Pillow may be unable to read these bytes."""
    kind = library_for(data)
    return kind is not None and not (kind == "AVIF" and _pillow_reads_avif())


def refusal(data: bytes) -> str | None:
    """Return why a file is not taken although Pillow would read something in it, or None."""
    if data[:4] in (b"II*\x00", b"MM\x00*") and is_raw_camera_file(data):
        return RAW
    return None


def name_of(data: bytes) -> str | None:
    """Return what bytes are that are no readable image, with the remedy if there is one."""
    for mark, what in _OTHERS:
        if data.startswith(mark):
            return what
    brands = _brands(data)
    if brands:
        return RAW if b"crx " in brands else "a video"
    if data[4:8] in (b"moov", b"mdat", b"wide", b"free"):
        return "a video"
    if data[:4] == b"RIFF":
        return {b"WAVE": "sound", b"AVI ": "a video"}.get(data[8:12])
    if data[40:44] == b" EMF":
        return f"an EMF drawing {_CONVERT}"
    if data[128:132] == b"DICM":
        return f"DICOM {_CONVERT}"
    for mark, what in ((b"\xff\xd8\xff", "JPEG"), (b"\x89PNG\r\n", "PNG")):
        place = data.find(mark, 1, 4096)
        if place > 0 and not data.startswith((b"\0\0\1\0", b"icns")):
            return f"something before a {what} that begins at byte {place}"
    if not data.strip(b"\0"):
        return "only zeros (an interrupted copy?)"
    return _name_of_text(data[:2048])


def _name_of_text(head: bytes) -> str | None:
    start = head.removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    if b"<svg" in start and start.startswith(b"<"):
        return f"an SVG drawing {_CONVERT}"
    if start.startswith((b"<!doctype html", b"<html", b"<head", b"<body", b"<script")):
        return "HTML (a server's answer instead of a file)"
    if start.startswith(b"<") and b"<html" in start:
        return "HTML (a server's answer instead of a file)"
    if start.startswith((b"<?xml", b"<error")):
        return "XML"
    text = head.decode("utf-8", "ignore")
    is_utf8 = len(text.encode()) >= len(head) - 3  # the 2 KiB may end within a letter
    if not text or not is_utf8 or any(_is_control(letter) for letter in text):
        return None
    return "JSON" if start.startswith((b"{", b"[")) else "text"


def _is_control(letter: str) -> bool:
    return letter < " " and letter not in "\t\n\r\f"


def _brands(data: bytes) -> list[bytes]:
    """Return the brands of a file of the MP4 family, the major one first; otherwise nothing."""
    if data[4:8] != b"ftyp":
        return []
    end = min(int.from_bytes(data[:4], "big"), 256)
    return [data[8:12], *(data[place : place + 4] for place in range(16, end, 4))]


@cache
def _allowed() -> tuple[str, ...]:
    Image.init()
    return tuple(name for name in _ALLOWED if name in Image.OPEN)


_OTHERS = (
    (b"%!PS", f"PostScript {_CONVERT}"),
    (b"\xc5\xd0\xd3\xc6", f"PostScript {_CONVERT}"),
    (b"%PDF", f"PDF {_CONVERT}"),
    (b"\xd7\xcd\xc6\x9a", f"a WMF drawing {_CONVERT}"),
    (b"\x01\x00\x09\x00", f"a WMF drawing {_CONVERT}"),
    (b"SIMPLE  =", f"FITS {_CONVERT}"),
    (b"FUJIFILMCCD-RAW", RAW),
    (b"IIRO", RAW),
    (b"IIRS", RAW),
    (b"MMOR", RAW),
    (b"IIU\x00", RAW),
    (b"FOVb", RAW),
    (b"\x00MRM", RAW),
    (b"II\x1a\x00\x00\x00HEAP", RAW),
    (b"version https://git-lfs", "a Git LFS pointer (git lfs pull fetches the file)"),
    (b"\x00\x05\x16\x07", "macOS's metadata of another file"),
    (b"PK\x03\x04", "a ZIP archive (unpack it)"),
    (b"\x1f\x8b", "gzip-compressed (unpack it)"),
    (b"Rar!", "a RAR archive (unpack it)"),
    (b"7z\xbc\xaf", "a 7z archive (unpack it)"),
    (b"PAR1", "Parquet"),
    (b"\x93NUMPY", f"a NumPy array {_CONVERT}"),
    (b"\x89HDF", f"HDF5 {_CONVERT}"),
    (b"\x1a\x45\xdf\xa3", "a video"),
    (b"\x00\x00\x01\xba", "a video"),
    (b"\x00\x00\x01\xb3", "a video"),
    (b"OggS", "sound or a video"),
    (b"ID3", "sound"),
    (b"fLaC", "sound"),
    (b"SQLite format 3", "a database"),
    (b"\xd0\xcf\x11\xe0", "a document or a thumbnail store of Windows"),
    (b"BPG\xfb", f"BPG {_CONVERT}"),
    (b"AT&T", f"DjVu {_CONVERT}"),
)
"""First bytes of files that turn up among photographs."""
