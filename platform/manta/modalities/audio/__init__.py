"""Audio: clips of any rate and length, as log-mel spectrograms or as waveforms."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, cast

import numpy as np

from manta.leaves import Columns, Packed
from manta.modalities import MODALITIES, Modality, Picture
from manta.modalities.audio.cepstra import Cepstra
from manta.modalities.audio.config import AudioConfig
from manta.modalities.audio.decoder import LEAF, AudioDecoder
from manta.modalities.audio.inspect import AudioInspector
from manta.modalities.audio.picture import spectrogram
from manta.modalities.audio.player import playable
from manta.modalities.audio.wave_reader import resampled
from manta.spec import Spec

if TYPE_CHECKING:
    from manta.modalities.audio.floor import LogMelStatistics
    from manta.modalities.audio.preprocess import AudioPreprocess
    from manta.modalities.audio.views import AudioViewsConfig
    from manta.views import ViewsConfig

__all__ = ["Audio", "AudioConfig", "AudioDecoder", "AudioInspector", "resampled"]


@MODALITIES.register("audio")
class Audio(Modality[AudioConfig]):
    """Sounds: speech, music, calls, machines; WAV, and FLAC, Ogg and MP3 with soundfile."""

    Config = AudioConfig
    name = "audio"
    views_name = "audio"
    noun = "clips"
    suffixes = (".wav", ".flac", ".ogg", ".mp3")
    columns = ("audio", "wav", "flac")
    searchable: ClassVar[tuple[str, ...]] = ("seconds", "mels", "window", "hop")

    @property
    def spec(self) -> Spec:
        bands, samples = self.data.bands, self.data.samples
        if bands is None:
            return Spec("sequence", 1, (samples,))
        return Spec("grid", 1, (bands.mels, bands.frames(samples)))

    @property
    def rate(self) -> float:
        return float(self.data.sample_rate)

    def frames(self) -> Cepstra:
        return Cepstra(self.decoder())

    def decoder(self) -> AudioDecoder:
        measured = self.stats.get("seconds")
        cuts = measured is None or measured["most"] > self.data.longest
        return AudioDecoder(self.data.sample_rate, self.data.longest, cuts)

    def inspector(self) -> AudioInspector:
        return AudioInspector()

    def preprocess(self, config: ViewsConfig) -> AudioPreprocess:
        from manta.modalities.audio.preprocess import AudioPreprocess

        return AudioPreprocess.of(self.data, cast("AudioViewsConfig", config))

    @classmethod
    def preprocess_from(cls, description: Mapping[str, Any]) -> AudioPreprocess:
        from manta.modalities.audio.preprocess import AudioPreprocess

        known = AudioPreprocess.ARGUMENTS
        return AudioPreprocess(**{name: description[name] for name in known})

    def floor(self) -> LogMelStatistics:
        from manta.modalities.audio.floor import LogMelStatistics

        return LogMelStatistics(self.data)

    def picture(self, row: Columns) -> Picture:
        """Return the spectrogram of a decoded row, its length as caption, and its sound."""
        column = row[LEAF]
        wave = column.values if isinstance(column, Packed) else column[0]
        rate = self.data.sample_rate
        clip, caption = np.asarray(wave), f"{len(wave) / rate:.2f} s"
        return Picture(spectrogram(clip, rate), caption, playable(clip, rate))
