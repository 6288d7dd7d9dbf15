"""What commands print: numbers beside their comparison, and only what is there."""

from __future__ import annotations

import io
import shlex

import pytest
from rich.console import Console

from manta import printing
from manta.doctor import Check
from manta.errors import DataError
from manta.report.study.record import StudyRecord, TrialRecord
from manta.words import in_shell


@pytest.fixture
def out(monkeypatch: pytest.MonkeyPatch) -> io.StringIO:
    """What goes to standard output and standard error."""
    written = io.StringIO()
    console = Console(file=written, width=160, color_system=None)
    monkeypatch.setattr(printing, "out", console)
    monkeypatch.setattr(printing, "console", console)
    return written


def rows(out: io.StringIO) -> list[list[str]]:
    return [line.split() for line in out.getvalue().splitlines() if line.strip()]


def test_metrics_stand_beside_the_untrained_encoder(out: io.StringIO) -> None:
    metrics = {"knn_top1": 0.94567, "random_knn_top1": 0.9, "lidar": 31.0}
    printing.print_metrics(metrics, "on digits", {"knn_top1": (0.93, 0.96)})
    head, knn, lidar, note = rows(out)
    assert head == ["trained", "95%", "untrained"]
    assert knn[:4] == ["knn_top1", "0.9457", "0.930-0.960", "0.9"]
    assert lidar[:2] == ["lidar", "31"]
    assert note == ["on", "digits"]


def test_numbers_are_seen_on_a_narrow_terminal(out: io.StringIO) -> None:
    printing.out.width = 40
    printing.print_metrics({"knn_top1": 0.94567, "random_knn_top1": 0.9})
    assert rows(out)[1] == ["knn_top1", "0.9457", "0.9"]


def test_a_result_names_only_what_there_is(out: io.StringIO) -> None:
    result = {
        "metrics": {},
        "images_per_second": 812.4,
        "checkpoint": "runs/a/checkpoints/step-00000010",
        "model_uri": None,
        "report": "runs/a/report.html",
        "metrics_pending": 3,
    }
    printing.print_result(result | {"modality": "series"})
    assert "windows/s   812\n" in out.getvalue()
    out.truncate(0)
    printing.print_result(result)
    text = out.getvalue()
    assert "images/s    812\n" in text
    assert "model" not in text
    assert "3 metric points did not reach the tracking server" in text
    assert "kept in runs/a/metrics.jsonl" in text


def test_an_error_is_one_line_without_markup(out: io.StringIO) -> None:
    printing.print_error(DataError("no [bold] here\n  and there"))
    assert out.getvalue() == "error: no [bold] here and there\n"


def test_components_are_a_table(out: io.StringIO) -> None:
    printing.print_components("sources", [])
    printing.print_components("schedules", [{"name": "cosine", "fields": ["start", "end"]}])
    assert rows(out) == [
        ["no", "sources", "found", "here"],
        ["name", "fields"],
        ["cosine", "start,", "end"],
    ]


def test_checks_say_what_to_do(out: io.StringIO) -> None:
    printing.print_checks(
        [
            Check(name="python", status="ok", found="3.11", mend=""),
            Check(name="disk", status="bad", found="full", mend="free some"),
        ]
    )
    assert rows(out)[1:] == [
        ["ok", "python", "3.11"],
        ["bad", "disk", "full", "free", "some"],
    ]


def test_a_study_ends_with_what_to_trust(out: io.StringIO) -> None:
    trial = TrialRecord(0, {"optimizer.lr": 0.1}, "complete", 0.5, epochs=3, default=True)
    record = StudyRecord(
        name="s",
        metrics=["knn_top1"],
        modes=["max"],
        unit="epochs",
        space="space.yaml",
        recipe={},
        sampler="tpe",
        scheduler="asha",
        seed=0,
        planned=1,
        trials=[trial],
        study_run_id=None,
        labelled=True,
        fidelity=3,
    )
    summary = {"importances": {"optimizer.lr": 0.75}, "kendall": {"rankme": 0.416, "lidar": None}}
    printing.print_study(record, summary)
    text = out.getvalue()
    assert "0 ★ recipe" in text
    assert "75%" in text
    assert "Kendall's tau of rankme with knn_top1 over whole trials: 0.42" in text
    assert "lidar with knn_top1 over whole trials: not known from these trials" in text


ODD = [
    "My%20Photos", "out [v2]", "[/x]", "[bold]x", "[/]", "a\\[/x]", ":x: :100:", "a  b", "back\\",
    "/runs/" + "long/" * 60 + "x", "Фото \U0001f990", "[link=x]y[/link]", "{x}", "%s",
]  # fmt: skip


@pytest.mark.parametrize("path", ODD)
def test_paths_are_printed_as_they_are(out: io.StringIO, path: str) -> None:
    printing.line(f"page        {path}")
    printing.say(f"training {path}")
    printing.print_error(DataError(f"nothing at {path}"))
    printing.print_rows({"page": path})
    printing.print_metrics({}, note=path)
    page, stage, error, row, *_, note = out.getvalue().splitlines()
    assert page == f"page        {path}"
    assert stage.partition(" ")[2] == f"training {path}"
    assert error == f"error: nothing at {path}"
    assert row == f"page        {path}"
    assert note == path


@pytest.mark.parametrize("path", [path for path in ODD if len(path) < 40])
def test_tables_hold_paths_as_they_are(out: io.StringIO, path: str) -> None:
    printing.print_components("recipes", [{"name": path, "path": path}])
    printing.print_checks([Check(name="disk", status="bad", found=path, mend=path)])
    assert out.getvalue().count(path) == 4


def test_a_path_is_pasted_into_a_shell() -> None:
    for path in [*ODD, "-x", "a'b", 'a"b', "$HOME", "a;b", "~x"]:
        (word,) = shlex.split(in_shell(path))
        assert word in (path, f"./{path}")
    assert in_shell("runs/a-b_c.html") == "runs/a-b_c.html"
    assert in_shell("-x") == "./-x"


@pytest.mark.parametrize(
    ("gain", "low", "high", "said"),
    [
        (0.0, -0.01, 0.01, "no difference"),
        (0.01, -0.01, 0.03, "may be chance"),
        (0.02, 0.01, 0.03, "better"),
        (-0.02, -0.03, -0.01, "worse"),
    ],
)
def test_what_a_gain_means(
    out: io.StringIO, gain: float, low: float, high: float, said: str
) -> None:
    change = {"knn_top1": {"gain": gain, "low": low, "high": high}}
    rows = {"bank_rows": 90, "query_rows": 10}
    numbers = {"a": {"knn_top1": 0.5}, "b": {"knn_top1": 0.5 + gain}}
    comparison = {"models": ["a", "b"], "metrics": numbers, "intervals": {"a": {}, "b": {}}}
    printing.print_comparison(comparison | {"gains": {"b": change}} | rows)
    (line,) = (one for one in out.getvalue().splitlines() if one.startswith("b against a"))
    assert line.endswith(f"{high:+.4f}], {said}")
