"""Clips as people have them: rare kinds, wrong headers, files that are cut off."""

from __future__ import annotations

import io
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from odd.case import write

RATE = 8000
Wave = npt.NDArray[np.float64]


@dataclass(frozen=True)
class SoundCase:
    """Odd clips in a folder, and what an ingest should make of them.

    Attributes:
        make: returns the bytes of each file by its name.
        sounds: what is heard of each row at `RATE`, by its name.
        quarantined: name of each file set aside, with a part of the reason.
        within: largest difference of a sample, where full scale is 1; its ends are left out.
    """

    name: str
    make: Callable[[], Mapping[str, bytes]]
    sounds: Mapping[str, Wave] = field(default_factory=dict)
    quarantined: Mapping[str, str] = field(default_factory=dict)
    within: float = 1e-3

    def write(self, folder: Path) -> Path:
        """Write the files; return their folder."""
        for name, data in self.make().items():
            write(folder / name, data)
        return folder


def tone(seconds: float = 0.5, rate: int = RATE, hertz: float = 440.0) -> Wave:
    """Return a sine of half of full scale."""
    return 0.5 * np.sin(2 * np.pi * hertz * np.arange(round(seconds * rate)) / rate)


def encoded(wave: Wave, kind: str = "WAV", subtype: str | None = None, rate: int = RATE) -> bytes:
    """Return a sound as the bytes of a file."""
    import soundfile  # other cases do without it

    file = io.BytesIO()
    soundfile.write(file, wave, rate, format=kind, subtype=subtype)
    return file.getvalue()


def one(name: str, data: Callable[[], bytes], sound: Wave, **rest: Any) -> SoundCase:
    """Return the case of a file that is read rightly."""
    ending = name.rsplit("/", 1)[-1]
    return SoundCase(f"sounds/{name}", lambda: {ending: data()}, {ending: sound}, **rest)


def aside(name: str, data: Callable[[], bytes], reason: str) -> SoundCase:
    """Return the case of a file that is set aside, beside one that is good."""
    ending = name.rsplit("/", 1)[-1]
    return SoundCase(
        f"sounds/{name}",
        lambda: {"good.wav": encoded(tone()), ending: data()},
        {"good.wav": tone()},
        {ending: reason},
    )


def cut(data: bytes, share: float = 0.5) -> bytes:
    return data[: int(len(data) * share)]


def stated(place: int, number: int, form: str = "<I", data: bytes | None = None) -> bytes:
    """Return a WAV in whose header another number stands."""
    whole = bytearray(encoded(tone()) if data is None else data)
    struct.pack_into(form, whole, place, number)
    return bytes(whole)


def noise(count: int) -> bytes:
    return np.random.default_rng(0).bytes(count)


def garbled(data: bytes) -> bytes:
    """Return a file with other bytes in its middle."""
    middle = len(data) // 2
    return data[:middle] + noise(200) + data[middle + 200 :]


TAG = b"ID3\x04\0\0\0\0\0\x0a" + bytes(10)
READ = [
    one("kinds/a.mp3", lambda: encoded(tone(), "MP3"), tone(), within=0.06),
    one("kinds/a.flac", lambda: encoded(tone(), "FLAC"), tone()),
    one("kinds/a.ogg", lambda: encoded(tone(), "OGG", "VORBIS"), tone(), within=0.02),
    one("kinds/opus.ogg", lambda: encoded(tone(), "OGG", "OPUS"), tone(), within=0.08),
    one("kinds/24-bit.wav", lambda: encoded(tone(), subtype="PCM_24"), tone(), within=1e-5),
    one("kinds/24-bit.flac", lambda: encoded(tone(), "FLAC", "PCM_24"), tone(), within=1e-5),
    one("kinds/float64.wav", lambda: encoded(tone(), subtype="DOUBLE"), tone(), within=1e-6),
    one("kinds/8-bit.wav", lambda: encoded(tone(), subtype="PCM_U8"), tone(), within=0.01),
    one("kinds/a-law.wav", lambda: encoded(tone(), subtype="ALAW"), tone(), within=0.03),
    one("kinds/rf64.wav", lambda: encoded(tone(), "RF64"), tone()),
    one("kinds/extensible.wav", lambda: encoded(tone(), "WAVEX"), tone()),
    one("kinds/a.aiff", lambda: encoded(tone(), "AIFF"), tone()),
    one("kinds/mp3-called.wav", lambda: encoded(tone(), "MP3"), tone(), within=0.06),
    one("kinds/wav-called.mp3", lambda: encoded(tone()), tone()),
    one("kinds/no-ending", lambda: encoded(tone()), tone()),
    one(
        "rates/192-khz.wav",
        lambda: encoded(tone(rate=192_000), rate=192_000),
        tone(),
    ),
    one("rates/192-khz.flac", lambda: encoded(tone(rate=192_000), "FLAC", rate=192_000), tone()),
    one(
        "rates/44.1-khz.mp3",
        lambda: encoded(tone(rate=44_100), "MP3", rate=44_100),
        tone(),
        within=0.02,
    ),
    one(
        "channels/8.wav",
        lambda: encoded(np.stack([tone(hertz=100.0 * n) for n in range(1, 9)], axis=1)),
        np.mean([tone(hertz=100.0 * n) for n in range(1, 9)], axis=0),
    ),
    one(
        "channels/8.flac",
        lambda: encoded(np.stack([tone(hertz=100.0 * n) for n in range(1, 9)], axis=1), "FLAC"),
        np.mean([tone(hertz=100.0 * n) for n in range(1, 9)], axis=0),
    ),
    one("short/one-sample.wav", lambda: encoded(np.array([0.25])), np.array([0.25])),
    one("short/one-sample.flac", lambda: encoded(np.array([0.25]), "FLAC"), np.array([0.25])),
    one("short/silence.wav", lambda: encoded(np.zeros(800)), np.zeros(800)),
    one("headers/more-after-the-samples.wav", lambda: encoded(tone()) + noise(300), tone()),
    one("headers/no-size.wav", lambda: stated(40, 0xFFFFFFFF), tone()),
    one("tags/id3.mp3", lambda: TAG + encoded(tone(), "MP3"), tone(), within=0.06),
]
ASIDE = [
    aside("cut/a.mp3", lambda: cut(encoded(tone(8.0), "MP3")), "truncated"),
    aside("cut/first-frame.mp3", lambda: encoded(tone(), "MP3")[:60], "truncated or broken"),
    aside("cut/a.flac", lambda: cut(encoded(tone(8.0), "FLAC")), "truncated"),
    aside("cut/header.flac", lambda: encoded(tone(), "FLAC")[:20], "truncated or broken"),
    aside("cut/a.ogg", lambda: cut(encoded(tone(8.0), "OGG", "VORBIS")), "truncated"),
    aside("cut/opus.ogg", lambda: cut(encoded(tone(8.0), "OGG", "OPUS")), "truncated"),
    aside("cut/a.wav", lambda: cut(encoded(tone())), "truncated: "),
    aside("cut/header.wav", lambda: encoded(tone())[:30], "truncated WAV"),
    aside("headers/longer.wav", lambda: stated(40, 100_000), "truncated: 8,000 of 100,000 bytes"),
    aside("headers/0-channels.wav", lambda: stated(22, 0, "<H"), "wrong WAV header"),
    aside("headers/0-hertz.wav", lambda: stated(24, 0), "0 samples a second"),
    aside("headers/13-bits.wav", lambda: stated(34, 13, "<H"), "13 bits"),
    aside("headers/2-channels.wav", lambda: stated(22, 2, "<H"), "2 channels of 16 bits in 2"),
    aside("empty/0-samples.wav", lambda: encoded(np.zeros(0)), "no samples"),
    aside("empty/0-bytes.wav", lambda: b"", "zero bytes"),
    aside("empty/zeros.mp3", lambda: bytes(4000), "only zeros"),
    aside(
        "numbers/nan.wav",
        lambda: encoded(np.array([0.1, np.nan, 0.1]), subtype="FLOAT"),
        "no finite numbers",
    ),
    aside(
        "numbers/nan-at-the-end.wav",
        lambda: encoded(np.append(tone(), np.nan), subtype="DOUBLE"),
        "no finite numbers",
    ),
    aside(
        "numbers/infinite.wav", lambda: encoded(np.array([np.inf]), subtype="FLOAT"), "no finite"
    ),
    aside("strange/noise.mp3", lambda: noise(5000), "not a sound"),
    aside("strange/picture.wav", lambda: b"\x89PNG\r\n\x1a\n" + noise(90), "not a sound"),
    aside("strange/page.mp3", lambda: b"<!DOCTYPE html><html></html>", "HTML"),
    aside("strange/broken-inside.flac", lambda: garbled(encoded(tone(8.0), "FLAC")), "broken"),
]
SOUNDS = [*READ, *ASIDE]
