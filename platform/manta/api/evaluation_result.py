"""What evaluators say of one model, and of several on the same rows."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from manta.api.display import as_html, as_text, metric_rows, metric_table

if TYPE_CHECKING:
    import pandas as pd

    from manta.api.arguments import PathLike


@dataclass(frozen=True, slots=True, repr=False)
class Evaluation:
    """An evaluation of one model; path-like, as its folder.

    Attributes:
        name: of the model, and the step of its weights if it is a run.
        data: what it was evaluated on.
        folder: path or URL of `evaluation.html` and `evaluation.json`.
        metrics: by name: accuracies as fractions of 1, ranks as numbers; with `random_` before the
            name, of the encoder before training, and with `floor_`, of features that nothing has
            learned.
        intervals: low and high end of the 95% interval, for accuracies that count queries.
        skipped: evaluators that did not run, and what they need.
        summary: what `manta evaluate --summary` writes, settings and numbers of rows included.
    """

    name: str
    data: str
    folder: str
    metrics: Mapping[str, float] = field(hash=False)
    intervals: Mapping[str, Sequence[float]] = field(hash=False)
    skipped: Mapping[str, str] = field(hash=False)
    summary: Mapping[str, Any] = field(hash=False)

    @classmethod
    def open(cls, folder: PathLike) -> Evaluation:
        """Return an evaluation that was written before.

        Args:
            folder: what holds `evaluation.json`.

        Raises:
            RunError: there is none.
        """
        from manta.errors import RunError
        from manta.runs.folder import RunFolder

        place = RunFolder(os.fspath(folder))
        if not place.exists("evaluation.json"):
            raise RunError(f"{place.url} holds no evaluation; `manta evaluate` writes one")
        page = place.url_of("evaluation.html")
        return cls.of(dict(place.read_json("evaluation.json")) | {"page": page})

    @classmethod
    def of(cls, summary: Mapping[str, Any]) -> Evaluation:
        """Return what `evaluate_model` returned, as a result."""
        return cls(
            name=summary["name"],
            data=summary["data"],
            folder=os.path.dirname(summary["page"]),
            metrics=summary["metrics"],
            intervals=summary["intervals"],
            skipped=summary["skipped"],
            summary=summary,
        )

    @property
    def page(self) -> str:
        """Path or URL of `evaluation.html`, one offline page."""
        return f"{self.folder}/evaluation.html"

    @property
    def note(self) -> str:
        """Which rows probes learn from, and which are scored."""
        return str(self.summary["note"])

    @property
    def table(self) -> pd.DataFrame:
        """Return a row for each metric.

        Returns:
            A data frame with the columns `trained`, `low`, `high` (the 95% interval, NaN where
            there is none), `untrained` (NaN unless the model is a run) and `floor` (NaN of what
            says nothing of features that no encoder has made).
        """
        return metric_table(self.metrics, self.intervals)

    def __fspath__(self) -> str:
        return self.folder

    def __repr__(self) -> str:
        rows = [*metric_rows(self.metrics), *self._rows()]
        return as_text(f"Evaluation of {self.name} on {self.data}", rows)

    def _repr_html_(self) -> str:
        return as_html(f"Evaluation of {self.name} on {self.data}", self._rows(), [self.table])

    def _rows(self) -> list[tuple[str, Any]]:
        skipped = [(name, f"did not run: it {why}") for name, why in self.skipped.items()]
        return [*skipped, ("rows", self.note), ("page", self.page)]


@dataclass(frozen=True, slots=True, repr=False)
class Comparison:
    """Models on the same rows, each against the first by a paired test.

    Attributes:
        models: as they were named, the one that others are compared with first.
        data: what they were evaluated on.
        metrics: by model, then by name.
        intervals: by model, then by name: low and high end of the 95% interval.
        gains: by model but the first, then by name: `gain` over the first, and `low` and `high` of
            its 95% interval, by a paired bootstrap over the queries; fractions of 1.
        summary: what `manta compare --summary` writes.
    """

    models: tuple[str, ...]
    data: str
    metrics: Mapping[str, Mapping[str, float]] = field(hash=False)
    intervals: Mapping[str, Mapping[str, Sequence[float]]] = field(hash=False)
    gains: Mapping[str, Mapping[str, Mapping[str, float]]] = field(hash=False)
    summary: Mapping[str, Any] = field(hash=False)

    @classmethod
    def of(cls, summary: Mapping[str, Any]) -> Comparison:
        """Return what `compare_models` returned, as a result."""
        return cls(
            models=tuple(summary["models"]),
            data=summary["data"],
            metrics=summary["metrics"],
            intervals=summary["intervals"],
            gains=summary["gains"],
            summary=summary,
        )

    @property
    def table(self) -> pd.DataFrame:
        """Return a row for each metric and a column for each model."""
        import pandas as pd

        return pd.DataFrame({model: self.metrics[model] for model in self.models}, dtype=float)

    @property
    def gain_table(self) -> pd.DataFrame:
        """Return a row for each model but the first and metric: `gain`, `low` and `high`."""
        import pandas as pd

        rows = {
            (model, metric): gain
            for model, gains in self.gains.items()
            for metric, gain in gains.items()
        }
        index = pd.MultiIndex.from_tuples(list(rows), names=["model", "metric"])
        return pd.DataFrame(list(rows.values()), index=index, columns=["gain", "low", "high"])

    def __repr__(self) -> str:
        rows = []
        for model in self.models:
            numbers = (f"{name} {value:.4g}" for name, value in self.metrics[model].items())
            rows.append((model, "  ".join(numbers)))
        return as_text(f"Comparison on {self.data}", rows)

    def _repr_html_(self) -> str:
        tables = [self.table, *([self.gain_table] if self.gains else [])]
        return as_html(f"Comparison on {self.data}", [], tables)
