"""Optional parts of Manta: what each is for, and whether it is installed."""

from __future__ import annotations

from importlib.util import find_spec
from typing import NamedTuple


class Extra(NamedTuple):
    """An optional dependency group of `pyproject.toml`."""

    purpose: str
    modules: tuple[str, ...]


EXTRAS = {
    "s3": Extra("s3:// paths", ("s3fs",)),
    "gcs": Extra("gs:// paths", ("gcsfs",)),
    "postgres": Extra("studies in PostgreSQL", ("psycopg",)),
    "onnx": Extra("export to ONNX", ("onnx", "onnxscript", "onnxruntime")),
    "heif": Extra("HEIC photographs", ("pillow_heif",)),
    "jxl": Extra("JPEG XL images", ("pillow_jxl",)),
    "audio": Extra("FLAC, Ogg and MP3", ("soundfile",)),
    "text": Extra("sentences", ("tokenizers",)),
    "dashboard": Extra("optuna-dashboard", ("optuna_dashboard",)),
}


def missing_extras() -> list[str]:
    """Return the names of extras of which a module is not installed."""
    return [
        name
        for name, extra in EXTRAS.items()
        if any(find_spec(module) is None for module in extra.modules)
    ]


def describe_extras() -> str:
    """Return one line: the extras that are there, those that are not, and how to install these."""
    absent = missing_extras()
    installed = [name for name in EXTRAS if name not in absent]
    line = ", ".join(installed) or "none"
    if absent:
        purposes = ", ".join(f"{name} ({EXTRAS[name].purpose})" for name in absent)
        line += f"; not installed: {purposes}: pip install 'manta-ssl[{','.join(absent)}]'"
    return line
