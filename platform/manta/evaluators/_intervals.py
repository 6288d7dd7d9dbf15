"""Intervals of accuracies and of their differences, from which queries were answered correctly.

The percentile bootstrap (Efron & Tibshirani 1993, "An Introduction to the Bootstrap", chapter 13).
Where queries are right or wrong it is taken at its limit of infinitely many resamples: one of n
queries holds wins, losses and the rest in multinomial numbers, so the distribution of its mean is
that of one query convolved n times with itself, exact by a Fourier transform, with no seed and no
resample ever drawn. Scores that are not bool (a precision, a mean over cases) are resampled.

An interval says how other queries of the same kind would have come out, not how another training
run would have. An accuracy of 0 or 1 has an interval of no width, however few the queries.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from scipy.fft import next_fast_len
from torch import Tensor

LEVEL = 0.95
"""Confidence of all intervals: a fortieth of the resamples lies on each side."""

RESAMPLES = 2_000
"""Resamples of scores that are not bool."""

ENTRIES_AT_A_TIME = 1_000_000
"""Scores that are drawn at a time; bounds the memory."""


class Gain(NamedTuple):
    """Difference of two accuracies, and the interval that it lies in; fractions of 1."""

    gain: float
    low: float
    high: float


def interval(scores: Tensor) -> tuple[float, float]:
    """Return the 95% interval of the mean of `scores: [Q]`.

    Bool scores say which queries were answered correctly.
    """
    if scores.dtype != torch.bool:
        return _resampled(scores)
    return _quantiles(wins=int(scores.sum()), losses=0, queries=len(scores))


def paired_gain(a: Tensor, b: Tensor) -> Gain:
    """Return how much better `a: [Q]` does than `b: [Q]` on the same queries.

    Both are as `interval` takes them. Only the queries on which the two differ move it, so it tells
    apart what two intervals of accuracies cannot.
    """
    if a.dtype != torch.bool or b.dtype != torch.bool:
        difference = a.double() - b.double()
        return Gain(float(difference.mean()), *_resampled(difference))
    wins, losses = int((a & ~b).sum()), int((b & ~a).sum())
    return Gain((wins - losses) / len(a), *_quantiles(wins=wins, losses=losses, queries=len(a)))


def _resampled(scores: Tensor) -> tuple[float, float]:
    """Return the bootstrap interval of the mean of `[Q]` numbers, the same at every call."""
    from scipy.stats import bootstrap

    values = scores.double().cpu().numpy()
    if len(values) < 2 or not np.isfinite(values).all():
        return float(values.mean()), float(values.mean())
    found = bootstrap(
        (values,),
        np.mean,
        n_resamples=RESAMPLES,
        batch=max(ENTRIES_AT_A_TIME // len(values), 1),
        confidence_level=LEVEL,
        method="percentile",
        rng=np.random.default_rng(0),
    ).confidence_interval
    return float(found.low), float(found.high)


def _quantiles(*, wins: int, losses: int, queries: int) -> tuple[float, float]:
    """Return the exact bootstrap interval of a mean.

    Queries count 1 (`wins` of them), -1 (`losses`) or 0 (the others).
    """
    # The probabilities of sums -queries..queries, and room for a length that transforms fast;
    # indexes wrap, so [-1] is -1.
    one = np.zeros(next_fast_len(2 * queries + 1, real=True))
    one[1], one[-1] = wins / queries, losses / queries
    one[0] = 1 - one[1] - one[-1]
    sums = np.fft.irfft(np.fft.rfft(one) ** queries, len(one))
    below = np.cumsum(np.roll(sums, queries))
    tail = (1 - LEVEL) / 2
    low, high = np.searchsorted(below, [tail, 1 - tail]) - queries
    return float(low / queries), float(high / queries)
