"""The contract of an evaluator."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Generic, Literal, Protocol, TypeVar

import torch
from pydantic import BaseModel, ConfigDict, Field, field_validator
from torch import Tensor

from manta.encoders import Encoder
from manta.registry import Registry


class EvaluatorConfig(BaseModel):
    """Base of every evaluator's config."""

    model_config = ConfigDict(extra="forbid")
    name: str = Field(description="which evaluator")
    every: float | None = Field(
        None,
        gt=0,
        description="epochs between evaluations during training; None: only at the end",
    )


class EncoderEvaluatorConfig(EvaluatorConfig):
    """Base of the config of an `EncoderEvaluator`, which is never due between epochs."""

    @field_validator("every")
    @classmethod
    def _only_at_the_end(cls, every: float | None) -> None:
        # It runs on rank 0 alone, for minutes: the other ranks would wait for it until their
        # collectives time out.
        if every is not None:
            raise ValueError(
                "this evaluator tries the encoder itself, once a run has ended; leave `every` out"
            )


@dataclass(frozen=True, slots=True)
class Features:
    """Frozen features of a bank (training rows) and of queries (rows held out), on one device.

    Attributes:
        bank: `[M, D]` float32.
        queries: `[Q, D]` float32.
        bank_labels, query_labels: `[M]` and `[Q]` int64, or None where the data have no labels.
        views: `[n, V, D]` float32 of V augmented views of n of the query rows, or None where nobody
            asked for them.
    """

    bank: Tensor
    queries: Tensor
    bank_labels: Tensor | None = None
    query_labels: Tensor | None = None
    views: Tensor | None = None

    @property
    def labelled(self) -> bool:
        return self.bank_labels is not None and self.query_labels is not None


Scores = Mapping[str, float | Tensor]
"""Named numbers; where one is a mean over queries (or episodes), the `[Q]` scores that it is the
mean of, bool where they say who was answered rightly: intervals and paired tests are made of
them."""

LabelledImages = tuple[Tensor, Tensor | None]
"""uint8 `[B, 3, S, S]`, and int64 labels `[B]` where the data have them; both on the CPU."""


class RowReader(Protocol):
    """Where a `Bench` has its images from."""

    def __call__(
        self, split: Literal["bank", "queries"], limit: int | None = None
    ) -> Iterator[LabelledImages]:
        """Rows of a split, at most `limit` of them, drawn from all over it and the same at every
        call. With None they are those of `Features`, in its order."""


@dataclass(frozen=True, slots=True)
class Bench:
    """An encoder itself, and images to try it on.

    Attributes:
        encoder: in evaluation mode, on `device`. Who trains it or changes it does so to a copy.
        prepare: uint8 `[B, 3, S, S]` on `device` -> what the encoder takes.
        size: S, the side of the images.
        rows: reads them.
    """

    encoder: Encoder
    prepare: Callable[[Tensor], Tensor]
    size: int
    device: torch.device
    rows: RowReader

    def prepared(self, images: Tensor) -> Tensor:
        """What the encoder takes, of uint8 `[B, 3, S, S]` on any device."""
        return self.prepare(images.to(self.device, non_blocking=True))

    def embed(self, images: Tensor) -> Tensor:
        """uint8 `[B, 3, S, S]` -> `[B, D]` float32 on `device`, without gradients."""
        with torch.no_grad():
            return self.encoder.embed(self.prepared(images)).float()


C = TypeVar("C", bound=EvaluatorConfig)


class Evaluator(ABC, Generic[C]):
    """Turns features into named numbers: fractions or plain numbers, accuracies in 0..1.

    A subclass is registered by `@EVALUATORS.register(name)` and defines `Config` and `judge`.

    Attributes:
        counts_queries: some of its numbers are given as the scores of single queries, whatever the
            data.
    """

    Config: ClassVar[type[EvaluatorConfig]]
    needs_labels: ClassVar[bool] = False
    counts_queries: ClassVar[bool] = False

    def __init__(self, config: C) -> None:
        self.config = config

    def views_wanted(self) -> tuple[int, int] | None:
        """`(rows, views)`: of how many query rows how many augmented views `judge` needs; None for
        none."""
        return None

    @abstractmethod
    def judge(self, features: Features) -> Scores:
        """What there is to say; nothing without the labels that it needs."""

    def compute(self, features: Features) -> dict[str, float]:
        """`judge`, in plain numbers."""
        return means(self.judge(features))


class EncoderEvaluator(Evaluator[C]):
    """An evaluator that frozen features do not suffice for. A subclass defines `probe` in place of
    `judge`.

    It runs at the end of a run and in `manta evaluate`, in one process: on rank 0, when the others
    have finished.
    """

    @abstractmethod
    def probe(self, bench: Bench, features: Features) -> Scores:
        """As `judge`; leaves the encoder as it was."""

    def examine(self, bench: Bench, features: Features) -> dict[str, float]:
        """`probe`, in plain numbers."""
        return means(self.probe(bench, features))

    def judge(self, features: Features) -> Scores:
        """Nothing: what features alone say is for others."""
        return {}


EVALUATORS: Registry[type[Evaluator[Any]]] = Registry("evaluators", "manta.evaluators")


def build(config: EvaluatorConfig) -> Evaluator[Any]:
    """The evaluator that `config.name` names."""
    return EVALUATORS[config.name](config)


def lacking(
    evaluator: Evaluator[Any], features: Features, bench: Bench | None = None
) -> str | None:
    """What the evaluator needs and is not there."""
    if evaluator.needs_labels and not features.labelled:
        return "labels"
    if evaluator.views_wanted() is not None and features.views is None:
        return "augmented views"
    return (
        "the encoder itself" if isinstance(evaluator, EncoderEvaluator) and bench is None else None
    )


def evaluate(
    evaluators: Iterable[Evaluator[Any]], features: Features, bench: Bench | None = None
) -> Scores:
    """Of all evaluators what can be had: those that lack something are passed over."""
    scores: dict[str, float | Tensor] = {}
    for evaluator in evaluators:
        if lacking(evaluator, features, bench) is None:
            scores |= evaluator.judge(features)
            if isinstance(evaluator, EncoderEvaluator) and bench is not None:
                scores |= evaluator.probe(bench, features)
    return scores


def means(scores: Scores) -> dict[str, float]:
    """Plain numbers: means of what is given query by query. NaN of no query."""
    return {
        name: _mean(value) if isinstance(value, Tensor) else value for name, value in scores.items()
    }


def counted(scores: Scores) -> dict[str, Tensor]:
    """What is given query by query."""
    return {name: value for name, value in scores.items() if isinstance(value, Tensor)}


def _mean(scores: Tensor) -> float:
    if scores.dtype == torch.bool and len(scores):
        return int(scores.sum()) / len(scores)
    return float(scores.double().mean())


def some(features: Tensor, rows: int, *, seed: int) -> Tensor:
    """At most `rows` of `[N, D]` features, drawn at random: the first ones of sorted data are of
    one kind."""
    if len(features) <= rows:
        return features
    drawn = torch.randperm(len(features), generator=torch.Generator().manual_seed(seed))[:rows]
    return features[drawn.to(features.device)]
