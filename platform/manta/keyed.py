"""Random numbers that belong to a sample and a step, not to a place in a batch.

What an objective draws must not depend on how many ranks there are, nor on the order of the batch,
and a resumed run must draw it again. A counter-based generator gives that: the number is a hash of
(seed, step, salt, sample, column).
"""

from __future__ import annotations

import torch
from torch import Tensor

from manta.batch import Progress
from manta.splitmix import GOLDEN, mix

_LOWER_53 = (1 << 53) - 1


def keyed_uniform(index: Tensor, progress: Progress, count: int, *, salt: int = 0) -> Tensor:
    """Return `[B, count]` float64 in (0, 1) for samples `index: [B]`.

    By splitmix64 (Steele et al. 2014).

    Args:
        salt: separates draws of the same step for different purposes.
    """
    state = mix(mix(mix(torch.tensor(progress.seed) + GOLDEN) + progress.step) + salt)
    rows = mix(state.to(index.device) + index.unsqueeze(1) * GOLDEN)
    bits = mix(rows + torch.arange(1, count + 1, device=index.device) * GOLDEN)
    return ((bits & _LOWER_53).double() + 0.5) / (1 << 53)


def keyed_order(index: Tensor, progress: Progress, *, salt: int = 0) -> Tensor:
    """Return `[B]` int64, a permutation that pairs sample i of the global batch with order[i].

    It follows the samples, not their places: permuting the batch permutes the pairs alike. No
    sample is its own partner (a cycle through all of them in a drawn order).
    """
    drawn = keyed_uniform(index, progress, 1, salt=salt).squeeze(1).argsort()
    order = torch.empty_like(drawn)
    order[drawn] = drawn.roll(-1)
    return order


def keyed_beta(
    index: Tensor, progress: Progress, count: int, *, alpha: float, salt: int = 0
) -> Tensor:
    """Return `[B, count]` float64 draws of Beta(alpha, alpha), by inverting its distribution."""
    import numpy as np
    from scipy.special import betaincinv

    uniform = keyed_uniform(index, progress, count, salt=salt).cpu().numpy()
    return torch.from_numpy(np.asarray(betaincinv(alpha, alpha, uniform))).to(index.device)
