"""The figures of a study: right numbers, nothing of failed trials, reasons for what is missing."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import optuna
import plotly.graph_objects as go
import pytest

from manta.report.study.page import write_study_page
from manta.report.study.record import StudyRecord, TrialRecord
from manta.tuning.figures.importance import importances
from manta.tuning.figures.plots import figures
from page_reader import Page
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
