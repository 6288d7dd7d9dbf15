"""A search for the configuration that suits some data."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from manta.api.display import as_html, as_text
from manta.api.reporting import reporting
from manta.api.run_result import Run

if TYPE_CHECKING:
    import pandas as pd

    from manta.api.arguments import PathLike
    from manta.config import Experiment
    from manta.report.study.record import StudyRecord, TrialRecord


@dataclass(frozen=True, slots=True, repr=False)
class Study:
    """A study and its trials; path-like, as its folder.

    Attributes:
        name: of the study; unique in its `runs` folder.
        folder: path or URL of everything that it left.
        record: the study and its trials as plain data.
        summary: what `manta tune --summary` writes.
        registered: the run that `register=True` trained at the recipe's budget, or None.
    """

    name: str
    folder: str
    record: StudyRecord = field(hash=False)
    summary: Mapping[str, Any] = field(hash=False)
    registered: Run | None = None

    @classmethod
    def open(cls, study: PathLike, *, runs: PathLike = "manta-runs") -> Study:
        """Return a study as it is now, running or not; its page is written anew.

        Args:
            study: its name, or its folder.
            runs: folder or URL that holds the runs.

        Raises:
            RunError: there is no such study; the message lists those that there are.
        """
        from manta.tuning.publish import refresh_study
        from manta.tuning.study.study import open_study
        from manta.words import as_path

        place, word = os.fspath(runs), as_path(study)
        record, summary = refresh_study(place, word)
        return cls(record.name, open_study(place, word).folder.url, record, summary)

    @property
    def best(self) -> TrialRecord | None:
        """Best trial that ran to the end; None while no trial has.

        It has `number`, `params` (dotted key to value), `value` of the study's first metric, and
        `values` of all metrics.
        """
        return self.record.best

    @property
    def metrics(self) -> Mapping[str, float]:
        """What the best trial measured, by name; empty while there is none."""
        return {} if self.best is None else self.best.values

    @property
    def table(self) -> pd.DataFrame:
        """Return a row for each trial.

        Returns:
            A data frame with the index `number` and the columns `state`, `value`, `epochs`,
            `seconds`, `run_id`, `reason`, `default`, and one for each `values/METRIC` and
            `params/KEY`.
        """
        from manta.tuning.publish import trial_table

        return trial_table(self.record).set_index("number")

    @property
    def page(self) -> str:
        """Path or URL of `study.html`, one offline page."""
        return f"{self.folder}/study.html"

    @property
    def recipe(self) -> str:
        """Path or URL of `best.yaml`: the best configuration, at the recipe's own budget."""
        return f"{self.folder}/best.yaml"

    @property
    def experiment(self) -> Experiment:
        """The best configuration, at the recipe's own budget; `manta.train` takes it.

        Raises:
            RunError: no trial came to its end yet.
        """
        from manta.tuning.publish import winner
        from manta.tuning.study.study import open_study

        return winner(open_study(os.path.dirname(self.folder), self.folder), self.record)

    def train_best(self, *, progress: bool = True) -> Run:
        """Train the best configuration at the recipe's own budget, register it, and return the run.

        The run is named after the study and tagged with it; the same call goes on with one that was
        killed.

        Args:
            progress: whether notes and a bar are shown.

        Raises:
            RunError: no trial came to its end.
            TrackingError: it is trained, and the registry refused.
        """
        from manta.tuning.register import register_winner
        from manta.tuning.study.study import open_study

        runs = os.path.dirname(self.folder)
        with reporting(progress) as reporter:
            trained = register_winner(
                open_study(runs, self.name),
                self.record,
                runs=runs,
                notify=reporter.notify,
                ingest_progress=reporter.ingest,
                watch_folder=reporter.training,
            )
        return Run.of_summary(trained, runs)

    def __fspath__(self) -> str:
        return self.folder

    def __repr__(self) -> str:
        return as_text(self._title(), self._rows())

    def _repr_html_(self) -> str:
        return as_html(self._title(), self._rows(), [self.table] if self.record.trials else [])

    def _title(self) -> str:
        complete, trials = len(self.record.complete), len(self.record.trials)
        return f"Study {self.name!r}, {complete} of {trials} trials complete"

    def _rows(self) -> list[tuple[str, Any]]:
        best, default = self.best, self.record.default
        rows: list[tuple[str, Any]] = []
        if best is not None:
            rows += [(self.record.metrics[0], f"{best.value:.4g} in trial {best.number}")]
            rows += list(best.params.items())
        if default is not None and default.value is not None:
            rows += [("recipe's own", f"{default.value:.4g}")]
        registered = None if self.registered is None else self.registered.model_uri
        return [*rows, ("registered", registered), ("folder", self.folder), ("page", self.page)]
