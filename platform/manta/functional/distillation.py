"""Losses of a student against a teacher. Whoever calls them stops the teacher's gradient."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from manta.functional._checks import check_pair
from manta.functional._precision import full_precision


@full_precision
def negative_cosine(p: Tensor, z: Tensor) -> Tensor:
    """Minus the mean cosine of predictions `p` and targets `z`, both `[N, D]` (Chen & He 2021,
    SimSiam, eq. 1).

    BYOL's squared distance of normalised vectors (Grill et al. 2020, eq. 2) is `2 + 2 *
    negative_cosine(p, z)`.
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
    """Cross-entropy of the student's prototypes under the centred, sharpened teacher's (Caron et
    al. 2021, eq. 2).

    Args:
        student, teacher: logits `[N, K]` of two views of the same samples.
        center: `[K]`, subtracted from the teacher's logits.
    """
    check_pair(student, teacher)
    targets = F.softmax((teacher - center) / teacher_temperature, dim=1)
    return -(targets * F.log_softmax(student / student_temperature, dim=1)).sum(1).mean()
