"""Ray Tune's schedulers, which stop trials early, with results of earlier attempts."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

from ray import tune
from ray.tune.schedulers import (
    AsyncHyperBandScheduler,
    FIFOScheduler,
    MedianStoppingRule,
    PopulationBasedTraining,
    TrialScheduler,
)

from manta.errors import ConfigError
from manta.report.study.record import TrialRecord
from manta.tuning.space.read import Parameter, Space
from manta.tuning.study.metrics import StudyMetric
from manta.tuning.study.rung_result import REPEATED, RESOURCE
from manta.tuning.study.settings import SchedulerConfig


def make_scheduler(
    config: SchedulerConfig,
    metric: StudyMetric,
    whole: int,
    *,
    space: Space,
    past: Iterable[TrialRecord],
) -> TrialScheduler:
    """Build the scheduler that a study's settings name.

    Args:
        whole: resource of a trial that is not stopped.
        past: trials that ended in earlier attempts, which count in the comparisons.

    Raises:
        ConfigError: PBT has nothing to perturb.
    """
    match config.name:
        case "asha":
            asha = Asha(
                time_attr=RESOURCE,
                metric=metric.name,
                mode=metric.mode,
                max_t=whole,
                grace_period=min(config.min, whole),
                reduction_factor=config.reduction,
            )
            _replay(asha, past, metric)
            return asha
        case "median":
            median = Median(
                time_attr=RESOURCE, metric=metric.name, mode=metric.mode, grace_period=config.min
            )
            _replay(median, past, metric)
            return median
        case "pbt":
            return Population(
                time_attr=RESOURCE,
                metric=metric.name,
                mode=metric.mode,
                perturbation_interval=config.min,
                hyperparam_mutations={"drawn": _mutations(space)},
                custom_explore_fn=lambda explored: _inside(space, explored),
                log_config=False,
                require_attrs=False,  # a trial that failed has no metric
            )
        case "none":
            return FIFOScheduler()


class Asha(AsyncHyperBandScheduler):
    """Li et al. 2020, "A System for Massively Parallel Hyperparameter Tuning".

    A trial that goes on after its process died repeats its rungs: they count, and decide nothing a
    second time. The recipe's own trial is not stopped, since all others are compared with its end.
    """

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
        decision = str(super().on_trial_result(tune_controller, trial, result))
        kept = result.get(REPEATED) or (_of_recipe(trial) and result[self._time_attr] < self._max_t)
        return str(TrialScheduler.CONTINUE) if kept else decision


class Median(MedianStoppingRule):
    """Golovin et al. 2017, "Google Vizier", section 3.2.

    A trial without the metric is no sample; none is paused.
    """

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
        if result.get(REPEATED) or _of_recipe(trial):  # they count, and are not stopped
            if self._metric in result and self._time_attr in result:
                self._results[trial].append(result)
            return str(TrialScheduler.CONTINUE)
        return str(super().on_trial_result(tune_controller, trial, result))

    def on_trial_complete(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> None:
        if self._metric in result and self._time_attr in result:
            super().on_trial_complete(tune_controller, trial, result)

    def _on_insufficient_samples(self, tune_controller: Any, trial: Any, time: float) -> str:
        return str(TrialScheduler.CONTINUE)


class Population(PopulationBasedTraining):
    """Jaderberg et al. 2017, "Population Based Training", with a searcher's first population.

    Ray's refuses a searcher for fear of mixing trials up.
    """

    def on_trial_add(self, tune_controller: Any, trial: Any) -> None:
        # What it looks at to refuse a searcher.
        super().on_trial_add(SimpleNamespace(search_alg=None), trial)

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
        if result.get(REPEATED):
            return str(TrialScheduler.CONTINUE)
        return str(super().on_trial_result(tune_controller, trial, result))

    def _get_new_config(
        self, trial: Any, trial_to_clone: Any
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        # After a resume Tune's own configuration is what was drawn at first, not what PBT had made
        # of it.
        result = self._trial_state[trial_to_clone].last_result or {}
        held = {"drawn": result.get("drawn") or trial_to_clone.config["drawn"]}
        config, operations = super()._get_new_config(
            trial, SimpleNamespace(config=trial_to_clone.config | held)
        )
        return config | {"number": trial.config["number"]}, operations


def _of_recipe(trial: Any) -> bool:
    return bool(getattr(trial, "config", {}).get("number") == 0)


def _replay(scheduler: TrialScheduler, past: Iterable[TrialRecord], metric: StudyMetric) -> None:
    """Tell a scheduler the results of earlier attempts, as from trials of its own."""
    for trial in past:
        stand_in = _Past(f"past-{trial.number}")
        scheduler.on_trial_add(None, stand_in)
        for resource, value in sorted(trial.rungs.items()):
            scheduler.on_trial_result(
                None, stand_in, {RESOURCE: resource, metric.name: value, REPEATED: True}
            )


@dataclass(frozen=True, slots=True)
class _Past:
    """Trial that is over, with as much of it as schedulers look at."""

    trial_id: str


def _mutations(space: Space) -> dict[str, Any]:
    """Return what may change while a trial trains: numbers that shape no tensor.

    Raises:
        ConfigError: there are none.
    """
    domains = {p.name: _domain(p) for p in space.parameters if p.kind == "float" and not p.when}
    if not domains:
        raise ConfigError(
            "study.scheduler=pbt changes float parameters while trials train (a temperature, "
            "views.strength, optimizer.lr), and the space has none without a condition; add one, "
            "or choose asha"
        )
    return domains


def _inside(space: Space, config: dict[str, Any]) -> dict[str, Any]:
    """Return what PBT made, inside the space: it multiplies by 1.2 or 0.8."""
    drawn = dict(config["drawn"])
    for parameter in space.parameters:
        if parameter.name in drawn and parameter.kind == "float":
            drawn[parameter.name] = min(max(drawn[parameter.name], parameter.low), parameter.high)
    return config | {"drawn": drawn}


def _domain(parameter: Parameter) -> Any:
    low, high = float(parameter.low), float(parameter.high)
    return tune.loguniform(low, high) if parameter.log else tune.uniform(low, high)
