"""Check of an experiment before anything is started for it."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from manta import encoders, objectives
from manta.batch import DataFacts
from manta.config import Experiment
from manta.objectives import ModelMaterial
from manta.runs.materials import required
from manta.training.optimizer import build_optimizer
from manta.views import Views

ROWS = 1_000
"""Rows that the objective is built for: the real number is not known before the ingest."""


def preflight(experiment: Experiment) -> None:
    """Build what every worker will build, so that an error appears now and only once.

    Raises:
        ConfigError: the encoder, the objective or the optimizer rejects its configuration, or they
            do not go together.
    """
    size = experiment.data.image_size
    encoder = encoders.build(experiment.encoder, image_size=size)
    with stand_ins(experiment) as materials:
        if materials is None:
            return  # another model, not available yet, decides the objective's shapes
        facts = DataFacts(ROWS, size, materials)
        objective = objectives.build(experiment.objective, encoder, facts)
    Views(experiment.views, objective.needs, image_size=size)
    build_optimizer(objective, experiment.optimizer)


@contextmanager
def stand_ins(experiment: Experiment) -> Iterator[Mapping[str, Path] | None]:
    """Write placeholder materials with which an objective can be built before the real ones exist.

    A table of clusters or labels affects no shape, so zeros are good enough.

    Yields:
        paths by name; None if the objective is built around a model, which decides its shapes.
    """
    materials = required(experiment)
    if any(isinstance(material, ModelMaterial) for material in materials.values()):
        yield None
        return
    with tempfile.TemporaryDirectory(prefix="manta-stand-ins-") as scratch:
        paths = {name: Path(scratch) / f"{name}.npy" for name in materials}
        for path in paths.values():
            np.save(path, np.zeros(ROWS, dtype=np.int32))
        yield paths
