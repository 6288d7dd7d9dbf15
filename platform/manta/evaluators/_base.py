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
from manta.evaluators._metrics import Metric, MetricFigure
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
        views: `[n, V, D]` float32 of V augmented views of n of the query rows, or None where no
            evaluator requires them.
    """

    bank: Tensor
    queries: Tensor
    bank_labels: Tensor | None = None
    query_labels: Tensor | None = None
    views: Tensor | None = None

    @property
    def labelled(self) -> bool:
        """Whether both sets have labels."""
        return self.bank_labels is not None and self.query_labels is not None


Scores = Mapping[str, float | Tensor]
"""Named numbers. Where one is a mean over queries (or episodes), the `[Q]` scores that it is the
mean of, bool where they say which queries were answered correctly: intervals and paired tests are
made of them."""

LabelledImages = tuple[Tensor, Tensor | None]
"""uint8 `[B, 3, S, S]`, and int64 labels `[B]` where the data have them; both on the CPU."""


class RowReader(Protocol):
    """Source of an `EncoderAccess`'s images."""

    def __call__(
        self, split: Literal["bank", "queries"], limit: int | None = None
    ) -> Iterator[LabelledImages]:
        """Yield batches of a split, the same at every call.

        At most `limit` rows, drawn from all over the split. With None they are those of
        `Features`, in its order.
        """


@dataclass(frozen=True, slots=True)
class EncoderAccess:
    """An encoder itself, and the images to try it on.

    Attributes:
        encoder: in evaluation mode, on `device`. Whoever trains or changes it does so to a copy.
        prepare: uint8 `[B, 3, S, S]` on `device` -> the encoder's input.
        size: S, the side of the images.
        rows: reads them.
    """

    encoder: Encoder
    prepare: Callable[[Tensor], Tensor]
    size: int
    device: torch.device
    rows: RowReader

    def prepared(self, images: Tensor) -> Tensor:
        """Return the encoder's input for uint8 `[B, 3, S, S]` on any device."""
        return self.prepare(images.to(self.device, non_blocking=True))

    def embed(self, images: Tensor) -> Tensor:
        """Return `[B, D]` float32 on `device` for uint8 `[B, 3, S, S]`, without gradients."""
        with torch.no_grad():
            return self.encoder.embed(self.prepared(images)).float()


C = TypeVar("C", bound=EvaluatorConfig)


class Evaluator(ABC, Generic[C]):
    """Base of everything that turns features into named numbers.

    A subclass is registered by `@EVALUATORS.register(name)` and defines `Config` and `evaluate`.
    Numbers are fractions or plain numbers; accuracies lie in 0..1.

    Attributes:
        title: what people call it; empty: its registry name.
        about: a sentence on what it shows.
        metrics: its numbers, by name or pattern.
        figures: what a page draws of them, by the key that `Metric.figure` names.
        needs_labels: without labels it gives nothing.
        counts_queries: some of its numbers are given as one score per query, whatever the data.
    """

    Config: ClassVar[type[EvaluatorConfig]]
    title: ClassVar[str] = ""
    about: ClassVar[str] = ""
    metrics: ClassVar[Mapping[str, Metric]] = {}
    figures: ClassVar[Mapping[str, MetricFigure]] = {}
    needs_labels: ClassVar[bool] = False
    counts_queries: ClassVar[bool] = False

    def __init__(self, config: C) -> None:
        self.config = config

    def required_views(self) -> tuple[int, int] | None:
        """Return `(rows, views)`: how many query rows are needed in how many augmented views.

        None where `evaluate` needs no augmented views.
        """
        return None

    @abstractmethod
    def evaluate(self, features: Features) -> Scores:
        """Return the scores of `features`; nothing where labels are needed and missing."""

    def mean_scores(
        self, features: Features, access: EncoderAccess | None = None
    ) -> dict[str, float]:
        """Return the scores as plain numbers; an `EncoderEvaluator` takes `access` too."""
        return means(self.evaluate(features))


class EncoderEvaluator(Evaluator[C]):
    """Base of evaluators that need the encoder itself, not only frozen features.

    A subclass defines `evaluate_encoder` in place of `evaluate`. It runs at the end of a run and
    in `manta evaluate`, in one process: on rank 0, when the other ranks have finished.
    """

    @abstractmethod
    def evaluate_encoder(self, access: EncoderAccess, features: Features) -> Scores:
        """Return the scores of the encoder, which is left as it was."""

    def mean_scores(
        self, features: Features, access: EncoderAccess | None = None
    ) -> dict[str, float]:
        """Return the scores as plain numbers; none without `access`."""
        return {} if access is None else means(self.evaluate_encoder(access, features))

    def evaluate(self, features: Features) -> Scores:
        """Return nothing: features alone do not suffice."""
        return {}


EVALUATORS: Registry[type[Evaluator[Any]]] = Registry("evaluators", "manta.evaluators")


def build(config: EvaluatorConfig) -> Evaluator[Any]:
    """Return the evaluator that `config.name` names, with these settings."""
    return EVALUATORS[config.name](config)


def missing_input(
    evaluator: Evaluator[Any], features: Features, access: EncoderAccess | None = None
) -> str | None:
    """Return what the evaluator needs and does not have, in words; None where it has all."""
    if evaluator.needs_labels and not features.labelled:
        return "labels"
    if evaluator.required_views() is not None and features.views is None:
        return "augmented views"
    needs_encoder = isinstance(evaluator, EncoderEvaluator)
    return "the encoder itself" if needs_encoder and access is None else None


def evaluate_all(
    evaluators: Iterable[Evaluator[Any]], features: Features, access: EncoderAccess | None = None
) -> Scores:
    """Run every evaluator whose inputs are available, skip the rest, and return all scores."""
    scores: dict[str, float | Tensor] = {}
    for evaluator in evaluators:
        if missing_input(evaluator, features, access) is None:
            scores |= evaluator.evaluate(features)
            if isinstance(evaluator, EncoderEvaluator) and access is not None:
                scores |= evaluator.evaluate_encoder(access, features)
    return scores


def means(scores: Scores) -> dict[str, float]:
    """Return plain numbers: the mean of each score per query; NaN of no query."""
    return {
        name: _mean(value) if isinstance(value, Tensor) else value for name, value in scores.items()
    }


def counted(scores: Scores) -> dict[str, Tensor]:
    """Return those scores that are given per query."""
    return {name: value for name, value in scores.items() if isinstance(value, Tensor)}


def _mean(scores: Tensor) -> float:
    if scores.dtype == torch.bool and len(scores):
        return int(scores.sum()) / len(scores)
    return float(scores.double().mean())


def subsample(features: Tensor, rows: int, *, seed: int) -> Tensor:
    """Return at most `rows` of `[N, D]` features.

    They are drawn at random, since the first ones of sorted data are all of one kind.
    """
    if len(features) <= rows:
        return features
    drawn = torch.randperm(len(features), generator=torch.Generator().manual_seed(seed))[:rows]
    return features[drawn.to(features.device)]
