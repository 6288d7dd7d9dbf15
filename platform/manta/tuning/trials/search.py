"""Optuna under Ray Tune: a searcher whose whole state is the study's database.

Ray's `OptunaSearch` has defects (found with Ray 2.60 and Optuna 5.0) that this subclass repairs.
Stopped trials were told COMPLETE with the value of an early rung; NaN left a trial RUNNING for
ever; failed trials were ignored, so that their region was sampled again; a reopened study enqueued
its first points again; a restored searcher was behind its database and killed the experiment. Here
nothing is pickled: a reopened study hands out what was left unfinished, then new trials.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, cast

import optuna
from optuna.trial import FrozenTrial, Trial, TrialState
from ray.tune.search import Searcher
from ray.tune.search.optuna import OptunaSearch

from manta.config import Experiment
from manta.errors import ConfigError, DiskFull
from manta.failures import full_disk
from manta.tuning.space.read import Space
from manta.tuning.study.metrics import StudyMetric
from manta.tuning.study.rung_result import RungResult
from manta.tuning.study.settings import SamplerName
from manta.tuning.study.storage import ATTRIBUTE, ENDINGS, Outcome, attributes, rejected
from manta.tuning.trials.failures import DISK_FULL
from manta.tuning.trials.outcomes import TrialWriter
from manta.tuning.trials.samplers import make_sampler, seed_of, suggest

MOST_REJECTED = 200
"""How many draws in a row a constraint may refuse."""


@dataclass(frozen=True, slots=True)
class SearchPlan:
    """How a space is searched, and where that is written.

    Attributes:
        study: name in the database.
        sampler, seed: of the draws.
        trials: of the whole study.
        whole: the resource of a trial that is not stopped.
        place: folder of the database; None: it is no file.
    """

    study: str
    storage: optuna.storages.BaseStorage
    sampler: SamplerName
    seed: int
    trials: int
    whole: int
    place: str | None = None


class StudySearch(OptunaSearch):
    """Searcher that suggests `{"number", "drawn"}` and writes what comes of it.

    Args:
        metrics: what is optimised, the most important first.
        on_end: called with the number and the outcome of each trial.
        guard: raises where another driver has taken the study over; called before anything is
            written.
    """

    def __init__(
        self,
        space: Space,
        recipe: Experiment,
        metrics: list[StudyMetric],
        plan: SearchPlan,
        *,
        on_end: Callable[[int, Outcome], None] = lambda _number, _outcome: None,
        guard: Callable[[], None] = lambda: None,
    ) -> None:
        self.space, self.recipe, self.metrics, self.plan = space, recipe, metrics, plan
        self.on_end, self.guard = on_end, guard
        self.disk_full: DiskFull | None = None
        """Why nothing more is written."""
        names = [metric.name for metric in metrics]
        modes = [metric.mode for metric in metrics]
        super().__init__(
            space=self._define,
            metric=names if len(names) > 1 else names[0],
            mode=modes if len(modes) > 1 else modes[0],
            study_name=plan.study,
            storage=plan.storage,
            sampler=self._sampler_for(0),
        )
        self.study: optuna.Study = self._ot_study
        constrained = plan.sampler != "cmaes"
        self.writer = TrialWriter(self.study, metrics, plan.whole, constrained)
        earlier = self._trials()
        # Trials that ended, and of which Optuna was not told, come first: the others that are still
        # RUNNING after that were left unfinished.
        for trial in earlier:
            running = trial.state == TrialState.RUNNING
            if running and attributes(trial).get("state") in ENDINGS:
                self.writer.complete_telling(trial)
        self.unfinished = [
            trial._trial_id for trial in self._trials() if trial.state == TrialState.RUNNING
        ]
        if not earlier:
            self._enqueue_default()

    @property
    def left(self) -> int:
        """Trials to run: the unfinished and the new."""
        done = sum(trial.state.is_finished() and not rejected(trial) for trial in self._trials())
        return max(self.plan.trials - int(done), 0)

    def suggest(self, trial_id: str) -> dict[str, Any] | None:
        """Return the next trial's configuration: an unfinished one's, then a new one's."""
        with self._writing():
            trial = self._take_up()
            if trial is None:
                begun = (trial for trial in self._trials() if trial.state != TrialState.WAITING)
                if sum(not rejected(trial) for trial in begun) >= self.plan.trials:
                    return cast(dict[str, Any], Searcher.FINISHED)
                trial = self._ask()
            self._ot_trials[trial_id] = trial
            trial.set_user_attr(f"{ATTRIBUTE}tune_id", trial_id)
            return {"number": trial.number, "drawn": self._drawn(trial)}

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        """Write a rung, unless it was written before the trial's process died."""
        rung = RungResult.from_tune(result)
        with self._writing():
            if not rung.repeated:
                self.writer.write_rung(self._ot_trials[trial_id], rung)

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        """Write how a trial ended; the reason of an error comes by `died`."""
        if not error:
            self._end(trial_id, RungResult.from_tune(result or {}))

    def died(self, trial_id: str, reason: str) -> None:
        """Write that a trial's process is gone for good."""
        self._end(trial_id, RungResult(failed=reason))

    def save(self, checkpoint_path: str) -> None:
        """Write nothing: the database has it all."""

    def __getstate__(self) -> dict[str, Any]:
        return {}

    def _end(self, trial_id: str, result: RungResult) -> None:
        trial = self._ot_trials[trial_id]
        with self._writing():
            full = (result.failed or "").partition(DISK_FULL)
            if full[1] and not full[0]:
                # The trial has not failed: left as running, it goes on once there is room.
                raise DiskFull(full[2])
            outcome = self.writer.write_end(trial, result)
            if outcome is not None:
                self.on_end(trial.number, outcome)

    @contextmanager
    def _writing(self) -> Iterator[None]:
        """Run a block that writes how trials are, unless the disk was full before.

        Tune goes on to ask and to tell after an error, and what it then tells is that of a trial's
        process, which nothing has befallen.

        Raises:
            DiskFull: there is no room, for the database or for a trial's files.
        """
        if self.disk_full is not None:
            raise self.disk_full
        self.guard()
        try:
            yield
        except Exception as error:
            self.disk_full = full_disk(error, self.plan.place)
            if self.disk_full is None:
                raise
            raise self.disk_full from error

    def _take_up(self) -> Trial | None:
        """Return the next trial that an earlier attempt left unfinished, if there is one.

        That attempt may have been killed while it drew, so that the rest is drawn now.
        """
        while self.unfinished:
            trial = Trial(self.study, self.unfinished.pop(0))
            self.study.sampler = self._sampler_for(trial.number)
            if self._accepted(trial) is None:
                return trial
        return None

    def _ask(self) -> Trial:
        """Return a new trial whose values hold every constraint.

        Raises:
            ConfigError: none was found; it names the constraint.
        """
        broken: str | None = None
        for _ in range(MOST_REJECTED):
            # Set before `ask`, which draws what does not depend on other parameters.
            self.study.sampler = self._sampler_for(len(self._trials()))
            trial = self.study.ask()
            broken = self._accepted(trial)
            if broken is None:
                return trial
        raise ConfigError(
            f"{MOST_REJECTED} draws in a row broke the constraint {broken!r}; "
            "widen the space or drop it"
        )

    def _accepted(self, trial: Trial) -> str | None:
        """Draw a trial. Returns the constraint that refused it, which is written down; or None."""
        drawn = self._define(trial)
        if attributes(trial).get("default"):
            return None  # the recipe runs, whatever the constraints say
        broken = self.space.violated(self.recipe, drawn)
        if broken is not None:
            self.writer.reject(trial, broken)
        return broken

    def _define(self, trial: Trial) -> dict[str, Any]:
        return self.space.draw(lambda parameter: suggest(trial, parameter))

    def _drawn(self, trial: Trial) -> dict[str, Any] | None:
        """Return what a trial drew; None: the recipe as it is."""
        return None if attributes(trial).get("inside") is False else self._define(trial)

    def _enqueue_default(self) -> None:
        """Make trial 0 the recipe's own configuration.

        Where that lies outside of the space, the trial draws values that it does not use, and its
        result would mislead the sampler: it is told FAIL, with the value among its attributes.
        """
        default = self.space.default(self.recipe)
        flags = {f"{ATTRIBUTE}default": True, f"{ATTRIBUTE}inside": default is not None}
        self.study.enqueue_trial(default or {}, user_attrs=flags)

    def _sampler_for(self, number: int) -> optuna.samplers.BaseSampler:
        """Build the sampler of one trial, seeded by its number.

        A sampler keeps nothing from one trial to the next, so that a resumed study draws what it
        would have drawn.
        """
        return make_sampler(
            self.plan.sampler,
            seed=seed_of(self.plan.seed, number),
            trials=self.plan.trials,
            conditional=any(parameter.when for parameter in self.space.parameters),
        )

    def _trials(self) -> list[FrozenTrial]:
        trials: list[FrozenTrial] = self.study.get_trials(deepcopy=False)
        return trials
