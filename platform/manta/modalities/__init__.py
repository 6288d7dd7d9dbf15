"""What a sample is: one folder for each modality, found by its name in `data.modality`."""

from manta.modalities._base import (
    MODALITIES,
    THUMBNAIL,
    Modality,
    Stats,
    default_modality,
    is_captioned,
    noun_of,
)
from manta.modalities._decoder import BadSample, Decoder, Draw, NoReader, Picture
from manta.modalities._floor import Floor
from manta.modalities._frames import SignalFrames
from manta.modalities._inspect import DecodingInspector, Inspected, Inspector, Learner
from manta.modalities._noun import IMAGES, Noun

__all__ = [
    "IMAGES",
    "MODALITIES",
    "THUMBNAIL",
    "BadSample",
    "Decoder",
    "DecodingInspector",
    "Draw",
    "Floor",
    "Inspected",
    "Inspector",
    "Learner",
    "Modality",
    "NoReader",
    "Noun",
    "Picture",
    "SignalFrames",
    "Stats",
    "default_modality",
    "is_captioned",
    "noun_of",
]
