"""Scores of transferability without a probe: LogME, and LogME after PED.

Both tell how well the bank's labels can be had from its features.

LogME: You et al. 2021. PED: Li et al. 2023, "Exploring Model Transferability through the Lens of
Potential Energy", which pushes classes that overlap apart, as fine-tuning would, before a score is
taken. Certain are LogME, the force and its defaults (the authors' code: step 0.1, at most 6 steps,
a stop at half of the first movement, radii of 0.6 or 0.3 standard deviations, distances in
standardised features). Ours: features are standardised by the bank's own mean and deviation, where
the authors use those of the same encoder's ImageNet features; and LogME is the one score of their
three (SFDA, NLEEP, LogME) that is taken after it.
"""

from __future__ import annotations

from typing import Literal

import torch
from pydantic import Field
from torch import Tensor

from manta.evaluators._base import EVALUATORS, Evaluator, EvaluatorConfig, Features, Scores
from manta.evaluators._labels import LabelCounts
from manta.evaluators._metrics import Metric
from manta.functional.transferability import log_me, potential_energy_descent


class TransferabilityConfig(EvaluatorConfig):
    """PED's dynamics. LogME itself has nothing to set."""

    name: Literal["transferability"] = "transferability"
    radius: float = Field(
        0.6, gt=0, description="of a class, in standard deviations of its features"
    )
    step: float = Field(0.1, gt=0, le=1, description="of time, in the movement of classes")
    steps: int = Field(6, ge=1, description="of the movement, at most")
    stop: float = Field(
        0.5, ge=0, lt=1, description="fraction of the first movement at which it ends"
    )
    chunk: int = Field(16_384, ge=1, description="rows at a time, in float64; bounds the memory")


METRICS = {
    "logme": Metric("LogME", "Evidence for the labels, given the features.", better="higher"),
    "ped": Metric(
        "LogME after PED",
        "The same after classes that overlap are pushed apart.",
        better="higher",
    ),
}


@EVALUATORS.register("transferability")
class Transferability(Evaluator[TransferabilityConfig]):
    """Evidence for the labels of the bank: `logme` and `ped`; larger is better.

    Only differences on the same data mean something.
    """

    Config = TransferabilityConfig
    title = "Transferability"
    about = (
        "Whether the labels can be had from the features, without a probe. Only differences on the "
        "same data mean something."
    )
    metrics = METRICS
    needs_labels = True

    def missing_labels(self, counts: LabelCounts) -> str | None:
        return counts.missing_in_bank()

    def evaluate(self, features: Features) -> Scores:
        labels = features.bank_labels
        if labels is None:
            return {}
        if not bool(features.bank.isfinite().all()):
            return {"logme": float("nan"), "ped": float("nan")}
        config = self.config
        shift = self._repel(features.bank, labels)
        return {
            "logme": log_me(features.bank, labels, chunk=config.chunk),
            "ped": log_me(features.bank, labels, shift=shift, chunk=config.chunk),
        }

    def _repel(self, bank: Tensor, labels: Tensor) -> Tensor:
        """Return `[classes, D]` float64, what PED adds to the features of each class."""
        config = self.config
        counts, sums, squares = _moments(bank, labels, chunk=config.chunk)
        rows = counts.sum()
        spread = (squares.sum(0) / rows - (sums.sum(0) / rows) ** 2).clamp_min(0).sqrt()
        # A dimension that does not vary stays where it is.
        spread = torch.where(spread > 1e-6, spread, 1.0)
        here = counts > 0
        means = sums[here] / counts[here, None]
        variances = (squares[here] / counts[here, None] - means**2).clamp_min(0)
        radii = config.radius * (variances / spread**2).sum(1).sqrt()
        moved = potential_energy_descent(
            means / spread, radii, step=config.step, steps=config.steps, stop=config.stop
        )
        shift = torch.zeros_like(sums)
        shift[here] = moved * spread
        return shift


def _moments(bank: Tensor, labels: Tensor, *, chunk: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return rows `[C]`, sums `[C, D]` and sums of squares `[C, D]` of each class, in float64.

    They are taken around the bank's mean.
    """
    classes = int(labels.max()) + 1
    centre = bank.mean(0, dtype=torch.float64)  # the squares of what is far from zero cancel badly
    sums = torch.zeros(classes, bank.shape[1], dtype=torch.float64, device=bank.device)
    squares = torch.zeros_like(sums)
    for rows, members in zip(torch.split(bank, chunk), torch.split(labels, chunk), strict=True):
        x = rows.double() - centre
        sums.index_add_(0, members, x)
        squares.index_add_(0, members, x**2)
    return labels.bincount(minlength=classes).double(), sums, squares
