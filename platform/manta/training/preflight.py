"""Check of an experiment before anything is started for it."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from manta import encoders, objectives
from manta.batch import Progress
from manta.config import Experiment
from manta.errors import ConfigError
from manta.modalities import Modality, Stats
from manta.objectives import Objective
from manta.runs.build import data_facts
from manta.runs.materials import of_objective
from manta.training.optimizer import build_optimizer
from manta.views import ViewPipeline

ROWS = 1_000
"""Rows that the objective is built for: the real number is not known before the ingest."""
MOST_IMAGES = 4
"""Images of the trial of an objective."""


def preflight(experiment: Experiment, stats: Stats | None = None) -> None:
    """Build what every worker will build, so that an error appears now and only once.

    Raises:
        ConfigError: the encoder, the objective or the optimizer rejects its configuration, they do
            not go together, or the encoder cannot take the views.
    """
    _, objective = built(experiment, stats)
    if objective is not None:
        build_optimizer(objective, experiment.optimizer)


def built(
    experiment: Experiment, stats: Stats | None = None
) -> tuple[encoders.Encoder, Objective[Any] | None]:
    """Return the encoder and the objective of a run, after a trial on random samples.

    The objective is None if it is built around another model, which is not available yet.

    Raises:
        ConfigError: they cannot be built, do not go together, or cannot take the views.
    """
    modality = experiment.modality(stats)
    modality.check_learnt()
    spec = modality.spec
    config = experiment.encoder
    encoder = encoders.build(config, spec)
    # Before the objective is built: it asks the encoder for the sizes of its outputs.
    encoders.check_fits(encoder, config, spec)
    with stand_ins(experiment) as materials:
        if materials is None:
            return encoder, None
        facts = data_facts(experiment, ROWS, materials, stats)
        objective = objectives.build(experiment.objective, encoder, facts)
        views = modality.views(experiment.views, objective.needs)
        encoders.check_fits(encoder, config, spec, others=views.local_specs)
        _try(experiment, modality, objective, views)
    return encoder, objective


def _try(
    experiment: Experiment,
    modality: Modality[Any],
    objective: Objective[Any],
    views: ViewPipeline[Any],
) -> None:
    """Pass a few random samples through an objective, to hear what it refuses.

    Only what is said of the encoder counts, and of BatchNorm, which needs two rows: another error
    may come from the trial, whose batch is smaller than the run's.
    """
    train = experiment.train
    share = train.batch_size // train.accumulate
    rows = min(share // experiment.resources.workers, MOST_IMAGES)
    data = modality.sampled(rows, torch.Generator().manual_seed(0))
    index = torch.arange(rows)
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        batch = views(data, index, seed=0, step=0, rows=slice(0, rows), global_batch=share)
        try:
            objective(batch, Progress(0, 1, 0))
        except Exception as error:  # whatever an objective raises of so few samples
            if isinstance(error, ConfigError) and str(error).startswith("encoder"):
                raise
            if share == 1 and "more than 1 value per channel" in str(error):
                raise ConfigError(
                    f"train.accumulate: {train.accumulate} micro-batches of {train.batch_size} "
                    f"{modality.noun} leave one each, and BatchNorm needs two; lower it, or raise "
                    "train.batch_size"
                ) from None


@contextmanager
def stand_ins(experiment: Experiment) -> Iterator[Mapping[str, Path] | None]:
    """Write placeholder materials with which an objective can be built before the real ones exist.

    A table of clusters or labels affects no shape, so zeros are good enough.

    Yields:
        paths by name; None if one has no placeholder, as a model, which decides shapes.
    """
    with tempfile.TemporaryDirectory(prefix="manta-stand-ins-") as scratch:
        paths = {}
        for name, material in of_objective(experiment).items():
            paths[name] = Path(scratch) / material.entry(name)
            if not material.stand_in(paths[name], ROWS):
                yield None
                return
        yield paths
