"""What a sample is: one folder for each modality, found by its name in `data.modality`."""

from manta.modalities._base import MODALITIES, THUMBNAIL, Modality, Stats, default_modality
from manta.modalities._decoder import BadSample, Decoder, Draw, NoReader, Picture
from manta.modalities._inspect import DecodingInspector, Inspected, Inspector

__all__ = [
    "MODALITIES",
    "THUMBNAIL",
    "BadSample",
    "Decoder",
    "DecodingInspector",
    "Draw",
    "Inspected",
    "Inspector",
    "Modality",
    "NoReader",
    "Picture",
    "Stats",
    "default_modality",
]
