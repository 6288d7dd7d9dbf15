"""Backbones behind three small protocols: a pooled vector, tokens, a feature map."""

from manta.encoders._build import EncoderConfig, build, names
from manta.encoders._protocols import DenseEncoder, Encoder, TokenEncoder

__all__ = ["DenseEncoder", "Encoder", "EncoderConfig", "TokenEncoder", "build", "names"]
