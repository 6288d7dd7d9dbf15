"""Evaluations of the encoder during and after its training."""

from __future__ import annotations

from typing import Any

import torch

from manta.config import Experiment
from manta.data import Manifest, Plan
from manta.encoders import Encoder
from manta.evaluation import untrained
from manta.evaluation.augmented import augmentation, required_views
from manta.evaluation.labels import count_labels, label_notes
from manta.evaluation.online import SplitFeatures, due_evaluators, embed_splits
from manta.evaluation.rows import SplitRows
from manta.evaluators import Evaluator
from manta.ragged import moved
from manta.runs.build import untrained_encoder
from manta.training.step import TrainStep
from manta.training.supply import Supply

ONLINE_BANK, ONLINE_QUERIES = 5_000, 1_000
"""Most rows that an evaluation during training uses: it should take a small part of the time
between two. The final one has the limits of `EvaluationConfig`."""


def evaluated_rows(
    experiment: Experiment, manifest: Manifest, plan: Plan, *, final: bool
) -> tuple[SplitRows, SplitRows]:
    """Return the bank and the queries of a run's evaluations.

    Args:
        final: those of the last one, which uses as many rows as the configuration allows.
    """
    limits = experiment.evaluation
    bank_rows = limits.bank_rows if final else min(ONLINE_BANK, limits.bank_rows)
    query_rows = limits.query_rows if final else min(ONLINE_QUERIES, limits.query_rows)
    return (
        SplitRows(manifest, plan.holdout, "bank", bank_rows),
        SplitRows(manifest, plan.holdout, "queries", query_rows),
    )


def evaluation_notes(experiment: Experiment, manifest: Manifest, plan: Plan) -> list[str]:
    """Return lines on what a run's evaluators cannot do with its data, before it starts."""
    evaluators = due_evaluators(experiment.evaluation)
    limits = experiment.evaluation
    asked = None if limits.holdout_group else limits.holdout
    notes = plan.holdout.notes(asked)
    if not evaluators or not (limits.holdout or limits.holdout_group):
        return notes
    if not plan.held_out_rows:
        return [
            f"evaluation.holdout={experiment.evaluation.holdout:g} holds out none of "
            f"{plan.holdout.rows:,} rows, so that nothing is evaluated; raise it"
        ]
    counts = count_labels(*evaluated_rows(experiment, manifest, plan, final=True))
    return notes if counts is None else [*notes, *label_notes(evaluators, counts)]


class RunEvaluations:
    """Evaluations of one run, in which all of its ranks take part.

    Args:
        with_untrained: whether the first evaluation during training includes the untrained encoder.
    """

    def __init__(
        self,
        experiment: Experiment,
        manifest: Manifest,
        plan: Plan,
        step: TrainStep,
        supply: Supply,
        *,
        with_untrained: bool,
    ) -> None:
        self.experiment = experiment
        self.manifest = manifest
        self.plan = plan
        self.step = step
        self.supply = supply
        self.modality = experiment.modality(manifest.stats)
        self._untrained_next = with_untrained

    @property
    def possible(self) -> bool:
        """Return whether rows are held out for evaluations."""
        return self.plan.held_out_rows > 0

    def all(self) -> list[Evaluator[Any]]:
        """Return every evaluator of the experiment."""
        return due_evaluators(self.experiment.evaluation)

    def due(self, done: int) -> list[Evaluator[Any]]:
        """Return the evaluators that are due after `done` steps."""
        per_epoch = self.plan.steps_per_epoch
        epoch, span = done / per_epoch, 1 / per_epoch
        return due_evaluators(self.experiment.evaluation, epoch=epoch, span=span)

    def embed(self, evaluators: list[Evaluator[Any]], *, final: bool) -> SplitFeatures | None:
        """Embed bank and queries; return the features on rank 0, and None on the other ranks.

        Args:
            final: use as many rows as the configuration allows, and embed with the untrained
                encoder and the floor too.
        """
        encoders = {"": self.step.objective.exported}
        # The untrained encoder's numbers stay the same, so only one evaluation during training
        # computes them.
        if final or self._untrained_next:
            encoders["random"] = self._untrained()
        self._untrained_next = False
        bank, queries = evaluated_rows(self.experiment, self.manifest, self.plan, final=final)
        return embed_splits(
            encoders,
            bank,
            queries,
            prepare=self.step.views.plain,
            modality=self.modality,
            device=self.step.device,
            read=self.supply.read,
            augment=augmentation(self.modality.preprocess(self.experiment.views)),
            views=required_views(evaluators),
            floor=self.modality.floor() if final else None,
        )

    def _untrained(self) -> Encoder:
        """Return the encoder as it was before the first step, its BatchNorm recalibrated.

        The same seed gives the same weights.
        """
        # Building the encoder seeds torch on every device; afterwards training must continue from
        # its own random state, as if nothing had been built.
        with torch.random.fork_rng(range(torch.cuda.device_count())):
            encoder = untrained_encoder(self.experiment, self.manifest.stats).to(self.step.device)
        limit = min(untrained.ROWS, self.experiment.evaluation.bank_rows)
        rows = SplitRows(self.manifest, self.plan.holdout, "bank", limit)
        untrained.recalibrate_batchnorm(
            encoder,
            (batch.data for batch in self.supply.read(rows, rank=0, world=1)),
            lambda data: self.step.views.plain(moved(data, self.step.device)),
        )
        return encoder
