"""Preprocessing of clips, which travels with an exported encoder."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, cast

import torch
import torch.nn.functional as F
from torch import Tensor

from manta.modalities import Decoder
from manta.modalities.audio.decoder import LEAF, AudioDecoder
from manta.modalities.audio.mel import FLOOR, Bands
from manta.modalities.audio.windows import cut
from manta.modalities.preprocess import Preprocess, Signature
from manta.ragged import Data, Ragged
from manta.spec import Spec

if TYPE_CHECKING:
    from manta.modalities.audio.config import AudioConfig

LOG_MEL = -5.4919195, 5.0389895
"""Mean and deviation of log-mel levels of AudioSet, as BYOL-A publishes them."""
WAVEFORM = 0.0, 0.1
"""Those of a waveform: 0.1 is that of speech at a usual level."""


class AudioPreprocess(Preprocess):
    """Preprocessing of float32 waves of any length into what an encoder was evaluated on.

    The middle `samples` are taken, with silence before and after shorter waves; then comes the
    log-mel spectrogram (Hann window, power, Slaney's mel scale and areas: see `mel`), less `mean`
    and over `std`. Without `mels` the waveform itself is scaled so.

    Args:
        rate: samples a second of the waves.
        samples: that the encoder is given.
        longest: seconds of a clip that are decoded.
        mels: bands, or None for waveforms.
        window, hop: of the spectrogram, in seconds.
        mean, std: of all levels, or of all samples of waveforms.
    """

    modality = "audio"
    ARGUMENTS: ClassVar = ("rate", "samples", "longest", "mels", "window", "hop", "mean", "std")
    hann: Tensor
    filters: Tensor

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
        self.signature = Signature("waves", "float32", (-1, -1))
        self.bands = None if mels is None else Bands.of(rate, mels, window, hop)
        if self.bands is None:
            self.spec = Spec("sequence", 1, (samples,))
            return
        self.spec = Spec("grid", 1, (self.bands.mels, self.bands.frames(samples)))
        self.register_buffer("hann", torch.hann_window(self.bands.window))
        self.register_buffer("filters", torch.from_numpy(self.bands.filters()).float())

    @classmethod
    def of(cls, data: AudioConfig, mean: float | None, std: float | None) -> AudioPreprocess:
        """Return the preprocessing of a configuration; None for the usual mean or deviation."""
        usual = WAVEFORM if data.mels is None else LOG_MEL
        return cls(
            data.sample_rate,
            data.samples,
            data.longest,
            data.mels,
            window=data.window,
            hop=data.hop,
            mean=usual[0] if mean is None else mean,
            std=usual[1] if std is None else std,
        )

    def forward(self, waves: Tensor) -> Tensor:
        """Return `[N, 1, mels, frames]`, or `[N, 1, samples]` of waveforms.

        Args:
            waves: `[N, T]` float32, full scale at 1, at `rate`.
        """
        known = torch.where(torch.isfinite(waves), waves, torch.zeros_like(waves))
        padded = F.pad(known, (self.samples, self.samples))
        # Slices would fix the exported graph to waves longer, or shorter, than this.
        middle = torch.arange(self.samples, device=waves.device)
        first = (waves.shape[1] + self.samples) // 2
        return self.features(padded.index_select(1, middle + first))

    def ready(self, data: Mapping[str, Data]) -> Tensor:
        """Return the output of `forward` for decoded rows.

        Args:
            data: `audio`, ragged rows `[T]` float32.
        """
        waves = cast(Ragged, data[LEAF])
        free = waves.lengths - self.samples
        starts = torch.div(free, 2, rounding_mode="floor")
        return self.features(cut(waves, starts, self.samples))

    def features(self, waves: Tensor) -> Tensor:
        """Return what the encoder takes of waves of any one length, `[N, T]`."""
        return self.scaled(self.levels(waves)).unsqueeze(1)

    def levels(self, waves: Tensor) -> Tensor:
        """Return log-mel levels `[N, mels, frames]`; the waves themselves where there are no mels.

        The Fourier transform pads waves with silence.
        """
        bands = self.bands
        if bands is None:
            return waves
        spectrum = torch.stft(
            waves,
            bands.window,
            bands.hop,
            window=self.hann.to(waves.dtype),
            pad_mode="constant",
            return_complex=True,
        )
        power = torch.view_as_real(spectrum).square().sum(-1)
        return (self.filters.to(waves.dtype) @ power + FLOOR).log()

    def scaled(self, levels: Tensor) -> Tensor:
        """Return levels less their mean and over their deviation."""
        return (levels - self.mean) / self.std

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


def _chirps(rows: int, length: int, rate: int) -> Tensor:
    """Return `[rows, length]` of rising tones in a little noise."""
    seconds = torch.arange(length) / rate
    rise = torch.linspace(100, 400, rows).unsqueeze(1)
    tones = torch.sin(2 * torch.pi * rise * (1 + seconds) * seconds)
    noise = torch.randn(rows, length, generator=torch.Generator().manual_seed(0))
    return 0.3 * tones + 0.01 * noise
