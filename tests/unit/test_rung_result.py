"""A rung's result and its plain forms."""

from __future__ import annotations

import json
from typing import Any

import pytest
from ray.tune.utils.util import flatten_dict

from manta.tuning.study.rung_result import RungResult

RESULT = RungResult(
    resource=2,
    step=10,
    epochs=2.0,
    seconds=6.5,
    training_seconds=2.25,
    run_id="abc",
    drawn={"objective.temperature@dcl": 0.1, "views.crop_scale": "[0.2,1.0]"},
    values={"knn_top1": 0.875, "rankme": 40.5},
)
BY_9EC5C02: dict[str, Any] = {
    "resource": 2,
    "step": 10,
    "epochs": 2.0,
    "seconds": 6.5,
    "training_seconds": 2.25,
    "run_id": "abc",
    "drawn": {"objective.temperature@dcl": 0.1, "views.crop_scale": "[0.2,1.0]"},
    "values": {"knn_top1": 0.875, "rankme": 40.5},
    "done": False,
    "knn_top1": 0.875,
}
"""A line of rungs.json as commit 9ec5c02 wrote it."""


def test_a_file_gives_it_back() -> None:
    assert RungResult.from_plain(json.loads(json.dumps(RESULT.to_plain()))) == RESULT
    untouched = RungResult(resource=1, step=5, drawn=None, done=True)
    assert untouched.to_plain()["drawn"] is None
    assert RungResult.from_plain(untouched.to_plain()) == untouched


def test_files_of_older_versions_are_read() -> None:
    assert RungResult.from_plain(BY_9EC5C02) == RESULT


def test_tune_compares_by_keys_at_the_top_and_hands_it_back_flat() -> None:
    handed = RESULT.to_tune(["knn_top1", "lidar"])
    assert (handed["resource"], handed["knn_top1"], "lidar" in handed) == (2, 0.875, False)
    flat = flatten_dict(handed | {"time_total_s": 3.0, "config": {"number": 4}}, delimiter="/")
    assert flat["values/rankme"] == 40.5
    assert RungResult.from_tune(flat) == RESULT


def test_a_failure_before_the_first_rung_has_no_resource() -> None:
    flat = flatten_dict(RungResult(failed="it crashed", done=True).to_tune([]), delimiter="/")
    result = RungResult.from_tune(flat)
    assert (result.resource, result.epochs, result.values) == (None, None, {})
    assert (result.failed, result.done, result.drawn) == ("it crashed", True, None)


@pytest.mark.parametrize(
    ("result", "attributes"),
    [
        (
            RESULT,
            {
                "values": {"knn_top1": 0.875, "rankme": 40.5},
                "resource": 2,
                "epochs": 2.0,
                "seconds": 6.5,
                "training_seconds": 2.25,
                "run_id": "abc",
            },
        ),
        (RungResult(failed="it crashed"), {}),
        (RungResult(resource=0, epochs=0.0), {"resource": 0, "epochs": 0.0}),
    ],
)
def test_the_database_keeps_what_is_known(result: RungResult, attributes: dict[str, Any]) -> None:
    assert result.to_attributes() == attributes
