"""The view pipeline of sentences: from token numbers to the views of an objective."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

import torch
from torch import Tensor

from manta.batch import View, ViewNeeds
from manta.errors import ConfigError
from manta.modalities.text.decoder import LEAF
from manta.modalities.text.picture import written
from manta.modalities.text.views.config import TextViewsConfig, specify
from manta.modalities.text.views.draws import Placed, draw
from manta.modalities.text.views.kernels import kept, mask_spans, replace, shuffle, window
from manta.modalities.text.vocabulary import Vocabulary
from manta.ragged import Data, Ragged
from manta.spec import Spec
from manta.views import ALL_BUT_FIELDS, VIEWS, BatchPart, Samples, ViewPipeline


@VIEWS.register("text")
class TextViews(ViewPipeline[TextViewsConfig]):
    """Crops of sentences, with tokens masked, replaced, moved and left out, in this order.

    Everything happens on the device of the rows. `View.box` has the first token of each crop and
    the one after its last.

    Args:
        config: the user's.
        needs: the objective's.
        vocabulary: of the tokens.
        spec: of a global view.
    """

    Config = TextViewsConfig
    rows_are_independent = True
    honours = ALL_BUT_FIELDS

    def __init__(
        self, config: TextViewsConfig, needs: ViewNeeds, vocabulary: Vocabulary, spec: Spec
    ) -> None:
        if needs.masks and needs.mask_grid is None:
            raise ConfigError(
                "this objective masks tokens, which the encoder lacks; set encoder.name=transformer"
            )
        self.specs = specify(config, needs)
        self.needs, self.spec, self.vocabulary = needs, spec, vocabulary
        self._ordinary = torch.from_numpy(vocabulary.ordinary).long()

    @classmethod
    def of(cls, config: TextViewsConfig, needs: ViewNeeds, samples: Samples) -> TextViews:
        text: Any = samples
        if getattr(text, "name", None) != "text":
            raise ConfigError("views.name=text makes views of data.modality=text alone")
        return cls(config, needs, text.vocabulary, text.spec)

    def make(self, data: Mapping[str, Data], part: BatchPart) -> list[View]:
        """Return the views of `text`, ragged rows `[T]` of token numbers."""
        text = cast(Ragged, data[LEAF])
        ids = text.padded()[0].long()
        views = []
        placed = draw(self.specs, self.needs.asks, text.lengths, part)
        for ask, one in zip(self.needs.asks, placed, strict=True):
            view = self._view(ids, one)
            box = torch.stack([one.starts, one.starts + one.widths], dim=1).float()
            # Masks follow in the same stream, so the order of the views is part of a run.
            hidden = self.mask(int(view.lengths.max()), part, view.lengths, ask=ask)
            views.append(View(view, one.drawn.spec.role, box, mask=hidden))
        return views

    @torch.no_grad()
    def plain(self, data: Mapping[str, Data]) -> Ragged:
        """Return whole rows, as the encoder takes them for evaluation."""
        return cast(Ragged, data[LEAF])

    def shown(self, view: View) -> Tensor:
        """Return the words of a view, `[B, 3, 64, 64]` in 0..1."""
        rows = cast(Ragged, view.data)
        each = torch.split(rows.values.cpu(), rows.lengths.tolist())
        pictures = [torch.from_numpy(written(self.vocabulary.read(row.tolist()))) for row in each]
        return torch.stack(pictures).permute(0, 3, 1, 2).float().div_(255)

    def _view(self, ids: Tensor, placed: Placed) -> Ragged:
        """Return a view of padded rows."""
        drawn, starts, widths = placed
        spec = drawn.spec
        rows = window(ids, starts, int(widths.max()))
        if spec.mask > 0:
            rows = mask_spans(rows, widths, drawn, self.vocabulary.mask)
        if spec.replace > 0:
            rows = replace(rows, drawn, self._ordinary.to(rows.device))
        if spec.shuffle > 0:
            rows = shuffle(rows, widths, drawn)
        stay = kept(widths, drawn, rows.shape[1])
        return Ragged(rows[stay], stay.sum(1))
