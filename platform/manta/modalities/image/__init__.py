"""Images: RGB, as centred squares."""

from manta.modalities.image.decode import BadImage, decode, optional_formats, verify
from manta.modalities.image.decoder import ImageDecoder

__all__ = ["BadImage", "ImageDecoder", "decode", "optional_formats", "verify"]
