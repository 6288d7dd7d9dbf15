"""Stops a run that cannot recover, and says why: not finite, or collapsed."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from manta.config import WatchConfig
from manta.encoders import Encoder
from manta.errors import TrainingStopped
from manta.functional.spectrum import feature_std, rankme

ROWS = 256
"""Rows of a batch that a look embeds: enough for a rank, a small part of a step."""


class Watch:
    """Looks at the loss and at features every `config.every` steps.

    Limits are floors far below any working run: see `WatchConfig`. A look below a limit counts;
    `patience` of them in a row stop the run.
    """

    def __init__(self, config: WatchConfig) -> None:
        self.config = config
        self.below = 0

    def due(self, step: int) -> bool:
        """After `step` steps."""
        return step % self.config.every == 0

    @staticmethod
    def check_finite(terms: dict[str, float], step: int) -> None:
        """
        Raises:
            TrainingStopped: a term is NaN or infinite.
        """
        bad = [name for name, value in terms.items() if not math.isfinite(value)]
        if bad:
            raise TrainingStopped(
                f"not finite at step {step}: {', '.join(bad)}; lower optimizer.lr, set train.clip=1.0, or use "
                "train.precision=float32",
                diagnosis="not-finite",
            )

    def look(self, features: Tensor, step: int) -> dict[str, float]:
        """Standard deviation and rank of `features` [N, D].

        Raises:
            TrainingStopped: collapsed, `patience` looks in a row.
        """
        found = {"feature_std": feature_std(features), "feature_rank": rankme(features)}
        std, rank = found["feature_std"], found["feature_rank"]
        self.check_finite(found, step)
        collapsed = not std >= self.config.min_std or not rank >= self.config.min_rank
        self.below = self.below + 1 if collapsed else 0
        if self.below >= self.config.patience:
            raise TrainingStopped(
                f"collapsed at step {step}: all images get nearly the same features (standard deviation {std:.2g}, "
                f"effective rank {rank:.2f}); lower optimizer.lr, raise the batch size, or try another objective",
                diagnosis="collapsed",
            )
        return found


@torch.no_grad()
def look_features(encoder: Encoder, images: Tensor) -> Tensor:
    """`[B, C, H, W] -> [min(B, ROWS), D]` as a user of the encoder would get them: in evaluation
    mode."""
    training = encoder.training
    encoder.eval()
    try:
        return encoder.embed(images[:ROWS]).float()
    finally:
        encoder.train(training)
