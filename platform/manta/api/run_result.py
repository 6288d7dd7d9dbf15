"""A run of pretraining, finished or not."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from manta.api.display import as_html, as_text, metric_rows, metric_table
from manta.modalities import noun_of

if TYPE_CHECKING:
    import pandas as pd

    from manta.api.arguments import PathLike
    from manta.config import Experiment
    from manta.runs.folder import RunFolder
    from manta.serving import ExportedEncoder


@dataclass(frozen=True, slots=True, repr=False)
class Run:
    """A run and what came of it; path-like, as its folder.

    Attributes:
        name: of the run; unique in its `runs` folder.
        folder: path or URL of everything that it left.
        status: "finished", "running", "interrupted", "failed" or "stopped".
        metrics: final evaluation by name: accuracies as fractions of 1, ranks as numbers; with
            `random_` before the name, of the encoder before training, and with `floor_`, of
            features that nothing has learned. Empty before there is one.
        summary: what `manta train --summary` writes, with the steps, rates and times; for a run
            that has not finished, what is known.
        model_uri: of the registered model, such as `models:/manta-dcl-resnet10t@candidate`, or
            None.
    """

    name: str
    folder: str
    status: str
    metrics: Mapping[str, float] = field(hash=False)
    summary: Mapping[str, Any] = field(hash=False)
    model_uri: str | None = None

    @classmethod
    def open(cls, run: PathLike, *, runs: PathLike = "manta-runs") -> Run:
        """Return a run that was started before.

        Args:
            run: its name, or its folder.
            runs: folder or URL that holds the runs.

        Raises:
            RunError: there is no such run; the message lists those that there are.
        """
        from manta.runs.store import find_run
        from manta.words import as_path

        return cls.of(find_run(os.fspath(runs), as_path(run)))

    @classmethod
    def of(cls, folder: RunFolder) -> Run:
        """Return the run in a folder, as it is now."""
        from manta.runs.lease import status

        facts = folder.read_json("run.json")
        if folder.exists("summary.json"):
            summary = dict(folder.read_json("summary.json"))
        else:
            summary = {"name": folder.name, "run_id": facts.get("run_id"), "metrics": {}}
            if folder.exists("evaluation.json"):
                summary["metrics"] = dict(folder.read_json("evaluation.json")["metrics"])
        uri = summary.get("model_uri") or facts.get("model_uri")
        state = status(folder)
        return cls(folder.name, folder.url, state, summary["metrics"], summary, uri)

    @classmethod
    def of_summary(cls, summary: Mapping[str, Any], runs: PathLike) -> Run:
        """Return the finished run of which `manta.training.run.train` returned the summary.

        Args:
            runs: folder or URL that holds the run. Paths in the summary of a run that had finished
                before, and was moved since, are of where it was.
        """
        from manta.runs.folder import RunFolder

        folder = RunFolder(f"{os.fspath(runs).rstrip('/')}/{summary['name']}").url
        uri = summary.get("model_uri")
        return cls(summary["name"], folder, "finished", summary["metrics"], summary, uri)

    @property
    def page(self) -> str:
        """Path or URL of `report.html`, one offline page; a finished run has one."""
        return f"{self.folder}/report.html"

    @property
    def experiment(self) -> Experiment:
        """The configuration that the run was started with.

        Raises:
            RunError: it names a component that is not defined in this process.
        """
        from manta.runs.folder import RunFolder
        from manta.runs.store import load_experiment

        return load_experiment(RunFolder(self.folder))

    @property
    def curves(self) -> pd.DataFrame:
        """Everything that was logged: a row a step, a column a metric.

        Returns:
            A data frame with the index `step` (optimizer steps done) and float64 columns such as
            `loss`, `lr`, `images_per_second` and `knn_top1`; NaN where a metric was not logged.
            Measurements of the machine (`system/cpu` and others) have steps of their own.
        """
        import pandas as pd

        from manta.report.run.record import read
        from manta.runs.folder import RunFolder

        folder = RunFolder(self.folder)
        with tempfile.TemporaryDirectory(prefix="manta-curves-") as scratch:
            for name in ("run.json", "metrics.jsonl"):
                if folder.exists(name):
                    (Path(scratch) / name).write_bytes(folder.read(name))
            curves = read(Path(scratch)).curves
        series = {name: pd.Series(one.values, index=one.steps) for name, one in curves.items()}
        return pd.DataFrame(series, dtype=float).rename_axis("step")

    def encoder(self) -> ExportedEncoder:
        """Return the trained encoder, ready for torch; see `manta.load_encoder` for its shapes.

        Raises:
            RunError: the run has neither an exported encoder nor a checkpoint yet.
        """
        from manta.api.handover import load_encoder

        return load_encoder(self.folder, runs=os.path.dirname(self.folder))

    def __fspath__(self) -> str:
        return self.folder

    def __repr__(self) -> str:
        return as_text(f"Run {self.name!r}, {self.status}", self._rows(metric_rows(self.metrics)))

    def _repr_html_(self) -> str:
        table = [metric_table(self.metrics)] if self.metrics else []
        return as_html(f"Run {self.name}, {self.status}", self._rows([]), table)

    def _rows(self, metrics: list[tuple[str, Any]]) -> list[tuple[str, Any]]:
        rate = self.summary.get("images_per_second")
        noun = noun_of(self.summary.get("modality")).plural
        return [
            *metrics,
            ("steps", self.summary.get("steps")),
            (f"{noun}/s", f"{rate:.0f}" if rate else None),
            ("model", self.model_uri),
            ("folder", self.folder),
            ("page", self.page if self.status == "finished" else None),
        ]
