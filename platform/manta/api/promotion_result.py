"""An alias that moved, and why."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from manta.api.display import as_html, as_text


@dataclass(frozen=True, slots=True, repr=False)
class Promotion:
    """The evidence by which an alias was moved; accuracies and gains are fractions of 1.

    Attributes:
        model: name of the registered model.
        alias: that moved.
        metric: that decided.
        challenger: version that has the alias now; `accuracy` is its own.
        champion: version that had it, with `champion_accuracy`; None if there was none.
        gain: of the challenger over the champion; None without one.
        low, high: 95% interval of the gain; without a champion, of the challenger's accuracy.
        sentence: all of it in words.
        summary: what `manta promote --summary` writes.
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
    sentence: str
    summary: Mapping[str, Any] = field(hash=False)

    @classmethod
    def of(cls, sentence: str, evidence: Mapping[str, Any]) -> Promotion:
        """Return the fields of `manta.tracking.Evidence` as a result."""
        names = [name for name in cls.__slots__ if name in evidence]
        known = {name: evidence[name] for name in names}
        return cls(**known, sentence=sentence, summary=evidence)

    @property
    def metrics(self) -> Mapping[str, float]:
        """The challenger's accuracy by the metric's name."""
        return {self.metric: self.accuracy}

    def __repr__(self) -> str:
        return as_text(f"Promotion of {self.model}", self._rows())

    def _repr_html_(self) -> str:
        return as_html(f"Promotion of {self.model}", self._rows())

    def _rows(self) -> list[tuple[str, Any]]:
        return [
            (self.alias, f"version {self.challenger}"),
            (self.metric, f"{self.accuracy:.4f}"),
            ("was", None if self.champion is None else f"version {self.champion}"),
            ("gain", None if self.gain is None else f"{self.gain:+.4f}"),
            ("95%", f"{self.low:+.4f} to {self.high:+.4f}"),
            ("because", self.sentence),
        ]
