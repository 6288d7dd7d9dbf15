"""What a sample is: one folder for each modality, found by its name in `data.modality`."""

from manta.modalities._base import (
    MODALITIES,
    BadSample,
    Decoder,
    Draw,
    Modality,
    NoReader,
    Picture,
    Stats,
)

__all__ = [
    "MODALITIES",
    "BadSample",
    "Decoder",
    "Draw",
    "Modality",
    "NoReader",
    "Picture",
    "Stats",
]
