"""The view pipeline of series: from decoded rows to the views of an objective."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

import torch
from torch import Tensor

from manta.batch import Ask, View, ViewNeeds
from manta.errors import ConfigError
from manta.modalities.series.decoder import LEAF
from manta.modalities.series.picture import plot
from manta.modalities.series.stretch import cut, taken
from manta.modalities.series.views.config import SeriesViewsConfig, ViewSpec, specify
from manta.modalities.series.views.draws import Draws, draw
from manta.modalities.series.views.kernels import jitter, lose_band, places, rescale
from manta.ragged import Data, Ragged
from manta.spec import Spec
from manta.views import ALL_BUT_FIELDS, VIEWS, BatchPart, Samples, ViewPipeline


@VIEWS.register("series")
class SeriesViews(ViewPipeline[SeriesViewsConfig]):
    """Crops of series, stretched, with noise, scaling, changed order and lost frequencies.

    Everything happens on the device of the rows, in float32. `View.box` has the first place of
    each crop and the one after its last; `View.flip` tells whether time runs backwards.

    Args:
        config: the user's.
        needs: the objective's.
        spec: of a global view; of length None where every row keeps its own.
        longest: row, where rows have lengths of their own.
        unit: deviation of each channel, in which noise is measured.
    """

    Config = SeriesViewsConfig
    honours = ALL_BUT_FIELDS

    def __init__(
        self,
        config: SeriesViewsConfig,
        needs: ViewNeeds,
        *,
        spec: Spec,
        longest: int = 4096,
        unit: Sequence[float] = (1.0,),
    ) -> None:
        if needs.masks and needs.mask_grid is None:
            raise ConfigError(
                "this objective masks tokens, which the encoder lacks; set encoder.name=patchtst"
            )
        (self.length,) = spec.size
        length = self.length if config.stretch else None
        if needs.masks and length is None and needs.token_lengths is None:
            raise ConfigError(
                "this objective masks tokens of rows of one length, and these have their own; set "
                "data.length and views.stretch=true"
            )
        self.specs = specify(config, needs, length=length)
        self.needs, self.spec, self.longest, self.unit = needs, spec, longest, tuple(unit)
        sizes = dict.fromkeys(one.length for one in self.specs if one.length != self.length)
        self.local_specs = tuple(spec.resized(size) for size in sizes if size is not None)

    @classmethod
    def of(cls, config: SeriesViewsConfig, needs: ViewNeeds, samples: Samples) -> SeriesViews:
        series: Any = samples
        if getattr(series, "name", None) != "series":
            raise ConfigError("views.name=series makes views of data.modality=series alone")
        return cls(config, needs, spec=series.spec, longest=series.longest, unit=series.unit)

    def make(self, data: Mapping[str, Data], part: BatchPart) -> list[View]:
        """Return the views of `series` `[B, T, C]`, or of ragged rows `[T, C]`; float32."""
        values, lengths = _padded(data)
        draws = draw(
            self.specs,
            rows=part.rows,
            global_batch=part.global_batch,
            stream=part.stream,
            device=part.device,
            asks=self.needs.asks,
        )
        views = []
        for i, (ask, window) in enumerate(
            zip(self.needs.asks, draws.windows(lengths), strict=True)
        ):
            view, box = self._view(values, i, window, draws)
            spec = self.specs[i]
            # Masks follow in the same stream, so the order of the views is part of a run.
            mask = self._masked(view, spec, ask, part)
            views.append(View(view, spec.role, box, draws.reversed(i), mask))
        return views

    @torch.no_grad()
    def plain(self, data: Mapping[str, Data]) -> Data:
        """Return whole rows, as the encoder takes them for evaluation."""
        if self.length is None and isinstance(data[LEAF], Ragged):
            return data[LEAF]
        values, lengths = _padded(data)
        if self.length is None:
            return values.transpose(1, 2).contiguous()
        whole = cut(values, torch.zeros_like(lengths), lengths, self.length)
        return whole.transpose(1, 2).contiguous()

    def shown(self, view: View) -> Tensor:
        """Return line plots of a view, `[B, 3, 64, 64]` in 0..1."""
        series = cast("Tensor | Ragged", view.data)
        if isinstance(series, Tensor):
            rows = list(series.float().cpu().transpose(1, 2))
        else:
            rows = list(torch.split(series.values.float().cpu(), series.lengths.tolist()))
        pictures = [torch.from_numpy(plot(row.numpy())) for row in rows]
        return torch.stack(pictures).permute(0, 3, 1, 2).float().div_(255)

    def _view(
        self, values: Tensor, i: int, window: tuple[Tensor, Tensor], draws: Draws
    ) -> tuple[Tensor | Ragged, Tensor]:
        """Return a view of padded rows, and its box."""
        spec = self.specs[i]
        starts, widths = window
        box = torch.stack([starts, starts + widths], dim=1).float()
        size = widths if spec.length is None else torch.full_like(widths, spec.length)
        most = spec.length or int(widths.max())
        order = places(size, most, draws.order(i, size), draws.reversed(i))
        if spec.length is None:
            view = taken(values, starts, order)
        else:
            view = cut(values, starts, widths, spec.length, order)
        there = torch.arange(most, device=values.device) < size.unsqueeze(1)
        if spec.frequency > 0:
            low, high = draws.band(i)
            view = view * there.unsqueeze(2)
            view = lose_band(view, low.float(), high.float(), spec.length or self.longest)
        keys = draws.keys(i)
        if spec.scale > 0:
            view = rescale(view, keys, draws.rescaled(i), spec.scale)
        if spec.jitter > 0:
            unit = torch.tensor(self.unit, device=view.device)
            view = jitter(view, keys, draws.jittered(i), spec.jitter, unit)
        if spec.length is None:
            return Ragged(view[there], widths), box
        return view.transpose(1, 2).contiguous(), box

    def _masked(
        self, view: Tensor | Ragged, spec: ViewSpec, ask: Ask, part: BatchPart
    ) -> Tensor | None:
        """Draw the hidden tokens of a view, `[B, T]`; None where it has no mask."""
        if ask.mask is None:
            return None
        if isinstance(view, Ragged) and self.needs.token_lengths is not None:
            lengths = self.needs.token_lengths(view)
            return self.mask(int(lengths.max()), part, lengths, ask=ask)
        # Shorter views have as many fewer tokens.
        (whole,) = self.needs.mask_grid or (0,)
        return self.mask(whole * (spec.length or 0) // (self.length or 1), part, ask=ask)


def _padded(data: Mapping[str, Data]) -> tuple[Tensor, Tensor]:
    """Return rows `[B, T, C]` float32, and their lengths."""
    series = cast("Tensor | Ragged", data[LEAF])
    if isinstance(series, Ragged):
        return series.padded()[0].float(), series.lengths
    lengths = torch.full((len(series),), series.shape[1], device=series.device)
    return series.float(), lengths
