"""What the driver of a study hands to the processes of its trials."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from manta.config import Experiment
from manta.data import Manifest
from manta.runs.build import plan_of
from manta.runs.folder import RunFolder
from manta.training.supply import CachedRows
from manta.tuning.space.read import Space
from manta.tuning.study.metrics import metric, with_evaluators
from manta.tuning.study.settings import Unit
from manta.tuning.trials.allocate import TrialResources


@dataclass(frozen=True, slots=True)
class Budget:
    """How long a trial trains, and when it is evaluated.

    Attributes:
        unit: of the resource that trials spend.
        every: resource between evaluations.
        whole: resource of a trial that is not stopped.
    """

    unit: Unit
    every: int
    whole: int


@dataclass(frozen=True, slots=True)
class StudyTask:
    """What all trials of a study have in common, and each trial's process gets.

    Attributes:
        study: the study's folder; its name is the study's.
        runs: URL of the folder that holds runs and studies.
        components: of the user's own, which are registered on arrival.
        recipe: the experiment that the space varies.
        dataset: location of the ingested dataset.
        metrics: names of what is optimised, the most important first.
        compare: further metrics, which a whole trial ends with.
        parent_run: the study's run in MLflow.
        shared: decoded rows for all trials; None: each streams its own.
        keep: checkpoints of a running trial.
    """

    study: RunFolder
    runs: str
    components: tuple[Any, ...]
    recipe: Experiment
    space: Space
    dataset: str
    metrics: list[str]
    compare: list[str]
    budget: Budget
    tracking_uri: str
    tracking_experiment: str
    parent_run: str
    shared: CachedRows | None
    resources: TrialResources
    keep: int

    def experiment(self, drawn: Mapping[str, Any] | None, manifest: Manifest) -> Experiment:
        """Return a trial's own experiment, validated once, by `Space.apply`.

        It is the recipe with the drawn values (None: the recipe as it is), with the study's budget
        and metrics, which are valid by themselves.
        """
        experiment = self.recipe if drawn is None else self.space.apply(self.recipe, drawn)
        budget = self.budget
        per_epoch = plan_of(experiment, manifest).steps_per_epoch
        in_epochs = 1.0 if budget.unit == "epochs" else 1 / per_epoch
        # Half a step less, since steps are rounded up.
        epochs = (
            float(budget.whole) if budget.unit == "epochs" else (budget.whole - 0.5) / per_epoch
        )
        train = experiment.train.model_copy(update={"epochs": epochs, "keep_last": self.keep})
        experiment = experiment.model_copy(update={"train": train})
        optimised = [metric(name) for name in self.metrics]
        measured = with_evaluators(experiment, optimised, every=budget.every * in_epochs)
        evaluators = {one.evaluator for one in optimised}
        others = [one for one in map(metric, self.compare) if one.evaluator not in evaluators]
        at_end = with_evaluators(experiment, others, every=budget.whole * in_epochs)
        both = [*measured.evaluation.evaluators, *at_end.evaluation.evaluators]
        evaluation = measured.evaluation.model_copy(update={"evaluators": both})
        return measured.model_copy(update={"evaluation": evaluation})
