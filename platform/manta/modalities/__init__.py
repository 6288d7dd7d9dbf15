"""What a sample is: one folder for each modality, found by its name in `data.modality`."""

from manta.modalities._base import MODALITIES, Modality, Stats
from manta.modalities._decoder import BadSample, Decoder, Draw, NoReader, Picture

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
