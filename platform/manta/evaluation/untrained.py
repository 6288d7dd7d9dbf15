"""The untrained encoder that results are shown beside: random weights, and BatchNorm's statistics
of the data.

As a network is built, BatchNorm's running statistics are of nothing. The first steps of any method
bring those of the data, and they alone are worth points of kNN: a gain over a network without them
is not the method's.
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
def settle(encoder: Encoder, images: Iterable[Tensor], prepare: Callable[[Tensor], Tensor]) -> bool:
    """Set the running statistics of every BatchNorm to the mean over batches, in place; weights
    stay.

    Nothing is changed, and False returned, where there is no BatchNorm, where it has statistics
    already (pretrained weights), and with fewer than two images. Draws nothing from torch's
    generator.

    Args:
        images: uint8 `[b, 3, S, S]` each. They are mixed, since rows may be sorted by class.
        prepare: a batch of them -> what the encoder takes.
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
    encoder.eval()  # but for BatchNorm: dropout would draw, and change what is seen
    for norm in norms:
        norm.train().reset_running_stats()
        norm.momentum = None  # a mean over all batches
    for rows in mixed.tensor_split(max(1, round(len(pixels) / BATCH))):
        encoder.embed(prepare(pixels[rows]))
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
    encoder.train(mode)
    return True


def _fresh(norm: _BatchNorm) -> bool:
    return norm.running_mean is not None and not norm.running_mean.any()
