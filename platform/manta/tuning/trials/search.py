"""Optuna under Ray Tune: a searcher whose whole state is the study's database.

Ray's `OptunaSearch` has defects (found with Ray 2.60 and Optuna 5.0) that this subclass repairs.
Stopped trials were told COMPLETE with the value of an early rung; NaN left a trial RUNNING for
ever; failed trials were ignored, so that their region was sampled again; a reopened study enqueued
its first points again; a restored searcher was behind its database and killed the experiment. Here
nothing is pickled: a reopened study hands out what was left unfinished, then new trials.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Mapping
from typing import Any, cast

import numpy as np
import optuna
from optuna.trial import FrozenTrial, Trial, TrialState
from ray.exceptions import RayActorError, RayTaskError
from ray.tune import Callback
from ray.tune.search import Searcher
from ray.tune.search.optuna import OptunaSearch

from manta.config import Experiment
from manta.errors import ConfigError
from manta.tuning.space.read import Parameter, Space
from manta.tuning.study.metrics import StudyMetric
from manta.tuning.study.settings import SamplerName
from manta.tuning.study.storage import (
    ATTRIBUTE,
    ENDINGS,
    NOTED,
    REPEATED,
    RESOURCE,
    Outcome,
    numbers,
    rejected,
)

FAILED_CONSTRAINT = "trains"
MOST_REJECTED = 200


class StudySearch(OptunaSearch):
    """Suggests `{"number", "drawn"}` and writes what comes of it.

    Args:
        metrics: what is optimised.
        whole: the resource of a trial that was not stopped.
        on_end: told the number and the outcome of each trial.
        guard: raises where another driver has taken the study over; asked before anything is
            written.
    """

    def __init__(
        self,
        space: Space,
        recipe: Experiment,
        metrics: list[StudyMetric],
        *,
        study: str,
        storage: optuna.storages.BaseStorage,
        sampler: SamplerName,
        seed: int,
        asked: int,
        whole: int,
        on_end: Callable[[int, Outcome], None] = lambda _number, _outcome: None,
        guard: Callable[[], None] = lambda: None,
    ) -> None:
        self.space, self.recipe, self.metrics = space, recipe, metrics
        self.sampler_name, self.seed, self.asked, self.whole, self.on_end = (
            sampler,
            seed,
            asked,
            whole,
            on_end,
        )
        self.guard = guard
        names = [metric.name for metric in metrics]
        modes = [metric.mode for metric in metrics]
        super().__init__(
            space=self._define,
            metric=names if len(names) > 1 else names[0],
            mode=modes if len(modes) > 1 else modes[0],
            study_name=study,
            storage=storage,
            sampler=self._sampler_for(0),
        )
        self.study: optuna.Study = self._ot_study
        known = self.study.get_trials(deepcopy=False)
        for trial in known:
            if (
                trial.state == TrialState.RUNNING
                and trial.user_attrs.get(f"{ATTRIBUTE}state") in ENDINGS
            ):
                self._finish_telling(trial)
        self.unfinished = [
            trial._trial_id for trial in self._trials() if trial.state == TrialState.RUNNING
        ]
        if not known:
            self._enqueue_default()

    @property
    def left(self) -> int:
        """Trials to run: the unfinished and the new."""
        done = sum(
            bool(trial.state.is_finished()) and not rejected(trial) for trial in self._trials()
        )
        return max(int(self.asked - done), 0)

    def suggest(self, trial_id: str) -> dict[str, Any] | None:
        self.guard()
        trial = self._take_up()
        if trial is None:
            if (
                self.asked
                - sum(not rejected(t) and t.state != TrialState.WAITING for t in self._trials())
                <= 0
            ):
                return cast(dict[str, Any], Searcher.FINISHED)
            trial = self._ask()
        self._ot_trials[trial_id] = trial
        trial.set_user_attr(f"{ATTRIBUTE}tune_id", trial_id)
        return {"number": trial.number, "drawn": self._drawn(trial)}

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        self.guard()
        if result.get(REPEATED):
            return
        trial = self._ot_trials[trial_id]
        self._note(trial, result)
        self._report(trial, result)

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        if not error:  # the reason of an error comes by `died`
            self._end(trial_id, result or {})

    def died(self, trial_id: str, reason: str) -> None:
        """A trial's process is gone for good."""
        self._end(trial_id, {"failed": reason})

    def _end(self, trial_id: str, result: Mapping[str, Any]) -> None:
        self.guard()
        trial = self._ot_trials[trial_id]
        if self._frozen(trial).state.is_finished():
            return
        self._note(trial, result)
        outcome = self._outcome(result)
        trial.set_user_attr(f"{ATTRIBUTE}reason", outcome.reason)
        trial.set_user_attr(
            f"{ATTRIBUTE}state", outcome.state
        )  # last of what `_finish_telling` reads
        if outcome.state != "failed":
            self._report(trial, result)
        self._tell(trial, outcome)
        self.on_end(trial.number, outcome)

    def _finish_telling(self, known: FrozenTrial) -> None:
        """A driver was killed after it had written how a trial ended, and before Optuna took it.

        It is not run again: it could end otherwise, and Optuna never changes a constraint that was
        set.
        """
        trial = Trial(self.study, known._trial_id)
        noted = {key.removeprefix(ATTRIBUTE): value for key, value in known.user_attrs.items()}
        outcome = Outcome(noted["state"], noted.get("reason"), noted.get("values", {}))
        if outcome.state != "failed":
            measured = {f"values/{name}": value for name, value in outcome.values.items()}
            self._report(trial, {RESOURCE: noted.get(RESOURCE), **measured})
        self._tell(trial, outcome)

    def save(self, checkpoint_path: str) -> None:
        """Nothing: the database has it all."""

    def __getstate__(self) -> dict[str, Any]:
        return {}

    def _outcome(self, result: Mapping[str, Any]) -> Outcome:
        values = numbers(result)
        if result.get("failed"):
            return Outcome("failed", str(result["failed"]), values)
        for metric in self.metrics:
            if not math.isfinite(values.get(metric.name, math.nan)):
                return Outcome("failed", f"{metric.name} is not a finite number", values)
        spent = result.get(RESOURCE, 0)
        if spent < self.whole:
            return Outcome(
                "pruned", f"stopped at {spent:g} of {self.whole}: others did better", values
            )
        return Outcome("complete", None, values)

    def _tell(self, trial: Trial, outcome: Outcome) -> None:
        """A failed trial is a complete one that broke a constraint: samplers stay away,
        `best_trial` passes over it."""
        already = FAILED_CONSTRAINT in self._frozen(trial).constraints
        if (
            self.sampler_name != "cmaes" and not already
        ):  # it knows no constraints, and says so at every draw
            trial.set_constraint(FAILED_CONSTRAINT, 1.0 if outcome.state == "failed" else 0.0)
        if trial.user_attrs.get(f"{ATTRIBUTE}inside") is False:
            self.study.tell(trial, state=TrialState.FAIL)
        elif outcome.state == "failed":
            self.study.tell(trial, [self._worst(place) for place in range(len(self.metrics))])
        elif outcome.state == "pruned":
            self.study.tell(trial, state=TrialState.PRUNED)
        else:
            self.study.tell(trial, [outcome.values[metric.name] for metric in self.metrics])

    def _worst(self, place: int) -> float:
        """The worst that any trial reached, for one that reached nothing."""
        metric = self.metrics[place]
        found = [
            trial.values[place]
            for trial in self._trials()
            if trial.state == TrialState.COMPLETE and math.isfinite(trial.values[place])
        ]
        return metric.worst if not found else (min(found) if metric.mode == "max" else max(found))

    def _report(self, trial: Trial, result: Mapping[str, Any]) -> None:
        """An intermediate value, once a step; Optuna takes none in studies of several metrics."""
        value, step = numbers(result).get(self.metrics[0].name), result.get(RESOURCE)
        if len(self.metrics) > 1 or value is None or step is None or not math.isfinite(value):
            return
        if int(step) not in self._frozen(trial).intermediate_values:
            trial.report(value, int(step))

    def _note(self, trial: Trial, result: Mapping[str, Any]) -> None:
        """What the summary needs beside the value; `drawn` only where PBT has changed it."""
        values = numbers(result)
        if values:
            trial.set_user_attr(f"{ATTRIBUTE}values", values)
        first = values.get(self.metrics[0].name)
        if first is not None and RESOURCE in result:
            known = self._frozen(trial).user_attrs.get(f"{ATTRIBUTE}rungs", {})
            trial.set_user_attr(f"{ATTRIBUTE}rungs", known | {str(int(result[RESOURCE])): first})
        changed = {
            key.removeprefix("drawn/"): value
            for key, value in result.items()
            if key.startswith("drawn/")
        }
        if changed and changed != trial.params:
            trial.set_user_attr(f"{ATTRIBUTE}drawn", changed)
        for key in NOTED:
            if result.get(key) is not None:
                trial.set_user_attr(f"{ATTRIBUTE}{key}", result[key])

    def _take_up(self) -> Trial | None:
        """The next trial that an earlier attempt left unfinished. It may have been killed while it
        drew."""
        while self.unfinished:
            trial = Trial(self.study, self.unfinished.pop(0))
            self.study.sampler = self._sampler_for(trial.number)
            drawn = self._define(trial)
            broken = (
                None
                if trial.user_attrs.get(f"{ATTRIBUTE}default")
                else self.space.violated(self.recipe, drawn)
            )
            if broken is None:
                return trial
            self._reject(trial, broken)
        return None

    def _reject(self, trial: Trial, broken: str) -> None:
        trial.set_user_attr(f"{ATTRIBUTE}state", "rejected")
        trial.set_user_attr(f"{ATTRIBUTE}reason", broken)
        self.study.tell(trial, state=TrialState.FAIL)

    def _ask(self) -> Trial:
        """A trial whose values hold every constraint; those refused are told so and not counted."""
        for _ in range(MOST_REJECTED):
            self.study.sampler = self._sampler_for(len(self._trials()))
            trial = self.study.ask()
            drawn = self._define(trial)
            if trial.user_attrs.get(f"{ATTRIBUTE}default"):
                return trial
            broken = self.space.violated(self.recipe, drawn)
            if broken is None:
                return trial
            self._reject(trial, broken)
        raise ConfigError(
            f"{MOST_REJECTED} draws in a row broke the constraint {broken!r}; widen the space or drop it"
        )

    def _define(self, trial: Trial) -> dict[str, Any]:
        return self.space.draw(lambda parameter: suggest(trial, parameter))

    def _drawn(self, trial: Trial) -> dict[str, Any] | None:
        """None: the recipe as it is."""
        return None if trial.user_attrs.get(f"{ATTRIBUTE}inside") is False else self._define(trial)

    def _enqueue_default(self) -> None:
        """Trial 0 is the recipe's own configuration.

        Where that lies outside of the space, the trial draws values that it does not use, and its
        result would mislead the sampler: it is told FAIL, with the value among its attributes.
        """
        default = self.space.default(self.recipe)
        attributes = {f"{ATTRIBUTE}default": True, f"{ATTRIBUTE}inside": default is not None}
        self.study.enqueue_trial(default or {}, user_attrs=attributes)

    def _sampler_for(self, number: int) -> optuna.samplers.BaseSampler:
        """A sampler anew for each trial, seeded by its number: a resumed study draws what it would
        have drawn."""
        seed = int(np.random.SeedSequence([self.seed, number]).generate_state(1)[0])
        conditional = any(parameter.when for parameter in self.space.parameters)
        return make_sampler(
            self.sampler_name, seed=seed, trials=self.asked, conditional=conditional
        )

    def _frozen(self, trial: Trial) -> FrozenTrial:
        return self.study._storage.get_trial(trial._trial_id)

    def _trials(self) -> list[FrozenTrial]:
        found: list[FrozenTrial] = self.study.get_trials(deepcopy=False)
        return found


class Obituary(Callback):
    """Tells the search why a trial's process is gone: Tune tells only that it is."""

    def __init__(self, search: StudySearch) -> None:
        self.search = search

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        self.search.died(
            trial.trial_id, cause_of_death(trial.get_pickled_error(), trial.get_error())
        )

    def __getstate__(self) -> dict[str, Any]:
        return {}


def cause_of_death(error: BaseException | None, trace: str | None = None) -> str:
    """In a line; what Ray says of a lost actor is a page."""
    if error is None:
        said = [line.strip() for line in (trace or "").splitlines() if line.strip()]
        return f"its process failed: {said[-1]}" if said else "its process is gone"
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    text = lines[-1] if lines else type(error).__name__
    memory = next(
        (line for line in lines if "memory" in line.lower() and "oom" in str(error).lower()), None
    )
    if memory is not None:
        return f"out of memory: {memory}"
    if isinstance(error, RayActorError) and not isinstance(error.__cause__, RayTaskError):
        return "its process was killed again and again (out of memory, or by hand)"
    return f"its process failed: {text}"


def suggest(trial: Trial, parameter: Parameter) -> Any:
    """Ask Optuna for one value."""
    if parameter.kind == "choice":
        return trial.suggest_categorical(parameter.name, parameter.labels)
    if parameter.kind == "int":
        low, high, step = int(parameter.low), int(parameter.high), int(parameter.step or 1)
        return trial.suggest_int(parameter.name, low, high, step=step, log=parameter.log)
    return trial.suggest_float(
        parameter.name, parameter.low, parameter.high, step=parameter.step, log=parameter.log
    )


def make_sampler(
    name: SamplerName, *, seed: int, trials: int, conditional: bool
) -> optuna.samplers.BaseSampler:
    """
    Args:
        trials: of the whole study; a third of them, at most ten, are drawn at random first.
        conditional: whether some parameters exist for some choices only; each such group is then
            modelled apart.
    """
    first = max(min(trials // 3, 10), 3)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        match name:
            case "tpe":
                return optuna.samplers.TPESampler(
                    seed=seed, n_startup_trials=first, group=conditional
                )
            case "random":
                return optuna.samplers.RandomSampler(seed=seed)
            case "gp":
                return optuna.samplers.GPSampler(seed=seed, n_startup_trials=first)
            case "cmaes":
                return optuna.samplers.CmaEsSampler(
                    seed=seed, n_startup_trials=first, warn_independent_sampling=False
                )
            case "nsga2":
                return optuna.samplers.NSGAIISampler(
                    seed=seed, population_size=max(min(trials // 3, 50), 4)
                )
