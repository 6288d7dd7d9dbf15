"""From waves to what an encoder takes: log-mel spectrograms, or the waves themselves."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from manta.modalities.audio.config import AudioConfig
from manta.modalities.audio.mel import FLOOR, Bands
from manta.modalities.audio.windows import cut
from manta.ragged import Ragged
from manta.spec import Spec

LOG_MEL = -5.4919195, 5.0389895
"""Mean and deviation of log-mel levels of AudioSet, as BYOL-A publishes them."""
WAVEFORM = 0.0, 0.1
"""Those of a waveform: 0.1 is that of speech at a usual level."""


class Features(nn.Module):
    """Log-mel spectrograms less `mean` and over `std`; without bands, waves that are scaled so.

    A spectrogram has a Hann window, and the power in triangles on Slaney's mel scale: see `mel`.

    Args:
        rate: samples a second of the waves.
        samples: of a global view.
        bands: of the spectrogram.
        mean, std: of all levels, or of all samples of waveforms.
    """

    hann: Tensor
    filters: Tensor

    def __init__(
        self, rate: int, samples: int, bands: Bands | None, mean: float, std: float
    ) -> None:
        super().__init__()
        self.rate, self.samples, self.bands = rate, samples, bands
        self.mean, self.std = mean, std
        if bands is not None:
            self.register_buffer("hann", torch.hann_window(bands.window))
            self.register_buffer("filters", torch.from_numpy(bands.filters()).float())

    @classmethod
    def of(cls, data: AudioConfig, mean: float | None, std: float | None) -> Features:
        """Return the features of a configuration; None for the usual mean or deviation."""
        usual = WAVEFORM if data.mels is None else LOG_MEL
        return cls(
            data.sample_rate,
            data.samples,
            data.bands,
            usual[0] if mean is None else mean,
            usual[1] if std is None else std,
        )

    def spec(self, samples: int) -> Spec:
        """Return the spec of waves of so many samples."""
        if self.bands is None:
            return Spec("sequence", 1, (samples,))
        return Spec("grid", 1, (self.bands.mels, self.bands.frames(samples)))

    def forward(self, waves: Tensor) -> Tensor:
        """Return `[N, 1, mels, frames]`, or `[N, 1, T]`, of waves `[N, T]`."""
        return self.scaled(self.levels(waves)).unsqueeze(1)

    def levels(self, waves: Tensor) -> Tensor:
        """Return log-mel levels `[N, mels, frames]`; the waves themselves where there are no bands.

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

    def middle(self, waves: Ragged) -> Tensor:
        """Return what an encoder takes of the middle of each row, in silence where it is short."""
        free = waves.lengths - self.samples
        starts = torch.div(free, 2, rounding_mode="floor")
        return self.forward(cut(waves, starts, self.samples))
