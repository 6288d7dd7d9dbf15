"""The contract that every method fulfils."""

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
from manta.materials import Material
from manta.objectives._config import ObjectiveConfig
from manta.objectives._exchange import Communicator, Exchange
from manta.ragged import joined
from manta.registry import Registry


@dataclass(frozen=True, slots=True)
class Paper:
    """The source of a method.

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
Keeps = Literal[
    "teacher", "queue", "prototypes", "per-sample state", "another model", "clusters", "units"
]
Labels = Literal["none", "optional"]
C = TypeVar("C", bound=ObjectiveConfig)


class Objective(nn.Module, ABC, Generic[C]):
    """A paper's method around an encoder; the trainer depends on nothing else.

    A subclass is registered by `@OBJECTIVES.register(name)`, defines `Config` (a subclass of
    `ObjectiveConfig` whose `name` is that name), `family`, `paper`, `exchange`, and `forward`.
    Whatever must survive a restart is a buffer, a parameter or in `get_extra_state`.

    Attributes:
        views: the views of its default configuration, as `str(needs)` gives it; for `manta list`.
        keeps: what it holds besides the encoder and heads, or is given before training; for `manta
            list`.
        labels: "optional" if its config can name a column of labels to learn from; for `manta
            list`.
        slow_start: whether the conformance suite's 60 steps of digits hardly improve on random
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
        """Return what must exist before training, by its name in `data.materials`.

        An objective with materials is built only where they exist.
        """
        return {}

    @property
    def needs(self) -> ViewNeeds:
        """Return the views that `forward` expects."""
        return ViewNeeds()

    @abstractmethod
    def forward(self, batch: Batch, progress: Progress) -> dict[str, Tensor]:
        """Return "loss" and every term by name (detached).

        The loss is a scalar whose mean over ranks is the global batch's loss.
        """

    def after_step(self, progress: Progress) -> None:
        """Update what follows an optimizer step: momentum teachers, queues, per-sample state."""

    @property
    def exported(self) -> Encoder:
        """Return the encoder that a run exports."""
        return self.encoder

    def fused(self, module: nn.Module, views: Sequence[View]) -> list[Tensor]:
        """Return `module` of views of equal size, in one forward pass.

        BatchNorm therefore sees the views as one batch, as in SimCLR; papers with a pass per view
        see each view's statistics apart.
        """
        return list(module(joined([view.data for view in views])).chunk(len(views)))

    def gathered(self, z_a: Tensor, z_b: Tensor) -> dict[str, Any]:
        """Return every rank's rows of a pair of views, as `functional.contrastive` takes them.

        The keys of the result are `keys_a`, `keys_b` and `offset`, this rank's first row among
        them.
        """
        keys_a, keys_b = self.comm.gather(torch.stack([upcast(z_a), upcast(z_b)], dim=1)).unbind(1)
        return {"keys_a": keys_a, "keys_b": keys_b, "offset": self.comm.rank * len(z_a)}


OBJECTIVES: Registry[type[Objective[Any]]] = Registry("objectives", "manta.objectives", nested=True)


def build(config: ObjectiveConfig, encoder: Encoder, data: DataFacts) -> Objective[Any]:
    """Build the objective that `config.name` names."""
    return OBJECTIVES[config.name](config, encoder, data)
