"""Export of encoders with their preprocessing, and embedding of datasets with them."""

from manta.serving.export import (
    ExportedEncoder,
    SavedEncoder,
    load_exported,
    rebuild,
    save_encoder,
    save_weights,
)

__all__ = [
    "ExportedEncoder",
    "SavedEncoder",
    "load_exported",
    "rebuild",
    "save_encoder",
    "save_weights",
]
