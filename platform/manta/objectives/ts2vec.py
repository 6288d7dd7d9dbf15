"""TS2Vec: contrast of frames over time and over samples, at several scales (Yue et al. 2022)."""

from __future__ import annotations

import copy
import math
from typing import Any, Literal, NamedTuple, cast

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor

from manta.batch import Batch, DataFacts, Progress, View, ViewNeeds
from manta.encoders import DenseEncoder, Encoder, FrameEncoder, HidingEncoder, TokenEncoder
from manta.errors import ConfigError
from manta.functional import upcast
from manta.functional.hierarchical import Frames, hierarchical_contrast
from manta.keyed import keyed_uniform
from manta.objectives._base import OBJECTIVES, Objective, Paper
from manta.objectives._config import ObjectiveConfig
from manta.objectives._exchange import Exchange
from manta.objectives._parts import freeze_unreached
from manta.ragged import Data, Ragged


class TS2VecConfig(ObjectiveConfig):
    """Settings of TS2Vec."""

    name: Literal["ts2vec"] = "ts2vec"
    hide: float = Field(
        0.5, ge=0, lt=1, description="probability that a frame is hidden from the encoder"
    )
    instances: float = Field(
        0.5, ge=0, le=1, description="share of the contrast over samples; the rest is over time"
    )


class Seen(NamedTuple):
    """Frames of a view, and which part of the samples they show.

    Attributes:
        frames: `[B, D, *cells]`.
        counts: `[B, n]` int64, how many along each axis.
        box: `[B, 2m]` as in `View`, or None: all of it. Its axis k is the map's last but k.
        flip: `[B]` bool, whether the last axis is mirrored, or None.
    """

    frames: Tensor
    counts: Tensor
    box: Tensor | None
    flip: Tensor | None

    def extent(self, axis: int) -> tuple[Tensor, Tensor]:
        """Return where the view begins along an axis of the map, and its width: `[B]` each."""
        number = self.counts.shape[1] - 1 - axis
        if self.box is None or 2 * number >= self.box.shape[1]:
            start = torch.zeros(len(self.counts), dtype=torch.float64, device=self.counts.device)
            return start, torch.ones_like(start)
        lower, upper = self.box.double().view(len(self.box), 2, -1)[:, :, number].unbind(1)
        return lower, upper - lower


@OBJECTIVES.register("ts2vec")
class TS2Vec(Objective[TS2VecConfig]):
    """Frames agree with themselves in the other view, and not with other times and samples.

    The loss is taken where two crops overlap, and the export is the mean of the weights over all
    steps, as in the authors' code. Ours: every sample has crops of its own, which are the views';
    stretched ones (where `views.stretch` is true) are interpolated back to frames that lie alike.
    A sample without overlap counts 0. Views that change the order of time must not be used.
    """

    Config = TS2VecConfig
    family = "contrastive"
    paper = Paper(
        "TS2Vec: Towards Universal Representation of Time Series",
        2022,
        "arXiv:2106.10466, AAAI 2022",
    )
    exchange = Exchange.GATHER
    averaged_steps: Tensor

    def __init__(self, config: TS2VecConfig, encoder: Encoder, data: DataFacts) -> None:
        super().__init__(config, encoder, data)
        if not isinstance(encoder, (HidingEncoder, FrameEncoder)) and (
            config.hide > 0 or not isinstance(encoder, DenseEncoder)
        ):
            raise ConfigError(
                "objective.name=ts2vec needs an encoder that gives frames and can hide them, such "
                "as encoder.name=tcn; with objective.hide=0 one with a feature map will do"
            )
        self.averaged = copy.deepcopy(encoder).requires_grad_(False)
        self.register_buffer("averaged_steps", torch.zeros((), dtype=torch.int64))
        if isinstance(encoder, HidingEncoder):
            encoder.learn_hidden()
        self._freeze_unreached(data)

    @property
    def needs(self) -> ViewNeeds:
        return ViewNeeds(preset="plain")

    @property
    def exported(self) -> Encoder:
        return self.averaged

    def forward(self, batch: Batch, progress: Progress) -> dict[str, Tensor]:
        seen = [
            self._seen(view, batch.index, progress, number)
            for number, view in enumerate(batch.global_views)
        ]
        own, keys = self._with_keys(common_frames(*seen))
        loss = hierarchical_contrast(
            *own,
            instances=self.config.instances,
            keys=keys,
            offset=self.comm.rank * len(own.first),
        )
        return {"loss": loss}

    @torch.no_grad()
    def after_step(self, progress: Progress) -> None:
        self.averaged_steps += 1
        trained = dict(self.encoder.named_parameters())
        means = dict(self.averaged.named_parameters())
        share = 1 / int(self.averaged_steps)
        torch._foreach_lerp_(list(means.values()), [trained[name] for name in means], share)
        buffers = dict(self.encoder.named_buffers())
        for name, buffer in self.averaged.named_buffers():
            buffer.copy_(buffers[name])

    def _freeze_unreached(self, data: DataFacts) -> None:
        example, was_training = data.spec.example(2), self.encoder.training
        hide = torch.zeros(2, math.prod(_cells(self.encoder, example)), dtype=torch.bool)
        hide[:, 0] = True
        self.encoder.eval()  # the example must not reach the statistics of BatchNorm
        frames = _frames(self.encoder, example, hide if self.config.hide > 0 else None)
        freeze_unreached(self.encoder, frames)
        self.encoder.train(was_training)

    def _seen(self, view: View, index: Tensor, progress: Progress, number: int) -> Seen:
        cells = _cells(self.encoder, view.data)
        hide = None
        if self.config.hide > 0:
            drawn = keyed_uniform(index, progress, math.prod(cells), salt=number)
            hide = drawn < self.config.hide
        frames = _frames(self.encoder, view.data, hide)
        counts = _counts(self.encoder, view.data, frames)
        return Seen(frames, counts, view.box, view.flip)

    def _with_keys(self, own: Frames) -> tuple[Frames, Frames]:
        """Return this rank's frames and every rank's, all with as many cells."""
        counts = self.comm.gather(own.counts)
        cells = counts.amax(0).clamp(min=1).tolist()
        first, second = (_padded(upcast(frames), cells) for frames in (own.first, own.second))
        keys = self.comm.gather(torch.stack([first, second], dim=1))
        every_first, every_second = keys.unbind(1)
        return Frames(first, second, own.counts), Frames(every_first, every_second, counts)


def common_frames(a: Seen, b: Seen) -> Frames:
    """Return the frames of both views in the part of each sample that both show.

    There are as many as the coarser view has in it, at the centres of equal parts, and frames
    between centres are interpolated.
    """
    first, second, counts = a.frames, b.frames, []
    for axis in range(a.counts.shape[1]):
        extents = [view.extent(axis) for view in (a, b)]
        lower = torch.maximum(extents[0][0], extents[1][0])
        upper = torch.minimum(*(start + width for start, width in extents))
        sizes = [view.counts[:, axis] for view in (a, b)]
        coarser = torch.maximum(
            *(width / size for (_, width), size in zip(extents, sizes, strict=True))
        )
        shared = (upper - lower).clamp(min=0)
        # The small number: a part of 3 frames may come out as 2.9999.
        count = (shared / coarser + 1e-6).floor().long()
        most = max(int(count.max()), 1)
        steps = torch.arange(most, device=count.device) + 0.5
        centres = lower.unsqueeze(1) + steps * (shared / count.clamp(min=1)).unsqueeze(1)
        first = _resampled(first, a, axis, centres)
        second = _resampled(second, b, axis, centres)
        counts.append(count)
    return Frames(first, second, torch.stack(counts, dim=1))


def _resampled(frames: Tensor, view: Seen, axis: int, centres: Tensor) -> Tensor:
    """Return frames along an axis at places `[B, n]` in units of the samples."""
    start, width = (part.unsqueeze(1) for part in view.extent(axis))
    last = (view.counts[:, axis, None] - 1).double()
    places = (centres - start) * (last + 1) / width - 0.5
    if view.flip is not None and axis == view.counts.shape[1] - 1:
        places = torch.where(view.flip.unsqueeze(1), last - places, places)
    places = places.minimum(last).clamp(min=0)
    below = places.floor()
    above = (below + 1).minimum(last)
    share = (places - below).to(frames.dtype)
    shape = [len(frames), *[1] * (frames.ndim - 1)]
    shape[2 + axis] = centres.shape[1]

    def at(positions: Tensor) -> Tensor:
        sides = list(frames.shape)
        sides[2 + axis] = centres.shape[1]
        return frames.gather(2 + axis, positions.long().view(shape).expand(sides))

    return torch.lerp(at(below), at(above), share.view(shape).expand_as(at(below)))


def _frames(encoder: Encoder, x: Data, hide: Tensor | None) -> Tensor:
    """Return `[B, D, *cells]`; of the frames `hide: [B, cells]` the encoder sees no values."""
    if isinstance(encoder, FrameEncoder):
        return encoder.frames(x, hide)
    if not isinstance(encoder, HidingEncoder):
        return cast(DenseEncoder, encoder).feature_map(x)
    tokens = encoder.tokens(x, hide=hide)
    prefix = cast(TokenEncoder, encoder).prefix_tokens
    return tokens[:, prefix:].mT.reshape(len(tokens), -1, *_cells(encoder, x))


def _cells(encoder: Encoder, x: Data) -> tuple[int, ...]:
    """Return how many frames there are along each axis, of the longest sample."""
    if isinstance(x, Ragged):
        return (max(int(_lengths(encoder, x).max()), 1),)
    if not isinstance(x, Tensor):
        raise ConfigError("objective.name=ts2vec takes samples of one part; choose another one")
    sides = tuple(x.shape[2:])
    counted = getattr(encoder, "token_lengths", None)
    if counted is not None and len(sides) == 1:
        return (int(counted(x)[0]),)
    if isinstance(encoder, HidingEncoder) and isinstance(encoder, TokenEncoder):
        return tuple(
            -(-side // patch) for side, patch in zip(sides, encoder.patch_size, strict=True)
        )
    return sides


def _counts(encoder: Encoder, x: Data, frames: Tensor) -> Tensor:
    """Return `[B, n]` int64, the frames of each sample along each axis."""
    if isinstance(x, Ragged):
        return _lengths(encoder, x).unsqueeze(1)
    return torch.tensor(frames.shape[2:], device=frames.device).expand(len(frames), -1)


def _lengths(encoder: Encoder, x: Ragged) -> Tensor:
    """Return `[B]` int64, the frames of ragged rows."""
    if isinstance(encoder, HidingEncoder):
        of_tokens: Any = encoder
        return cast(Tensor, of_tokens.token_lengths(x))
    return x.lengths


def _padded(frames: Tensor, cells: list[int]) -> Tensor:
    """Return frames with as many cells along each axis, zeros where there were none."""
    missing = [cell - size for cell, size in zip(cells, frames.shape[2:], strict=True)]
    return F.pad(frames, [part for size in reversed(missing) for part in (0, size)])
