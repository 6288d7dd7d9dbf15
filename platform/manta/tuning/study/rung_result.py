"""What a trial reports at a rung, and its three plain forms: Tune's, a JSON file's, Optuna's."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any

RESOURCE, REPEATED = "resource", "repeated"
"""Keys of a result by which Tune's schedulers go: what a trial has spent; that it was reported
before its process died."""
_VALUES, _DRAWN = "values", "drawn"


@dataclass(frozen=True, slots=True)
class RungResult:
    """What is known of a trial after an evaluation, or when it failed.

    Attributes:
        resource: spent so far, in the study's unit; None before the first rung.
        step, epochs: of training.
        seconds: spent on the trial, in earlier attempts too.
        training_seconds, evaluation_seconds: of this attempt's; the rest is overhead.
        run_id: of the MLflow run.
        drawn: names of parameters to what was drawn; None: the recipe as it is.
        values: every number that was measured.
        done: whether the trial has come to its end.
        failed: why it ended before that.
        repeated: whether it was reported before the trial's process died.
    """

    resource: int | None = None
    step: int = 0
    epochs: float | None = None
    seconds: float | None = None
    training_seconds: float | None = None
    evaluation_seconds: float | None = None
    run_id: str | None = None
    drawn: Mapping[str, Any] | None = None
    values: Mapping[str, float] = field(default_factory=dict)
    done: bool = False
    failed: str | None = None
    repeated: bool = False

    def to_plain(self) -> dict[str, Any]:
        """Return what `rungs.json` holds; `from_plain` reads it."""
        plain = {key: value for key, value in asdict(self).items() if value is not None}
        # None is a value of `drawn`: the recipe as it is.
        return plain | {_DRAWN: self.drawn}

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any]) -> RungResult:
        """Return a result from its JSON, of older versions of Manta too."""
        names = {one.name for one in fields(cls)}
        return cls(**{key: value for key, value in plain.items() if key in names})

    def to_tune(self, metrics: Collection[str]) -> dict[str, Any]:
        """Return what a `Trainable` hands to Tune, which compares trials by keys at the top."""
        compared = {name: self.values[name] for name in metrics if name in self.values}
        return self.to_plain() | compared

    @classmethod
    def from_tune(cls, flat: Mapping[str, Any]) -> RungResult:
        """Return a result as Tune hands it to a searcher: flat, `values/knn_top1`."""
        values = {name: float(value) for name, value in _below(_VALUES, flat).items()}
        drawn = _below(_DRAWN, flat) or None
        return cls.from_plain({**flat, _VALUES: values, _DRAWN: drawn})

    def to_attributes(self) -> dict[str, Any]:
        """Return what the study's database keeps of it beside the value, by attribute.

        `drawn` is left out: the database has its own, which only PBT changes.
        """
        kept = (RESOURCE, "epochs", "seconds", "training_seconds", "evaluation_seconds", "run_id")
        attributes = {key: getattr(self, key) for key in kept if getattr(self, key) is not None}
        return ({_VALUES: dict(self.values)} if self.values else {}) | attributes


def _below(prefix: str, flat: Mapping[str, Any]) -> dict[str, Any]:
    start = f"{prefix}/"
    return {key.removeprefix(start): value for key, value in flat.items() if key.startswith(start)}
