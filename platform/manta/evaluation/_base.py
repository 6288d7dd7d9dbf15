"""The contract of an evaluator."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, ClassVar, Generic, TypeVar

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor

from manta.registry import Registry


class EvaluatorConfig(BaseModel):
    """Base of every evaluator's config.

    Attributes:
        name: registry name.
        every: epochs between evaluations during training; None evaluates only at the end.
    """

    model_config = ConfigDict(extra="forbid")
    name: str
    every: float | None = Field(None, gt=0)


@dataclass(frozen=True, slots=True)
class Features:
    """Frozen features of a bank (training rows) and of queries (rows held out), on one device.

    Attributes:
        bank: `[M, D]` float32.
        queries: `[Q, D]` float32.
        bank_labels, query_labels: `[M]` and `[Q]` int64, or None where the data have no labels.
        views: `[n, V, D]` float32 of V augmented views of n of the query rows, or None where nobody asked for them.
    """

    bank: Tensor
    queries: Tensor
    bank_labels: Tensor | None = None
    query_labels: Tensor | None = None
    views: Tensor | None = None

    @property
    def labelled(self) -> bool:
        return self.bank_labels is not None and self.query_labels is not None


C = TypeVar("C", bound=EvaluatorConfig)


class Evaluator(ABC, Generic[C]):
    """Turns features into named numbers: fractions or plain numbers, accuracies in 0..1.

    A subclass is registered by `@EVALUATORS.register(name)` and defines `Config` and `compute`.
    """

    Config: ClassVar[type[EvaluatorConfig]]
    needs_labels: ClassVar[bool] = False

    def __init__(self, config: C) -> None:
        self.config = config

    def views_wanted(self) -> tuple[int, int] | None:
        """`(rows, views)`: of how many query rows how many augmented views `compute` needs; None for none."""
        return None

    @abstractmethod
    def compute(self, features: Features) -> dict[str, float]:
        """Named numbers; plain Python floats."""


EVALUATORS: Registry[type[Evaluator[Any]]] = Registry("evaluators", "manta.evaluation")


def build(config: EvaluatorConfig) -> Evaluator[Any]:
    """The evaluator that `config.name` names."""
    return EVALUATORS[config.name](config)


def evaluate(evaluators: Iterable[Evaluator[Any]], features: Features) -> dict[str, float]:
    """All numbers of all evaluators that can be had: those that need labels or views are passed over without them."""
    numbers: dict[str, float] = {}
    for evaluator in evaluators:
        lacks_labels = evaluator.needs_labels and not features.labelled
        lacks_views = evaluator.views_wanted() is not None and features.views is None
        if not (lacks_labels or lacks_views):
            numbers |= evaluator.compute(features)
    return numbers


def some(features: Tensor, rows: int, *, seed: int) -> Tensor:
    """At most `rows` of `[N, D]` features, drawn at random: the first ones of sorted data are of one kind."""
    if len(features) <= rows:
        return features
    drawn = torch.randperm(len(features), generator=torch.Generator().manual_seed(seed))[:rows]
    return features[drawn.to(features.device)]
