"""Rows that a run held out are those that its encoder is scored on, and others are said."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from manta.config import EvaluationConfig, from_mapping
from manta.data import Holdout, Manifest, Shard
from manta.evaluation.own_rows import Training, scored_rows, split_of
from manta.evaluation.rows import SplitRows
from manta.runs.folder import RunFolder

ROWS = 1797
DATA = Manifest(
    location="", rows=ROWS, labelled=True, classes=None, shards=[Shard("s", ROWS, [ROWS], 0)],
    sizes={}, mean=[], std=[], moment_rows=0, source="digits", kind="digits", quarantined=0,
    digest="0", bytes=0,
)  # fmt: skip
DEFAULTS = EvaluationConfig()


def trained(holdout: float, limit: int | None = None, digest: str = "0") -> Training:
    given = {
        "data": {"source": "digits", "image_size": 16, "limit": limit},
        "encoder": {"name": "test_resnet"},
        "objective": {"name": "dcl"},
        "evaluation": {"holdout": holdout},
    }
    return Training("run", from_mapping(given), digest)


def queries(*trainings: Training, data: Manifest = DATA, limit: int = 10_000) -> SplitRows:
    return SplitRows(data, split_of(data, DEFAULTS, trainings), "queries", limit)


def trained_rows(holdout: float) -> set[int]:
    return set(Holdout(DATA, holdout).sample("bank").tolist())


def test_a_run_is_scored_on_the_rows_that_it_held_out() -> None:
    by_default = queries()
    assert len(set(by_default.indexes.tolist()) & trained_rows(0.2)) == 152
    own = queries(trained(0.2))
    assert not set(own.indexes.tolist()) & trained_rows(0.2)
    assert trained(0.2).warning(own) is None
    assert np.array_equal(queries(trained(0.1)).indexes, by_default.indexes)


def test_how_many_rows_were_trained_on_is_said() -> None:
    first, second = trained(0.1), trained(0.2)
    both = queries(first, second)
    assert first.warning(both) is None
    assert second.warning(both) == (
        "run: it was trained on 152 of the 180 rows scored; give data that it has not seen"
    )
    assert "trained on 180 of the 180" in str(trained(0.0).warning(queries(trained(0.0))))
    few = trained(0.0, limit=18)
    seen = int((queries().indexes < 18).sum())
    assert seen
    assert f"trained on {seen} of the 180" in str(few.warning(queries()))
    beyond = queries(trained(0.2, limit=100))
    assert np.array_equal(beyond.indexes, queries(trained(0.2)).indexes)


def test_rows_that_may_have_been_trained_on_are_said() -> None:
    assert "its run is not known" in str(Training("saved").warning(queries()))
    assert Training("timm:resnet18").warning(queries()) is None
    changed = trained(0.2, digest="1")
    assert np.array_equal(queries(changed).indexes, queries().indexes)
    assert "digits has changed since its run" in str(changed.warning(queries()))
    other = replace(DATA, source="photos", digest="2")
    assert trained(0.2).warning(queries(data=other)) is None


def test_a_run_is_known_by_its_name(tmp_path: Path) -> None:
    experiment = trained(0.2).experiment
    assert experiment is not None
    folder = RunFolder(tmp_path / "one")
    folder.write(experiment.to_yaml().encode(), "experiment.yaml")
    folder.write_json({"digest": "0", "dataset": "gone", "status": "finished"}, "run.json")
    known = Training.of("one", str(tmp_path))
    assert (known.digest, known.experiment) == ("0", experiment)
    assert Training.of("two", str(tmp_path)) == Training("two")


@pytest.mark.parametrize(
    ("limit", "read", "said"),
    [
        (10_000, 180, "scored are all 180 held-out rows (10.0% of 1,797)"),
        (
            50,
            48,
            "scored are 50 of 180 held-out rows (10.0% of 1,797), evenly spread, since "
            "evaluation.query_rows is 50; 2 of them could not be read",
        ),
    ],
)
def test_which_rows_were_scored_is_said(limit: int, read: int, said: str) -> None:
    assert scored_rows(queries(limit=limit), read) == said


def test_of_data_beside_a_bank_all_rows_are_scored() -> None:
    whole = SplitRows(DATA, Holdout(DATA), "bank", 10_000)
    assert scored_rows(whole, ROWS) == "scored are all 1,797 rows"
    assert "trained on 1,437 of the 1,797" in str(trained(0.2).warning(whole))
