"""Where a trial goes on from after a kill at any moment, and the schedule that its rungs tell."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from manta.config import from_mapping
from manta.errors import MantaError, RunError
from manta.report.study.record import TrialRecord
from manta.runs.checkpoint import Checkpoints, new_manifest, snapshot
from manta.runs.folder import RunFolder
from manta.tuning.figures.pbt_schedule import best_path, schedule_figure
from manta.tuning.space.read import read_space
from manta.tuning.study.creation import new_folder
from manta.tuning.study.folders import trials_folder
from manta.tuning.study.metrics import metric
from manta.tuning.study.rung_result import RungResult
from manta.tuning.study.settings import StudySettings
from manta.tuning.study.study import StoredStudy, StudyRequest
from manta.tuning.trials.resume import RUNGS, TAKEN, Drawn, Start, resumed, taken_over

OLD, NEW = {"lr": 0.1}, {"lr": 0.3}
SPACE = "space:\n  optimizer.lr: {type: float, low: 0.01, high: 1.0, log: true}\n"


def fingerprint(drawn: Drawn) -> str:
    return str(drawn)


def rung(
    step: int, drawn: dict[str, float], by: str = "own", values: dict[str, float] | None = None
) -> RungResult:
    return RungResult(
        step // 10,
        step,
        epochs=step / 10,
        seconds=step * 2.0,
        drawn=drawn,
        run_id=by,
        values=values or {},
    )


def plain(rungs: list[RungResult]) -> list[dict[str, Any]]:
    return [one.to_plain() for one in rungs]


def save(folder: RunFolder, step: int, drawn: dict[str, float]) -> None:
    model = nn.Linear(2, 2)
    state = snapshot(model, torch.optim.SGD(model.parameters(), 0.1), step)
    assert state is not None
    checkpoints = Checkpoints(folder, None, keep_last=8)
    manifest = new_manifest(
        step,
        steps_per_epoch=10,
        total_steps=50,
        fingerprint=fingerprint(drawn),
        run_id=None,
        metrics={},
    )
    checkpoints.save(state, manifest)
    checkpoints.wait()


COPIED = [rung(10, {"lr": 0.25}, by="donor")]


@pytest.fixture
def own(tmp_path: Path) -> RunFolder:
    """A trial with two rungs and a checkpoint of each."""
    folder = RunFolder(tmp_path / "0001")
    folder.write_json(plain([rung(10, OLD), rung(20, OLD)]), RUNGS)
    save(folder, 10, OLD)
    save(folder, 20, OLD)
    return folder


@pytest.fixture
def donor(tmp_path: Path) -> RunFolder:
    folder = RunFolder(tmp_path / "0002")
    save(folder, 10, OLD)
    return folder


def pointer(donor: RunFolder) -> dict[str, Any]:
    return {"folder": donor.url, "step": 10, "results": plain(COPIED)}


def steps(folder: RunFolder) -> list[int]:
    return [manifest.step for manifest in Checkpoints(folder, None).committed()]


def origin(start: Start) -> tuple[str, int] | None:
    return None if start.source is None else (start.source[0].folder.url, start.source[1].step)


def test_a_new_folder_begins(tmp_path: Path) -> None:
    assert resumed(RunFolder(tmp_path / "0000"), OLD, fingerprint) == Start(None, [], [], OLD, 0.0)


def test_rungs_beyond_the_newest_checkpoint_are_trained_again(own: RunFolder) -> None:
    own.remove("checkpoints", "step-00000020")
    start = resumed(own, {"lr": 0.9}, fingerprint)
    assert start == Start(None, [], [rung(10, OLD)], OLD, 20.0)


def test_a_copy_survives_a_kill_before_its_first_checkpoint(
    own: RunFolder, donor: RunFolder
) -> None:
    live = taken_over(own, pointer(donor), NEW)
    assert origin(live) == (donor.url, 10)
    assert (live.drawn, live.results, live.past, live.seconds) == (
        NEW,
        COPIED,
        [],
        40.0,
    )
    assert steps(own) == [10], "later ones are of weights that were given up"
    again = resumed(own, OLD, fingerprint)
    assert (origin(again), again.drawn, again.results, again.past) == (
        origin(live),
        NEW,
        live.results,
        [],
    )


def test_a_copy_survives_a_kill_before_its_older_checkpoints_are_gone(
    own: RunFolder, donor: RunFolder
) -> None:
    own.write_json({**pointer(donor), "drawn": NEW}, TAKEN)
    start = resumed(own, OLD, fingerprint)
    assert (origin(start), start.drawn) == ((donor.url, 10), NEW)


@pytest.mark.parametrize("reported", [True, False])
def test_a_copy_goes_on_from_its_own_checkpoint(
    own: RunFolder, donor: RunFolder, reported: bool
) -> None:
    """Whether or not the rung of that checkpoint was reported before the kill."""
    copied = taken_over(own, pointer(donor), NEW).results
    save(own, 20, NEW)
    rungs = [*copied, rung(20, NEW)]
    if reported:
        own.write_json(plain(rungs), RUNGS)
    start = resumed(own, OLD, fingerprint)
    assert (start.source, start.drawn) == (None, NEW)
    assert (start.results, start.past) == (([], rungs) if reported else (copied, []))


def test_where_the_copied_checkpoint_is_gone_a_resume_takes_the_own(
    own: RunFolder, donor: RunFolder
) -> None:
    taken_over(own, pointer(donor), NEW)
    donor.remove("checkpoints")
    assert resumed(own, OLD, fingerprint) == Start(None, [], [rung(10, OLD)], OLD, 20.0)
    with pytest.raises(MantaError, match="step 10"):
        taken_over(own, pointer(donor), NEW)


def study_of(folder: Path, rungs: list[RungResult]) -> tuple[StoredStudy, Any]:
    """A study with one whole trial of such rungs."""
    (folder / "space.yaml").write_text(SPACE)
    recipe = from_mapping({"data": {"source": "digits"}, "objective": {"name": "dcl"}})
    space = read_space(folder / "space.yaml", recipe)[0]
    saved = {"space_file": "space.yaml", "study_run_id": "r", "labelled": True, "whole": 3}
    study = StoredStudy(
        RunFolder(folder / "s"), space, StudySettings(), recipe, [metric("knn_top1")], saved
    )
    study.folder.write_json(plain(rungs), "trials", "0000", RUNGS)
    return study, study.record([TrialRecord(0, {"optimizer.lr": 0.02}, "complete", value=0.8)])


def test_the_schedule_that_pbt_found(tmp_path: Path) -> None:
    values = zip((10, 20, 30), (0.1, 0.1, 0.02), (0.5, 0.6, 0.8), strict=True)
    rungs = [rung(step, {"optimizer.lr": lr}, values={"knn_top1": knn}) for step, lr, knn in values]
    study, record = study_of(tmp_path, rungs)
    found = best_path(study, record)
    assert found == {
        "trial": 0,
        "unit": "epochs",
        "metric": "knn_top1",
        "path": [
            {"from": 0, "to": 2.0, "value": 0.6, "params": {"optimizer.lr": 0.1}},
            {"from": 2.0, "to": 3.0, "value": 0.8, "params": {"optimizer.lr": 0.02}},
        ],
    }
    (line,) = schedule_figure(found).data
    assert list(zip(line.x, line.y, strict=True)) == [
        (0, 0.1),
        (2.0, 0.1),
        (2.0, 0.02),
        (3.0, 0.02),
    ]


def test_where_nothing_changed_there_is_no_schedule(tmp_path: Path) -> None:
    study, record = study_of(tmp_path, [rung(step, {"optimizer.lr": 0.1}) for step in (10, 20)])
    assert best_path(study, record) is None


def test_a_study_in_a_bucket_has_its_trials_there_and_its_database_elsewhere(
    tmp_path: Path,
) -> None:
    study, _ = study_of(tmp_path, [])
    request = StudyRequest(tmp_path / "space.yaml", study.recipe, "memory://bucket/runs", name="s")
    with pytest.raises(RunError, match="needs a database that is not a file in it"):
        new_folder(request, None)
    folder = new_folder(request, "postgresql://me@host/db")
    assert trials_folder(folder).url == "memory:///bucket/runs/s/trials"
