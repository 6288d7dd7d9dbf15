"""BatchNorm statistics for the untrained encoder that results are shown beside.

A freshly built network has default BatchNorm statistics. The first steps of any method bring those
of the data, which alone are worth points of kNN: a gain over a network without them is not due to
the method.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch.nn.modules.batchnorm import _BatchNorm

from manta.encoders import Encoder
from manta.ragged import Data, count_rows, joined, rows_of

ROWS, BATCH = 1_024, 128
"""Rows whose statistics are taken, and how many of them at a time."""


@torch.no_grad()
def recalibrate_batchnorm(
    encoder: Encoder, batches: Iterable[Data], prepare: Callable[[Any], Data]
) -> bool:
    """Set the running statistics of every BatchNorm to the mean over batches, in place.

    This is "precise BatchNorm" (Wu & Johnson 2021, "Rethinking 'Batch' in BatchNorm"). Weights
    stay as they are, and nothing is drawn from torch's global generator.

    Args:
        batches: of decoded rows. They are shuffled, since rows may be sorted by class.
        prepare: a batch of them -> the encoder's input.

    Returns:
        False, and nothing is changed, where there is no BatchNorm, where it has statistics already
        (pretrained weights), and with fewer than two rows.
    """
    norms = [
        module for module in encoder.modules() if isinstance(module, _BatchNorm) and _fresh(module)
    ]
    if not norms:
        return False
    parts = list(batches)
    total = sum(map(count_rows, parts))
    if total < 2:
        return False
    data = joined(parts)
    mixed = torch.randperm(total, generator=torch.Generator().manual_seed(0))
    momenta, mode = [norm.momentum for norm in norms], encoder.training
    # Evaluation mode for all but BatchNorm: dropout would draw, and change the activations.
    encoder.eval()
    for norm in norms:
        norm.train().reset_running_stats()
        norm.momentum = None  # PyTorch then takes the mean over all batches
    for rows in mixed.tensor_split(max(1, round(total / BATCH))):
        encoder.embed(prepare(rows_of(data, rows)))
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
    encoder.train(mode)
    return True


def _fresh(norm: _BatchNorm) -> bool:
    """Return whether the running statistics are those that a new BatchNorm has."""
    return norm.running_mean is not None and not norm.running_mean.any()
