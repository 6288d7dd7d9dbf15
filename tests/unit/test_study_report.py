"""The figures, the tables and the page of a study: right numbers, nothing of failed trials, nothing
from outside."""

from __future__ import annotations

import io
import re
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import optuna
import plotly.graph_objects as go
import pytest
from rich.console import Console
from rich.table import Table
from test_report import Page

from manta.report.parts import words
from manta.report.parts.charts import log_axis, plotly_library
from manta.report.study import summary
from manta.report.study.page import write_study_page
from manta.report.study.record import StudyRecord, TrialRecord
from manta.tuning.figures.console import importance_table, study_table
from manta.tuning.figures.importance import importances
from manta.tuning.figures.plots import figures
from synthetic_study import MADE_UP, RUNGS, make_study

TAUS = {"rankme": 0.71, "feature_std": 0.05, "alpha_req_gap": None}
Made = tuple[optuna.Study, StudyRecord, dict[str, go.Figure | str]]


@pytest.fixture(scope="module")
def made() -> Made:
    study, record = make_study(trials=40)
    assert Counter(trial.state for trial in record.trials) == {
        "complete": 11,
        "pruned": 26,
        "failed": 3,
    }
    return study, record, figures(study, record, TAUS)


@pytest.fixture(scope="module")
def page(made: Made, tmp_path_factory: pytest.TempPathFactory) -> Page:
    study, record, drawn = made
    folder = tmp_path_factory.mktemp("runs") / "digits"
    folder.mkdir()
    storage = "postgresql://ada:secret@db.example:5432/optuna"
    return Page(
        write_study_page(folder, record, drawn, importances(study, record), TAUS, storage=storage)
    )


def rows(page: Page, css_class: str) -> list[str]:
    """The rows of the body of the first table of a class, as markup."""
    table = re.search(
        rf'<table class="results {css_class}.*?</table>', page.source, flags=re.DOTALL
    )
    assert table, css_class
    return re.findall(r"<tr.*?</tr>", table[0].split("<tbody>")[1], flags=re.DOTALL)


def test_the_parameter_that_matters_is_first(made: Made) -> None:
    study, record, _ = made
    found = importances(study, record)
    assert next(iter(found)) == "objective.temperature"
    assert found["objective.temperature"] > 0.5
    assert sum(found.values()) == pytest.approx(1)
    assert set(found) == {name for trial in record.trials for name in trial.params}


def test_failed_trials_are_in_no_figure(made: Made) -> None:
    _, record, drawn = made
    assert all(isinstance(figure, go.Figure) for figure in drawn.values()), drawn
    for title, figure in drawn.items():
        assert str(MADE_UP) not in figure.to_json(), title
    history = drawn["Optimisation history"]
    complete = next(trace for trace in history.data if trace.name == "complete")
    assert list(complete.x) == [trial.number for trial in record.complete]
    assert list(complete.y) == [trial.value for trial in record.complete]
    best = next(trace for trace in history.data if trace.name == "best so far")
    assert max(best.y) == record.best.value  # type: ignore[union-attr]


def test_slices_show_complete_and_pruned_trials_over_the_whole_range(made: Made) -> None:
    _, record, drawn = made
    figure = drawn["Slices"]
    by_axis = {
        figure.layout[axis].title.text: axis
        for axis in figure.layout
        if str(axis).startswith("xaxis")
    }
    assert figure.layout.xaxis.title.text == "objective.temperature"
    assert figure.layout.xaxis.range == pytest.approx((-1.699, 0), abs=0.1)
    momentum = by_axis["objective.momentum"].replace("axis", "")
    shown = {trace.name: list(trace.x) for trace in figure.data if trace.xaxis == momentum}
    for state in ("complete", "pruned"):
        wanted = [
            t.params["objective.momentum"]
            for t in record.trials
            if t.state == state and len(t.params) == 6
        ]
        assert sorted(shown[state]) == sorted(wanted)


def test_parallel_lines_are_the_complete_trials_and_the_best_is_thickest(made: Made) -> None:
    _, record, drawn = made
    lines = [trace for trace in drawn["Parallel coordinates"].data if trace.mode == "lines"]
    assert len(lines) == len(record.complete)
    best = max(lines, key=lambda line: line.line.width)
    assert best.y[0] == 1
    names = list(drawn["Parallel coordinates"].layout.xaxis.ticktext)
    assert names[0] == "kNN top-1 accuracy"
    assert names[1:] == sorted(names[1:])
    assert "grayscale.probability" in names


def test_rung_survival_counts_trials(made: Made) -> None:
    _, record, drawn = made
    bars = {bar.name: list(bar.y) for bar in drawn["Rung survival"].data}
    assert list(drawn["Rung survival"].data[0].x) == ["1", "3", "9"]
    counted = [sum(reached) for reached in zip(*bars.values(), strict=True)]
    assert counted == [sum(trial.epochs >= rung for trial in record.trials) for rung in RUNGS]
    assert counted[0] == 40
    assert bars["complete"] == [11, 11, 11]
    assert bars["failed"] == [3, 0, 0]


def test_learning_curves_hold_every_evaluation(made: Made) -> None:
    _, record, drawn = made
    curves = {trace.name: trace for trace in drawn["Learning curves"].data}
    assert list(curves) == ["complete", "pruned", "failed", "best", "recipe"]
    for state in ("complete", "pruned", "failed"):
        wanted = [
            value for t in record.trials if t.state == state for _, value in sorted(t.rungs.items())
        ]
        assert [value for value in curves[state].y if value is not None] == wanted
    assert curves["best"].y[-2] == record.best.value  # type: ignore[union-attr]


def test_agreement_states_tau_and_turns_what_is_better_small(made: Made) -> None:
    study, record, _ = made
    taken = replace(
        record,
        trials=[
            replace(t, values=t.values | {"alpha_req_gap": 1 - t.values["knn_top1"]})
            for t in record.trials
        ],
    )
    figure = figures(study, taken, {"rankme": -0.31, "alpha_req_gap": 1.0})[
        "Metrics without labels against kNN"
    ]
    assert [title.text for title in figure.layout.annotations] == [
        "Effective rank (RankMe): tau −0.31",
        "Distance of the decay from 1: tau 1.00",
    ]
    assert (figure.layout.xaxis.autorange, figure.layout.xaxis2.autorange) == (True, "reversed")
    points = sum(len(trace.x) for trace in figure.data if trace.xaxis == "x")
    assert points == sum(trial.state != "failed" for trial in record.trials)


def test_several_metrics_have_a_front() -> None:
    """Where metrics are several, Optuna holds pruned trials as complete; the front is of those that
    went to the end."""
    study, record = make_study(metrics=("knn_top1", "images_per_second"))
    drawn = figures(study, record, {})
    assert next(iter(drawn)) == "Pareto front"
    dominated, front = drawn["Pareto front"].data
    assert sorted(zip(front.x, front.y, strict=True)) == sorted(
        (trial.values["knn_top1"], trial.values["images_per_second"]) for trial in record.front
    )
    assert len(dominated.x) + len(front.x) == len(record.complete)
    assert {title for title, figure in drawn.items() if isinstance(figure, str)} == {
        "Metrics without labels against kNN"
    }
    assert next(iter(importances(study, record))) == "objective.temperature"


@pytest.mark.parametrize("trials", [0, 1, 3])
def test_too_few_trials_give_reasons(trials: int, tmp_path: Path) -> None:
    study, record = make_study(trials=trials)
    drawn = figures(study, record, TAUS)
    assert importances(study, record) == {}
    reasons = {title: figure for title, figure in drawn.items() if isinstance(figure, str)}
    assert "at least 8 trials" in reasons["Importance of parameters"]
    assert ("Slices" in reasons) == (trials < 2)
    assert all(
        reason.endswith(".") and "could not be drawn" not in reason for reason in reasons.values()
    )
    text = Page(write_study_page(tmp_path, record, drawn, {}, TAUS)).text
    assert "It takes at least 8 trials that did not fail; this study has" in text
    assert ("No result yet" in text) == (trials == 0)
    assert (
        "Fewer than three complete trials have both"
        in Page(write_study_page(tmp_path, record, drawn, {}, {})).text
    )


def small_study(values: list[float], names: list[str]) -> tuple[optuna.Study, StudyRecord]:
    study, record = make_study(trials=0)
    trials = []
    for number, value in enumerate(values):
        trial = study.ask()
        params: dict[str, Any] = {name: trial.suggest_float(name, 0.0, 1.0) for name in names}
        study.tell(trial, value)
        trials.append(
            TrialRecord(number, params, "complete", value, {"knn_top1": value}, {9.0: value}, 9.0)
        )
    return study, replace(record, trials=trials)


def test_one_parameter_or_equal_values_have_no_importances() -> None:
    study, record = small_study([0.1 * number for number in range(10)], ["objective.temperature"])
    drawn = figures(study, record, {})
    assert importances(study, record) == {}
    assert "one parameter only" in str(drawn["Importance of parameters"])
    assert "one parameter only" in str(drawn["Parallel coordinates"])
    assert isinstance(drawn["Slices"], go.Figure)
    study, record = small_study([0.5] * 10, ["objective.temperature", "optimizer.lr"])
    assert importances(study, record) == {}
    assert "same value" in str(figures(study, record, {})["Importance of parameters"])


def test_a_recipe_outside_of_the_space_is_a_line_only() -> None:
    """Such a trial is told FAIL: its parameters in Optuna are not those that were trained."""
    study, record = small_study(
        [0.1 * number for number in range(9)], ["objective.temperature", "optimizer.lr"]
    )
    before = importances(study, record)
    trial = study.ask()
    for name in ("objective.temperature", "optimizer.lr"):
        trial.suggest_float(name, 0.0, 1.0)
    study.tell(trial, state=optuna.trial.TrialState.FAIL)
    own = TrialRecord(
        9, {}, "complete", 0.987, {"knn_top1": 0.987}, {9.0: 0.987}, 9.0, default=True
    )
    record = replace(record, trials=[*record.trials, own])
    assert importances(study, record) == before
    history = figures(study, record, {})["Optimisation history"]
    assert len(next(trace for trace in history.data if trace.name == "complete").x) == 9
    assert [line.y0 for line in history.layout.shapes] == [0.987]


def test_plotting_is_silent(
    made: Made, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    study, record, _ = made
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.INFO)
    figures(study, record, TAUS)
    assert optuna.logging.get_verbosity() == optuna.logging.INFO
    optuna.logging.set_verbosity(before)
    assert capfd.readouterr() == ("", "")
    assert len(study.trials) == 40


def test_headline_and_changes(made: Made, page: Page) -> None:
    _, record, _ = made
    best, default = record.best, record.default
    assert best is not None
    assert default is not None
    found = summary.headline(record)
    assert found is not None
    assert (found["own"], found["best"]) == (f"{default.value:.3f}", f"{best.value:.3f}")
    gain = 100 * ((best.value or 0) - (default.value or 0))
    assert f"+{gain:.1f} points against the recipe's own configuration (trial 0)" in page.text
    changed = summary.changes(record, {"optimizer.lr": 0.9, "objective.temperature": 0.1})
    assert changed[0] == {
        "path": "optimizer.lr",
        "old": "0.003",
        "new": f"{best.params['optimizer.lr']:.4g}",
        "importance": "90%",
    }
    assert {row["path"] for row in changed} == {
        k for k, v in best.params.items() if default.params.get(k) != v
    }
    assert len(rows(page, "changes")) == len(changed)


def test_facts(made: Made) -> None:
    _, record, _ = made
    known = {fact.title: (fact.value, fact.note) for fact in summary.facts(record)}
    spent = sum(trial.epochs for trial in record.trials)
    assert known["Trials"] == ("11 complete", "26 pruned, 3 failed")
    assert known["Epochs spent"] == (
        f"{spent:g}",
        f"{spent / 360:.0%} of the 360 that every trial in full would take",
    )
    assert known["Stopping"] == ("asha", "a whole trial is 9 epochs")
    in_steps = replace(record, unit="steps", fidelity=900)
    assert summary.whole_epochs(in_steps) == 360  # by the epochs of the complete trials


def test_a_recipe_that_was_stopped_or_never_beaten_is_said_so(made: Made) -> None:
    _, record, _ = made
    pruned = replace(record.trials[0], state="pruned", value=0.2, epochs=1.0)
    found = summary.headline(replace(record, trials=[pruned, *record.trials[1:]]))
    assert found is not None
    assert (found["own"], found["bar"]) == ("", None)
    assert (
        found["note"]
        == "The recipe's own configuration (trial 0) was pruned after 1 epoch at 0.200."
    )
    winner = replace(record.trials[0], value=0.99)
    found = summary.headline(replace(record, trials=[winner, *record.trials[1:]]))
    assert found is not None
    assert (found["change"], found["note"]) == (
        "",
        "No trial did better than the recipe's own configuration (trial 0).",
    )


def test_less_can_be_better(made: Made) -> None:
    _, record, _ = made
    found = summary.headline(replace(record, metrics=["alpha_req_gap"], modes=["min"]))
    worst = min(record.complete, key=lambda trial: trial.value or 0)
    assert found is not None
    assert found["number"] == worst.number


def test_every_trial_and_every_failure_has_its_row(made: Made, page: Page) -> None:
    _, record, _ = made
    trials = rows(page, "trials")
    assert len(trials) == 40
    assert sum('class="best"' in row for row in trials) == 1
    assert f">{record.best.number}" in next(row for row in trials if 'class="best"' in row)  # type: ignore[union-attr]
    failed = rows(page, "failures")
    wanted = [trial for trial in record.trials if trial.state == "failed"]
    assert len(failed) == len(wanted) == 3
    for row, trial in zip(failed, wanted, strict=True):
        assert f">{trial.number}<" in row
        assert str(trial.reason) in row


def test_trust_is_told_by_tau(page: Page) -> None:
    assert len(rows(page, "trust")) == 3
    assert (
        "On your data, rankme ranked the trials like kNN (tau 0.71); use it when labels are gone."
        in page.text
    )
    assert "feature_std said little about kNN (tau 0.05)" in page.text
    assert "Too few trials have both alpha_req_gap and kNN" in page.text
    order = [row["tau"] for row in summary.trust({"a": None, "b": -0.7, "c": 0.4, "d": 0.9})]
    assert order == ["0.90", "0.40", "−0.70", "–"]


def test_commands(page: Page) -> None:
    assert re.search(r"manta train \S+/digits/best\.yaml --name cifar10-joint-best", page.text)
    assert "optuna-dashboard postgresql://ada:***@db.example:5432/optuna" in page.text
    assert "secret" not in page.source


def test_page_needs_nothing_from_outside(page: Page) -> None:
    assert [
        v
        for _, a in page.tags
        for k, v in a.items()
        if k in ("src", "href", "srcset", "xlink:href", "data")
    ] == []
    assert not page.all("link") + page.all("iframe") + page.all("object")
    own = page.source.replace(plotly_library(), "")
    assert len(own) < len(page.source) - 10**6
    assert not re.search(r"https?://|@import|url\((?!\$\{SHEET)", own)
    policy = [
        a["content"] for a in page.all("meta") if a.get("http-equiv") == "Content-Security-Policy"
    ]
    assert policy == [
        "default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'"
    ]


def test_page_is_readable_without_seeing(page: Page) -> None:
    assert all(cell.get("scope") in ("row", "col") for cell in page.all("th"))
    assert len(page.all("figure")) == 8
    assert all(figure.get("aria-label") for figure in page.all("figure"))
    ids = [a["id"] for _, a in page.tags if "id" in a]
    assert len(ids) == len(set(ids)) == 8 + 1  # figures, and the library


def test_hostile_names_are_text(made: Made, tmp_path: Path) -> None:
    _, record, _ = made
    hostile = "</script><script>alert(1)</script><img src=x onerror=alert(2)>"
    bad = replace(
        record.trials[1], params={hostile: hostile}, state="failed", reason=hostile, run_id=hostile
    )
    worse = replace(record.trials[2], params={hostile: hostile}, value=0.99)
    known = replace(
        record, name=hostile, space=hostile, sampler=hostile, trials=[record.trials[0], bad, worse]
    )
    figure = go.Figure(
        go.Scatter(x=[1], y=[2], name=hostile), layout={"meta": hostile, "title": hostile}
    )
    drawn = {hostile: figure, f"2{hostile}": hostile}
    found = Page(
        write_study_page(tmp_path, known, drawn, {hostile: 1.0}, {hostile: 0.9}, storage=hostile)
    )
    assert len(found.all("script")) == 3  # plotly, the figures, the page's own
    assert not found.all("img")
    assert not any("onerror" in attributes for _, attributes in found.tags)
    assert found.text.count(hostile) > 8


def test_hostile_parameters_in_figures() -> None:
    name = "objective.<script>x</script>"
    study, record = small_study([0.1 * number for number in range(10)], [name, "optimizer.lr"])
    drawn = figures(study, record, {})
    assert all(
        "<script>" not in figure.to_json()
        for figure in drawn.values()
        if isinstance(figure, go.Figure)
    )
    assert set(importances(study, record)) == {name, "optimizer.lr"}


def printed(table: Table) -> str:
    console = Console(file=io.StringIO(), width=300)
    console.print(table)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_table_on_the_command_line(made: Made) -> None:
    study, record, _ = made
    odd = replace(record.trials[-1], state="failed", reason="[red]no[/red] such [file]")
    table = study_table(replace(record, trials=[*record.trials[:-1], odd]))
    assert table.row_count == 40
    lines = printed(table).splitlines()
    assert record.best is not None
    (best,) = [line for line in lines if "★" in line]
    assert best.split()[0] == str(record.best.number)
    assert f"{record.best.value:.3f}" in best
    assert "0 recipe" in lines[1]
    assert "[red]no[/red] such [file]" in lines[-1]
    shares = printed(importance_table(importances(study, record))).splitlines()
    assert len(shares) == 7
    assert shares[1].startswith("objective.temperature")


@pytest.mark.parametrize(
    ("paths", "wanted"),
    [
        (["objective.temperature", "optimizer.lr"], ["objective.temperature", "optimizer.lr"]),
        (
            ["a.views.crop.scale", "b.views.crop.scale", "x.y.z"],
            ["a.views.crop.scale", "b.views.crop.scale", "y.z"],
        ),
        (["lr"], ["lr"]),
        (["crop.scale", "views.crop.scale"], ["crop.scale", "views.crop.scale"]),
        (["objective.schedule_of_temperature.start"], ["…le_of_temperature.start"]),
        ([], []),
    ],
)
def test_short_paths(paths: list[str], wanted: list[str]) -> None:
    assert list(words.short_paths(paths).values()) == wanted


def test_logarithmic_ticks_are_whole_numbers() -> None:
    assert log_axis(1e-4, 0.1)["ticktext"] == ["0.0001", "0.001", "0.01", "0.1"]
    assert log_axis(0.06, 0.5)["ticktext"] == ["0.1", "0.2", "0.5"]
    assert log_axis(0.03, 0.031)["tickvals"] == [0.03]
