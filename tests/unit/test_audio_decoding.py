"""Clips as people have them: WAV of every width, optional formats, rates, broken files."""

from __future__ import annotations

import io
import struct
import wave
from importlib.util import find_spec

import numpy as np
import numpy.typing as npt
import pytest

from manta.leaves import Packed
from manta.modalities import MODALITIES, BadSample, Draw, NoReader
from manta.modalities.audio import Audio, AudioConfig, AudioDecoder, AudioInspector
from manta.modalities.audio.decoder import resampled
from manta.modalities.audio.reading import kind_of, missing

RATE = 8000
SOUNDFILE = find_spec("soundfile") is not None


def tone(seconds: float = 0.5, rate: int = RATE, hertz: float = 440.0) -> npt.NDArray[np.float32]:
    return (0.5 * np.sin(2 * np.pi * hertz * np.arange(round(rate * seconds)) / rate)).astype("f4")


def wav(values: npt.NDArray[np.floating], rate: int = RATE, channels: int = 1) -> bytes:
    """A WAV of 16 bits, written by the standard library."""
    file = io.BytesIO()
    with wave.open(file, "wb") as out:
        out.setnchannels(channels)
        out.setsampwidth(2)
        out.setframerate(rate)
        out.writeframes(np.rint(values * 32767).astype("<i2").tobytes())
    return file.getvalue()


def riff(content: bytes, *, tag: int = 1, bits: int = 16, channels: int = 1, **sizes: int) -> bytes:
    """A WAV by hand; `data`, `riff` and `align` override what is said of the sizes."""
    align = sizes.get("align", channels * bits // 8)
    layout = struct.pack("<HHIIHH", tag, channels, RATE, RATE * align, align, bits)
    chunks = b"fmt " + struct.pack("<I", len(layout)) + layout
    chunks += b"data" + struct.pack("<I", sizes.get("data", len(content))) + content
    return b"RIFF" + struct.pack("<I", sizes.get("riff", len(chunks) + 4)) + b"WAVE" + chunks


def decoded(data: bytes, rate: int = RATE, longest: float = 10.0) -> npt.NDArray[np.float32]:
    return AudioDecoder(rate, longest)(data, None)["audio"]


@pytest.mark.parametrize(
    ("kind", "tag", "bits"),
    [("u1", 1, 8), ("<i2", 1, 16), ("24", 1, 24), ("<i4", 1, 32), ("<f4", 3, 32), ("<f8", 3, 64)],
)
def test_wav_of_every_width_is_the_same_sound(kind: str, tag: int, bits: int) -> None:
    sound = tone().astype(np.float64)
    if tag == 3:
        content = sound.astype(kind).tobytes()
    elif kind == "u1":
        content = np.rint(sound * 128 + 128).astype("u1").tobytes()
    elif kind == "24":
        whole = np.rint(sound * 2**23).astype("<i4")
        content = whole.view(np.uint8).reshape(-1, 4)[:, :3].tobytes()
    else:
        content = np.rint(sound * 2 ** (bits - 1)).astype(kind).tobytes()
    found = decoded(riff(content, tag=tag, bits=bits))
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, sound, atol=0.51 / 2 ** min(bits - 1, 22))


def test_channels_are_mixed_to_their_mean_and_an_extensible_header_is_read() -> None:
    eight = np.stack([tone(hertz=100.0 * n) for n in range(1, 9)], axis=1)
    found = decoded(wav(eight, channels=8))
    np.testing.assert_allclose(found, eight.mean(axis=1), atol=1e-4)
    plain = wav(tone())
    layout = plain[20:36] + struct.pack("<HHIH", 22, 16, 0, 1) + b"\0" * 14
    chunks = b"LIST\x03\0\0\0abc\0" + b"fmt " + struct.pack("<I", len(layout)) + layout + plain[36:]
    chunks = chunks.replace(plain[20:22], b"\xfe\xff", 1)
    extensible = b"RIFF" + struct.pack("<I", len(chunks) + 4) + b"WAVE" + chunks
    assert np.array_equal(decoded(extensible), decoded(plain))


@pytest.mark.parametrize("rate", [8_000, 11_025, 22_050, 44_099, 44_100, 48_000, 192_000])
def test_a_tone_of_any_rate_is_the_tone_at_the_rate_that_is_asked_for(rate: int) -> None:
    found = decoded(wav(tone(1.0, rate), rate), 16_000)
    assert len(found) == 16_000
    np.testing.assert_allclose(found[400:-400], tone(1.0, 16_000)[400:-400], atol=2e-3)


def test_what_a_lower_rate_cannot_hold_is_gone() -> None:
    high = tone(1.0, 48_000, hertz=11_000)
    assert np.abs(resampled(high, 48_000, 16_000)[400:-400]).max() < 1e-3
    assert resampled(high, 48_000, 48_000) is high


def test_a_long_clip_is_cut_by_the_draw_of_its_row_and_in_the_middle_without() -> None:
    ramp = np.arange(RATE * 3, dtype=np.float32) / (RATE * 3)
    data, decoder = wav(ramp), AudioDecoder(RATE, 1.0)
    assert decoder.draws
    assert decoder.layout["audio"].most == RATE
    middle = decoder(data, None)["audio"]
    np.testing.assert_allclose(middle, ramp[RATE : 2 * RATE], atol=1e-4)
    one, again, other, later = (
        decoder(data, draw)["audio"][0]
        for draw in (Draw(0, 0, 5), Draw(0, 0, 5), Draw(0, 0, 6), Draw(0, 1, 5))
    )
    assert one == again
    assert len({one, other, later}) == 3
    starts = [decoder(data, Draw(0, 0, row))["audio"][0] for row in range(200)]
    assert 0 <= min(starts) < 0.05
    assert 0.6 < max(starts) < 2 / 3
    fixed = AudioDecoder(RATE, 1.0, cuts=False)
    assert not fixed.draws
    assert np.array_equal(fixed(data, Draw(0, 0, 5))["audio"], middle)


def test_windows_are_drawn_only_where_a_clip_may_be_longer_than_is_decoded() -> None:
    data = AudioConfig(source="x", longest=2.0)
    known = [{"seconds": {"rows": 9, "sum": 9.0, "least": 0.1, "most": most}} for most in (2, 2.1)]
    assert [Audio(data, stats).decoder().draws for stats in ({}, *known)] == [True, False, True]


SOUND = np.rint(tone() * 32767).astype("<i2").tobytes()


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "zero bytes"),
        (b"\0" * 100, "only zeros"),
        (b"RIFF\0\0\0\0", "truncated WAV"),
        (b"<!DOCTYPE html><html></html>", "HTML"),
        (b"version https://git-lfs.github.com/spec/v1", "Git LFS"),
        (b"\x89PNG\r\n\x1a\n" + b"x" * 90, "not a sound that is known"),
        (riff(SOUND)[:30], "truncated WAV"),
        (riff(SOUND)[:1000], "truncated: 956 of 8,000 bytes"),
        (riff(b""), "no samples"),
        (riff(SOUND, channels=0), "wrong WAV header: 0 channels"),
        (riff(SOUND, align=7), "wrong WAV header: 1 channels of 16 bits in 7 bytes"),
        (riff(SOUND, bits=13), "wrong WAV header: 13 bits"),
        (riff(SOUND).replace(struct.pack("<I", RATE), b"\0\0\0\0", 1), "0 samples a second"),
        (b"RIFF\xff\0\0\0WAVEdata\x04\0\0\0abcd", "no format before the samples"),
        (b"RIFF\xff\0\0\0WAVELIST" + struct.pack("<I", 40) + b"x" * 40, "no samples"),
        (riff(np.array([0, np.nan], "<f4").tobytes(), tag=3, bits=32), "no finite numbers"),
        (riff(np.array([0, np.inf], "<f4").tobytes(), tag=3, bits=32), "no finite numbers"),
        (riff(np.array([0, 1e300], "<f8").tobytes(), tag=3, bits=64), "no finite numbers"),
    ],
)
def test_a_broken_file_is_refused_with_the_reason(data: bytes, reason: str) -> None:
    with pytest.raises(BadSample, match=reason):
        AudioInspector()(data, measure=True)
    with pytest.raises(BadSample, match=reason):
        decoded(data)


@pytest.mark.parametrize("sizes", [{"data": 0xFFFFFFFF}, {"data": 0, "riff": 0}])
def test_a_stream_that_did_not_know_its_length_is_read_to_its_end(sizes: dict[str, int]) -> None:
    assert np.array_equal(decoded(riff(SOUND, **sizes)), decoded(riff(SOUND)))


def test_an_inspector_measures_and_keeps_the_bytes() -> None:
    data = wav(np.stack([tone(0.75)] * 2, axis=1), channels=2)
    kept = AudioInspector()(data, measure=True)
    assert kept.data is data
    assert kept.length == 750
    assert kept.measures == {"seconds": 0.75, "rate": RATE, "channels": 2}


def test_formats_are_known_by_their_first_bytes() -> None:
    firsts = {b"fLaC": "FLAC", b"OggS": "Ogg", b"ID3\x03": "MP3", b"\xff\xfb\x90\x00": "MP3"}
    assert {first: kind_of(first) for first in firsts} == firsts
    assert kind_of(b"\xff\xd8\xff\xe0") is None  # a JPEG


@pytest.mark.parametrize("kind", ["FLAC", "MP3", "OGG"])
def test_other_formats_are_read_with_soundfile_or_name_the_extra(kind: str) -> None:
    if not SOUNDFILE:
        first = {"FLAC": b"fLaC", "MP3": b"ID3\x03", "OGG": b"OggS"}[kind]
        words = r"\(pip install 'manta-ssl\[audio\]' reads it\)"
        with pytest.raises(NoReader, match=words):
            decoded(first + b"\0" * 40)
        return
    import soundfile

    assert missing() == ""
    file = io.BytesIO()
    sound = tone(1.0, 44_100)
    soundfile.write(file, np.stack([sound] * 2, axis=1), 44_100, format=kind)
    data = file.getvalue()
    measures = AudioInspector()(data, measure=True).measures
    assert measures == {"seconds": 1.0, "rate": 44_100, "channels": 2}
    found = decoded(data, 16_000)
    np.testing.assert_allclose(found[500:-2000], tone(1.0, 16_000)[500:-2000], atol=0.02)
    with pytest.raises(BadSample, match="truncated"):
        AudioInspector()(data[: len(data) // 2], measure=True)


def test_settings_that_do_not_fit_are_refused_with_the_fix() -> None:
    with pytest.raises(ValueError, match="set longest=20"):
        AudioConfig(source="x", seconds=20)
    with pytest.raises(ValueError, match="300 mels are finer than a window"):
        AudioConfig(source="x", mels=300, window=0.01)


def test_a_clip_is_shown_as_a_spectrogram_with_its_length() -> None:
    audio = MODALITIES["audio"](AudioConfig(source="x", sample_rate=RATE), {})
    rows = [tone(0.5, hertz=300), tone(0.5, hertz=3000), np.zeros(3, np.float32)]
    low, high, short = (
        audio.picture({"audio": Packed(row, np.array([len(row)], dtype=np.int64))}) for row in rows
    )
    assert (low.caption, short.caption) == ("0.50 s", "0.00 s")
    for picture in (low, high, short):
        assert picture.pixels.dtype == np.uint8
        assert picture.pixels.shape == (64, 64, 3)
    brightness = [picture.pixels.astype(int).sum(axis=(1, 2)).argmax() for picture in (low, high)]
    assert brightness[0] > brightness[1]  # low tones are at the bottom
