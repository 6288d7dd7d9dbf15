"""Mask of spans along time."""

from __future__ import annotations

import torch
from pydantic import Field
from torch import Tensor

from manta.views.draws import RowNumbers
from manta.views.masks._base import MASKS, MaskKind
from manta.views.masks._tokens import Tokens

_ORDER, _CUTS, _STARTS, _SPARED, _COUNT = range(5)
"""Purposes of a row's numbers."""


@MASKS.register("span")
class Span(MaskKind):
    """Hide spans of `length` tokens along an axis, and with them all of the other axes.

    By default a row hides its share exactly, in spans that may touch; one is shorter. With `vary`
    their lengths are drawn, `length` their mean: T5 (Raffel et al. 2020) has ratio 0.15, length 3
    and keeps spans apart. With `start` they begin at drawn tokens and may overlap, `ratio` is not
    used and rows hide unequally many: wav2vec 2.0 (Baevski et al. 2020) has start 0.065, length 10,
    about 0.49 hidden; HuBERT (Hsu et al. 2021) start 0.08, length 10.
    """

    length: int = Field(10, ge=1, description="tokens of a span")
    vary: bool = Field(False, description="draw the lengths of spans, `length` is their mean")
    start: float | None = Field(
        None, gt=0, le=1, description="share of the tokens at which spans begin, in place of ratio"
    )
    axis: int = Field(-1, description="of the grid, that is time: -1 the last")

    @property
    def equal(self) -> bool:
        return self.start is None

    def draw(self, tokens: Tokens) -> Tensor:
        axis = self.axis % len(tokens.grid)
        line = tokens.on(tokens.grid[axis])
        numbers = tokens.part.row_numbers()
        mask = self._started(line, numbers) if self.start else self._shared(line, numbers)
        sides = [side if i == axis else 1 for i, side in enumerate(tokens.grid)]
        return mask.view(-1, *sides).expand(-1, *tokens.grid).flatten(1)

    def _started(self, line: Tokens, numbers: RowNumbers) -> Tensor:
        """Return spans that begin at drawn tokens, `[B, T]` bool."""
        scores = numbers.uniform(line.count, _STARTS)
        length = line.own.clamp(max=self.length)
        # As fairseq: the expected number is exact, a span lies within the row.
        drawn = (self.start or 0) * line.own + numbers.uniform(1, _COUNT).squeeze(1)
        places = torch.arange(line.count, device=scores.device)
        fits = places <= (line.own - length).unsqueeze(1)
        count = drawn.floor().long().clamp(min=1).minimum(fits.sum(1))
        starts = line.lowest(scores.masked_fill(~fits, 1.0), count)
        begun = starts.cumsum(1)
        ended = torch.cat([begun.new_zeros(len(begun), self.length), begun], dim=1)
        mask = (begun > ended[:, : line.count]) & line.there
        return line.spared(mask, numbers.uniform(1, _SPARED).squeeze(1))

    def _shared(self, line: Tokens, numbers: RowNumbers) -> Tensor:
        """Return spans of an exact share of each row, in a drawn order with the other tokens."""
        hidden = line.hidden(self.ratio)
        spans = -(-hidden // self.length)
        widths = self._widths(line, hidden, spans, numbers)
        # A row is a sequence of items: spans, and single tokens that are left.
        items = spans + line.own - hidden
        scores = numbers.uniform(line.count, _ORDER)
        exists = torch.arange(line.count, device=scores.device) < items.unsqueeze(1)
        is_span = line.lowest(scores.masked_fill(~exists, torch.inf), spans)
        which = (is_span.cumsum(1) - 1).clamp(min=0)
        size = torch.where(is_span, widths.gather(1, which), exists.long())
        ends = size.cumsum(1)
        item = torch.searchsorted(ends, line.places, right=True).clamp(max=line.count - 1)
        return is_span.gather(1, item) & line.there

    def _widths(self, line: Tokens, hidden: Tensor, spans: Tensor, numbers: RowNumbers) -> Tensor:
        """Return the lengths of spans, `[B, T]` of which the first `spans: [B]` count."""
        if not self.vary:
            rest = hidden - (spans - 1) * self.length
            short = line.one_of(spans, numbers.uniform(1, _CUTS).squeeze(1))
            return torch.where(short, rest.unsqueeze(1), self.length)
        scores, places = numbers.uniform(line.count, _CUTS), line.places
        # The hidden tokens are cut at drawn places into spans of one token at least.
        inside = (places >= 1) & (places < hidden.unsqueeze(1))
        cuts = line.lowest(scores.masked_fill(~inside, torch.inf), spans - 1)
        of = cuts.cumsum(1)
        counted = (places < hidden.unsqueeze(1)).long()
        return torch.zeros_like(of).scatter_add_(1, of, counted)
