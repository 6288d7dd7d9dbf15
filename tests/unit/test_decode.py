"""Every kind of image to the same canonical pixels, and every kind of rubbish to its reason."""

from __future__ import annotations

import io
import subprocess
import sys
import threading
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image, ImageFile, PngImagePlugin

from manta.data import optional_formats
from manta.modalities import NoReader
from manta.modalities.image import _formats
from manta.modalities.image._metadata import read_tags, without_metadata
from manta.modalities.image.decode import BadImage, decode, portable, shrink, verify


def encode(image: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def noise(height: int, width: int, seed: int = 0) -> npt.NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def smooth(height: int, width: int) -> Image.Image:
    y, x = np.mgrid[0:height, 0:width]
    return Image.fromarray(
        np.stack([255 * x / width, 255 * y / height, 127 + 100 * np.sin(x / 60)], axis=-1).astype(
            np.uint8
        )
    )


def test_an_image_of_the_right_size_keeps_its_pixels() -> None:
    pixels = noise(24, 24)
    assert np.array_equal(decode(encode(Image.fromarray(pixels)), 24), pixels)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF"])
def test_formats_agree(kind: str) -> None:
    source = smooth(64, 64)
    got = decode(encode(source, kind), 64).astype(int)
    assert got.shape == (64, 64, 3)
    assert np.abs(got - np.asarray(source)).mean() < (8 if kind == "GIF" else 3)


def test_the_shorter_side_is_resized_and_the_centre_kept() -> None:
    pixels = np.zeros((30, 90, 3), dtype=np.uint8)
    pixels[:, :30, 0] = pixels[:, 30:60, 1] = pixels[:, 60:, 2] = 255
    got = decode(encode(Image.fromarray(pixels)), 10)
    assert np.array_equal(got[:, 1:9], np.broadcast_to([0, 255, 0], (10, 8, 3)))
    tall = decode(encode(Image.fromarray(pixels.transpose(1, 0, 2))), 10)
    assert np.array_equal(tall[1:9], np.broadcast_to([0, 255, 0], (8, 10, 3)))


def test_a_reduced_jpeg_equals_the_full_one() -> None:
    source = smooth(600, 800)
    data = encode(source, "JPEG", quality=95)
    reference = source.resize((64, 64), Image.Resampling.BICUBIC, box=(100, 0, 700, 600))
    assert np.abs(decode(data, 64).astype(int) - np.asarray(reference)).max() <= 4


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF", "WEBP"])
def test_exif_orientation(orientation: int, kind: str) -> None:
    upright = np.zeros((32, 32, 3), dtype=np.uint8)
    upright[:16, :16], upright[:16, 16:], upright[16:, :16] = (255, 0, 0), (0, 255, 0), (0, 0, 255)
    # The inverse of what a viewer must do, from the EXIF standard's table.
    stored = {
        1: upright,
        2: upright[:, ::-1],
        3: upright[::-1, ::-1],
        4: upright[::-1],
        5: upright.transpose(1, 0, 2),
        6: np.rot90(upright),
        7: upright[::-1, ::-1].transpose(1, 0, 2),
        8: np.rot90(upright, -1),
    }[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = encode(Image.fromarray(np.ascontiguousarray(stored)), kind, exif=exif.tobytes())
    got = decode(data, 32).astype(int)
    corners = [got[4, 4], got[4, 28], got[28, 4], got[28, 28]]
    wanted = [(255, 0, 0), (0, 255, 0), (0, 0, 255), (0, 0, 0)]
    assert np.abs(np.array(corners) - np.array(wanted)).max() <= 30


def test_grey_palette_and_one_bit() -> None:
    grey = noise(16, 16)[:, :, 0]
    assert np.array_equal(
        decode(encode(Image.fromarray(grey)), 16), np.repeat(grey[:, :, None], 3, axis=2)
    )
    palette = Image.fromarray(noise(16, 16)).quantize(8)
    assert np.array_equal(decode(encode(palette), 16), np.asarray(palette.convert("RGB")))
    bits = Image.fromarray(grey > 127)
    assert np.array_equal(decode(encode(bits), 16)[:, :, 1], np.where(grey > 127, 255, 0))


def test_transparency_is_composited_on_white() -> None:
    pixels = np.zeros((8, 8, 4), dtype=np.uint8)
    pixels[:, :, 0], pixels[:, :4, 3], pixels[:, 4:, 3] = 200, 255, 0
    got = decode(encode(Image.fromarray(pixels)), 8)
    assert got[0, 0].tolist() == [200, 0, 0]
    assert got[0, 7].tolist() == [255, 255, 255]
    pixels[:, :, 3] = 128
    assert decode(encode(Image.fromarray(pixels)), 8)[0, 0].tolist() == [227, 127, 127]
    palette = Image.new("P", (8, 8), 0)
    palette.putpalette([10, 20, 30] + [0] * 765)
    assert decode(encode(palette, transparency=0), 8)[0, 0].tolist() == [255, 255, 255]
    light = Image.new("LA", (8, 8), (100, 255))
    assert decode(encode(light), 8)[0, 0].tolist() == [100, 100, 100]


def test_cmyk() -> None:
    got = decode(encode(Image.new("CMYK", (16, 16), (255, 0, 0, 0)), "JPEG", quality=95), 16)
    assert np.abs(got[8, 8].astype(int) - [0, 255, 255]).max() <= 6


def test_sixteen_bits_keep_their_upper_byte() -> None:
    deep = np.arange(64, dtype=np.uint16).reshape(8, 8) * 1024
    got = decode(encode(Image.fromarray(deep)), 8)
    assert np.array_equal(got[:, :, 2], (deep >> 8).astype(np.uint8))
    tiff = decode(encode(Image.fromarray(deep.astype(np.int32)), "TIFF"), 8)
    assert np.array_equal(tiff[:, :, 0], (deep >> 8).astype(np.uint8))
    unit = (np.arange(64, dtype=np.float32) / 63).reshape(8, 8)
    assert np.array_equal(
        decode(encode(Image.fromarray(unit), "TIFF"), 8)[:, :, 0], np.rint(unit * 255)
    )


def test_an_animation_gives_its_first_frame() -> None:
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "blue")]
    data = encode(frames[0], "GIF", save_all=True, append_images=frames[1:])
    assert decode(data, 8)[0, 0].tolist() == [255, 0, 0]


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF"])
def test_truncated(kind: str) -> None:
    data = encode(Image.fromarray(noise(64, 64)), kind)
    for length in (len(data) // 2, 40):
        with pytest.raises(BadImage, match=r"truncated|broken"):
            verify(data[:length])
        with pytest.raises(BadImage, match=r"truncated|broken"):
            decode(data[:length], 32)


def test_reasons() -> None:
    with pytest.raises(BadImage, match=r"^zero bytes$"):
        verify(b"")
    with pytest.raises(BadImage, match=r"^not an image: text$"):
        verify(b"a letter to a friend, and not a short one either")
    bomb = encode(Image.new("1", (20_000, 20_000)))
    with pytest.raises(
        BadImage,
        match=r"^decompression bomb: 20000 x 20000 pixels are over the limit of 178956970$",
    ):
        verify(bomb)
    photo = encode(Image.fromarray(noise(20, 30)), "JPEG")
    with pytest.raises(BadImage, match=r"30 x 20 pixels are over the limit of 599"):
        verify(photo, max_pixels=599)
    assert verify(photo, max_pixels=600).size == (30, 20)


def test_shrink_keeps_the_aspect() -> None:
    small = Image.open(io.BytesIO(shrink(smooth(300, 500), 60)))
    assert (small.format, small.size) == ("JPEG", (100, 60))
    strip = Image.open(io.BytesIO(shrink(Image.new("RGB", (70_000, 20)), 20)))
    assert strip.size == (65_500, 20)


def test_metadata_is_left_out_and_pixels_are_kept() -> None:
    exif = Image.Exif()
    exif[0x0112], exif[0x010F] = 6, "Camera"
    for kind in ("JPEG", "PNG", "WEBP", "TIFF"):
        extra = {"icc_profile": bytes(300), "exif": exif.tobytes()}
        data = encode(smooth(40, 60), kind, **extra)
        bare = without_metadata(data)
        assert bare is not None
        assert len(bare.data) <= len(data)
        # A TIFF's orientation is a tag of the image, and the others' is in the block left out.
        assert verify(bare.data).size == ((40, 60) if kind == "TIFF" else (60, 40))
        again = without_metadata(bare.data)
        assert again is None or again.data == bare.data
        tags = read_tags(bare.exif.removeprefix(b"Exif\0\0"))
        assert tags.get(0x0112) == (None if kind == "TIFF" else 6)
    assert without_metadata(encode(smooth(8, 8), "PNG")) is None
    for length in range(60):
        without_metadata(encode(smooth(8, 8), "JPEG")[:length])


def test_what_pillow_says_and_limits_is_as_it_was_afterwards(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    rules = list(warnings.filters)
    files = [encode(smooth(64, 64), kind) for kind in ("PNG", "GIF", "TIFF", "JPEG")]
    failures: list[Exception] = []

    def read() -> None:
        try:
            for _ in range(20):
                for data in files:
                    assert verify(data).size == (64, 64)
                    assert decode(data, 16).shape == (16, 16, 3)
        except Exception as error:
            failures.append(error)

    threads = [threading.Thread(target=read) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert Image.MAX_IMAGE_PIXELS == 100
    assert list(warnings.filters) == rules


def test_a_limit_holds_for_what_is_inside() -> None:
    icon = encode(smooth(64, 64), "ICO", sizes=[(64, 64)])
    assert verify(icon, max_pixels=4096).size == (64, 64)
    with pytest.raises(BadImage, match="decompression bomb"):
        verify(icon, max_pixels=2000)


def test_no_program_is_ever_started(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: object, **kwargs: object) -> None:
        raise AssertionError(f"started {args}")

    monkeypatch.setattr(subprocess, "Popen", refuse)
    eps = encode(smooth(20, 20), "EPS")
    for read in (verify, lambda data: decode(data, 8)):
        with pytest.raises(BadImage, match="PostScript"):
            read(eps)
        with pytest.raises(BadImage):
            read(b"\n" + eps)
    assert not {"EPS", "WMF", "PDF", "FITS", "HDF5", "BUFR", "GRIB", "MPEG"} & {
        *_formats.formats_for(eps)
    }


class Wrapped(ImageFile.ImageFile):
    """Image of a format that another library reads: a PNG behind 24 bytes."""

    format = "HEIF"

    def _open(self) -> None:
        self.fp.seek(24)
        self.inner = PngImagePlugin.PngImageFile(self.fp)
        self._size, self._mode, self.tile = self.inner.size, self.inner.mode, []

    def load(self) -> object:
        self.inner.load()
        self.im = self.inner.im
        return super().load()


@pytest.fixture
def library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Give the file of an installed `pillow_heif`, which registers `Wrapped` when it is asked."""
    _formats.missing.cache_clear()
    monkeypatch.delitem(sys.modules, "pillow_heif", raising=False)
    file = tmp_path / "pillow_heif.py"
    file.write_text(
        "def register_heif_opener():\n"
        "    from PIL import Image\n"
        f"    from {Wrapped.__module__} import Wrapped\n"
        "    Image.register_open('HEIF', Wrapped, lambda first: first[4:12] == b'ftypheic')\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    yield file
    sys.modules.pop("pillow_heif", None)
    Image.OPEN.pop("HEIF", None)
    if "HEIF" in Image.ID:
        Image.ID.remove("HEIF")
    _formats.missing.cache_clear()


def test_a_format_of_another_library_is_read_where_that_is_and_stored_for_all(
    library: Path,
) -> None:
    pixels = noise(24, 24)
    heic = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + encode(Image.fromarray(pixels))
    assert optional_formats()["HEIC"] == ""
    assert np.array_equal(decode(heic, 24), pixels)
    stored = portable(heic, verify(heic))
    assert stored.startswith(b"\x89PNG")
    assert np.array_equal(decode(stored, 24), pixels)
    photo = encode(smooth(9, 9), "JPEG")
    assert portable(photo, verify(photo)) is photo


@pytest.mark.parametrize(
    "fault", ["raise ImportError('no libheif')", "raise OSError('no libheif')"]
)
def test_a_library_that_is_broken_is_not_said_to_be_missing(library: Path, fault: str) -> None:
    library.write_text(fault + "\n")
    assert optional_formats()["HEIC"] == "pillow_heif cannot be loaded: no libheif"
    with pytest.raises(NoReader, match=r"^HEIC \(pillow_heif cannot be loaded: no libheif\)$"):
        decode(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", 8)


def test_a_library_that_is_missing_is_named() -> None:
    _formats.missing.cache_clear()
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "pillow_heif", None)
        assert optional_formats()["HEIC"] == "pip install 'manta-ssl[heif]' reads it"
    _formats.missing.cache_clear()


class Panic(BaseException):
    """What a plugin written in Rust raises; no `Exception`, so that it would end a whole ingest."""


def test_a_panic_of_a_plugin_is_a_reason(library: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def panic(self: Wrapped) -> None:
        raise Panic("index out of bounds")

    monkeypatch.setattr(Wrapped, "_open", panic)
    heic = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + encode(Image.fromarray(noise(8, 8)))
    for read in (verify, lambda data: decode(data, 8)):
        with pytest.raises(BadImage, match=r"^broken: index out of bounds$"):
            read(heic)
