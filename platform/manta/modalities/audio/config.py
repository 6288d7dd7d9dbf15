"""Settings of clips: where they come from and how they reach an encoder."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from manta.modalities.audio.mel import Bands
from manta.modalities.config import DataConfig


class AudioConfig(DataConfig):
    """Settings of the clips: where they come from and how they reach a worker."""

    modality: Literal["audio"] = Field("audio", description="what a sample is: a sound")
    sample_rate: int = Field(
        16_000, ge=1_000, le=192_000, description="samples a second that clips are resampled to"
    )
    seconds: float = Field(
        0.95,
        gt=0,
        le=60,
        description="of a global view, and of what an encoder is given; 0.95 are 96 frames",
    )
    longest: float = Field(
        10.0, gt=0, le=600, description="seconds of a clip that are decoded, from a drawn place"
    )
    mels: int | None = Field(
        64, ge=4, le=512, description="log-mel bands; None: the encoder is given the waveform"
    )
    window: float = Field(
        0.064, gt=0, le=1, description="seconds of the spectrogram's window; BYOL-A's by default"
    )
    hop: float = Field(0.01, gt=0, le=1, description="seconds between two frames of a spectrogram")

    @property
    def bands(self) -> Bands | None:
        """Layout of the spectrogram; None for waveforms."""
        if self.mels is None:
            return None
        return Bands.of(self.sample_rate, self.mels, self.window, self.hop)

    @property
    def samples(self) -> int:
        """Samples of a global view."""
        return max(round(self.sample_rate * self.seconds), 2)

    @model_validator(mode="after")
    def _fits(self) -> AudioConfig:
        if self.seconds > self.longest:
            raise ValueError(
                f"seconds {self.seconds:g} are more than are decoded; set longest={self.seconds:g}"
            )
        bands = self.bands
        if bands is not None and not bands.filters().any(axis=1).all():
            raise ValueError(
                f"{self.mels} mels are finer than a window of {self.window:g} s tells apart at "
                f"{self.sample_rate} Hz; take fewer, or a longer window"
            )
        return self
