"""Estimates of how well frozen features predict labels, without training a probe."""

from __future__ import annotations

import math

import torch
from torch import Tensor

ITERATIONS = 100
"""Limit on LogME's fixed-point iterations; the authors stop after 11."""
TOLERANCE = 1e-6
"""Relative change of the ratio below which the fixed-point iteration stops."""
SMALLEST = 1e-12
"""Least residual, as a share of the labels' square: a perfect fit has infinite evidence."""
BOUND = 1e10
"""The ratio of precisions stays within this factor of the mean eigenvalue, in both directions."""


def log_me(
    features: Tensor, labels: Tensor, *, shift: Tensor | None = None, chunk: int = 16_384
) -> float:
    """Return LogME: the log maximum evidence of `labels: [N]` given `[N, D]` features.

    It is per row, mean over classes. A class's column of 0 and 1 is modelled as `y = F w + noise`,
    `w ~ N(0, 1 / alpha)`, noise `~ N(0, 1 / beta)`, and `log p(y | F, alpha, beta) / N` is
    maximised over alpha and beta: You et al. 2021, "LogME: Practical Assessment of Pre-trained
    Models for Transfer Learning"; by the fixed point in the ratio `t = alpha / beta` of You et al.
    2022, "Ranking and Tuning Pre-trained Models". As there, features are not centred. With fewer
    rows than features the authors' code gives other values: its log-determinant leaves eigenvalues
    out.

    Ours: classes without a row are left out, beta is eliminated in closed form, and bounds replace
    the authors' 1e-5 in denominators, which made the features' scale matter.

    Args:
        shift: `[classes, D]` added to the features of each class.
        chunk: rows at a time, in float64.

    Returns:
        NaN where a feature is not finite.
    """
    if not bool(features.isfinite().all()):
        return float("nan")
    counts = labels.bincount()
    width = features.shape[1]
    gram = torch.zeros(width, width, dtype=torch.float64, device=features.device)
    products = torch.zeros(len(counts), width, dtype=torch.float64, device=features.device)
    chunks = zip(torch.split(features.detach(), chunk), torch.split(labels, chunk), strict=True)
    for rows, classes in chunks:
        x = rows.double() if shift is None else rows.double() + shift[classes]
        gram += x.T @ x
        products.index_add_(0, classes, x)
    eigenvalues, axes = torch.linalg.eigh(gram)
    eigenvalues = eigenvalues.clamp_min(0)
    zero = eigenvalues[-1] * max(features.shape) * torch.finfo(torch.float64).eps
    # Squared coordinates of the labels along the left singular vectors that F has.
    inverse = torch.where(eigenvalues > zero, 1 / eigenvalues.clamp_min(1e-300), 0.0)
    aligned = inverse[:, None] * (axes.T @ products[counts > 0].T) ** 2
    squares = counts[counts > 0].double()  # of the columns of 0 and 1
    return float(_evidence(eigenvalues, aligned, squares, rows=len(features)).mean())


def _evidence(eigenvalues: Tensor, aligned: Tensor, squares: Tensor, *, rows: int) -> Tensor:
    """Maximise the log evidence per row over both precisions: `[D]`, `[D, C]`, `[C]` -> `[C]`."""
    s = eigenvalues[:, None]
    outside = (squares - aligned.sum(0)).clamp_min(0)
    scale = float(s.mean()) or 1.0
    t = torch.full_like(squares, scale / rows)
    for _ in range(ITERATIONS):
        used = (s / (s + t)).sum(0)  # effective number of parameters
        weight = (s * aligned / (s + t) ** 2).sum(0)  # |w|^2
        residual = outside + (aligned * (t / (s + t)) ** 2).sum(0)
        residual = residual.clamp_min(SMALLEST * squares)
        before = t
        t = used * residual / (weight * (rows - used)).clamp_min(1e-300)
        t = t.clamp(scale / BOUND, scale * BOUND)
        if bool(((t - before).abs() <= TOLERANCE * before).all()):
            break
    misfit = outside + (aligned * t / (s + t)).sum(0)  # residual + t |w|^2
    log_beta = (rows / misfit.clamp_min(SMALLEST * squares)).log()
    log_determinant = (1 + s / t).log().sum(0)
    return (rows / 2 * (log_beta - 1 - math.log(2 * math.pi)) - 0.5 * log_determinant) / rows


def potential_energy_descent(
    means: Tensor, radii: Tensor, *, step: float = 0.1, steps: int = 6, stop: float = 0.5
) -> Tensor:
    """Return how far overlapping classes push each other apart, `[C, D]`.

    Li et al. 2023, "Exploring Model Transferability through the Lens of Potential Energy" (PED).
    Two classes whose radii exceed the distance of their means repel each other along the line
    through the means, with the overlap as force; from rest, a force moves its class by `force *
    step^2 / 2` in a step.

    Args:
        means: `[C, D]` of the classes' features.
        radii: `[C]`, which do not change.
        step: of time. Below sqrt(2) no force moves a class by more than the overlap, which the
            authors cap it at.
        stop: fraction of the first step's movement; the descent ends before the first step that
            moves classes by less.
    """
    start, means = means, means.clone()
    first = 0.0
    for _ in range(steps):
        distance = torch.cdist(means, means, compute_mode="donot_use_mm_for_euclid_dist")
        overlap = (radii[:, None] + radii - distance).clamp_min(0).fill_diagonal_(0)
        pull = torch.where(distance > 0, overlap / distance.clamp_min(1e-300), 0.0)
        movement = step**2 / 2 * (pull.sum(1, keepdim=True) * means - pull @ means)
        size = float(movement.abs().sum())
        first = first or size
        if size == 0 or size <= stop * first:
            break
        means += movement
    return means - start


__all__ = ["log_me", "potential_energy_descent"]
