"""Bars of long work: nothing is drawn before there is something to show, or without a terminal."""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path

import pytest
from rich.console import Console

from manta import bars
from manta.bars import embed_bar, ingest_bar, study_bar, training_bar
from manta.metric_log import append
from manta.report.study.record import TrialRecord
from manta.tuning.study.study_progress import StudyProgress


def screen(*, terminal: bool) -> Console:
    return Console(file=io.StringIO(), force_terminal=terminal, width=200, color_system=None)


def text(console: Console) -> str:
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


@dataclass
class Local:
    """What a bar takes from a run's folder."""

    local: Path
    is_local: bool = True


def test_a_bar_without_work_draws_nothing() -> None:
    for make in (ingest_bar, embed_bar, study_bar):
        console = screen(terminal=True)
        with make(console):
            pass
        assert text(console) == ""


def test_rows_are_counted_on_a_terminal_only() -> None:
    console = screen(terminal=True)
    with ingest_bar(console) as update:
        update(1200, 3)
    assert "1,200 images" in text(console)
    assert "3 set aside" in text(console)
    with ingest_bar(console) as update:
        update.noun = "clips"
        update(1300, 3)
    assert "1,300 clips" in text(console)
    console = screen(terminal=False)
    with ingest_bar(console) as update:
        update(1200, 3)
    assert text(console) == ""


def test_rate_counts_what_this_start_embedded(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter([10.0, 20.0])
    monkeypatch.setattr(bars, "monotonic", lambda: next(clock))
    console = screen(terminal=True)
    with embed_bar(console) as update:
        update(5000, 10000)  # rows of an earlier start
        update(5400, 10000)
    assert "5,400 of 10,000 rows" in text(console)
    assert "40 rows/s" in text(console)


def test_each_trial_has_a_line() -> None:
    best = TrialRecord(0, {"a": 1}, "complete", 0.5, epochs=3, seconds=12, default=True)
    failed = TrialRecord(1, {"lr": 0.123456}, "failed", epochs=1, reason="not finite")
    console = screen(terminal=False)
    with study_bar(console) as update:
        update(StudyProgress(best, 1, 2, best))
        update(StudyProgress(failed, 2, 2, best))
    lines = text(console).splitlines()
    assert lines[0] == "trial 0 (recipe)  complete 0.5         3 epochs    12 s  a=1"
    assert (
        lines[1] == "trial 1           failed               1 epochs     0 s  lr=0.1235  not finite"
    )


def test_training_is_followed_until_it_ends(tmp_path: Path) -> None:
    with (tmp_path / "metrics.jsonl").open("ab") as file:
        append(file, 7, {"loss": 1.25})
    console = screen(terminal=True)
    stop = training_bar(console)(Local(tmp_path), 40)
    stop()
    assert "7/40" in text(console)
    assert "loss 1.250" in text(console)


def test_a_run_in_a_bucket_is_not_followed(tmp_path: Path) -> None:
    console = screen(terminal=True)
    training_bar(console)(Local(tmp_path, is_local=False), 40)()
    assert text(console) == ""
