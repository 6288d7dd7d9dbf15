"""BatchNorm statistics for the untrained encoder that results are shown beside.

A freshly built network has default BatchNorm statistics. The first steps of any method bring those
of the data, which alone are worth points of kNN: a gain over a network without them is not due to
the method.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch
from torch import Tensor
from torch.nn.modules.batchnorm import _BatchNorm

from manta.encoders import Encoder

ROWS, BATCH = 1_024, 128
"""Images whose statistics are taken, and how many of them at a time."""


@torch.no_grad()
def recalibrate_batchnorm(
    encoder: Encoder, images: Iterable[Tensor], prepare: Callable[[Tensor], Tensor]
) -> bool:
    """Set the running statistics of every BatchNorm to the mean over batches, in place.

    This is "precise BatchNorm" (Wu & Johnson 2021, "Rethinking 'Batch' in BatchNorm"). Weights
    stay as they are, and nothing is drawn from torch's global generator.

    Args:
        images: uint8 `[b, 3, S, S]` each. They are shuffled, since rows may be sorted by class.
        prepare: a batch of them -> the encoder's input.

    Returns:
        False, and nothing is changed, where there is no BatchNorm, where it has statistics already
        (pretrained weights), and with fewer than two images.
    """
    norms = [
        module for module in encoder.modules() if isinstance(module, _BatchNorm) and _fresh(module)
    ]
    if not norms:
        return False
    pixels = torch.cat([torch.empty(0, dtype=torch.uint8), *images])
    if len(pixels) < 2:
        return False
    mixed = torch.randperm(len(pixels), generator=torch.Generator().manual_seed(0))
    momenta, mode = [norm.momentum for norm in norms], encoder.training
    # Evaluation mode for all but BatchNorm: dropout would draw, and change the activations.
    encoder.eval()
    for norm in norms:
        norm.train().reset_running_stats()
        norm.momentum = None  # PyTorch then takes the mean over all batches
    for rows in mixed.tensor_split(max(1, round(len(pixels) / BATCH))):
        encoder.embed(prepare(pixels[rows]))
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
    encoder.train(mode)
    return True


def _fresh(norm: _BatchNorm) -> bool:
    """Return whether the running statistics are those that a new BatchNorm has."""
    return norm.running_mean is not None and not norm.running_mean.any()
