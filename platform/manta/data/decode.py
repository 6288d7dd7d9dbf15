"""Encoded image bytes to a canonical square of RGB uint8.

Choices that decide pixels, the same in ingest and in every stream: EXIF orientation is applied;
transparency is composited on white, as a browser shows it; 16-bit greys keep their upper byte;
floating greys are taken as [0, 1] when nothing exceeds 1, else as [0, 255]; of an animation the
first frame counts.
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
"""Pillow's own hard limit (a 512 MiB RGB image), here explicit and a matter of the caller."""

_JPEG_SIDE = 65_500
_JPEG = b"\xff\xd8\xff"
_MAGIC = (_JPEG, b"\x89PNG", b"GIF8", b"RIFF", b"BM", b"II*\x00", b"MM\x00*")
_guard = threading.Lock()


class BadImage(DataError):
    """Bytes that do not give an image; the message is the reason alone."""


def decode(data: bytes, size: int) -> npt.NDArray[np.uint8]:
    """Return `[size, size, 3]`: the shorter side resized to `size` (bicubic, antialiased), the
    centre kept.

    An image that has the size already is not resampled.

    Raises:
        BadImage: the bytes are not a whole image.
    """
    try:
        image = _open(data)
        width, height = image.size
        short = min(width, height)
        if short >= 2 * size and image.format in ("JPEG", "MPO"):
            # Decodes at 1/2, 1/4 or 1/8.
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
    """Return the image, decoded in full, its pixels as stored (`upright_rgb` makes them canonical).

    Raises:
        BadImage: with one precise reason.
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
    """Return a loaded image in mode RGB, upright by the EXIF orientation.

    Raises:
        BadImage: a mode that has no RGB form.
    """
    if image.format == "JPEG" and image.mode == "RGB" and "exif" not in image.info:
        return image  # nearly every image there is
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
    """Return an RGB image as JPEG at quality 95, with a shorter side of `side` pixels; a strip too
    long for JPEG is cut."""
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
        # This takes a fifth of the time of sniffing the format.
        return JpegImagePlugin.JpegImageFile(io.BytesIO(data))
    with _unlimited():
        return Image.open(io.BytesIO(data))


@contextmanager
def _unlimited() -> Iterator[None]:
    # Pillow's limit is one number per process that warns at half its value; `verify` states its
    # own.
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
