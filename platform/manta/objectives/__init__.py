"""The methods, one file each.

Importing the package imports none of them; `OBJECTIVES` does, on first use.
"""

from manta.keyed import keyed_beta, keyed_order, keyed_uniform
from manta.materials import (
    ClusterMaterial,
    ColumnMaterial,
    LayerFrames,
    Material,
    ModelMaterial,
    RawFrames,
    SampleSequences,
    SampleValues,
    UnitsMaterial,
)
from manta.objectives._base import OBJECTIVES, Family, Keeps, Objective, Paper, build
from manta.objectives._config import HeadConfig, Momentum, ObjectiveConfig, Temperature
from manta.objectives._exchange import Communicator, Exchange
from manta.objectives._memory import Queue, SampleTable
from manta.objectives._parts import (
    Head,
    Prototypes,
    ema_update,
    freeze_unreached,
    mlp,
    momentum_copy,
)

__all__ = [
    "OBJECTIVES",
    "ClusterMaterial",
    "ColumnMaterial",
    "Communicator",
    "Exchange",
    "Family",
    "Head",
    "HeadConfig",
    "Keeps",
    "LayerFrames",
    "Material",
    "ModelMaterial",
    "Momentum",
    "Objective",
    "ObjectiveConfig",
    "Paper",
    "Prototypes",
    "Queue",
    "RawFrames",
    "SampleSequences",
    "SampleTable",
    "SampleValues",
    "Temperature",
    "UnitsMaterial",
    "build",
    "ema_update",
    "freeze_unreached",
    "keyed_beta",
    "keyed_order",
    "keyed_uniform",
    "mlp",
    "momentum_copy",
]
