"""The methods, one file each. Importing the package imports none of them; `OBJECTIVES` does, on first use."""

from manta.objectives._base import OBJECTIVES, Family, Objective, Paper, build
from manta.objectives._config import HeadConfig, Momentum, ObjectiveConfig, Temperature
from manta.objectives._exchange import Communicator, Exchange
from manta.objectives._parts import Prototypes, ema_update, freeze_unreached, mlp, momentum_copy

__all__ = [
    "OBJECTIVES",
    "Communicator",
    "Exchange",
    "Family",
    "HeadConfig",
    "Momentum",
    "Objective",
    "ObjectiveConfig",
    "Paper",
    "Prototypes",
    "Temperature",
    "build",
    "ema_update",
    "freeze_unreached",
    "mlp",
    "momentum_copy",
]
