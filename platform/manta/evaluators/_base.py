"""The contract of an evaluator."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Generic, TypeVar

import torch
from pydantic import BaseModel, ConfigDict, Field, field_validator
from torch import Tensor

from manta.evaluators._access import EncoderAccess as EncoderAccess
from manta.evaluators._groups import count_present
from manta.evaluators._labels import (
    MOST_CLASSES,
    LabelCounts,
    LabelledRows,
    LabelNumbers,
)
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
        bank_labels, query_labels: `[M]` and `[Q]` int64, below 0 for none; None where the data have
            no labels. An evaluator with `needs_labels` or `takes_labels` gets only rows that have
            one: see `evaluate_all`.
        views: `[n, V, D]` float32 of V augmented views of n of the query rows, or None where no
            evaluator requires them.
        most_classes: labels from this number on are ids; evaluators get them numbered densely.
        bank_groups, query_groups: `[M]` and `[Q]` int64 on the CPU, numbers of the groups (speaker,
            patient) that rows belong to, below 0 for none; None where the data have no groups.
        group_names: of the groups, by number.
    """

    bank: Tensor
    queries: Tensor
    bank_labels: Tensor | None = None
    query_labels: Tensor | None = None
    views: Tensor | None = None
    most_classes: int = MOST_CLASSES
    bank_groups: Tensor | None = None
    query_groups: Tensor | None = None
    group_names: Sequence[str] = ()

    @property
    def labelled(self) -> bool:
        """Whether both sets have labels."""
        return self.bank_labels is not None and self.query_labels is not None

    @property
    def label_counts(self) -> LabelCounts:
        """How many rows there are of each class."""
        return LabelCounts.of(
            self.bank_labels,
            self.query_labels,
            bank_rows=len(self.bank),
            query_rows=len(self.queries),
            groups=count_present(self.bank_groups, self.query_groups),
        )


Scores = Mapping[str, float | Tensor]
"""Named numbers. Where one is a mean over queries (or episodes), the `[Q]` scores that it is the
mean of, bool where they say which queries were answered correctly: intervals and paired tests are
made of them."""


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
        takes_labels: it gives something without labels, and something else with them.
        modalities: of the samples that it can be used for; None: of any.
        counts_queries: some of its numbers are given as one score per query, whatever the data.
    """

    Config: ClassVar[type[EvaluatorConfig]]
    title: ClassVar[str] = ""
    about: ClassVar[str] = ""
    metrics: ClassVar[Mapping[str, Metric]] = {}
    figures: ClassVar[Mapping[str, MetricFigure]] = {}
    needs_labels: ClassVar[bool] = False
    takes_labels: ClassVar[bool] = False
    counts_queries: ClassVar[bool] = False
    modalities: ClassVar[frozenset[str] | None] = None

    def __init__(self, config: C) -> None:
        self.config = config

    def required_views(self) -> tuple[int, int] | None:
        """Return `(rows, views)`: how many query rows are needed in how many augmented views.

        None where `evaluate` needs no augmented views.
        """
        return None

    def missing_labels(self, counts: LabelCounts) -> str | None:
        """Return what labels the evaluator needs and does not have, in words; None: they suffice.

        The words go on after "needs", as in `LabelCounts.missing`. It is asked before training,
        and an evaluator that lacks something is left out.
        """
        return counts.missing() if self.needs_labels else None

    def label_note(self, counts: LabelCounts) -> str | None:
        """Return what is said before training of an evaluator that can do less with these rows."""
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


EVALUATORS: Registry[type[Evaluator[Any]]] = Registry("evaluators", "manta.evaluators", nested=True)


def build(config: EvaluatorConfig) -> Evaluator[Any]:
    """Return the evaluator that `config.name` names, with these settings."""
    return EVALUATORS[config.name](config)


def missing_input(
    evaluator: Evaluator[Any], features: Features, access: EncoderAccess | None = None
) -> str | None:
    """Return what the evaluator needs and does not have, in words; None where it has all."""
    if (missing := evaluator.missing_labels(features.label_counts)) is not None:
        return missing
    if access is not None and (other := missing_modality(evaluator, access.modality)):
        return other
    if evaluator.required_views() is not None and features.views is None:
        return "augmented views"
    needs_encoder = isinstance(evaluator, EncoderEvaluator)
    return "the encoder itself" if needs_encoder and access is None else None


def missing_modality(evaluator: Evaluator[Any], modality: str) -> str | None:
    """Return of what the samples would have to be, as "samples of image"; None: these will do."""
    fitting = evaluator.modalities
    if fitting is None or modality in fitting:
        return None
    return f"samples of {' or '.join(sorted(fitting))}"


def evaluate_all(
    evaluators: Iterable[Evaluator[Any]], features: Features, access: EncoderAccess | None = None
) -> Scores:
    """Run every evaluator whose inputs are available, skip the rest, and return all scores.

    Those that use labels get only the rows that have one.
    """
    scores: dict[str, float | Tensor] = {}
    for evaluator in evaluators:
        if missing_input(evaluator, features, access) is None:
            rows, own_access = _input_of(evaluator, features, access)
            scores |= evaluator.evaluate(rows)
            if isinstance(evaluator, EncoderEvaluator) and own_access is not None:
                scores |= evaluator.evaluate_encoder(own_access, rows)
    return scores


def _input_of(
    evaluator: Evaluator[Any], features: Features, access: EncoderAccess | None
) -> tuple[Features, EncoderAccess | None]:
    """Return what an evaluator is given: all rows, or where it uses labels those that have one.

    Labels that are ids are numbered densely. Features and access stay the same objects where every
    row has the number of a class.
    """
    if not (evaluator.needs_labels or evaluator.takes_labels):
        return features, access
    bank, queries = features.bank_labels, features.query_labels
    if evaluator.takes_labels and len(features.label_counts.queries) < 2:
        return replace(features, bank_labels=None, query_labels=None), access
    nothing = torch.empty(0, dtype=torch.int64)
    of_bank, of_queries = (nothing if labels is None else labels for labels in (bank, queries))
    numbers = LabelNumbers.of(of_bank, of_queries, features.most_classes)
    whole = bool((of_bank >= 0).all() and (of_queries >= 0).all())
    if whole and numbers.ids is None:
        return features, access
    here, there = (None if one is None else one >= 0 for one in (bank, queries))
    rows = replace(
        features,
        bank=_part(features.bank, here),
        queries=_part(features.queries, there),
        bank_labels=None if bank is None else numbers(_part(bank, here)),
        query_labels=None if queries is None else numbers(_part(queries, there)),
        bank_groups=_groups_of(features.bank_groups, here),
        query_groups=_groups_of(features.query_groups, there),
    )
    if access is None:
        return rows, None
    labelled = LabelledRows(
        access.rows, numbers, {"bank": len(rows.bank), "queries": len(rows.queries)}
    )
    return rows, replace(access, rows=labelled)


def _part(rows: Tensor, kept: Tensor | None) -> Tensor:
    return rows if kept is None else rows[kept.to(rows.device)]


def _groups_of(groups: Tensor | None, kept: Tensor | None) -> Tensor | None:
    return None if groups is None else _part(groups, kept)


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
