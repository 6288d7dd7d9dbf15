"""Notes and bars: in a terminal, in a notebook's cell, or none."""

from __future__ import annotations

import json
import time
from types import SimpleNamespace
from typing import Any

from manta.api.notebook import CellBar, CellBars, bar_html
from manta.api.reporting import SILENT, reporting
from manta.report.study.record import TrialRecord
from manta.tuning.study.study_progress import StudyProgress


class Drawn(CellBar):
    """A bar that keeps what it would draw."""

    def __init__(self, title: str) -> None:
        super().__init__(title)
        self.shown: list[str] = []

    def _show(self, html: str) -> None:
        self._handle = self.shown
        self.shown.append(html)


def test_silence_draws_nothing(capfd):
    with reporting(False) as reporter:
        assert reporter is SILENT
        reporter.notify("starting Ray")
        reporter.embed(1, 2)
        reporter.study(StudyProgress(TrialRecord(0, {}, "complete"), 1, 2, None))
        assert reporter.ingest is reporter.training is None
    assert capfd.readouterr() == ("", "")


def test_notes_go_to_standard_error_with_the_time(capfd):
    with reporting(True) as reporter:
        reporter.notify("starting Ray")
        reporter.observer.notify("evaluating one")
    captured = capfd.readouterr()
    assert captured.out == ""
    first, second = captured.err.splitlines()
    assert first[8:] == " starting Ray"
    assert second[8:] == " evaluating one"


def test_a_bar_is_a_line_of_html():
    assert bar_html("train", 5, 20, "loss <1") == (
        '<div><code>train</code> <progress value="5" max="20"></progress> 5 of 20 loss &lt;1</div>'
    )
    assert bar_html("ingest", 1234, None, "images") == (
        "<div><code>ingest</code> 1,234 images</div>"
    )


def test_a_bar_is_drawn_seldom_but_always_at_the_end():
    bar = Drawn("embed")
    for done in range(1, 101):
        bar.update(done, 100)
    assert len(bar.shown) < 10
    assert "100 of 100" in bar.shown[-1]
    bar.close()
    assert bar.shown[-1] == ""


def test_a_bar_that_was_never_drawn_is_not_removed():
    bar = Drawn("embed")
    bar.close()
    assert bar.shown == []


def test_a_runs_metrics_are_followed(tmp_path, monkeypatch):
    drawn: list[Drawn] = []

    def make(title: str) -> Drawn:
        drawn.append(Drawn(title))
        return drawn[-1]

    monkeypatch.setattr("manta.api.notebook.CellBar", make)
    record = {"step": 3, "time": 1.79e9, "metrics": {"loss": 1.5, "images_per_second": 200.0}}
    (tmp_path / "metrics.jsonl").write_text(json.dumps(record) + "\n")
    folder: Any = SimpleNamespace(is_local=True, local=tmp_path)
    stop = CellBars().training(folder, 10)
    deadline = time.monotonic() + 20
    while not drawn[-1].shown and time.monotonic() < deadline:
        time.sleep(0.05)
    stop()
    assert "3 of 10 loss 1.500" in drawn[-1].shown[0]
    assert drawn[-1].shown[-1] == ""


def test_a_trial_is_a_line_and_the_bar_has_the_best(monkeypatch, capfd):
    monkeypatch.setattr("manta.api.notebook.CellBar", Drawn)
    trial = TrialRecord(1, {"objective.temperature": 0.25}, "complete", value=0.5, epochs=3.0)
    bars = CellBars()
    bars.study(StudyProgress(trial, 2, 4, trial))
    assert "trial 1" in capfd.readouterr().err
    bar: Any = bars._study
    assert '<progress value="2" max="4"></progress> 2 of 4 best 0.5 in trial 1' in bar.shown[0]
    bars.close()
    assert bar.shown[-1] == ""


def test_a_run_on_a_store_is_not_followed():
    folder: Any = SimpleNamespace(is_local=False)
    stop = CellBars().training(folder, 10)
    assert stop() is None
