"""What becomes of a trial, written into the study's database."""

from __future__ import annotations

import math
from dataclasses import dataclass

import optuna
from optuna.trial import FrozenTrial, Trial, TrialState

from manta.tuning.study.metrics import StudyMetric
from manta.tuning.study.rung_result import RungResult
from manta.tuning.study.storage import ATTRIBUTE, Outcome, attributes

FAILED_CONSTRAINT = "trains"
"""Name of the constraint that a failed trial broke."""


def outcome_of(result: RungResult, metrics: list[StudyMetric], whole: int) -> Outcome:
    """Return how a trial ended, by its last result.

    Args:
        whole: the resource of a trial that was not stopped.
    """
    values = dict(result.values)
    if result.failed:
        return Outcome("failed", result.failed, values)
    for metric in metrics:
        if not math.isfinite(values.get(metric.name, math.nan)):
            return Outcome("failed", f"{metric.name} is not a finite number", values)
    spent = result.resource or 0
    if spent < whole:
        reason = f"stopped at {spent:g} of {whole}: others did better"
        return Outcome("pruned", reason, values)
    return Outcome("complete", None, values)


@dataclass(frozen=True, slots=True)
class TrialWriter:
    """Writes results and outcomes of trials.

    Attributes:
        whole: the resource of a trial that was not stopped.
        constrained: whether the sampler takes constraints; CMA-ES warns of them at every draw.
    """

    study: optuna.Study
    metrics: list[StudyMetric]
    whole: int
    constrained: bool

    def write_rung(self, trial: Trial, result: RungResult) -> None:
        """Write what a trial reported while it runs."""
        self._keep(trial, result)
        self._report(trial, result)

    def write_end(self, trial: Trial, result: RungResult) -> Outcome | None:
        """Write how a trial ended. Returns None where that was written before."""
        if self._frozen(trial).state.is_finished():
            return None
        outcome = outcome_of(result, self.metrics, self.whole)
        self._keep(trial, result)
        # The state is the last attribute: `complete_telling` takes it for a sign that all others
        # are there. Optuna's own state comes after all of them, since it lets no more be written.
        trial.set_user_attr(f"{ATTRIBUTE}reason", outcome.reason)
        trial.set_user_attr(f"{ATTRIBUTE}state", outcome.state)
        self._tell(trial, outcome, result)
        return outcome

    def complete_telling(self, frozen: FrozenTrial) -> None:
        """Tell Optuna how a trial ended that its database has among the attributes only.

        A driver was killed in between. The trial is not run again: it could end otherwise, and
        Optuna never changes a constraint that was set.
        """
        kept = attributes(frozen)
        outcome = Outcome(kept["state"], kept.get("reason"), kept.get("values", {}))
        result = RungResult(resource=kept.get("resource"), values=outcome.values)
        self._tell(Trial(self.study, frozen._trial_id), outcome, result)

    def reject(self, trial: Trial, constraint: str) -> None:
        """Write that a constraint of the space refused what was drawn."""
        trial.set_user_attr(f"{ATTRIBUTE}state", "rejected")
        trial.set_user_attr(f"{ATTRIBUTE}reason", constraint)
        self.study.tell(trial, state=TrialState.FAIL)

    def _tell(self, trial: Trial, outcome: Outcome, result: RungResult) -> None:
        """Tell Optuna, by which its samplers go.

        A failed trial is told as a complete one that broke a constraint: samplers stay away from
        it, and `best_trial` passes over it.
        """
        failed = outcome.state == "failed"
        if not failed:
            self._report(trial, result)
        if self.constrained and FAILED_CONSTRAINT not in self._frozen(trial).constraints:
            trial.set_constraint(FAILED_CONSTRAINT, 1.0 if failed else 0.0)
        if trial.user_attrs.get(f"{ATTRIBUTE}inside") is False:
            self.study.tell(trial, state=TrialState.FAIL)
        elif failed:
            self.study.tell(trial, [self._worst(place) for place in range(len(self.metrics))])
        elif outcome.state == "pruned":
            self.study.tell(trial, state=TrialState.PRUNED)
        else:
            self.study.tell(trial, [outcome.values[metric.name] for metric in self.metrics])

    def _worst(self, place: int) -> float:
        """Return the worst value that any trial reached, for one that reached nothing."""
        metric = self.metrics[place]
        reached = [
            trial.values[place]
            for trial in self.study.get_trials(deepcopy=False)
            if trial.state == TrialState.COMPLETE and math.isfinite(trial.values[place])
        ]
        if not reached:
            return metric.worst
        return float(min(reached) if metric.mode == "max" else max(reached))

    def _report(self, trial: Trial, result: RungResult) -> None:
        """Report an intermediate value, once a step; Optuna takes none of several metrics."""
        value, resource = result.values.get(self.metrics[0].name), result.resource
        if len(self.metrics) > 1 or value is None or resource is None or not math.isfinite(value):
            return
        if int(resource) not in self._frozen(trial).intermediate_values:
            trial.report(value, int(resource))

    def _keep(self, trial: Trial, result: RungResult) -> None:
        """Keep what the summary needs beside the value; `drawn` only where PBT has changed it."""
        for key, value in result.to_attributes().items():
            trial.set_user_attr(f"{ATTRIBUTE}{key}", value)
        first = result.values.get(self.metrics[0].name)
        if first is not None and result.resource is not None:
            rungs = attributes(self._frozen(trial)).get("rungs", {})
            rungs = rungs | {str(int(result.resource)): first}
            trial.set_user_attr(f"{ATTRIBUTE}rungs", rungs)
        if result.drawn and result.drawn != trial.params:
            trial.set_user_attr(f"{ATTRIBUTE}drawn", dict(result.drawn))

    def _frozen(self, trial: Trial) -> FrozenTrial:
        return self.study._storage.get_trial(trial._trial_id)
