"""Opening of encoded sounds: WAV with NumPy, all others with the optional library soundfile."""

from __future__ import annotations

import importlib
import io
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from manta.modalities import BadSample, NoReader
from manta.modalities.audio.wav import Wave, open_wav

BLOCK = 1 << 20
"""Frames that are decoded at a time where a whole file is looked through."""
_KINDS = (
    *((b"fLaC", "FLAC"), (b"OggS", "Ogg"), (b"ID3", "MP3"), (b"FORM", "AIFF"), (b".snd", "AU")),
    *((b"RF64", "RF64"), (b"RIFX", "RIFX"), (b"caff", "CAF")),
)
_MP3_FRAME = 1152
"""Samples of an MP3 frame; a decoder's count of samples is off by a few frames."""

_OGG_HEADER = 27
"""Bytes before the sizes of a page's segments; the last of them is how many segments there are."""


class Sound(Protocol):
    """An opened sound.

    Attributes:
        rate: samples of a channel in a second.
        frames: samples of a channel.
    """

    @property
    def rate(self) -> int: ...

    @property
    def channels(self) -> int: ...

    @property
    def frames(self) -> int: ...

    def mono(self, start: int, stop: int) -> Wave:
        """Return the mean of the channels from one frame to another, full scale at 1."""
        ...


@dataclass(frozen=True, slots=True)
class _Coded:
    """A sound that soundfile has opened."""

    file: Any
    rate: int
    channels: int
    frames: int

    def mono(self, start: int, stop: int) -> Wave:
        try:
            self.file.seek(start)
            values: npt.NDArray[np.float32] = self.file.read(
                stop - start, dtype="float32", always_2d=True
            )
        except RuntimeError as error:
            raise BadSample(f"truncated or broken: {_words(error)}") from None
        if len(values) < stop - start - 3 * _MP3_FRAME:
            raise BadSample(f"truncated: {start + len(values):,} of {self.frames:,} samples")
        wave: Wave = values.mean(axis=1, dtype=np.float32)
        return wave


def open_sound(data: bytes) -> Sound:
    """Return an opened sound of at least one sample.

    Raises:
        NoReader: it takes a library that is not installed.
        BadSample: the bytes are no sound, or a broken one.
    """
    sound: Sound | None = None
    if data[:4] == b"RIFF" and data[8:12] == b"WAVE":
        sound = open_wav(data)
        kind: str | None = "WAV of a rare kind"
    else:
        kind = kind_of(data)
    if sound is None:
        if kind is None:
            raise BadSample(_refusal(data))
        sound = _coded(data, kind)
    if sound.frames <= 0:
        raise BadSample("no samples")
    return sound


def kind_of(data: bytes) -> str | None:
    """Return the name of the format by its first bytes; None for no sound."""
    for mark, name in _KINDS:
        if data.startswith(mark):
            return name
    # An MP3 without tags begins with 11 bits of 1, of version and layer that exist.
    is_mp3 = len(data) > 2 and data[0] == 0xFF and data[1] & 0xE6 in (0xE2, 0xE4, 0xE6)
    return "MP3" if is_mp3 else None


def missing() -> str:
    """Return what helps where soundfile cannot be loaded; "" where it can."""
    try:
        importlib.import_module("soundfile")
    except ModuleNotFoundError:
        return "pip install 'manta-ssl[audio]' reads it"
    except (ImportError, OSError) as error:
        return f"soundfile cannot be loaded: {_words(error)}"
    return ""


def _coded(data: bytes, kind: str) -> _Coded:
    absent = missing()
    if absent:
        raise NoReader(f"{kind} ({absent})")
    if kind == "Ogg" and not _has_its_last_page(data):
        raise BadSample("truncated: the last page of Ogg is cut off")
    soundfile = importlib.import_module("soundfile")
    try:
        file = soundfile.SoundFile(io.BytesIO(data))
    except RuntimeError:  # its words are of a file that is not found
        raise BadSample(f"truncated or broken: {kind}") from None
    if file.frames <= 0:  # an Ogg file that is cut off has no known length
        raise BadSample(f"truncated or broken: {kind}")
    return _Coded(file, file.samplerate, file.channels, file.frames)


def _has_its_last_page(data: bytes) -> bool:
    """Return whether an Ogg file ends with the page that begins last; Opus is read up to it."""
    page = data[data.rfind(b"OggS") :]
    if len(page) < _OGG_HEADER:
        return False
    segments = page[_OGG_HEADER : _OGG_HEADER + page[_OGG_HEADER - 1]]
    return len(page) >= _OGG_HEADER + page[_OGG_HEADER - 1] + sum(segments)


def _refusal(data: bytes) -> str:
    if not data:
        return "zero bytes"
    if not data.strip(b"\0"):
        return "only zeros (an interrupted copy?)"
    if data[:4] == b"RIFF" and len(data) < 12:
        return "truncated WAV"
    head = data[:256].lstrip().lower()
    if head.startswith((b"<!doctype html", b"<html")):
        return "not a sound: HTML (a server's answer instead of a file)"
    if head.startswith(b"version https://git-lfs"):
        return "not a sound: a Git LFS pointer (git lfs pull fetches the file)"
    return "not a sound that is known"


def _words(error: BaseException) -> str:
    return " ".join(str(error).split())
