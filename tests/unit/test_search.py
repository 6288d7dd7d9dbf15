"""The searcher: what Optuna's database holds after trials of every kind, and what a reopened study
does."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from optuna.trial import TrialState

from manta.config import Experiment, from_mapping
from manta.errors import ConfigError
from manta.report.study.record import TrialRecord
from manta.tuning.space.read import Space, read_space
from manta.tuning.study.metrics import metric
from manta.tuning.study.rung_result import RESOURCE
from manta.tuning.study.storage import Outcome, open_storage
from manta.tuning.study.trial_records import trial_records
from manta.tuning.trials.outcomes import TrialWriter
from manta.tuning.trials.search import SearchPlan, StudySearch

WHOLE = 9
SPACE = """
space:
  objective.temperature: {type: float, low: 0.05, high: 1.0, log: true}
  views.strength: {type: float, low: 0.0, high: 2.0}
"""


@pytest.fixture
def recipe() -> Experiment:
    return from_mapping(
        {"data": {"source": "digits"}, "objective": {"name": "dcl", "temperature": 0.2}}
    )


def space_of(folder: Path, recipe: Experiment, text: str = SPACE) -> Space:
    file = folder / "space.yaml"
    file.write_text(text)
    return read_space(file, recipe)[0]


def searcher(
    folder: Path,
    recipe: Experiment,
    space: Space | None = None,
    *,
    sampler: Any = "tpe",
    trials: int = 30,
    seed: int = 0,
    names: tuple[str, ...] = ("knn_top1",),
) -> StudySearch:
    return StudySearch(
        space or space_of(folder, recipe),
        recipe,
        [metric(name) for name in names],
        SearchPlan(
            study="s",
            storage=open_storage(f"sqlite:///{folder / 'study.db'}"),
            sampler=sampler,
            seed=seed,
            trials=trials,
            whole=WHOLE,
        ),
    )


def result(resource: int, **values: float) -> dict[str, Any]:
    """As Tune hands it to searchers: flat."""
    flat = {f"values/{name}": value for name, value in values.items()}
    return flat | {
        RESOURCE: resource,
        "epochs": float(resource),
        "seconds": 2.0,
        "run_id": "abc",
        **values,
    }


def run(
    search: StudySearch, judge: Callable[[dict[str, Any]], dict[str, Any]], count: int
) -> list[dict[str, Any]]:
    """`count` trials one after another; `judge` gives each one's last result."""
    seen = []
    for _ in range(count):
        name = f"t{len(search._ot_trials)}-{id(search)}"
        config = search.suggest(name)
        assert isinstance(config, dict)
        seen.append(config)
        search.on_trial_complete(name, judge(config))
    return seen


def records_of(search: StudySearch) -> list[TrialRecord]:
    return trial_records(search.study, search.space, search.metrics)


def temperature(config: dict[str, Any]) -> float:
    return 0.2 if config["drawn"] is None else float(config["drawn"]["objective.temperature"])


def peaked(config: dict[str, Any]) -> dict[str, Any]:
    """Best at a temperature of 0.1."""
    return result(WHOLE, knn_top1=1 / (1 + math.log(temperature(config) / 0.1) ** 2))


def test_trial_0_is_the_recipe_and_the_sampler_knows_its_place(
    tmp_path: Path, recipe: Experiment
) -> None:
    search = searcher(tmp_path, recipe)
    (first,) = run(search, peaked, 1)
    assert first["number"] == 0
    assert search.space.apply(recipe, first["drawn"] or {}).fingerprint() == recipe.fingerprint()
    assert search.study.trials[0].params == {"objective.temperature": 0.2, "views.strength": 1.0}
    assert records_of(search)[0].default


def test_a_recipe_outside_of_the_space_runs_as_it_is_and_misleads_no_sampler(
    tmp_path: Path, recipe: Experiment
) -> None:
    narrow = space_of(
        tmp_path, recipe, SPACE.replace("low: 0.05, high: 1.0", "low: 0.5, high: 1.0")
    )
    search = searcher(tmp_path, recipe, narrow)
    (first,) = run(search, lambda _config: result(WHOLE, knn_top1=0.7), 1)
    assert first["drawn"] is None
    assert search.study.trials[0].state == TrialState.FAIL
    (record,) = records_of(search)
    assert (record.state, record.value, record.params) == ("complete", 0.7, {})


def test_a_stopped_trial_is_pruned_with_every_rung(tmp_path: Path, recipe: Experiment) -> None:
    search = searcher(tmp_path, recipe)
    search.suggest("a")
    search.on_trial_result("a", result(1, knn_top1=0.3))
    search.on_trial_complete("a", result(3, knn_top1=0.4))
    (trial,) = search.study.trials
    assert trial.state == TrialState.PRUNED
    assert trial.intermediate_values == {1: 0.3, 3: 0.4}
    (record,) = records_of(search)
    assert (record.state, record.value, record.rungs) == ("pruned", 0.4, {1.0: 0.3, 3.0: 0.4})
    assert record.reason == "stopped at 3 of 9: others did better"
    assert (record.run_id, record.epochs, record.seconds) == ("abc", 3.0, 2.0)


@pytest.mark.parametrize(
    ("ending", "reason"),
    [
        ({"failed": "DataError: too few rows"}, "DataError: too few rows"),
        (result(WHOLE, knn_top1=math.nan), "knn_top1 is not a finite number"),
        (result(WHOLE, rankme=3.0), "knn_top1 is not a finite number"),
    ],
)
def test_a_failed_trial_is_over_and_never_the_best(
    tmp_path: Path, recipe: Experiment, ending: dict[str, Any], reason: str
) -> None:
    search = searcher(tmp_path, recipe)
    run(search, lambda _config: result(WHOLE, knn_top1=0.2), 1)
    run(search, lambda _config: ending, 1)
    good, bad = search.study.trials
    assert bad.state == TrialState.COMPLETE
    assert bad.values == [0.2], (
        "the worst that was seen, so that models of the value are not thrown off"
    )
    assert bad.constraints["trains"] > 0
    assert search.study.best_trial.number == good.number
    record = records_of(search)[1]
    assert (record.state, record.value, record.reason) == ("failed", None, reason)


@pytest.mark.parametrize("sampler", ["tpe", "gp"])
def test_the_sampler_leaves_a_region_that_fails(
    tmp_path: Path, recipe: Experiment, sampler: str
) -> None:
    """Half of the space crashes; told nothing, a sampler goes on drawing there."""
    search = searcher(tmp_path, recipe, sampler=sampler, trials=40)

    def crashes_below(config: dict[str, Any]) -> dict[str, Any]:
        if temperature(config) < 0.22:
            return (
                {"failed": "RuntimeError: it crashed"}
                if config["number"]
                else result(WHOLE, knn_top1=0.5)
            )
        return result(WHOLE, knn_top1=0.5 + 0.1 * config["drawn"]["views.strength"])

    seen = run(search, crashes_below, 40)
    late = [temperature(config) < 0.22 for config in seen[20:]]
    assert sum(late) <= 4


def test_tpe_finds_the_peak(tmp_path: Path, recipe: Experiment) -> None:
    search = searcher(tmp_path, recipe, trials=40)
    late = [temperature(config) for config in run(search, peaked, 40)[25:]]
    assert sum(0.07 < value < 0.14 for value in late) >= 7, "by chance 3.5 of 15 would be"


@pytest.mark.parametrize("sampler", ["tpe", "random", "cmaes", "gp"])
def test_a_reopened_study_draws_what_it_would_have_drawn(
    tmp_path: Path, recipe: Experiment, sampler: str
) -> None:
    """The database is the searcher's whole state."""
    whole, halves = tmp_path / "whole", tmp_path / "halves"
    for folder in (whole, halves):
        folder.mkdir()
    expected = run(searcher(whole, recipe, sampler=sampler, trials=14), peaked, 14)
    found = run(searcher(halves, recipe, sampler=sampler, trials=14), peaked, 7)
    found += run(searcher(halves, recipe, sampler=sampler, trials=14), peaked, 7)
    assert found == expected


def test_a_reopened_study_goes_on_with_what_was_running_then_with_new_trials(
    tmp_path: Path, recipe: Experiment
) -> None:
    first = searcher(tmp_path, recipe, trials=4)
    run(first, peaked, 1)
    left = [first.suggest("b"), first.suggest("c")]
    again = searcher(tmp_path, recipe, trials=4)
    assert again.left == 3
    resumed = run(again, peaked, 3)
    assert resumed[:2] == left
    assert [config["number"] for config in resumed] == [1, 2, 3]
    assert again.left == 0
    assert again.suggest("over") == "FINISHED"
    assert [trial.state for trial in again.study.trials] == [TrialState.COMPLETE] * 4
    assert sum(record.default for record in records_of(again)) == 1


class Killed(Exception):
    """Stands for a SIGKILL of the driver: what it had written by then is all there is."""


@pytest.mark.parametrize("constrained", [False, True])
@pytest.mark.parametrize(
    ("ending", "state", "value"),
    [
        ({"failed": "it crashed", RESOURCE: 3}, "failed", None),
        (result(3, knn_top1=0.4), "pruned", 0.4),
        (result(WHOLE, knn_top1=0.8), "complete", 0.8),
    ],
)
def test_a_trial_half_told_is_told_and_not_run_again(
    tmp_path: Path,
    recipe: Experiment,
    ending: dict[str, Any],
    state: str,
    value: float | None,
    constrained: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The driver dies before or after it wrote the trial's constraint, which Optuna never changes
    again."""

    def dies(self: TrialWriter, trial: Any, outcome: Outcome, result: Any) -> None:
        if constrained:
            trial.set_constraint("trains", 1.0 if outcome.state == "failed" else 0.0)
        raise Killed

    first = searcher(tmp_path, recipe, trials=3)
    run(first, lambda _config: result(WHOLE, knn_top1=0.2), 1)
    first.suggest("b")
    with monkeypatch.context() as patch:
        patch.setattr(TrialWriter, "_tell", dies)
        with pytest.raises(Killed):
            first.on_trial_complete("b", ending)
    assert first.study.trials[1].state == TrialState.RUNNING

    again = searcher(tmp_path, recipe, trials=3)
    assert again.left == 1
    record = records_of(again)[1]
    assert (record.state, record.value) == (state, value)
    (trial,) = again.study.trials[1:]
    assert trial.state == (TrialState.PRUNED if state == "pruned" else TrialState.COMPLETE)
    assert trial.constraints == {"trains": 1.0 if state == "failed" else 0.0}
    assert trial.intermediate_values == ({} if value is None else {ending[RESOURCE]: value})
    config = again.suggest("c")
    assert config is not None
    assert config["number"] == 2


def test_what_a_constraint_refuses_is_not_a_trial(tmp_path: Path, recipe: Experiment) -> None:
    text = SPACE + "constraints:\n  - views.strength < objective.temperature * 4\n"
    search = searcher(
        tmp_path, recipe, space_of(tmp_path, recipe, text), sampler="random", trials=12
    )
    run(search, peaked, 1)  # the recipe itself breaks it, and runs
    seen = run(search, peaked, 11)
    assert all(
        config["drawn"]["views.strength"] < config["drawn"]["objective.temperature"] * 4
        for config in seen
    )
    assert len(search.study.trials) > 12
    assert len(records_of(search)) == 12
    assert search.left == 0


def test_a_constraint_that_nothing_holds_is_an_error_that_names_it(
    tmp_path: Path, recipe: Experiment
) -> None:
    text = SPACE + "constraints:\n  - views.strength > 5\n"
    search = searcher(tmp_path, recipe, space_of(tmp_path, recipe, text), sampler="random")
    run(search, peaked, 1)
    with pytest.raises(ConfigError, match=r"views\.strength > 5"):
        search.suggest("x")


def test_several_metrics_give_a_front(tmp_path: Path, recipe: Experiment) -> None:
    search = searcher(
        tmp_path, recipe, sampler="nsga2", trials=12, names=("knn_top1", "images_per_second")
    )

    def judge(config: dict[str, Any]) -> dict[str, Any]:
        at = temperature(config)
        return result(WHOLE, knn_top1=at, images_per_second=1 / at)

    run(search, judge, 11)
    run(search, lambda _config: {"failed": "it crashed"}, 1)
    assert {trial.number for trial in search.study.best_trials} <= set(range(11))
    assert len(search.study.best_trials) >= 5, "better in one is worse in the other"


def test_a_storage_that_cannot_be_opened_is_one_line_without_its_password() -> None:
    with pytest.raises(ConfigError, match=r"study\.storage=postgresql") as caught:
        open_storage("postgresql://me:secret@127.0.0.1:1/none")
    assert "secret" not in str(caught.value)
    assert "\n" not in str(caught.value)
