"""A run on an object store gets its encoder, its page and its plots, and MLflow the same, as a
local one does."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import fsspec
import pytest
import torch

from manta.config import load
from manta.data import Manifest
from manta.data.manifest import Shard
from manta.runs.build import build_objective
from manta.runs.checkpoint import Checkpoints, new_manifest, snapshot
from manta.runs.folder import RunFolder
from manta.runs.lease import Lease
from manta.tracking import Tracker
from manta.training.publish import PIECES, pages, publish
from synthetic_run import make_run

RECIPE = Path(__file__).resolve().parents[2] / "jobs/recipes/digits.yaml"
MANIFEST = Manifest(
    location="",
    rows=1797,
    labelled=True,
    classes=None,
    shards=[Shard("", 1797, [1797], 0)],
    sizes={},
    mean=[],
    std=[],
    moment_rows=0,
    source="",
    kind="",
    quarantined=0,
    digest="",
    bytes=0,
)
NOBODY = 2**22 + 1
"""Beyond the largest process id that Linux gives."""
PLOTS = [
    "embedding.png",
    "evaluation.png",
    "features.png",
    "loss.png",
    "schedules.png",
    "throughput.png",
    "views.png",
]


@pytest.fixture
def bucket() -> RunFolder:
    """An empty one."""
    files = fsspec.filesystem("memory")
    if files.exists("/bucket"):
        files.rm("/bucket", recursive=True)
    return RunFolder("memory://bucket/runs/one")


def fill(bucket: RunFolder, run: Path) -> None:
    bucket.place.fs.put(str(run), bucket.place.path, recursive=True)


def test_a_run_in_a_bucket_is_published(
    bucket: RunFolder, tracker: Tracker, tmp_path: Path
) -> None:
    fill(bucket, make_run(tmp_path / "one", images=60))
    run_id = tracker.create_run("one", config={})
    experiment = load(RECIPE, ["tracking.register_model=false"])
    objective = build_objective(experiment, MANIFEST)
    checkpoints = Checkpoints(bucket, None)
    state = snapshot(objective, torch.optim.AdamW(objective.parameters()), 260)
    assert state is not None
    checkpoints.save(
        state,
        new_manifest(
            260, steps_per_epoch=13, total_steps=260, fingerprint="f", run_id=run_id, metrics={}
        ),
    )
    checkpoints.wait()
    result: dict[str, Any] = {"steps": 260, "metrics": {"knn_top1": 0.9}, "stopped": None}
    said: list[str] = []

    summary = publish(
        bucket, experiment, MANIFEST, tracker, run_id, result, model=True, notify=said.append
    )

    assert said == ["exporting the encoder", "writing the report"]
    assert summary["report"] == f"{bucket.url}/report.html"
    assert json.loads(bucket.read("summary.json")) == summary
    assert bucket.read_json("run.json")["status"] == "finished"
    assert bucket.list("encoder") == ["config.json", "manta.json", "model.safetensors"]
    page = bucket.read("report.html").decode()
    assert "manta train experiment.yaml --name one-again" in page
    assert f"{bucket.url}/experiment.yaml" in page
    assert "manta-pages-" not in page, "the place where it was drawn is nobody's business"
    assert bucket.list("plots") == PLOTS
    assert bucket.read("plots", "loss.png").startswith(b"\x89PNG")
    uploaded = {artifact.path for artifact in tracker.client.list_artifacts(run_id)}
    assert uploaded == {"experiment.yaml", "evaluation.json", "report.html", "plots"}
    assert len(tracker.client.list_artifacts(run_id, "plots")) == len(PLOTS)


def test_the_page_says_that_a_run_was_killed(bucket: RunFolder, tmp_path: Path) -> None:
    fill(bucket, make_run(tmp_path / "one", status="running", steps=60))
    Lease.take(bucket)
    bucket.update_json({"pid": NOBODY}, Lease.FILE)
    with pages(bucket) as drawn:
        found = {piece for piece in PIECES if (drawn / piece).exists()}
        assert found == set(PIECES) - {"evaluation.json", "artifacts/samples.npz"}
        assert "This run ended early after step 59" in (drawn / "report.html").read_text()
        assert (drawn / "report.html").read_bytes() == bucket.read("report.html")
    assert not drawn.exists()
    assert bucket.read_json("run.json")["status"] == "running", "what a run wrote of itself stays"


def test_a_local_run_is_drawn_into_its_folder(tmp_path: Path) -> None:
    folder = RunFolder(make_run(tmp_path / "run", images=40, steps=30))
    before = set(folder.list())
    with pages(folder):
        pass
    assert set(folder.list()) - before == {"plots", "report.html"}
    assert (
        f"manta train {tmp_path}/run/experiment.yaml --name run-again"
        in folder.read("report.html").decode()
    )
