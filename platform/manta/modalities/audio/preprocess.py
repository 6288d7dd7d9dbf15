"""Preprocessing of clips, which travels with an exported encoder."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, cast

import torch
import torch.nn.functional as F
from torch import Tensor

from manta.batch import ViewNeeds
from manta.modalities import Decoder
from manta.modalities.audio import wave_reader
from manta.modalities.audio.config import AudioConfig
from manta.modalities.audio.decoder import LEAF, AudioDecoder
from manta.modalities.audio.features import Features
from manta.modalities.audio.mel import Bands
from manta.modalities.audio.views import AudioViews, AudioViewsConfig
from manta.modalities.preprocess import Preprocess, Reader, Signature
from manta.ragged import Data, Ragged


class AudioPreprocess(Preprocess):
    """Preprocessing of float32 waves of any length into what an encoder was evaluated on.

    The middle `samples` are taken, with silence before and after shorter waves; then come the
    `Features`.

    Args:
        rate: samples a second of the waves.
        samples: that the encoder is given.
        longest: seconds of a clip that are decoded.
        mels: bands of the spectrogram, or None for waveforms.
        window, hop: of the spectrogram, in seconds.
        mean, std: of all levels, or of all samples of waveforms.
    """

    modality = "audio"
    rate: int
    ARGUMENTS: ClassVar = ("rate", "samples", "longest", "mels", "window", "hop", "mean", "std")

    def __init__(
        self,
        rate: int,
        samples: int,
        longest: float,
        mels: int | None,
        *,
        window: float,
        hop: float,
        mean: float,
        std: float,
    ) -> None:
        super().__init__()
        self.rate, self.samples, self.longest, self.mels = rate, samples, longest, mels
        self.window, self.hop, self.mean, self.std = window, hop, mean, std
        bands = None if mels is None else Bands.of(rate, mels, window, hop)
        self.features = Features(rate, samples, bands, mean, std)
        self.spec = self.features.spec(samples)
        self.signature = Signature("waves", "float32", (-1, -1))

    @classmethod
    def of(cls, data: AudioConfig, config: AudioViewsConfig) -> AudioPreprocess:
        """Return the preprocessing of a configuration."""
        features = Features.of(data, config.mean, config.std)
        return cls(
            data.sample_rate,
            data.samples,
            data.longest,
            data.mels,
            window=data.window,
            hop=data.hop,
            mean=features.mean,
            std=features.std,
        )

    def forward(self, waves: Tensor) -> Tensor:
        """Return `[N, 1, mels, frames]`, or `[N, 1, samples]` of waveforms.

        Args:
            waves: `[N, T]` float32, full scale at 1, at `rate`; what is no number is silence.
        """
        known = torch.where(torch.isfinite(waves), waves, torch.zeros_like(waves))
        padded = F.pad(known, (self.samples, self.samples))
        # Slices would fix the exported graph to waves longer, or shorter, than this.
        middle = torch.arange(self.samples, device=waves.device)
        first = (waves.shape[1] + self.samples) // 2
        return cast(Tensor, self.features(padded.index_select(1, middle + first)))

    def ready(self, data: Mapping[str, Data]) -> Tensor:
        """Return the output of `forward` for decoded rows.

        Args:
            data: `audio`, ragged rows `[T]` float32.
        """
        return self.features.middle(cast(Ragged, data[LEAF]))

    def whole(self, data: Mapping[str, Data]) -> Ragged | None:
        """Return whole waves `[T, 1]`, scaled; None where the encoder takes spectrograms."""
        if self.mels is not None:
            return None
        waves = cast(Ragged, data[LEAF])
        return Ragged(self.features.scaled(waves.values).unsqueeze(1), waves.lengths)

    def views(self, needs: ViewNeeds) -> AudioViews:
        """Return the pipeline of SimCLR's views whose output the encoder takes."""
        return AudioViews(AudioViewsConfig(preset="simclr"), needs, self.features)

    def decoder(self) -> Decoder:
        return AudioDecoder(self.rate, self.longest, cuts=False)

    def examples(self) -> list[Tensor]:
        sizes = ((1, self.samples), (2, 2 * self.samples + 1), (5, self.samples // 2 + 1))
        return [_chirps(rows, length, self.rate) for rows, length in sizes]

    def traced(self) -> Tensor:
        # torch.export would take a batch of one for a constant.
        return _chirps(2, self.samples + 37, self.rate)

    def describe(self) -> dict[str, Any]:
        """Return the spec, and the constructor's arguments as plain data."""
        return {**self.spec.describe(), **{name: getattr(self, name) for name in self.ARGUMENTS}}

    def reader(self) -> Reader:
        settings = json.dumps({"rate": self.rate, "longest": self.longest})
        code, files = Path(wave_reader.__file__), {wave_reader.SETTINGS: settings}
        return Reader(code, files, ("scipy",), settings={"rate": self.rate})


def _chirps(rows: int, length: int, rate: int) -> Tensor:
    """Return `[rows, length]` of rising tones in a little noise."""
    seconds = torch.arange(length) / rate
    rise = torch.linspace(100, 400, rows).unsqueeze(1)
    tones = torch.sin(2 * torch.pi * rise * (1 + seconds) * seconds)
    noise = torch.randn(rows, length, generator=torch.Generator().manual_seed(0))
    return 0.3 * tones + 0.01 * noise
