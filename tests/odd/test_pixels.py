"""What `verify` accepts, `decode` decodes, at every size, whatever was done to the bytes."""

from __future__ import annotations

import logging
import random
import warnings
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from manta.data import BadImage, decode, verify
from odd.case import Case
from odd.cases import broken, formats, metadata
from odd.pictures import encode, noise, pattern, with_exif

SIZES = (8, 32, 224)
CASES = [*metadata.CASES, *formats.CASES, *broken.CASES]


def is_accepted(data: bytes) -> bool:
    try:
        image = verify(data)
    except BadImage:
        return False
    assert image.mode == "RGB"
    for size in SIZES:
        assert decode(data, size).shape == (size, size, 3)
    assert verify(data).size == image.size
    return True


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_accepted_means_decoded_and_nothing_is_said(
    case: Case, tmp_path: Path, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture
) -> None:
    case.make(tmp_path)
    with warnings.catch_warnings(record=True) as said, caplog.at_level(logging.WARNING):
        warnings.simplefilter("always")
        files = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
        accepted = {name for name, data in files.items() if is_accepted(data)}
    assert files.keys() - accepted == (files.keys() if case.error else case.quarantined.keys())
    assert (list(said), caplog.records, tuple(capfd.readouterr())) == ([], [], ("", ""))


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "GIF", "WEBP", "BMP", "TIFF", "ICO", "TGA", "PPM"])
def test_flipped_bytes_end_in_an_image_or_a_reason(kind: str) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    options = {"exif": exif.tobytes()} if kind in ("JPEG", "PNG", "WEBP", "TIFF") else {}
    whole = encode(pattern(), kind, **options)
    generator = random.Random(kind)
    outcomes = set()
    for _ in range(120):
        data = bytearray(whole)
        for _ in range(generator.choice((1, 3, 20))):
            # The first bytes hold what says how the others are meant.
            end = generator.choice((64, 256, len(data)))
            data[generator.randrange(min(end, len(data)))] = generator.randrange(256)
        if generator.random() < 0.2:
            del data[generator.randrange(len(data)) :]
        outcomes.add(is_accepted(bytes(data)))
    assert outcomes == {True, False}


def test_metadata_of_noise_is_an_image() -> None:
    generator = random.Random(0)
    for number in range(200):
        block = generator.randbytes(generator.randrange(90))
        data = with_exif(encode(pattern()), (b"II*\0\x08\0\0\0" if number % 2 else b"") + block)
        image = np.asarray(verify(data)).astype(int)
        assert {*image.shape} == {32, 48, 3}
        assert decode(data, 8).shape == (8, 8, 3)


def test_noise_is_no_image() -> None:
    generator = random.Random(1)
    accepted = [is_accepted(generator.randbytes(400)) for _ in range(400)]
    assert not any(accepted)
    assert not is_accepted(noise().tobytes())
