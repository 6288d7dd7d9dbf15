"""Copies of a saved encoder with other preprocessing than in its pretraining."""

from __future__ import annotations

import hashlib
import json
import shutil
from dataclasses import dataclass
from pathlib import Path

import torch

from manta.encoders.saved import DESCRIPTION, WEIGHTS
from manta.errors import ConfigError, MantaError
from manta.serving.export import load_exported


@dataclass(frozen=True, slots=True)
class Preparation:
    """Changes to the preprocessing saved with an encoder; None leaves a value unchanged.

    Attributes:
        size: side to which images are resized, in pixels.
        mean, std: of the pixels, per channel, in 0..1.
    """

    size: int | None = None
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None

    def __post_init__(self) -> None:
        for name, values in (("mean", self.mean), ("std", self.std)):
            if values is not None and (
                len(values) != 3 or not all(0 <= value <= 1 for value in values)
            ):
                raise ConfigError(
                    f"--{name} takes three numbers from 0 to 1, as in 0.485,0.456,0.406; not "
                    f"{values}"
                )
        if self.std is not None and not all(self.std):
            raise ConfigError("--std takes three numbers above 0; pixels are divided by them")
        if self.size is not None and self.size < 2:
            raise ConfigError(f"--size takes a number of pixels from 2 on, not {self.size}")

    def __bool__(self) -> bool:
        return self != Preparation()

    @property
    def name(self) -> str:
        """Return a name that tells results apart: `at-64px`, `normalised-1a2b3c`, both or none."""
        parts = [] if self.size is None else [f"at-{self.size}px"]
        if self.mean is not None or self.std is not None:
            parts.append(
                "normalised-" + hashlib.sha256(repr((self.mean, self.std)).encode()).hexdigest()[:6]
            )
        return "-".join(parts)


def adapted(folder: Path, target: Path, preparation: Preparation) -> Path:
    """Copy the saved encoder in `folder` to `target` with other preprocessing; return `target`.

    Raises:
        ConfigError: the encoder does not take images of that size.
    """
    description = json.loads((folder / DESCRIPTION).read_text())
    change = {"image_size": preparation.size, "resize": preparation.size, "mean": preparation.mean}
    change |= {"std": preparation.std}
    was = description["preprocess"]
    description["preprocess"] = was | {
        key: value for key, value in change.items() if value is not None
    }
    target.mkdir(parents=True)
    shutil.copy(folder / WEIGHTS, target / WEIGHTS)
    (target / DESCRIPTION).write_text(json.dumps(description | {"timm": False}, indent=2) + "\n")
    try:
        side = description["preprocess"]["image_size"]
        with torch.no_grad():
            load_exported(target)(torch.zeros(1, side, side, 3, dtype=torch.uint8))
    except (MantaError, RuntimeError, AssertionError, ValueError) as error:
        if preparation.size is None:
            raise
        raise ConfigError(
            f"this encoder takes images of {was['image_size']} px and none of {preparation.size}; "
            "leave --size out"
        ) from error
    return target
