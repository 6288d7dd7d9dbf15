"""The contract of a view pipeline: how samples are looked at by an objective."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Generic, Protocol, TypeVar

import torch
from torch import Tensor

from manta.batch import Ask, Batch, View, ViewNeeds
from manta.ragged import Data, count_rows, device_of
from manta.registry import Registry
from manta.spec import Spec
from manta.views.asked import Feature
from manta.views.config import ViewsConfig
from manta.views.draws import BatchPart, generator
from manta.views.masks import Tokens, draw_mask

V = TypeVar("V", bound=ViewsConfig)


class Samples(Protocol):
    """What a pipeline may know of the samples: a modality.

    Attributes:
        data: the section `data` of an experiment.
        stats: what an ingest measured of the dataset.
        spec: of what encoders are given.
    """

    data: Any
    stats: Mapping[str, Any]

    @property
    def spec(self) -> Spec: ...


class ViewPipeline(ABC, Generic[V]):
    """Way from decoded rows to the views that an objective needs, on the rows' device.

    A subclass is registered by `@VIEWS.register(name)`; `name` is also that of its `Config`.

    Attributes:
        Config: model of the section `views`.
        needs: the objective's.
        spec: of a global view, which is what the encoder takes.
        local_specs: of further kinds of views, such as local ones of another size.
        smallest: shortest side of a grid among the views; None where views are no grids.
        transform_width: numbers in `View.transform`; 0 where there is none.
        rows_are_independent: a sample's views are the same, bit for bit, whichever other samples of
            the batch are given with it. They may then be made for one micro-batch after the other,
            which takes less memory than those of all of a rank's samples.
        honours: what of an `Ask` it can do beyond alike views of one mask: see `manta.views.asked`.
    """

    Config: ClassVar[type[ViewsConfig]]
    needs: ViewNeeds
    spec: Spec
    local_specs: tuple[Spec, ...] = ()
    smallest: int | None = None
    transform_width: int = 0
    rows_are_independent: bool = False
    honours: ClassVar[frozenset[Feature]] = frozenset()

    @classmethod
    @abstractmethod
    def of(cls, config: V, needs: ViewNeeds, samples: Samples) -> ViewPipeline[V]:
        """Return the pipeline for the samples of a modality.

        Raises:
            ConfigError: it cannot make what the objective needs.
        """

    @torch.no_grad()
    def __call__(
        self,
        data: Mapping[str, Data],
        index: Tensor,
        *,
        seed: int,
        step: int,
        rows: slice | None = None,
        global_batch: int,
    ) -> Batch:
        """Make the views of one rank's part of a global batch.

        Args:
            data: leaves of the decoded rows, by name.
            index: `[B]` int64, stable indexes of the samples.
            seed, step: decide every draw, together with a sample's row of the global batch.
            rows: which rows of the global batch these are; None for all.
            global_batch: samples of the whole step, over all ranks and micro-batches.
        """
        rows = slice(0, global_batch) if rows is None else rows
        if len(range(*rows.indices(global_batch))) != count_rows(data):
            raise ValueError(
                f"{count_rows(data)} samples are not rows {rows.start}:{rows.stop} of "
                f"{global_batch}"
            )
        part = BatchPart(seed, step, rows, global_batch, generator(seed, step), device_of(data))
        with torch.autocast(part.device.type, enabled=False):
            return Batch(self.make(data, part), index)

    @abstractmethod
    def make(self, data: Mapping[str, Data], part: BatchPart) -> list[View]:
        """Return the views that the objective needs, globals first, in float32.

        Args:
            data: leaves of the decoded rows, by name.
            part: which rows these are, and their draws. The order of what is drawn from its stream
                is part of a run.
        """

    def mask(
        self,
        grid: int | Sequence[int],
        part: BatchPart,
        lengths: Tensor | None = None,
        *,
        ask: Ask | None = None,
    ) -> Tensor | None:
        """Draw the hidden ones of a view's tokens, `[B, T]` bool; None if nothing is masked.

        Args:
            grid: sides of the grid of tokens, the last axis fastest; a number for a sequence: of
                ragged rows the tokens of the longest.
            lengths: `[B]` tokens of each of ragged rows, nothing is hidden after them; None where
                all rows have the whole grid.
            ask: the view's; None where all views have one mask.

        Raises:
            ConfigError: the mask is not for such tokens.
        """
        mask = self.needs.mask if ask is None else ask.mask
        if mask is None:
            return None
        sides = (grid,) if isinstance(grid, int) else tuple(grid)
        return draw_mask(mask, Tokens(sides, part, lengths))

    @abstractmethod
    def plain(self, data: Mapping[str, Data]) -> Data:
        """Return the rows without augmentation, as the encoder takes them for evaluation."""

    @abstractmethod
    def shown(self, view: View) -> Tensor:
        """Return pictures of a view, `[B, 3, h, w]` in 0..1, for a sheet of examples."""


VIEWS: Registry[type[ViewPipeline[Any]]] = Registry("views", "manta.modalities", inside="views")
