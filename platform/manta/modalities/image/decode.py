"""Decoding of encoded image bytes into a canonical square of RGB uint8.

These choices fix the pixels and are the same in the ingest and in every stream: EXIF orientation is
applied; transparency is composited on white, as a browser shows it; 16-bit grey images keep their
upper byte; floating-point grey is read as [0, 1] if nothing exceeds 1, else as [0, 255]; only the
first frame of an animation is used. All other metadata is left alone, and may be broken.

`decode` tries all that `verify` tries, so what an ingest accepts can be decoded at every size.
"""

from __future__ import annotations

import io
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageCms, JpegImagePlugin, UnidentifiedImageError

from manta.modalities import BadSample, NoReader
from manta.modalities.image import _formats, _metadata

MAX_PIXELS = 178_956_970
"""Pillow's own hard limit (a 512 MiB RGB image), as a default that the caller can change."""

_JPEG_SIDE = 65_500
"""Longest side, in pixels, that libjpeg writes."""
_JPEG = b"\xff\xd8\xff"
_EMPTY_MESSAGES = (
    *("not identified by this driver", "could not create decoder object"),
    "broken data stream when reading image file",
)
"""What Pillow says when it does not know what is wrong."""
_STRIP = 1 << 22
"""Values of a deep grey image that are converted at a time."""


BadImage = BadSample
"""Bytes that do not decode to an image."""


def decode(data: bytes, size: int) -> npt.NDArray[np.uint8]:
    """Return the image as a centred square, `[size, size, 3]`.

    The shorter side is resized to `size` (bicubic, antialiased). An image that has this size
    already is not resampled.

    Raises:
        BadImage: the bytes are not a complete image.
    """
    try:
        image = _read(data, size, None)
    except Exception:
        # The ingest has read it in full, and perhaps without its metadata.
        image = _read_in_full(data, None)
    if image.size != (size, size):
        width, height = image.size
        short = min(width, height)
        left, top = (width - short) / 2, (height - short) / 2
        square = (left, top, left + short, top + short)
        image = image.resize((size, size), Image.Resampling.BICUBIC, box=square, reducing_gap=3.0)
    return np.asarray(image)


def verify(data: bytes, *, max_pixels: int = MAX_PIXELS) -> Image.Image:
    """Return the image, decoded in full, upright and in mode RGB.

    Raises:
        BadImage: the bytes are not a complete image, it has too many pixels, or it is only the
            preview of a camera's raw file.
    """
    refusal = _formats.refusal(data)
    if refusal is not None:
        raise BadImage(refusal)
    return _read_in_full(data, max_pixels)


def optional_formats() -> dict[str, str]:
    """Return each format that not every Pillow reads: "" if this one does, else what helps."""
    return {kind: _formats.missing(kind) or "" for kind in _formats.LIBRARIES}


def shrink(image: Image.Image, side: int) -> bytes:
    """Return an RGB image as JPEG (quality 95) whose shorter side has `side` pixels.

    A longer side above JPEG's limit is cropped.
    """
    scale = side / min(image.size)
    width, height = (max(side, round(length * scale)) for length in image.size)
    small = image.resize((width, height), Image.Resampling.BICUBIC, reducing_gap=3.0)
    out = io.BytesIO()
    small.crop((0, 0, min(width, _JPEG_SIDE), min(height, _JPEG_SIDE))).save(
        out, "JPEG", quality=95, subsampling=0
    )
    return out.getvalue()


def portable(data: bytes, image: Image.Image) -> bytes:
    """Return `data`, or its image as PNG if reading `data` takes an optional library.

    A dataset is then read on every machine of a cluster, whatever is installed there.
    """
    if not _formats.needs_library(data):
        return data
    out = io.BytesIO()
    image.save(out, "PNG", compress_level=3)
    return out.getvalue()


def _read_in_full(data: bytes, max_pixels: int | None) -> Image.Image:
    """Return the image, upright and RGB; metadata that is in the way is left out.

    Raises:
        BadImage: the bytes are not a complete image, or it has too many pixels.
    """
    try:
        return _read(data, None, max_pixels)
    except BadImage:
        raise
    except Exception as error:
        reason = _reason(data, error)
    bare = _metadata.without_metadata(data)
    if bare is not None:
        with suppress(Exception):
            return _read(bare.data, None, max_pixels, bare.exif)
    raise reason


def _read(data: bytes, side: int | None, max_pixels: int | None, exif: bytes = b"") -> Image.Image:
    """Return the image, upright and RGB.

    Args:
        side: a JPEG may come smaller than it is, with a shorter side that is at least this.
        exif: the block that was left out of `data`.
    """
    try:
        image = _open(data, max_pixels)
        if exif:
            image.info["exif"] = exif
        _check(image, max_pixels)
        width, height = image.size
        short = min(width, height)
        if image.format == "JPEG":
            if side is not None and short >= 2 * side:
                # libjpeg then decodes at 1/2, 1/4 or 1/8: far quicker than decoding in full.
                image.draft(None, (width * side // short, height * side // short))
            image.load()
            return _rgb(_metadata.upright(image))
        # A file of icons or tiles may hold a larger image than it says.
        with _quiet_pillow(max_pixels):
            image.load()
            _check(image, max_pixels)
            return _rgb(_metadata.upright(image))
    except (Exception, KeyboardInterrupt, SystemExit, GeneratorExit):
        raise
    except BaseException as error:  # what plugins written in Rust raise when they panic
        raise BadImage(f"broken: {error}"[:200]) from None


def _check(image: Image.Image, max_pixels: int | None) -> None:
    if 0 in image.size:
        raise BadImage(f"no pixels: {image.width} x {image.height}")
    if max_pixels is not None and image.width * image.height > max_pixels:
        raise BadImage(
            f"decompression bomb: {image.width} x {image.height} pixels are over the limit of "
            f"{max_pixels}"
        )


class _Jpeg(JpegImagePlugin.JpegImageFile):
    """JPEG whose EXIF block Pillow does not parse, with warnings about its faults, for a dpi."""

    def _read_dpi_from_exif(self) -> None:
        pass


def _open(data: bytes, max_pixels: int | None) -> Image.Image:
    if data.startswith(_JPEG):
        # Five times as fast as letting Pillow find out the format.
        return _Jpeg(io.BytesIO(data))
    formats = _formats.formats_for(data)
    # Some formats (icons) decode while they are opened; of the others only the header is read,
    # and `_check` has the better message.
    with _quiet_pillow(max_pixels if len(formats) > 1 else None):
        return Image.open(io.BytesIO(data), formats=formats)


class _Quiet:
    """State of Pillow that is changed while at least one thread reads an image."""

    guard = threading.Lock()
    readers = 0
    limit: int | None = None
    rule: tuple[object, ...] | None = None


@contextmanager
def _quiet_pillow(max_pixels: int | None) -> Iterator[None]:
    # Pillow's limit is one global per process, and so are Python's rules about warnings. `verify`
    # has a limit of its own, and what Pillow warns of is either no matter or an exception later.
    # Threads share the change: the first makes it, and the last takes it back.
    state = _Quiet
    with state.guard:
        if state.readers == 0:
            state.limit = Image.MAX_IMAGE_PIXELS
            warnings.filterwarnings("ignore", module=r"PIL\.")
            state.rule = warnings.filters[0]
        state.readers += 1
        Image.MAX_IMAGE_PIXELS = max_pixels if state.readers == 1 else None
    try:
        yield
    finally:
        with state.guard:
            state.readers -= 1
            if state.readers == 0:
                Image.MAX_IMAGE_PIXELS = state.limit
                with suppress(ValueError):
                    warnings.filters.remove(state.rule)  # type: ignore[attr-defined]


def _rgb(image: Image.Image) -> Image.Image:
    """Return a loaded image in mode RGB.

    Raises:
        BadImage: its colour mode cannot be converted.
    """
    if image.mode == "RGB" and "transparency" not in image.info:
        return image  # the usual case
    if image.mode in ("I", "F") or image.mode.startswith("I;16"):
        return _from_deep_grey(image)
    if image.has_transparency_data:
        if image.mode == "La":
            image = image.convert("LA")
        image = image.convert("RGBA")
        canvas = Image.new("RGBA", image.size, (255, 255, 255, 255))
        return Image.alpha_composite(canvas, image).convert("RGB")
    try:
        return _from_lab(image) if image.mode == "LAB" else image.convert("RGB")
    except ValueError:
        raise BadImage(f"colour mode {image.mode} cannot be converted to RGB") from None


def _from_lab(image: Image.Image) -> Image.Image:
    lab, srgb = ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB")
    converted = ImageCms.profileToProfile(image, lab, srgb, outputMode="RGB")
    if converted is None:
        raise BadImage("colour mode LAB cannot be converted to RGB")
    return converted


def _from_deep_grey(image: Image.Image) -> Image.Image:
    values = np.asarray(image)
    # An infinite value is as dark or bright as can be, and says nothing about the others.
    brightest = values.max(initial=0, where=np.isfinite(values))
    grey = np.empty(values.shape, dtype=np.uint8)
    rows = max(1, _STRIP // max(1, values.shape[1]))
    for start in range(0, len(values), rows):
        strip = np.nan_to_num(values[start : start + rows].astype(np.float64))
        if image.mode == "F":
            strip = np.clip(strip, 0.0, 1.0) * 255.0 if brightest <= 1.0 else strip
        elif image.mode != "I" or brightest > 255:
            strip = strip // 256
        grey[start : start + rows] = np.clip(np.rint(strip), 0, 255)
    return Image.fromarray(grey).convert("RGB")


def _reason(data: bytes, error: Exception) -> BadImage:
    if not data:
        return BadImage("zero bytes")
    if isinstance(error, _formats.MissingLibrary):
        return NoReader(str(error))
    if isinstance(error, Image.DecompressionBombError):
        return BadImage("decompression bomb: over the limit of pixels")
    if isinstance(error, MemoryError):
        return BadImage("too large for the memory that is free")
    kind = _formats.library_for(data)
    if kind is not None:
        return BadImage(f"truncated or broken: {kind}")
    name = _formats.name_of(data)
    if name is not None and isinstance(error, UnidentifiedImageError):
        return BadImage(name if name == _formats.RAW else f"not an image: {name}")
    if isinstance(error, UnidentifiedImageError):
        is_known = data.startswith((_JPEG, *_formats.FIRST, b"RIFF"))
        return BadImage("truncated or broken" if is_known else "not an image")
    message = " ".join(str(error).encode(errors="replace").decode().split())
    if "truncated" in message.lower() or isinstance(error, (EOFError, IndexError)):
        return BadImage("truncated")
    if not message or message in _EMPTY_MESSAGES:
        return BadImage("truncated or broken")
    return BadImage(f"broken: {message}"[:200])
