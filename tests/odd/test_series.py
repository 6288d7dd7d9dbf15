"""Every odd series through an ingest, decoding and views: the right result, or one line."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch

import manta
from manta.batch import ViewNeeds
from manta.data import SourceOptions, ingest, open_dataset, survey
from manta.data.arrays import as_tensors
from manta.data.read import decode_rows, read_labels, read_rows
from manta.errors import MantaError
from manta.modalities.series import Series, SeriesConfig
from manta.modalities.series.views import SeriesViewsConfig
from manta.ragged import Ragged
from manta.runs.folder import RunFolder
from manta.runs.lease import Lease
from manta.training.loop import train_loop
from manta.training.task import Task
from odd.case import all_cases
from odd.cases.series import SeriesCase

CASES: list[SeriesCase] = all_cases("SERIES")
LONGEST_LINE = 600


def test_each_has_a_name_of_its_own() -> None:
    assert len({case.name for case in CASES}) == len(CASES) >= 30


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_series(case: SeriesCase, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    monkeypatch.chdir(tmp_path)
    location = case.make(folder)
    config = SeriesConfig(source=str(location), **case.options, **case.settings)
    asked = {"options": SourceOptions.of(config), "modality": Series(config, {})}
    if case.error is not None:
        with pytest.raises(MantaError) as refused:
            ingest(location, tmp_path / "out", executor="local", **asked)
        assert case.error in str(refused.value)
        assert "\n" not in str(refused.value)
        assert len(str(refused.value)) <= LONGEST_LINE
        assert not (tmp_path / "unpickled").exists()
        return
    report = ingest(location, tmp_path / "out", executor="local", **asked)
    assert report.understood == survey(location, executor="local", **asked)
    manifest = open_dataset(report.location)
    listed = pq.read_table(Path(manifest.location) / "quarantine.parquet").to_pylist()
    reasons = {row["path"]: row["reason"] for row in listed}
    assert reasons.keys() == case.quarantined.keys()
    for path, reason in case.quarantined.items():
        assert reason in reasons[path]
    indexes = np.arange(manifest.rows)
    labels, names = read_labels(manifest, indexes), manifest.classes or []
    given = None if labels is None else [None if n is None else names[n] for n in labels]
    assert given == (None if case.labels is None else list(case.labels))
    # What an ingest accepts, training decodes and looks at: finite numbers of the right length.
    series = Series(config, manifest.stats)
    data = read_rows(manifest, indexes).data
    rows = as_tensors(decode_rows(manifest, indexes, data, series.decoder()))
    values = rows["series"]
    is_ragged = isinstance(values, Ragged)
    lengths = values.lengths.tolist() if is_ragged else [values.shape[1]] * len(values)
    assert lengths == list(case.lengths)
    assert torch.isfinite(values.values if is_ragged else values).all()
    views = series.views(SeriesViewsConfig(), ViewNeeds())
    batch = views(rows, torch.from_numpy(indexes), seed=0, step=0, global_batch=len(indexes))
    for view in batch:
        numbers = view.data.values if isinstance(view.data, Ragged) else view.tensor
        assert torch.isfinite(numbers).all()


def test_dcl_series_trains_on_unequal_lengths_as_it_is(tmp_path: Path) -> None:
    """A `.ts` file whose rows have 5 to 24 values, by the recipe's own settings but its epochs."""
    generator = np.random.default_rng(0)
    rows = [generator.standard_normal(5 + n % 20).round(3) for n in range(40)]
    lines = [f"{','.join(map(str, row))}:{'ab'[n % 2]}" for n, row in enumerate(rows)]
    source = tmp_path / "x.ts"
    source.write_text("@problemName x\n@classLabel true a b\n@data\n" + "\n".join(lines) + "\n")
    experiment = manta.load_recipe("dcl-series", {"train.epochs": 2}, data=source, progress=False)
    report = ingest(
        source,
        tmp_path / "out",
        options=SourceOptions.of(experiment.data),
        modality=experiment.modality(),
        executor="local",
    )
    assert report.rows == 40
    folder = RunFolder(str(tmp_path / "run"))
    task = Task(
        experiment=experiment, dataset=str(report.location), folder=folder.url,
        attempt=Lease.take(folder).attempt, run_id="", tracking_uri="", started=0.0, threads=1,
        executor="local", device="cpu",
    )  # fmt: skip
    result = train_loop(task)
    assert result is not None
    assert (result["steps"], result["stopped"]) == (2, None)
    assert 0 <= result["metrics"]["knn_top1"] <= 1
