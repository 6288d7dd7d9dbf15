"""Construction of a run's objects from its experiment, the same in workers and the driver."""

from __future__ import annotations

import math
import random
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from manta import encoders, objectives
from manta.batch import DataFacts, ViewNeeds
from manta.config import Experiment
from manta.data import Manifest, Plan
from manta.modalities import Decoder, Stats
from manta.runs.materials import START


def build_objective(
    experiment: Experiment, manifest: Manifest, materials: Mapping[str, Path] | None = None
) -> objectives.Objective[Any]:
    """Return the objective around its encoder, both initialised from the run's seed.

    What fits of the weights that the run starts from is loaded before the objective exists, so that
    momentum copies and teachers are made of them.
    """
    facts = data_facts(experiment, manifest.rows, materials or {}, manifest.stats)
    encoder = untrained_encoder(experiment, manifest.stats)
    if (start := experiment.encoder.start) is not None:
        encoders.load_fitting(encoder, (materials or {})[START], start=start)
    return objectives.build(experiment.objective, encoder, facts)


def data_facts(
    experiment: Experiment,
    rows: int,
    materials: Mapping[str, Path],
    stats: Stats | None = None,
) -> DataFacts:
    """Return what an objective may know of the data when it is built.

    Args:
        stats: of the dataset; None where there is none yet.
    """
    modality = experiment.modality(stats)
    mean, std = (getattr(experiment.views, name, None) for name in ("mean", "std"))
    # The objective, whose needs these are not, does not exist yet; the width is the pipeline's.
    width = modality.views(experiment.views, ViewNeeds()).transform_width
    return DataFacts(rows, modality.spec, materials, mean, std, width)


def untrained_encoder(experiment: Experiment, stats: Stats | None = None) -> encoders.Encoder:
    """Return the encoder at the run's random or pretrained weights; this seeds torch.

    Those of `encoder.start` are not in it.

    Args:
        stats: of the dataset; None where there is none yet.
    """
    torch.manual_seed(experiment.train.seed)
    return encoders.build(experiment.encoder, experiment.modality(stats).spec)


def decoder_of(experiment: Experiment, manifest: Manifest) -> Decoder:
    """Return the decoder of the rows that a run of the experiment takes."""
    return experiment.modality(manifest.stats).decoder()


def plan_of(experiment: Experiment, manifest: Manifest) -> Plan:
    """Return the order in which a run of the experiment sees its samples."""
    return Plan(
        manifest,
        seed=experiment.train.seed,
        batch_size=experiment.train.batch_size,
        limit=experiment.data.limit,
        holdout=experiment.evaluation.holdout,
        holdout_group=experiment.evaluation.holdout_group,
        shuffle_rows=experiment.data.shuffle_rows,
        buckets=experiment.data.buckets,
    )


def total_steps(experiment: Experiment, plan: Plan) -> int:
    """Return the number of optimizer steps of the whole run."""
    return max(math.ceil(experiment.train.epochs * plan.steps_per_epoch), 1)


def seed_everything(seed: int) -> None:
    """Seed the generators of Python, NumPy and torch."""
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)
