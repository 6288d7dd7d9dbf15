"""Manta: self-supervised pretraining and tuning on Ray."""

from manta.errors import MantaError

__all__ = ["MantaError", "__version__"]

__version__ = "0.1.0"
