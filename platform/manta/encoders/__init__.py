"""Backbones behind small protocols: a pooled vector, tokens, a feature map, maps of all stages."""

from manta.encoders._build import build, check_known, names
from manta.encoders._config import ENCODERS, EncoderConfig, RunEncoderConfig, names_weights
from manta.encoders._protocols import (
    DenseEncoder,
    Encoder,
    FrameEncoder,
    HidingEncoder,
    PatchEncoder,
    PyramidEncoder,
    TokenEncoder,
)
from manta.encoders.fitting import check_fits, check_name_fits
from manta.encoders.saved import LoadedEncoder, load_saved
from manta.encoders.sources import folder_of
from manta.encoders.starting import Fit, load_fitting

__all__ = [
    "ENCODERS",
    "DenseEncoder",
    "Encoder",
    "EncoderConfig",
    "Fit",
    "FrameEncoder",
    "HidingEncoder",
    "LoadedEncoder",
    "PatchEncoder",
    "PyramidEncoder",
    "RunEncoderConfig",
    "TokenEncoder",
    "build",
    "check_fits",
    "check_known",
    "check_name_fits",
    "folder_of",
    "load_fitting",
    "load_saved",
    "names",
    "names_weights",
]
