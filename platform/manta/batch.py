"""Data that flows from the data plane to an objective; nothing here is specific to images.

Labels are absent by construction: an objective cannot see what a batch cannot carry.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from manta.asks import Ask, Decreasing, Gap, Mask, Next, Role, Same, ViewNeeds, Within
from manta.errors import ConfigError
from manta.ragged import Data, Ragged, moved, rows_of
from manta.spec import Spec

__all__ = [
    "Ask",
    "Batch",
    "DataFacts",
    "Decreasing",
    "Gap",
    "Mask",
    "Next",
    "Progress",
    "Role",
    "Same",
    "View",
    "ViewNeeds",
    "Within",
]


@dataclass(frozen=True, slots=True)
class View:
    """One augmented view of each sample of a batch.

    Attributes:
        data: of B samples, what the encoder takes.
        role: "global" views cover much of the sample, "local" ones a small part; a "target" is a
            clean twin, without augmentation.
        box: `[B, 2n]` window in units of the source's n axes, before the flip: its lower corner,
            then its upper one. Of an image's crop `(left, top, right, bottom)` in pixels. Or None.
        flip: `[B]` bool, mirrored after the crop; or None.
        mask: `[B, T]` bool, True for a token hidden from the encoder; or None. Of rows of one size
            each hides equally many if the mask's kind says so, as "uniform" does. Of ragged rows T
            is the longest one's tokens, or more in a part of a batch; nothing is hidden after the
            end of a row.
        transform: `[B, P]` float32, the parameters of the transformation in the pipeline's order,
            each of the order of 1; or None.
        facts: what else the pipeline knows of the view, by name, such as times or actions.
        field: name of the row's field that is looked at; empty where there is one.
    """

    data: Data
    role: Role = "global"
    box: Tensor | None = None
    flip: Tensor | None = None
    mask: Tensor | None = None
    transform: Tensor | None = None
    facts: Mapping[str, Data] = dataclasses.field(default_factory=dict)
    field: str = ""

    @property
    def tensor(self) -> Tensor:
        """Return dense data, for a method that computes on what the encoder takes.

        Raises:
            ConfigError: the samples have lengths of their own, or several parts.
        """
        if not isinstance(self.data, Tensor):
            raise ConfigError(
                "objective.name: this method computes on samples of one size, and those of "
                "data.modality have lengths of their own or several parts; choose another one"
            )
        return self.data

    def to(self, device: torch.device | str) -> View:
        def move(tensor: Tensor | None) -> Tensor | None:
            return None if tensor is None else moved(tensor, device)

        return View(
            moved(self.data, device),
            self.role,
            move(self.box),
            move(self.flip),
            move(self.mask),
            move(self.transform),
            {name: moved(fact, device) for name, fact in self.facts.items()},
            self.field,
        )

    def rows(self, which: slice | Tensor) -> View:
        """Return the view of some of the samples."""
        values = {one.name: getattr(self, one.name) for one in dataclasses.fields(self)}
        of_samples: dict[str, Any] = {
            name: rows_of(value, which)
            for name, value in values.items()
            if isinstance(value, (Tensor, Ragged, Mapping))
        }
        view = dataclasses.replace(self, **of_samples)
        if view.mask is None or not isinstance(view.data, Ragged):
            return view
        # Ragged rows are padded to the longest of them, which these may have lost.
        longest = int(view.data.lengths.max()) if len(view.data) else 0
        return dataclasses.replace(view, mask=view.mask[:, :longest])


@dataclass(frozen=True, slots=True)
class Batch:
    """The views of one rank's part of a global batch.

    Attributes:
        views: in the order of `ViewNeeds.asks`, which is globals first where they are alike.
        index: `[B]` int64, each sample's stable index in its manifest.
    """

    views: list[View]
    index: Tensor

    def __len__(self) -> int:
        return int(self.index.shape[0])

    @property
    def global_views(self) -> list[View]:
        return [view for view in self.views if view.role == "global"]

    @property
    def local_views(self) -> list[View]:
        return [view for view in self.views if view.role == "local"]

    @property
    def target_views(self) -> list[View]:
        return [view for view in self.views if view.role == "target"]

    def to(self, device: torch.device | str) -> Batch:
        views = [view.to(device) for view in self.views]
        return Batch(views, self.index.to(device, non_blocking=True))

    def rows(self, which: slice | Tensor) -> Batch:
        """Return some of the samples."""
        return Batch([view.rows(which) for view in self.views], self.index[which])

    def __iter__(self) -> Iterator[View]:
        return iter(self.views)


@dataclass(frozen=True, slots=True)
class Progress:
    """The position of a run; everything scheduled is a pure function of it.

    Attributes:
        step: optimizer steps done before this one, from 0.
        total_steps: of the whole run, at least 1.
        seed: the run's seed, for draws that must not depend on the number of ranks.
    """

    step: int
    total_steps: int
    seed: int = 0

    @property
    def fraction(self) -> float:
        """Return the fraction of the run that is done, in [0, 1)."""
        return self.step / self.total_steps


@dataclass(frozen=True, slots=True)
class DataFacts:
    """Facts about the data that an objective may use when it is built.

    Attributes:
        rows: samples in the manifest; sample indexes are below it.
        spec: of a global view, which is what the encoder takes.
        materials: files or folders on this machine of the objective's `materials`, by name.
        mean, std: what the views subtract and divide by, RGB in 0..1; None: ImageNet's.
        transform_width: numbers in `View.transform`; 0 where there is none.
    """

    rows: int
    spec: Spec
    materials: Mapping[str, Path] = dataclasses.field(default_factory=dict)
    mean: tuple[float, float, float] | None = None
    std: tuple[float, float, float] | None = None
    transform_width: int = 0

    @property
    def image_size(self) -> int:
        """Return the side of a global view in pixels."""
        return self.spec.side
