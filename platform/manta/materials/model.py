"""An existing model, as a teacher or a source of features."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from manta.encoders.saved import DESCRIPTION
from manta.materials._base import MATERIALS, Material, Target, Workshop


@MATERIALS.register("model")
@dataclass(frozen=True, slots=True)
class ModelMaterial(Material):
    """The folder of an existing encoder; `manta.encoders.load_saved` reads it.

    Attributes:
        model: name of a run, `models:/name@alias` or `models:/name/version`, or a folder that
            `save_encoder` wrote.
    """

    last: ClassVar[str | None] = DESCRIPTION
    model: str

    def make(self, workshop: Workshop, target: Target) -> None:
        workshop.keep_model(self.model, target.place)
