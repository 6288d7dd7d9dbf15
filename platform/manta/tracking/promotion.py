"""Promotion of a model by evidence.

Challenger and champion answer the same queries. The alias moves only if the gain is significant.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Protocol

from manta.errors import PromotionRefused, TrackingError
from manta.secrets import without_secrets
from manta.tracking._client import refusals
from manta.tracking.registry import CANDIDATE, LONGEST_DESCRIPTION

if TYPE_CHECKING:
    from torch import Tensor

    from manta.tracking.tracker import Tracker

CHAMPION = "champion"
_HEADING, _END = "## Promotion", "\n\n---\n\n"


@dataclass(frozen=True, slots=True)
class ModelAnswers:
    """Results of models on the same queries.

    Attributes:
        correct: for each model, whether it answered each query correctly: `[Q]` bool.
        data, digest: name and digest of the ingested dataset that the queries are from.
        bank_rows: number of rows to which the probe was fitted.
        settings: settings of the probe.
    """

    correct: Mapping[str, Tensor]
    data: str
    digest: str
    bank_rows: int
    settings: Mapping[str, Any]


class EvaluateModels(Protocol):
    """Function that evaluates several models on the same queries."""

    def __call__(self, models: Sequence[str], metric: str) -> ModelAnswers:
        """Return which queries each of `models` answers correctly.

        Args:
            models: as `models:/name/version`.
            metric: accuracy whose rule counts an answer as correct.
        """


@dataclass(frozen=True, slots=True)
class Evidence:
    """Evidence for moving an alias, or against it. Accuracies and gains are fractions of 1.

    Attributes:
        challenger, accuracy: version that should get the alias, and its accuracy.
        champion, champion_accuracy: version that had the alias; None if there was none.
        gain: accuracy of the challenger minus the champion's; None without a champion.
        low, high: 95% interval of the gain; without a champion, of the challenger's accuracy.
        min_gain: gain that `low` must exceed.
        queries: number of queries.
        bank_rows, data, digest, settings: as in `ModelAnswers`.
        date: time of the promotion, UTC.
    """

    model: str
    alias: str
    metric: str
    challenger: str
    accuracy: float
    champion: str | None
    champion_accuracy: float | None
    gain: float | None
    low: float
    high: float
    min_gain: float
    queries: int
    bank_rows: int
    data: str
    digest: str
    settings: Mapping[str, Any]
    date: str

    @property
    def promoted(self) -> bool:
        return self.gain is None or self.low > self.min_gain

    @property
    def sentence(self) -> str:
        """Return the evidence as one sentence for people."""
        verb = "gets" if self.promoted else "does not get"
        queries = f"{self.queries:,} queries of {self.data}"
        start = (
            f"version {self.challenger} of {self.model!r} {verb} @{self.alias}: "
            f"{self.metric} {self.accuracy:.4f}"
        )
        if self.gain is None:
            interval = f"95% interval {self.low:.4f} to {self.high:.4f}"
            return f"{start} ({interval}) on {queries}; no version had it before"
        interval = f"95% interval {_points(self.low)} to {_points(self.high)}"
        return (
            f"{start} against {self.champion_accuracy:.4f} of version {self.champion} on the same "
            f"{queries}, a gain of {_points(self.gain)} points ({interval}); the interval must lie "
            f"above {_points(self.min_gain)}"
        )

    def tags(self) -> dict[str, str]:
        """Return the evidence as tags for the challenger's version, named `manta.<alias>.*`."""
        facts: dict[str, Any] = {
            "outcome": "promoted" if self.promoted else "refused",
            "metric": self.metric,
            "accuracy": f"{self.accuracy:.6g}",
            "against": self.champion,
            "against_accuracy": None
            if self.champion_accuracy is None
            else f"{self.champion_accuracy:.6g}",
            "gain": None if self.gain is None else f"{self.gain:.6g}",
            "interval": f"{self.low:.6g} {self.high:.6g}",
            "min_gain": f"{self.min_gain:.6g}",
            "queries": self.queries,
            "bank_rows": self.bank_rows,
            "data": self.data,
            "digest": self.digest,
            "settings": json.dumps(dict(self.settings)),
            "date": self.date,
        }
        return {
            f"manta.{self.alias}.{key}": "none" if fact is None else str(fact)
            for key, fact in facts.items()
        }

    def describe(self, description: str) -> str:
        """Return a version's description with this evidence on top, replacing an earlier one."""
        rest = description.partition(_END)[2] if description.startswith(_HEADING) else description
        heading = f"{_HEADING} to @{self.alias}, {self.date[:10]}"
        sentence = f"{self.sentence[:1].upper()}{self.sentence[1:]}"
        head = f"{heading}\n\n{sentence}. Dataset digest `{self.digest}`."
        return f"{head}{_END}{rest}"[:LONGEST_DESCRIPTION]


def promote(
    tracker: Tracker,
    name: str,
    evaluate: EvaluateModels,
    *,
    metric: str,
    alias: str = CHAMPION,
    challenger: str = CANDIDATE,
    min_gain: float = 0.0,
) -> Evidence:
    """Give `alias` to the challenger if it is better than the champion; return the evidence.

    The champion is the version that has the alias; if no version has it, the challenger gets it in
    any case. The gain's 95% interval, by a paired bootstrap over the queries, must lie above
    `min_gain`. The evidence is written to the challenger's version in either case.

    Args:
        challenger: a version's number, or an alias.
        min_gain: as a fraction of 1.

    Raises:
        PromotionRefused: the evidence is too weak, or the challenger has the alias already.
        TrackingError: the store refused, or there is no such model or version.
    """
    new = _version(tracker, name, challenger)
    old = _aliases(tracker, name).get(alias)
    if new == old:
        raise PromotionRefused(
            f"version {new} of {name!r} has the alias {alias!r} already; name another challenger"
        )
    versions = [_uri(name, version) for version in (new, old) if version is not None]
    answers = evaluate(versions, metric)
    # The evaluation takes a while. If somebody has moved the alias meanwhile, the comparison was
    # with the wrong version.
    if (holder := _aliases(tracker, name).get(alias)) != old:
        raise PromotionRefused(
            f"@{alias} of {name!r} was moved to version {holder} meanwhile; run the promotion again"
        )
    evidence = _weigh(answers, name, alias, metric, challenger=new, champion=old, min_gain=min_gain)
    _record(tracker, evidence)
    if not evidence.promoted:
        raise PromotionRefused(f"{evidence.sentence}; {_advice(evidence)}")
    with refusals(f"move @{alias} of {name!r}", tracker.uri):  # last: no alias without its evidence
        tracker.client.set_registered_model_alias(name, alias, new)
    return evidence


def _weigh(
    results: ModelAnswers,
    name: str,
    alias: str,
    metric: str,
    *,
    challenger: str,
    champion: str | None,
    min_gain: float,
) -> Evidence:
    """Return the evidence that the answers give."""
    # Imported here, because it imports torch, which tracking does not need otherwise.
    from manta.evaluators import interval, paired_gain

    answers = results.correct[_uri(name, challenger)]
    gain = champion_accuracy = None
    if champion is None:
        low, high = interval(answers)
    else:
        others = results.correct[_uri(name, champion)]
        champion_accuracy = float(others.double().mean())
        gain, low, high = paired_gain(answers, others)
    return Evidence(
        model=name,
        alias=alias,
        metric=metric,
        challenger=challenger,
        accuracy=float(answers.double().mean()),
        champion=champion,
        champion_accuracy=champion_accuracy,
        gain=gain,
        low=low,
        high=high,
        min_gain=min_gain,
        queries=len(answers),
        bank_rows=results.bank_rows,
        data=without_secrets(results.data),
        digest=results.digest,
        settings=results.settings,
        date=datetime.now(UTC).isoformat(timespec="seconds"),
    )


def _record(tracker: Tracker, evidence: Evidence) -> None:
    client = tracker.client
    with refusals(
        f"write the evidence to version {evidence.challenger} of {evidence.model!r}", tracker.uri
    ):
        for key, value in evidence.tags().items():
            client.set_model_version_tag(evidence.model, evidence.challenger, key, value)
        description = (
            client.get_model_version(evidence.model, evidence.challenger).description or ""
        )
        client.update_model_version(
            evidence.model, evidence.challenger, evidence.describe(description)
        )


def _advice(evidence: Evidence) -> str:
    if evidence.gain is not None and evidence.gain > evidence.min_gain:
        return "it may be chance: evaluate them on more data"
    return "train a better one"


def _aliases(tracker: Tracker, name: str) -> dict[str, str]:
    client = tracker.client
    with refusals(f"find the model {name!r}", tracker.uri):
        return {
            alias: str(version)
            for alias, version in client.get_registered_model(name).aliases.items()
        }


def _version(tracker: Tracker, name: str, which: str) -> str:
    if which.isdecimal():
        client = tracker.client
        with refusals(f"find version {which} of {name!r}", tracker.uri):
            return str(client.get_model_version(name, which).version)
    aliases = _aliases(tracker, name)
    alias = which.removeprefix("@")
    if alias not in aliases:
        others = ", ".join(f"@{alias}" for alias in sorted(aliases)) or "none"
        raise TrackingError(
            f"the model {name!r} has no alias {alias!r} ({others}); name a version or an alias "
            "that it has"
        )
    return aliases[alias]


def _uri(name: str, version: str) -> str:
    return f"models:/{name}/{version}"


def _points(fraction: float) -> str:
    return f"{100 * fraction:+.2f}"
