"""A column of the dataset."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from manta.materials._base import MATERIALS, Material, Target, Workshop


@MATERIALS.register("column")
@dataclass(frozen=True, slots=True)
class ColumnMaterial(Material):
    """A table of `[rows]` int64 from a column of the dataset, -1 where there is no value.

    Attributes:
        column: of the ingested dataset.
    """

    column: str

    def make(self, workshop: Workshop, target: Target) -> None:
        blocks = workshop.column(self.column)
        with target.table(np.int64, workshop.rows) as numbers:
            for rows, values in blocks:
                numbers[rows] = values
            if (labelled := int((numbers >= 0).sum())) < workshop.rows:
                workshop.notify(
                    f"{target.name}: {labelled:,} of {workshop.rows:,} rows have a label"
                )
