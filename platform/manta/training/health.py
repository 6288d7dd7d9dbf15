"""Detection of runs that cannot recover: a loss that is not finite, or features that collapsed."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from manta.config import WatchConfig
from manta.encoders import Encoder
from manta.errors import TrainingStopped
from manta.functional.spectrum import feature_std, rankme
from manta.ragged import Data, rows_of

ROWS = 256
"""Rows of a batch that a check embeds: enough to estimate a rank, and a small part of a step."""


class CollapseMonitor:
    """Monitor of the loss and of the features, every `config.every` steps.

    The limits are far below the values of any working run (see `WatchConfig`). After `patience`
    checks in a row below a limit the run is stopped.
    """

    def __init__(self, config: WatchConfig, noun: str = "images") -> None:
        self.noun = noun
        self.config = config
        self.below = 0

    def due(self, step: int) -> bool:
        """Return whether the features should be checked after `step` steps."""
        return step % self.config.every == 0

    @staticmethod
    def check_finite(terms: dict[str, float], step: int) -> None:
        """Stop the run if a term of the loss is not finite.

        Raises:
            TrainingStopped: a term is NaN or infinite.
        """
        bad = [name for name, value in terms.items() if not math.isfinite(value)]
        if bad:
            raise TrainingStopped(
                f"not finite at step {step}: {', '.join(bad)}; lower optimizer.lr, "
                "set train.clip=1.0, or use train.precision=float32",
                diagnosis="not-finite",
            )

    def check(self, features: Tensor, step: int) -> dict[str, float]:
        """Return the standard deviation and effective rank of `features` [N, D].

        Raises:
            TrainingStopped: a number is not finite, or this is the check number `patience` in a row
                below a limit.
        """
        std, rank = feature_std(features), rankme(features)
        numbers = {"feature_std": std, "feature_rank": rank}
        self.check_finite(numbers, step)
        collapsed = not std >= self.config.min_std or not rank >= self.config.min_rank
        self.below = self.below + 1 if collapsed else 0
        if self.below >= self.config.patience:
            raise TrainingStopped(
                f"collapsed at step {step}: all {self.noun} get nearly the same features (standard "
                f"deviation {std:.2g}, effective rank {rank:.2f}); lower optimizer.lr, raise the "
                "batch size, or try another objective",
                diagnosis="collapsed",
            )
        return numbers


@torch.no_grad()
def embed_plain(encoder: Encoder, samples: Data) -> Tensor:
    """Return the features of samples in evaluation mode, as a user of the encoder gets them.

    Of B samples `[min(B, ROWS), D]` float32; the encoder's mode is restored afterwards.
    """
    training = encoder.training
    encoder.eval()
    try:
        return encoder.embed(rows_of(samples, slice(ROWS))).float()
    finally:
        encoder.train(training)
