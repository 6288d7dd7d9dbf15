"""Inputs that a method needs before its first step: another model, clusters, a column, units.

An objective names its materials by `Objective.materials`; the driver makes them in its workshop
(as Ray jobs where that is needed), keeps them with the run, and every worker finds them as files in
`DataFacts.materials`. Each is a class in a file of its own; one of yours may lie in your method's
file, or in a package that names it by an entry point of the group `manta.materials`.
"""

from manta.materials._base import (
    MATERIALS,
    Column,
    Material,
    PartWork,
    Result,
    RowReader,
    RowWork,
    Target,
    Vectors,
    Workshop,
)
from manta.materials._sequences import SampleSequences, write_sequences
from manta.materials._values import SampleValues
from manta.materials.clusters import ClusterMaterial
from manta.materials.column import ColumnMaterial
from manta.materials.model import ModelMaterial
from manta.materials.units import (
    FrameBlocks,
    FrameReader,
    Frames,
    FrameSource,
    LayerFrames,
    RawFrames,
    UnitsMaterial,
)

__all__ = [
    "MATERIALS",
    "ClusterMaterial",
    "Column",
    "ColumnMaterial",
    "FrameBlocks",
    "FrameReader",
    "FrameSource",
    "Frames",
    "LayerFrames",
    "Material",
    "ModelMaterial",
    "PartWork",
    "RawFrames",
    "Result",
    "RowReader",
    "RowWork",
    "SampleSequences",
    "SampleValues",
    "Target",
    "UnitsMaterial",
    "Vectors",
    "Workshop",
    "write_sequences",
]
