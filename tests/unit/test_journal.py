"""What of a run's metrics the server has, through kills, rewinds and replays."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from manta.metric_log import append, read_metrics
from manta.tracking.journal import Shipped, mend, rewind


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """Steps 1 to 4 of a loss, with a number about the machine at step 2."""
    path = tmp_path / "metrics.jsonl"
    with open(path, "ab", buffering=0) as file:
        for step in (1, 2, 3, 4):
            append(file, step, {"loss": 1.0 / step})
            if step == 2:
                append(file, step, {"system/cpu": 0.5})
    return path


def steps(path: Path) -> list[tuple[int, list[str]]]:
    return [(record.step, sorted(record.metrics)) for record in read_metrics(path)]


def test_half_a_line_is_taken_away(log: Path) -> None:
    whole = log.read_bytes()
    log.write_bytes(whole + b'{"step": 5, "ti')
    mend(log)
    assert log.read_bytes() == whole
    mend(log)
    assert log.read_bytes() == whole
    log.write_bytes(b'{"step"')
    mend(log)
    assert log.read_bytes() == b""
    mend(log.with_name("none.jsonl"))
    assert not log.with_name("none.jsonl").exists()


def test_a_rewind_takes_out_later_steps_of_training_alone(log: Path) -> None:
    shipped = log.with_suffix(".shipped")
    rewind(log, shipped, 1)
    assert steps(log) == [(1, ["loss"]), (2, ["system/cpu"])]
    assert Shipped.load(shipped) == Shipped(0, {})


def test_what_the_server_has_is_not_sent_again_after_a_rewind(log: Path) -> None:
    records = list(read_metrics(log))
    shipped = log.with_suffix(".shipped")
    Shipped(records[3].end).save(shipped)  # all but step 4
    rewind(log, shipped, 2)
    after = Shipped.load(shipped)
    assert steps(log) == [(1, ["loss"]), (2, ["loss"]), (2, ["system/cpu"])]
    assert after.offset == log.stat().st_size
    assert after.skip == {"loss": 3}, "step 4 was never sent"
    with open(log, "ab", buffering=0) as file:
        for step in (3, 4):
            append(file, step, {"loss": 1.0 / step, "accuracy": 0.5})
    third, fourth = read_metrics(log, offset=after.offset)
    assert after.missing(third) == {"accuracy": 0.5}
    assert after.missing(fourth) == {"loss": 0.25, "accuracy": 0.5}


def test_a_second_rewind_remembers_the_first(log: Path) -> None:
    shipped = log.with_suffix(".shipped")
    Shipped(log.stat().st_size).save(shipped)
    rewind(log, shipped, 3)
    rewind(log, shipped, 1)
    assert Shipped.load(shipped).skip == {"loss": 4}
    assert Shipped.load(shipped).offset == log.stat().st_size


def test_files_are_replaced_whole_and_stay_readable_for_others(log: Path) -> None:
    shipped = log.with_suffix(".shipped")
    mode = stat.S_IMODE(log.stat().st_mode)
    rewind(log, shipped, 2)
    assert sorted(os.listdir(log.parent)) == ["metrics.jsonl", "metrics.shipped"]
    assert stat.S_IMODE(log.stat().st_mode) == mode
