"""Decoding of encoded image bytes into a canonical square of RGB uint8.

These choices fix the pixels and are the same in the ingest and in every stream: EXIF orientation is
applied; transparency is composited on white, as a browser shows it; 16-bit grey images keep their
upper byte; floating-point grey is read as [0, 1] if nothing exceeds 1, else as [0, 255]; only the
first frame of an animation is used.
"""

from __future__ import annotations

import io
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps, JpegImagePlugin, UnidentifiedImageError

from manta.errors import DataError

MAX_PIXELS = 178_956_970
"""Pillow's own hard limit (a 512 MiB RGB image), as a default that the caller can change."""

_JPEG_SIDE = 65_500
"""Longest side, in pixels, that libjpeg writes."""
_JPEG = b"\xff\xd8\xff"
_MAGIC = (_JPEG, b"\x89PNG", b"GIF8", b"RIFF", b"BM", b"II*\x00", b"MM\x00*")
_guard = threading.Lock()


class BadImage(DataError):
    """Bytes that do not decode to an image; the message is only the reason."""


def decode(data: bytes, size: int) -> npt.NDArray[np.uint8]:
    """Return the image as a centred square, `[size, size, 3]`.

    The shorter side is resized to `size` (bicubic, antialiased). An image that has this size
    already is not resampled.

    Raises:
        BadImage: the bytes are not a complete image.
    """
    try:
        image = _open(data)
        width, height = image.size
        short = min(width, height)
        if short >= 2 * size and image.format in ("JPEG", "MPO"):
            # libjpeg then decodes at 1/2, 1/4 or 1/8, which is far quicker than decoding in full.
            image.draft(None, (width * size // short, height * size // short))
        image.load()
        image = upright_rgb(image)
    except BadImage:
        raise
    except Exception as error:
        raise _reason(data, error) from None
    if image.size != (size, size):
        width, height = image.size
        short = min(width, height)
        left, top = (width - short) / 2, (height - short) / 2
        square = (left, top, left + short, top + short)
        image = image.resize((size, size), Image.Resampling.BICUBIC, box=square, reducing_gap=3.0)
    return np.asarray(image)


def verify(data: bytes, *, max_pixels: int = MAX_PIXELS) -> Image.Image:
    """Return the image, decoded in full, in its stored mode and orientation.

    `upright_rgb` brings its pixels into the canonical form.

    Raises:
        BadImage: the bytes are not a complete image, or it has too many pixels.
    """
    if not data:
        raise BadImage("zero bytes")
    try:
        image = _open(data)
        if image.width * image.height > max_pixels:
            raise BadImage(
                f"decompression bomb: {image.width} x {image.height} pixels are over the limit of "
                f"{max_pixels}"
            )
        image.load()
    except BadImage:
        raise
    except Exception as error:
        raise _reason(data, error) from None
    return image


def upright_rgb(image: Image.Image) -> Image.Image:
    """Return a loaded image in mode RGB, with the EXIF orientation applied.

    Raises:
        BadImage: its colour mode cannot be converted to RGB.
    """
    if image.format == "JPEG" and image.mode == "RGB" and "exif" not in image.info:
        return image  # the usual case
    ImageOps.exif_transpose(image, in_place=True)
    if image.mode in ("I", "F") or image.mode.startswith("I;16"):
        return _from_deep_grey(image)
    if image.has_transparency_data:
        image = image.convert("RGBA")
        canvas = Image.new("RGBA", image.size, (255, 255, 255, 255))
        return Image.alpha_composite(canvas, image).convert("RGB")
    try:
        return image if image.mode == "RGB" else image.convert("RGB")
    except ValueError:
        raise BadImage(f"colour mode {image.mode} cannot be converted to RGB") from None


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


def _open(data: bytes) -> Image.Image:
    if data.startswith(_JPEG):
        # Five times as fast as letting Pillow find out the format.
        return JpegImagePlugin.JpegImageFile(io.BytesIO(data))
    with _unlimited():
        return Image.open(io.BytesIO(data))


@contextmanager
def _unlimited() -> Iterator[None]:
    # Pillow's limit is one global per process, and Pillow warns from half of it on. `verify` has a
    # limit of its own, so Pillow's is off while a file is opened. Without the lock, a thread could
    # save another's None and leave the limit off for good.
    with _guard:
        limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
        try:
            yield
        finally:
            Image.MAX_IMAGE_PIXELS = limit


def _from_deep_grey(image: Image.Image) -> Image.Image:
    values = np.nan_to_num(np.asarray(image).astype(np.float64))
    if image.mode == "F":
        values = values * 255.0 if values.max(initial=0.0) <= 1.0 else values
    elif image.mode != "I" or values.max(initial=0.0) > 255:
        values = values // 256
    grey = np.clip(np.rint(values), 0, 255).astype(np.uint8)
    return Image.fromarray(grey).convert("RGB")


def _reason(data: bytes, error: Exception) -> BadImage:
    if not data:
        return BadImage("zero bytes")
    if not data.startswith(_MAGIC) and isinstance(error, UnidentifiedImageError):
        return BadImage("not an image")
    message = " ".join(str(error).split())
    if "truncated" in message.lower() or isinstance(
        error, (UnidentifiedImageError, EOFError, IndexError)
    ):
        return BadImage("truncated")
    return BadImage(f"broken: {message or type(error).__name__}"[:200])
