"""The contract of a method."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Generic, Literal, TypeVar

import torch
from torch import Tensor, nn

from manta.batch import Batch, DataFacts, Progress, View, ViewNeeds
from manta.encoders import Encoder
from manta.functional import upcast
from manta.objectives._config import ObjectiveConfig
from manta.objectives._exchange import Communicator, Exchange
from manta.objectives._materials import Material
from manta.registry import Registry


@dataclass(frozen=True, slots=True)
class Paper:
    """Where a method comes from.

    Attributes:
        title, year: of the paper.
        reference: arXiv number or venue.
        source: id in the project's catalogue of papers, or None.
    """

    title: str
    year: int
    reference: str
    source: str | None = None


Family = Literal["contrastive", "non-contrastive", "distillation", "clustering", "masked"]
Keeps = Literal["teacher", "queue", "prototypes", "per-sample state", "another model", "clusters"]
Labels = Literal["none", "asked"]
C = TypeVar("C", bound=ObjectiveConfig)


class Objective(nn.Module, ABC, Generic[C]):
    """A paper's method around an encoder. The trainer knows nothing else of it.

    A subclass is registered by `@OBJECTIVES.register(name)`, defines `Config` (a subclass of
    `ObjectiveConfig` whose `name` is that name), `family`, `paper`, `exchange`, and `forward`.
    Whatever must survive a restart is a buffer, a parameter or in `get_extra_state`.

    Attributes:
        views: the views of its default configuration, as `str(needs)` says it; for `manta list`.
        keeps: what it holds besides the encoder and heads, or is given before training; for `manta
            list`.
        labels: "asked" if its config can name a column of labels to learn from; for `manta list`.
        slow_start: the conformance suite's 60 steps of digits take it hardly further than random
            weights.
    """

    Config: ClassVar[type[ObjectiveConfig]]
    family: ClassVar[Family]
    paper: ClassVar[Paper]
    exchange: ClassVar[Exchange] = Exchange.LOCAL
    views: ClassVar[str] = "2 global"
    keeps: ClassVar[tuple[Keeps, ...]] = ()
    labels: ClassVar[Labels] = "none"
    slow_start: ClassVar[bool] = False

    def __init__(self, config: C, encoder: Encoder, data: DataFacts) -> None:
        super().__init__()
        self.config = config
        self.encoder = encoder
        self.data = data
        self.comm = Communicator(self.exchange)

    @classmethod
    def materials(cls, config: Any) -> Mapping[str, Material]:
        """What must be there before training, by the names under which `data.materials` has their
        paths.

        An objective with materials is built only where they are there.
        """
        return {}

    @property
    def needs(self) -> ViewNeeds:
        """The views that `forward` expects."""
        return ViewNeeds()

    @abstractmethod
    def forward(self, batch: Batch, progress: Progress) -> dict[str, Tensor]:
        """ "loss", a scalar whose mean over ranks is the global batch's loss, and every term by
        name (detached)."""

    def after_step(self, progress: Progress) -> None:
        """Called after each optimizer step: momentum teachers, queues, per-sample state."""

    @property
    def exported(self) -> Encoder:
        """The encoder that a user takes home."""
        return self.encoder

    def fused(self, module: nn.Module, views: Sequence[View]) -> list[Tensor]:
        """`module` over views of equal size in one forward, split back: BatchNorm sees them as one
        batch."""
        return list(module(torch.cat([view.data for view in views])).chunk(len(views)))

    def gathered(self, z_a: Tensor, z_b: Tensor) -> dict[str, Any]:
        """Every rank's rows of a pair of views, as `functional.contrastive` takes them: keys and
        their offset."""
        keys_a, keys_b = self.comm.gather(torch.stack([upcast(z_a), upcast(z_b)], dim=1)).unbind(1)
        return {"keys_a": keys_a, "keys_b": keys_b, "offset": self.comm.rank * len(z_a)}


OBJECTIVES: Registry[type[Objective[Any]]] = Registry("objectives", "manta.objectives")


def build(config: ObjectiveConfig, encoder: Encoder, data: DataFacts) -> Objective[Any]:
    """The objective that `config.name` names."""
    return OBJECTIVES[config.name](config, encoder, data)
