"""What a user takes home: an encoder with its preprocessing, and folders that timm and Manta
load."""

from manta.serving.export import (
    ExportedEncoder,
    Preprocess,
    SavedEncoder,
    load_exported,
    rebuild,
    save_encoder,
    save_weights,
)

__all__ = [
    "ExportedEncoder",
    "Preprocess",
    "SavedEncoder",
    "load_exported",
    "rebuild",
    "save_encoder",
    "save_weights",
]
