"""Backbones behind small protocols: a pooled vector, tokens, a feature map, maps of all stages."""

from manta.encoders._build import build, names
from manta.encoders._config import ENCODERS, EncoderConfig
from manta.encoders._protocols import DenseEncoder, Encoder, PyramidEncoder, TokenEncoder
from manta.encoders.saved import LoadedEncoder, load_saved

__all__ = [
    "ENCODERS",
    "DenseEncoder",
    "Encoder",
    "EncoderConfig",
    "LoadedEncoder",
    "PyramidEncoder",
    "TokenEncoder",
    "build",
    "load_saved",
    "names",
]
