"""A run on rows of unequal lengths, killed and gone on with on two workers, beside a plain loop."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from command import descendants, manta_here, manta_running, metrics, sigkill, wait_until

from manta.config import Experiment
from manta.data import ingest, open_dataset
from manta.data.sources import SourceOptions
from manta.modalities.series import Series, SeriesConfig
from manta.ragged import Ragged
from manta.runs.build import build_objective, plan_of, seed_everything, total_steps
from manta.runs.folder import RunFolder
from manta.runs.store import load_experiment
from manta.training.step import TrainStep
from manta.training.supply import StreamedRows

ROWS, BATCH = 240, 16
KILL_AFTER = 60
SETTINGS = {
    "data.buckets": "true",
    "data.shuffle_rows": "64",
    "encoder.name": "resnet1d",
    "encoder.args": "{widths: [8, 16]}",
    "objective.projector": "{hidden: 32, out: 16}",
    "train.batch_size": str(BATCH),
    "train.epochs": "16",
    "train.log_every": "1",
    "train.checkpoint_every": "25",
    "train.precision": "float32",
    "resources.threads_per_worker": "1",
    "evaluation.evaluators": "[{name: rank}]",
    "tracking.register_model": "false",
}


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return series of 5 to 60 values of two channels, ingested."""
    folder = tmp_path_factory.mktemp("ragged")
    generator = np.random.default_rng(0)
    rows = [generator.normal(size=n).cumsum() for n in generator.integers(5, 60, ROWS)]
    lines = [",".join([f"class{i % 3}", *(f"{x:.4f}" for x in row)]) for i, row in enumerate(rows)]
    (folder / "rows.csv").write_text("\n".join(lines))
    data = SeriesConfig(source=str(folder / "rows.csv"))
    options, modality = SourceOptions.of(data), Series(data, {})
    ingest(data.source, folder / "set", options=options, modality=modality, executor="local")
    return folder / "set"


def steps_of(experiment: Experiment, dataset: Path) -> Iterator[tuple[int, float, torch.Tensor]]:
    """Yield step, loss and indexes of a loop that nothing happens to, in this process."""
    torch.set_num_threads(1)
    seed_everything(experiment.train.seed)
    manifest = open_dataset(dataset)
    plan = plan_of(experiment, manifest)
    total = total_steps(experiment, plan)
    objective = build_objective(experiment, manifest)
    step = TrainStep(
        experiment, objective, device=torch.device("cpu"), total_steps=total, stats=manifest.stats
    )
    supply = StreamedRows(manifest, experiment, executor="local")
    for batch in supply.batches(plan, rank=0, world=1, start=0, stop=total):
        series = batch.data["series"]
        assert isinstance(series, Ragged)
        assert len(series.lengths.unique()) > 1 or batch.step
        yield batch.step + 1, float(step(batch.data, batch.index, batch.step)["loss"]), batch.index


def digest(rows: torch.Tensor) -> float:
    return float(zlib.crc32(rows.numpy().tobytes()) & 0xFFFFFF)


def test_a_killed_run_goes_on_with_the_same_losses_also_on_two_workers(
    dataset: Path, tmp_path: Path, ray_cluster: str
) -> None:
    words = [
        *("train", "dcl-series", f"data.source={dataset}", "--name", "hurt"),
        *(f"{key}={value}" for key, value in SETTINGS.items()),
    ]
    run = tmp_path / "manta-runs/hurt"
    with manta_running(tmp_path, *words) as command:
        wait_until(lambda: max(metrics(run), default=0) >= KILL_AFTER, command)
        family = descendants(command.pid)
        sigkill(command)
        for relative in family:
            if relative.is_running():
                relative.kill()
    before = {step: found for step, found in metrics(run).items() if "batch_digest" in found}
    manta_here(tmp_path, *words, "resources.workers=2", "--resume")
    after = metrics(run)

    experiment = load_experiment(RunFolder(str(run)))
    expected = {step: (loss, rows) for step, loss, rows in steps_of(experiment, dataset)}
    assert KILL_AFTER <= len(before) < len(expected)
    assert len(after) >= len(expected)
    again = [step for step in expected if after[step]["batch_digest"] != digest(expected[step][1])]
    assert again == list(range(again[0], len(expected) + 1)), "on two workers to the end"
    for step, (loss, rows) in expected.items():
        if step in before:
            assert (before[step]["loss"], before[step]["batch_digest"]) == (loss, digest(rows))
        if step >= again[0]:
            assert after[step]["batch_digest"] == digest(rows[: BATCH // 2])
            # Sums of float32 in another order; conformance/test_unequal_lengths.py is exact.
            assert after[step]["loss"] == pytest.approx(loss, rel=1e-3)
