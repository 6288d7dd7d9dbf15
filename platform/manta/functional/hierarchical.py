"""Contrast of two views' frames at several scales of time, over time and over instances.

Yue et al. 2022, TS2Vec, sec. 3.3 and algorithm 1; instances are another word for samples. At each
scale a frame should be like itself in the other view. Over time it is compared with the frames of
its own sample, and over instances with the frames of the same place in other samples. Then pairs of
neighbouring frames become their maximum, until one frame is left.

Frames lie on n axes: 1 of a series, 2 of an image or a spectrogram. Samples may have fewer frames
than the tensor: `counts` says how many along each axis. The ranks' samples are compared as in
`manta.functional.contrastive`.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from manta.errors import ConfigError
from manta.functional._precision import full_precision

EXCLUDED = -1e30
"""Logit of what a frame is not compared with; finite, so that rows of nothing else have a
gradient."""


class Frames(NamedTuple):
    """Frames of two views that show the same parts of samples.

    Attributes:
        first, second: `[B, D, *cells]` each.
        counts: `[B, n]` int64, frames along each axis; 0 for a sample without common frames.
    """

    first: Tensor
    second: Tensor
    counts: Tensor

    def flat(self) -> tuple[Tensor, Tensor, Tensor]:
        """Return both views' frames `[B, T, D]`, and `[B, T]` bool where there are any."""
        there = present(self.counts, self.first.shape[2:]).flatten(1)
        return self.first.flatten(2).mT, self.second.flatten(2).mT, there

    def halved(self) -> Frames:
        """Return the maxima of pairs of neighbours; a last frame without one is left out."""
        first, second = (_halved(frames, self.counts) for frames in (self.first, self.second))
        counts = torch.where(self.counts > 1, self.counts // 2, self.counts)
        return Frames(first, second, counts)


@full_precision
def hierarchical_contrast(
    first: Tensor,
    second: Tensor,
    counts: Tensor,
    *,
    instances: float = 0.5,
    keys: Frames | None = None,
    offset: int = 0,
) -> Tensor:
    """Return the loss, mean over samples; a sample's is the mean over its scales.

    Args:
        first, second, counts: of this rank's samples, as in `Frames`.
        instances: share of the contrast over instances, alpha; the rest is that over time.
        keys: every rank's samples; None: those of `first`.
        offset: place of this rank's first sample among them.

    Raises:
        ConfigError: shapes do not fit, or the samples are not among the keys.
    """
    own = Frames(first, second, counts)
    keys = own if keys is None else keys
    _check(own, keys, offset)
    total = torch.zeros(len(first), dtype=first.dtype, device=first.device)
    scales = torch.zeros_like(total)
    is_open = (counts > 0).all(1)
    while True:
        of_scale = torch.zeros_like(total)
        if instances > 0:
            of_scale = of_scale + instances * over_instances(own, keys, offset)
        if instances < 1:
            of_scale = of_scale + (1 - instances) * over_time(own)
        total = total + torch.where(is_open, of_scale, 0.0)
        scales = scales + is_open
        if max(keys.first.shape[2:]) == 1:
            return (total / scales.clamp(min=1)).mean()
        is_open = is_open & (own.counts > 1).any(1)
        own, keys = own.halved(), keys.halved()


def over_time(own: Frames) -> Tensor:
    """Return of each sample `[B]` how unlike its frames' pairs are, beside its other frames."""
    first, second, there = own.flat()
    both, valid = torch.cat([first, second], dim=1), torch.cat([there, there], dim=1)
    itself = torch.eye(both.shape[1], dtype=torch.bool, device=both.device)
    logits = (both @ both.mT).masked_fill(itself | ~valid.unsqueeze(1), EXCLUDED)
    return _mean_over_frames(first, second, logits.logsumexp(2), there)


def over_instances(own: Frames, keys: Frames, offset: int) -> Tensor:
    """Return of each sample `[B]` how unlike its frames' pairs are, beside other samples' ones."""
    first, second, there = own.flat()
    key_first, key_second, key_there = keys.flat()
    anchors = torch.cat([first, second]).transpose(0, 1)
    others = torch.cat([key_first, key_second]).transpose(0, 1)
    valid = torch.cat([key_there, key_there]).T
    samples, of_all = len(first), len(key_first)
    places = offset + torch.arange(samples, device=first.device)
    itself = torch.zeros(2 * samples, 2 * of_all, dtype=torch.bool, device=first.device)
    anchor = torch.arange(2 * samples, device=first.device)
    itself[anchor, torch.cat([places, of_all + places])] = True
    logits = (anchors @ others.mT).masked_fill(itself | ~valid.unsqueeze(1), EXCLUDED)
    mass = logits.logsumexp(2).T  # [2B, T]
    return _mean_over_frames(first, second, torch.cat(mass.chunk(2), dim=1), there)


def present(counts: Tensor, cells: tuple[int, ...] | torch.Size) -> Tensor:
    """Return `[B, *cells]` bool, where a sample has frames.

    Args:
        counts: `[B, n]`, frames along each axis.
    """
    there = torch.ones((len(counts), *cells), dtype=torch.bool, device=counts.device)
    for axis, size in enumerate(cells):
        within = torch.arange(size, device=counts.device) < counts[:, axis, None]
        others = [1] * len(cells)
        others[axis] = size
        there = there & within.view(len(counts), *others)
    return there


def _mean_over_frames(first: Tensor, second: Tensor, mass: Tensor, there: Tensor) -> Tensor:
    """Return the mean cross-entropy of each sample's frames, `[B]`; 0 of one without frames.

    Args:
        mass: `[B, 2T]`, log-sum-exp of what each frame of both views is compared with.
    """
    positive = (first * second).sum(2)
    of_first, of_second = (mass - torch.cat([positive, positive], dim=1)).chunk(2, dim=1)
    terms = (of_first + of_second) / 2
    return torch.where(there, terms, 0.0).sum(1) / there.sum(1).clamp(min=1)


def _halved(frames: Tensor, counts: Tensor) -> Tensor:
    there = present(counts, frames.shape[2:]).unsqueeze(1)
    halved = frames.masked_fill(~there, -math.inf)
    for axis in range(2, frames.ndim):
        size = halved.shape[axis]
        if size > 1:
            pairs = halved.narrow(axis, 0, size - size % 2).unfold(axis, 2, 2)
            halved = pairs.amax(-1)
    return halved.masked_fill(halved == -math.inf, 0.0)


def _check(own: Frames, keys: Frames, offset: int) -> None:
    axes = own.first.ndim - 2
    fits = own.first.shape == own.second.shape and own.counts.shape == (len(own.first), axes)
    is_among = 0 <= offset <= len(keys.first) - len(own.first)
    if not fits or keys.first.shape[1:] != own.first.shape[1:] or not is_among:
        raise ConfigError(
            f"frames of two views {tuple(own.first.shape)} and {tuple(own.second.shape)} do not "
            f"fit counts {tuple(own.counts.shape)} or keys {tuple(keys.first.shape)}"
        )
