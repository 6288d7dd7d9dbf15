"""Losses of a student against a teacher, and a student's start near its teacher.

The caller stops the teacher's gradient.
"""

from __future__ import annotations

import math

import torch.nn.functional as F
from torch import Tensor

from manta.functional._checks import check_pair
from manta.functional._precision import full_precision


@full_precision
def negative_cosine(p: Tensor, z: Tensor) -> Tensor:
    """Return minus the mean cosine of predictions `p` and targets `z`, both `[N, D]`.

    Chen & He 2021, SimSiam, eq. 1. BYOL's squared distance of normalised vectors (Grill et al.
    2020, eq. 2) is `2 + 2 * negative_cosine(p, z)`.
    """
    check_pair(p, z)
    return -(F.normalize(p, dim=1) * F.normalize(z, dim=1)).sum(1).mean()


@full_precision
def dino(
    student: Tensor,
    teacher: Tensor,
    *,
    student_temperature: float,
    teacher_temperature: float,
    center: Tensor,
) -> Tensor:
    """Return the cross-entropy of the student's prototypes under the centred, sharpened teacher's.

    Caron et al. 2021, eq. 2.

    Args:
        student, teacher: logits `[N, K]` of two views of the same samples.
        center: `[K]`, subtracted from the teacher's logits.
    """
    check_pair(student, teacher)
    targets = F.softmax((teacher - center) / teacher_temperature, dim=1)
    return -(targets * F.log_softmax(student / student_temperature, dim=1)).sum(1).mean()


@full_precision
def hint(student: Tensor, teacher: Tensor) -> Tensor:
    """Return the mean squared difference of two `[N, D]`, over samples and dimensions.

    FitNets' eq. 3 (Romero et al. 2015) is half the sum over dimensions instead.
    """
    check_pair(student, teacher)
    return F.mse_loss(student, teacher)


@full_precision
def near_teacher(weight: Tensor, teacher: Tensor, *, distance: float) -> Tensor:
    """Return a student's starting weights between its teacher's and its own random ones.

    `((1 - alpha) teacher + alpha weight) / sqrt((1 - alpha)^2 + alpha^2)`: the teacher at a
    `distance` alpha of 0, `weight` at 1. Independent weights of one variance keep it (Sarnthein et
    al. 2023, section 4, unnumbered).
    """
    return ((1 - distance) * teacher + distance * weight) / math.hypot(1 - distance, distance)
