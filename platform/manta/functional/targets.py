"""What is given before training: losses against a class or a frozen network's features, and a start
near a network."""

from __future__ import annotations

import math

import torch.nn.functional as F
from torch import Tensor

from manta.functional._checks import check_pair
from manta.functional._precision import full_precision


@full_precision
def classify(logits: Tensor, classes: Tensor) -> Tensor:
    """Mean cross-entropy of `[N, K]` logits with classes `[N]`."""
    return F.cross_entropy(logits, classes)


@full_precision
def hint(student: Tensor, teacher: Tensor) -> Tensor:
    """Mean square of the difference, over samples and dimensions of `[N, D]` both.

    FitNets' eq. 3 (Romero et al. 2015) is half the sum over dimensions instead.
    """
    check_pair(student, teacher)
    return F.mse_loss(student, teacher)


@full_precision
def near_teacher(weight: Tensor, teacher: Tensor, *, distance: float) -> Tensor:
    """`((1 - alpha) teacher + alpha weight) / sqrt((1 - alpha)^2 + alpha^2)` of weights of one
    shape.

    A student's start between its teacher, at a distance alpha of 0, and itself, at 1; independent
    weights of one variance keep it (Sarnthein et al. 2023, section 4, unnumbered).
    """
    return ((1 - distance) * teacher + distance * weight) / math.hypot(1 - distance, distance)
